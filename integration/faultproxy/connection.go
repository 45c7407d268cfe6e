package faultproxy

import (
	"errors"
	"io"
	"net"
	"time"
)

// A connection is one of a client's and the one to the server that belongs to it.
type connection struct {
	proxy *Proxy
	ends  [2]*net.TCPConn // where each direction leads
}

func (c *connection) dial() error {
	conn, err := net.Dial("tcp", c.proxy.target)
	if err != nil {
		return err
	}
	c.ends[ToServer] = conn.(*net.TCPConn)
	return nil
}

// reset closes without a farewell: what is on its way is thrown away, at both ends.
func (c *connection) reset() {
	for _, end := range c.ends {
		if end != nil {
			_ = end.SetLinger(0)
		}
	}
	c.close()
}

func (c *connection) close() {
	for _, end := range c.ends {
		if end != nil {
			end.Close()
		}
	}
}

// copy passes on one direction, and its end as well, and only this direction's.
func (c *connection) copy(direction Direction) {
	from, to := c.ends[1-direction], c.ends[direction]
	piece := make([]byte, 32<<10)
	silent := false
	for {
		n, err := from.Read(piece)
		now := c.proxy.present()
		silent = silent || now.swallow[direction]
		switch {
		case silent:
		case n > 0:
			wait(now)
			c.proxy.passed[direction].Add(int64(n))
			if _, err := to.Write(piece[:n]); err != nil {
				from.Close()
				return
			}
		case errors.Is(err, io.EOF):
			_ = to.CloseWrite()
		default:
			to.Close()
		}
		if err != nil {
			return
		}
	}
}

func wait(now faults) {
	if now.delay == 0 {
		return
	}
	timer := time.NewTimer(now.delay)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-now.over:
	}
}
