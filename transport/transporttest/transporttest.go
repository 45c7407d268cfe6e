// Package transporttest serves HTTP in memory, for tests and examples: no
// ports, and time may be that of a testing/synctest bubble.
package transporttest

import (
	"context"
	"net"
	"net/http"
	"sync"
	"testing"
)

// A Server is an http.Server without a port. Make one with NewServer; it is
// closed with its test.
type Server struct {
	server   *http.Server
	listener *listener
	client   *http.Client
	serving  sync.WaitGroup
}

// NewServer serves handler until the test ends. A handler that holds requests
// must be shut down by the test, or its clients must leave.
func NewServer(tb testing.TB, handler http.Handler) *Server {
	tb.Helper()
	s := &Server{
		server:   &http.Server{Handler: handler},
		listener: &listener{conns: make(chan net.Conn), closed: make(chan struct{})},
	}
	transport := &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) { return s.Dial(ctx) },
	}
	s.client = &http.Client{Transport: transport}
	s.serving.Go(func() { _ = s.server.Serve(s.listener) })
	tb.Cleanup(func() {
		_ = s.server.Close()
		transport.CloseIdleConnections()
		s.serving.Wait()
	})
	return s
}

// URL is the base of the server's addresses, without a slash at its end.
func (s *Server) URL() string { return "http://transport.test" }

// Client returns a client whose every connection leads to the server.
func (s *Server) Client() *http.Client { return s.client }

// Dial opens a connection to the server. Nothing is buffered on the way: a
// write waits until the other side reads.
func (s *Server) Dial(ctx context.Context) (net.Conn, error) {
	ours, theirs := net.Pipe()
	select {
	case s.listener.conns <- theirs:
		return ours, nil
	case <-s.listener.closed:
		return nil, net.ErrClosed
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

type listener struct {
	conns  chan net.Conn
	once   sync.Once
	closed chan struct{}
}

// Accept implements net.Listener.
func (l *listener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

// Close implements net.Listener.
func (l *listener) Close() error {
	l.once.Do(func() { close(l.closed) })
	return nil
}

// Addr implements net.Listener.
func (l *listener) Addr() net.Addr { return addr{} }

type addr struct{}

// Network implements net.Addr.
func (addr) Network() string { return "memory" }

func (addr) String() string { return "transport.test" }
