// Package faultproxy is a TCP proxy that cuts connections when a test says so.
package faultproxy

import (
	"io"
	"net"
	"sync"
	"testing"
)

// A Proxy passes every connection on to one address. It ends with its test.
type Proxy struct {
	listener net.Listener
	target   string
	work     sync.WaitGroup

	mu     sync.Mutex // guards below
	open   map[*net.TCPConn]*net.TCPConn
	closed bool
}

// Start starts a proxy for the address target.
func Start(tb testing.TB, target string) *Proxy {
	tb.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatalf("faultproxy: %v", err)
	}
	p := &Proxy{listener: listener, target: target, open: map[*net.TCPConn]*net.TCPConn{}}
	p.work.Go(p.accept)
	tb.Cleanup(func() {
		p.mu.Lock()
		p.closed = true
		p.mu.Unlock()
		listener.Close()
		p.Cut()
		p.work.Wait()
	})
	return p
}

// Address is where the proxy listens.
func (p *Proxy) Address() string { return p.listener.Addr().String() }

// Cut resets every connection in the middle of whatever it carries, and returns
// how many there were.
func (p *Proxy) Cut() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := len(p.open)
	for near, far := range p.open {
		// No farewell: what is on its way is thrown away, at both ends.
		_ = near.SetLinger(0)
		_ = far.SetLinger(0)
		near.Close()
		far.Close()
		delete(p.open, near)
	}
	return n
}

func (p *Proxy) accept() {
	for {
		conn, err := p.listener.Accept()
		if err != nil {
			return
		}
		p.work.Go(func() { p.pass(conn.(*net.TCPConn)) })
	}
}

// pass copies in both directions until one end closes.
func (p *Proxy) pass(near *net.TCPConn) {
	conn, err := net.Dial("tcp", p.target)
	if err != nil {
		near.Close()
		return
	}
	far := conn.(*net.TCPConn)
	p.mu.Lock()
	if p.closed {
		p.mu.Unlock()
		near.Close()
		far.Close()
		return
	}
	p.open[near] = far
	p.mu.Unlock()

	var both sync.WaitGroup
	both.Go(func() { copyAndEnd(far, near) })
	both.Go(func() { copyAndEnd(near, far) })
	both.Wait()
	near.Close()
	far.Close()
	p.mu.Lock()
	delete(p.open, near)
	p.mu.Unlock()
}

// copyAndEnd passes the end on as well, and only this direction's.
func copyAndEnd(to, from *net.TCPConn) {
	if _, err := io.Copy(to, from); err != nil {
		to.Close()
		return
	}
	_ = to.CloseWrite()
}
