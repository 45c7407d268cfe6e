// Package serve is what the examples do not show again and again: a bus in memory,
// a server and its end.
package serve

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/signal"
	"time"

	"github.com/messagebus-go/messagebus/bus"
	"github.com/messagebus-go/messagebus/bus/membus"
	"github.com/messagebus-go/messagebus/transport"
)

// Main serves a site on 127.0.0.1:8080 until it is interrupted, and publishes the
// time on /news every second.
func Main(site func(*bus.Bus) (http.Handler, *transport.Handler, error)) {
	if err := run(site); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(site func(*bus.Bus) (http.Handler, *transport.Handler, error)) error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	store, err := membus.New(nil)
	if err != nil {
		return err
	}
	b, err := bus.New(store, nil)
	if err != nil {
		return err
	}
	defer b.Close()
	handler, messages, err := site(b)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	published := make(chan error, 1)
	go func() {
		defer cancel()
		published <- publishTime(ctx, b)
	}()
	err = Until(ctx, "127.0.0.1:8080", handler, messages)
	cancel()
	return errors.Join(err, <-published)
}

// Until serves a site at an address until ctx is done, or it cannot serve.
func Until(ctx context.Context, address string, site http.Handler, messages *transport.Handler) error {
	server := &http.Server{Addr: address, Handler: site, ReadHeaderTimeout: 10 * time.Second}
	served := make(chan error, 1)
	go func() { served <- server.ListenAndServe() }()
	fmt.Fprintln(os.Stderr, "http://"+address)
	var err error
	select {
	case err = <-served:
	case <-ctx.Done():
	}
	// Requests that are held end first: a server does not know of them any more.
	ending, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	return errors.Join(err, messages.Shutdown(ending), server.Shutdown(ending))
}

// publishTime returns when ctx is done, or it cannot publish.
func publishTime(ctx context.Context, b *bus.Bus) error {
	ticker := time.NewTicker(time.Second)
	defer ticker.Stop()
	for {
		select {
		case now := <-ticker.C:
			if _, err := b.Publish(ctx, "/news", now.Format(time.TimeOnly)); err != nil && ctx.Err() == nil {
				return err
			}
		case <-ctx.Done():
			return nil
		}
	}
}
