// Command cache shares a cache with every other process that runs it, and with
// peer.rb beside it, over the Redis that REDIS_URL names.
//
//	set KEY VALUE, delete KEY, clear, get KEY, all
package main

import (
	"bufio"
	"cmp"
	"context"
	"fmt"
	"io"
	"maps"
	"os"
	"os/signal"
	"strings"

	"github.com/redis/go-redis/v9"

	"github.com/messagebus-go/messagebus/bus"
	"github.com/messagebus-go/messagebus/bus/redisbus"
	"github.com/messagebus-go/messagebus/cache"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1) //nolint:gocritic // the signals need no more care
	}
}

// run does what its input says, until that ends.
func run(ctx context.Context, in io.Reader, out io.Writer) error {
	options, err := redis.ParseURL(cmp.Or(os.Getenv("REDIS_URL"), "redis://127.0.0.1:6379"))
	if err != nil {
		return err
	}
	rdb := redis.NewClient(options)
	defer rdb.Close()
	store, err := redisbus.New(rdb, nil)
	if err != nil {
		return err
	}
	b, err := bus.New(store, nil)
	if err != nil {
		return err
	}
	defer b.Close()
	return share(ctx, b, in, out)
}

// share is run on any store.
func share(ctx context.Context, b *bus.Bus, in io.Reader, out io.Writer) error {
	c, err := cache.New(ctx, b, "example", &cache.Options[string, string]{
		WarmStart: true,
		OnChange: func(change cache.Change[string, string]) {
			fmt.Fprintf(out, "# %s %s %s\n", change.Op, change.Key, change.Value)
		},
	})
	if err != nil {
		return err
	}
	defer c.Close()
	for lines := bufio.NewScanner(in); ctx.Err() == nil && lines.Scan(); {
		if err := do(ctx, c, lines.Text(), out); err != nil {
			fmt.Fprintln(out, "error:", err)
		}
	}
	return nil
}

func do(ctx context.Context, c *cache.Cache[string, string], line string, out io.Writer) error {
	command, rest, _ := strings.Cut(strings.TrimSpace(line), " ")
	key, value, _ := strings.Cut(rest, " ")
	switch command {
	case "set":
		return c.Set(ctx, key, value)
	case "delete":
		return c.Delete(ctx, key)
	case "clear":
		return c.Clear(ctx)
	case "get":
		value, ok := c.Get(key)
		fmt.Fprintln(out, value, ok)
	case "all":
		fmt.Fprintln(out, maps.Collect(c.All()))
	}
	return nil
}
