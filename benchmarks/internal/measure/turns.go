package measure

import (
	"context"
	"fmt"
	"net"
	"sync/atomic"
)

// Turns counts the round trips of all connections that it has opened: how often
// one began to write after it had begun to read, or was new.
type Turns struct{ n atomic.Int64 }

// Dial opens a TCP connection whose round trips are counted.
func (t *Turns) Dial(ctx context.Context, network, addr string) (net.Conn, error) {
	conn, err := (&net.Dialer{}).DialContext(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	tcp, ok := conn.(*net.TCPConn)
	if !ok {
		return nil, fmt.Errorf("%s %s: a TCP address is accepted", network, addr)
	}
	c := &turnConn{TCPConn: tcp, turns: t}
	c.reads.Store(true)
	return c, nil
}

// N returns how many there were.
func (t *Turns) N() int64 { return t.n.Load() }

type turnConn struct {
	*net.TCPConn // with what libraries look for beside net.Conn

	turns *Turns
	reads atomic.Bool
}

func (c *turnConn) Read(b []byte) (int, error) {
	c.reads.Store(true)
	return c.TCPConn.Read(b)
}

func (c *turnConn) Write(b []byte) (int, error) {
	if c.reads.Swap(false) {
		c.turns.n.Add(1)
	}
	return c.TCPConn.Write(b)
}
