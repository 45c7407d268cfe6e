// Package faultproxy is a TCP proxy that does to connections what networks do, when
// a test says so: it cuts them, swallows what they carry, delays it, and lets no new
// ones through.
package faultproxy

import (
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// A Direction is one of the two ways through a proxy.
type Direction int

const (
	// ToServer is what clients send.
	ToServer Direction = iota
	// ToClient is what the server answers.
	ToClient
)

// A Proxy passes every connection on to one address. It ends with its test. Its
// methods may be called from any goroutine.
type Proxy struct {
	listener net.Listener
	target   string
	work     sync.WaitGroup
	passed   [2]atomic.Int64 // bytes, by direction

	mu     sync.Mutex // guards below
	open   map[*connection]struct{}
	faults faults
	closed bool
}

// faults are what a proxy does at present.
type faults struct {
	refuse  bool
	swallow [2]bool
	delay   time.Duration
	over    chan struct{} // closed when they are
}

// Start starts a proxy for the address target.
func Start(tb testing.TB, target string) *Proxy {
	tb.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatalf("faultproxy: %v", err)
	}
	p := &Proxy{
		listener: listener,
		target:   target,
		open:     map[*connection]struct{}{},
		faults:   faults{over: make(chan struct{})},
	}
	p.work.Go(p.accept)
	tb.Cleanup(p.close)
	return p
}

func (p *Proxy) close() {
	p.mu.Lock()
	p.closed = true
	p.mu.Unlock()
	p.listener.Close()
	p.Restore()
	p.Cut()
	p.work.Wait()
}

// Address is where the proxy listens.
func (p *Proxy) Address() string { return p.listener.Addr().String() }

// Passed returns how many bytes have been passed on in a direction; what was
// swallowed does not count.
func (p *Proxy) Passed(direction Direction) int64 { return p.passed[direction].Load() }

// Cut resets every connection in the middle of whatever it carries, and returns
// how many there were.
func (p *Proxy) Cut() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := len(p.open)
	for c := range p.open {
		c.reset()
		delete(p.open, c)
	}
	return n
}

// Refuse resets new connections at once, until Restore. Open ones go on.
func (p *Proxy) Refuse() {
	p.change(func(f *faults) { f.refuse = true })
}

// Swallow takes what is sent in a direction and throws it away, until Restore. All
// connections stay open, and new ones are taken, so that neither end is told. A
// connection that has lost something stays silent in that direction after Restore as
// well: what it would carry on has lost its beginning.
func (p *Proxy) Swallow(direction Direction) {
	p.change(func(f *faults) { f.swallow[direction] = true })
}

// Delay holds up every piece of what is sent, in both directions, until Restore. A
// piece is what was read at once; pieces of one direction wait one after another.
func (p *Proxy) Delay(by time.Duration) {
	p.change(func(f *faults) { f.delay = by })
}

// Restore ends all faults but those that are final: what was cut or swallowed is lost.
func (p *Proxy) Restore() {
	p.mu.Lock()
	defer p.mu.Unlock()
	close(p.faults.over)
	p.faults = faults{over: make(chan struct{})}
}

func (p *Proxy) change(how func(*faults)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	how(&p.faults)
}

func (p *Proxy) present() faults {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.faults
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

// pass copies in both directions until both ends have closed.
func (p *Proxy) pass(near *net.TCPConn) {
	c := &connection{proxy: p, ends: [2]*net.TCPConn{ToClient: near}}
	if p.present().refuse || c.dial() != nil || !p.add(c) {
		c.reset()
		return
	}
	var both sync.WaitGroup
	both.Go(func() { c.copy(ToServer) })
	both.Go(func() { c.copy(ToClient) })
	both.Wait()
	c.close()
	p.mu.Lock()
	delete(p.open, c)
	p.mu.Unlock()
}

// add makes a connection one that Cut reaches.
func (p *Proxy) add(c *connection) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return false
	}
	p.open[c] = struct{}{}
	return true
}
