// Command minimal publishes a message every second, and serves them to browsers.
package main

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"time"

	"github.com/messagebus-go/messagebus/bus"
	"github.com/messagebus-go/messagebus/bus/membus"
	"github.com/messagebus-go/messagebus/transport"
)

func main() {
	fmt.Fprintln(os.Stderr, run("127.0.0.1:8080"))
	os.Exit(1)
}

func run(address string) error {
	store, err := membus.New(nil) // or redisbus.New, pgbus.New
	if err != nil {
		return err
	}
	b, err := bus.New(store, nil)
	if err != nil {
		return err
	}
	h, err := transport.NewHandler(b, nil)
	if err != nil {
		return err
	}
	go publish(b)
	server := &http.Server{Addr: address, Handler: h, ReadHeaderTimeout: 10 * time.Second}
	return server.ListenAndServe()
}

func publish(b *bus.Bus) {
	for now := range time.Tick(time.Second) {
		if _, err := b.Publish(context.Background(), "/time", now); err != nil {
			fmt.Fprintln(os.Stderr, err)
		}
	}
}
