// Command live-counter counts clicks, and every open page sees the number at once.
// With a Redis it does so in several processes:
//
//	REDIS_URL=redis://127.0.0.1:6379 ADDRESS=127.0.0.1:8081 live-counter
package main

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"os/signal"

	"github.com/redis/go-redis/v9"

	"github.com/messagebus-go/messagebus/bus"
	"github.com/messagebus-go/messagebus/bus/driver"
	"github.com/messagebus-go/messagebus/bus/membus"
	"github.com/messagebus-go/messagebus/bus/redisbus"
	"github.com/messagebus-go/messagebus/examples/internal/serve"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	err := run(ctx, cmp.Or(os.Getenv("ADDRESS"), "127.0.0.1:8080"), os.Getenv("REDIS_URL"))
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1) //nolint:gocritic // the signals need no more care
	}
}

// run serves the counter until ctx is done: what Redis holds, or without a URL what
// this process does.
func run(ctx context.Context, address, redisURL string) error {
	if redisURL == "" {
		store, err := membus.New(nil)
		if err != nil {
			return err
		}
		return serveCounter(ctx, address, store, &inMemory{})
	}
	options, err := redis.ParseURL(redisURL)
	if err != nil {
		return err
	}
	rdb := redis.NewClient(options)
	defer rdb.Close()
	store, err := redisbus.New(rdb, nil)
	if err != nil {
		return err
	}
	return serveCounter(ctx, address, store, inRedis{rdb})
}

func serveCounter(ctx context.Context, address string, store driver.Backend, t tally) error {
	b, err := bus.New(store, nil)
	if err != nil {
		return err
	}
	defer b.Close()
	c, err := newCounter(ctx, b, t)
	if err != nil {
		return err
	}
	defer c.number.Close() // before the bus
	return serve.Until(ctx, address, c.site(), c.messages)
}
