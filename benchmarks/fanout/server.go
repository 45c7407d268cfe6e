package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"runtime"
	"runtime/debug"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/messagebus-go/messagebus/benchmarks/internal/measure"
	"github.com/messagebus-go/messagebus/bus"
	"github.com/messagebus-go/messagebus/bus/redisbus"
	"github.com/messagebus-go/messagebus/transport"
)

// A question is put to a server process.
type question struct {
	Ask string // address, memory, turns
}

// memory is what a process takes.
type memory struct {
	Resident   int // bytes, after a garbage collection
	Goroutines int
}

// A service is what is measured: this project's handler, or the bare loop.
type service struct {
	handler http.Handler
	turns   *measure.Turns
	close   func() error
}

// An opening opens a service that takes its messages from a place.
type opening func(context.Context, place, *measure.Turns) (*service, error)

// runServer is the process of a service, until its input ends.
func runServer(ctx context.Context, open opening, r role, input io.Reader, out io.Writer) error {
	stop, err := measure.Profile(r.Profile)
	if err != nil {
		return err
	}
	defer stop()
	s, err := open(ctx, r.In, &measure.Turns{})
	if err != nil {
		return err
	}
	var config net.ListenConfig
	listening, err := config.Listen(ctx, "tcp4", "127.0.0.1:0")
	if err != nil {
		return err
	}
	server := &http.Server{Handler: s.handler, ReadHeaderTimeout: time.Minute}
	served := make(chan error, 1)
	go func() { served <- server.Serve(listening) }()
	err = measure.Serve(input, out, func(q question) (any, error) {
		switch q.Ask {
		case "address":
			return listening.Addr().String(), nil
		case "memory":
			return measureMemory()
		case "turns":
			return s.turns.N(), nil
		default:
			return nil, fmt.Errorf("question %q", q.Ask)
		}
	})
	return errors.Join(err, server.Close(), ignore(<-served, http.ErrServerClosed), s.close())
}

func measureMemory() (m memory, err error) {
	for range 2 { // the first one finds what is to be finalized
		debug.FreeOSMemory()
	}
	m.Goroutines = runtime.NumGoroutine()
	pages := 0
	text, err := os.ReadFile("/proc/self/statm")
	if err == nil {
		_, err = fmt.Sscan(strings.Fields(string(text))[1], &pages)
	}
	m.Resident = pages * os.Getpagesize()
	return m, err
}

// openOurs opens a bus and its handler, as an application does, but for limits that
// so many clients of one address would exceed, and a time that ends no hold here.
func openOurs(_ context.Context, in place, turns *measure.Turns) (*service, error) {
	b, endBus, err := openBus(in, turns.Dial)
	if err != nil {
		return nil, err
	}
	h, err := transport.NewHandler(b, &transport.Options{
		LongPoll: transport.LongPollOptions{Hold: time.Hour},
		Limits:   transport.LimitOptions{MaxHeld: 100_000},
	})
	if err != nil {
		return nil, err
	}
	end := func() error {
		ctx, cancel := context.WithCancel(context.Background())
		cancel() // nobody is to be told: all of it ends
		return errors.Join(ignore(h.Shutdown(ctx), context.Canceled), endBus())
	}
	return &service{h, turns, end}, nil
}

// dial opens connections; nil: as go-redis does.
type dial func(ctx context.Context, network, address string) (net.Conn, error)

// openBus opens a bus; end closes it and its client.
func openBus(in place, by dial) (b *bus.Bus, end func() error, err error) {
	options, err := redis.ParseURL(in.URL)
	if err != nil {
		return nil, nil, err
	}
	options.Dialer = by
	client := redis.NewClient(options)
	backend, err := redisbus.New(client, &redisbus.Options{PubSubDB: in.pubSubDB()})
	if err != nil {
		return nil, nil, err
	}
	if b, err = bus.New(backend, nil); err != nil {
		return nil, nil, err
	}
	return b, func() error { return errors.Join(b.Close(), client.Close()) }, nil
}
