package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/messagebus-go/messagebus/bus"
	"github.com/messagebus-go/messagebus/transport"
)

// Bounds of a connection. There is none on how long an answer takes: held
// requests have deadlines of their own.
const (
	headerTimeout  = 10 * time.Second
	bodyTimeout    = 30 * time.Second
	idleTimeout    = 2 * time.Minute
	maxHeaderBytes = 64 << 10
	stopTimeout    = 10 * time.Second
)

// server is one listener and what answers on it.
type server struct {
	http     *http.Server
	listener net.Listener
}

func newServer(listener net.Listener, h http.Handler, log *slog.Logger) *server {
	if listener.Addr().Network() == "unix" {
		h = fromHere(h)
	}
	return &server{
		http: &http.Server{
			Handler:           timedBodies(h),
			ReadHeaderTimeout: headerTimeout,
			IdleTimeout:       idleTimeout,
			MaxHeaderBytes:    maxHeaderBytes,
			// What net/http reports are broken clients, mostly.
			ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelDebug),
		},
		listener: listener,
	}
}

// serve serves until the listener is closed.
func (s *server) serve() error {
	if s.http.TLSConfig != nil {
		return s.http.ServeTLS(s.listener, "", "")
	}
	return s.http.Serve(s.listener)
}

// fromHere lets a request that came over a Unix socket, which has no address,
// count as one of this machine: its file says who may connect.
func fromHere(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r.RemoteAddr = "127.0.0.1:0"
		next.ServeHTTP(w, r)
	})
}

// newAdminServer returns a server whose answers that go on end when it stops.
func newAdminServer(listener net.Listener, a http.Handler, log *slog.Logger) *server {
	s := newServer(listener, a, log)
	ctx, cancel := context.WithCancel(context.Background())
	s.http.BaseContext = func(net.Listener) context.Context { return ctx }
	s.http.RegisterOnShutdown(cancel)
	return s
}

// withBus runs serve with a bus on a store and its HTTP side, and ends both
// after it.
func withBus(store string, busOptions *bus.Options, httpOptions *transport.Options, patience time.Duration, serve func(*bus.Bus, *transport.Handler) error) error {
	b, err := openStore(store, busOptions)
	if err != nil {
		return err
	}
	messages, err := transport.NewHandler(b, httpOptions)
	if err != nil {
		return errors.Join(asUsage(err), b.Close())
	}
	err = serve(b, messages)
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	return errors.Join(err, messages.Shutdown(ctx), b.Close())
}

// runServers serves until ctx is done or a server fails, and then stops in
// order: no new connections, held requests are answered, the others end.
func runServers(ctx context.Context, log *slog.Logger, messages *transport.Handler, patience time.Duration, servers ...*server) error {
	failed := make(chan error, len(servers))
	var running sync.WaitGroup
	for _, s := range servers {
		running.Go(func() {
			err := s.serve()
			if !errors.Is(err, http.ErrServerClosed) && !errors.Is(err, net.ErrClosed) {
				failed <- fmt.Errorf("serving on %s: %w", s.listener.Addr(), err)
			}
		})
	}
	var err error
	select {
	case <-ctx.Done():
		log.Info("stopping")
	case err = <-failed:
	}
	stopServers(log, messages, patience, servers)
	running.Wait()
	return err
}

func stopServers(log *slog.Logger, messages *transport.Handler, patience time.Duration, servers []*server) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	for _, s := range servers {
		_ = s.listener.Close() // fails only where it is closed
	}
	if err := messages.Shutdown(ctx); err != nil {
		log.Warn("some held requests were not answered", "error", err)
	}
	for _, s := range servers {
		if err := s.http.Shutdown(ctx); err != nil && !errors.Is(err, net.ErrClosed) { // the listener is, and may be closed again
			log.Warn("some connections were cut", "error", err)
			_ = s.http.Close() // they are of no use any more
		}
	}
}

// timedBodies gives whoever sends a request's body a time in which to send it,
// and lets the answer take as long as it likes.
func timedBodies(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Body != nil && r.Body != http.NoBody {
			control := http.NewResponseController(w)
			if err := control.SetReadDeadline(time.Now().Add(bodyTimeout)); err == nil {
				r.Body = &timedBody{ReadCloser: r.Body, control: control}
			}
		}
		next.ServeHTTP(w, r)
	})
}

// timedBody takes the deadline away once the whole body was read.
type timedBody struct {
	io.ReadCloser

	control *http.ResponseController
}

func (b *timedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if errors.Is(err, io.EOF) {
		_ = b.control.SetReadDeadline(time.Time{}) // it could be set
	}
	return n, err
}

// reachable is the address of a listener as a browser on this machine finds it.
func reachable(address net.Addr) string {
	host, port, err := net.SplitHostPort(address.String())
	if err != nil {
		return address.String()
	}
	if ip := net.ParseIP(host); ip != nil && ip.IsUnspecified() {
		host = "localhost"
	}
	return net.JoinHostPort(host, port)
}
