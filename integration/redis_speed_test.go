package integration_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/messagebus-go/messagebus/bus/driver"
	"github.com/messagebus-go/messagebus/integration/stores"
)

// Redis itself is most of the time that a publish or a message takes. These
// benchmarks have the same work done by go-redis without anything around it, so
// that the two can be compared: publishing should reach 0.9 of it, receiving 0.8.

const redisData = `{"data":{"text":"a message of an ordinary size, for a chat"},"user_ids":null,"group_ids":null,"client_ids":null}`

var redisLimits = driver.Limits{MaxSize: 1000, MaxGlobalSize: 2000, MaxAge: 168 * time.Hour, ClearEvery: 1}

func BenchmarkRedis_PublishBesideBare(b *testing.B) {
	source, err := os.ReadFile("../bus/redisbus/publish.lua")
	if err != nil {
		b.Fatal(err)
	}
	script := redis.NewScript(string(source))
	s := stores.Redis(b)
	client := s.Client(b, func(o *redis.Options) { o.PoolSize = 128 })
	peer := redisPeer(b, client, nil)
	publish := map[string]func(context.Context) error{
		"bare": func(ctx context.Context) error {
			return script.Run(ctx, client, []string{"__mb_global_id_n", "__mb_backlog_id_n_/bare", "__mb_backlog_n_/bare", "__mb_global_backlog_n"},
				"_message_bus_0", "/bare", "/bare|"+redisData, 604800, 1000, 2000, 1).Err()
		},
		"redisbus": func(ctx context.Context) error {
			_, err := peer.Publish(ctx, "/redisbus", []byte(redisData), redisLimits)
			return err
		},
	}
	for _, goroutines := range []int{1, 16, 128} {
		for _, name := range []string{"bare", "redisbus"} {
			b.Run(fmt.Sprintf("%s/%d", name, goroutines), func(b *testing.B) {
				b.ReportAllocs()
				runIn(b, goroutines, publish[name])
			})
		}
	}
}

// runIn runs f b.N times in so many goroutines.
func runIn(b *testing.B, goroutines int, f func(context.Context) error) {
	b.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	var left atomic.Int64
	left.Store(int64(b.N))
	var all sync.WaitGroup
	for range goroutines {
		all.Go(func() {
			for left.Add(-1) >= 0 {
				if err := f(ctx); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	all.Wait()
}

func BenchmarkRedis_ReceiveBesideBare(b *testing.B) {
	s := stores.Redis(b)
	// Whoever measures a flood must be able to fall behind it.
	s.Do(b, "config", "set", "client-output-buffer-limit", "pubsub 0 0 0")
	client := s.Client(b)
	ctx := b.Context()
	b.Run("bare", func(b *testing.B) {
		b.ReportAllocs()
		feed := client.Subscribe(ctx, "_message_bus_0")
		defer feed.Close()
		if _, err := feed.Receive(ctx); err != nil {
			b.Fatal(err)
		}
		flood(b, client, func() error { _, err := feed.ReceiveMessage(ctx); return err })
	})
	b.Run("redisbus", func(b *testing.B) {
		b.ReportAllocs()
		feed, err := redisPeer(b, client, nil).Listen(ctx)
		if err != nil {
			b.Fatal(err)
		}
		defer feed.Close()
		flood(b, client, func() error { _, err := feed.Next(ctx); return err })
	})
}

// flood has b.N messages received that the server has ready, and measures that alone.
func flood(b *testing.B, client *redis.Client, receive func() error) {
	b.Helper()
	const each = `for i = 1, ARGV[2] do redis.call('PUBLISH', ARGV[1], i .. '|' .. i .. '|/flood|' .. ARGV[3]) end`
	for done := 0; done < b.N; {
		n := min(b.N-done, 10_000)
		b.StopTimer()
		if err := client.Eval(context.Background(), each, nil, "_message_bus_0", n, redisData).Err(); !errors.Is(err, redis.Nil) {
			b.Fatal(err)
		}
		b.StartTimer()
		for range n {
			if err := receive(); err != nil {
				b.Fatal(err)
			}
		}
		done += n
	}
}
