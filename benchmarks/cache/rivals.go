package main

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/dgraph-io/ristretto/v2"
	lru "github.com/hashicorp/golang-lru/v2"
	"github.com/hashicorp/golang-lru/v2/expirable"
	"github.com/maypok86/otter/v2"

	"github.com/messagebus-go/messagebus/bus"
	"github.com/messagebus-go/messagebus/bus/driver"
	"github.com/messagebus-go/messagebus/bus/membus"
	"github.com/messagebus-go/messagebus/cache"
)

// lifetime is a time to live that is longer than any run.
const lifetime = time.Hour

// A lookup is how every cache is read.
type lookup func(key string) (int, bool)

// A filled is a cache with all keys in it, each with its number.
type filled struct {
	get  lookup
	held any // keeps it in memory
}

// A filling makes a cache, which ends with tb.
type filling func(ctx context.Context, tb testing.TB, keys []string) filled

func numbered(n int) []string {
	keys := make([]string, n)
	for i := range keys {
		keys[i] = fmt.Sprintf("key-%08d", i)
	}
	return keys
}

// ours is filled by loaders, so that nothing waits in its feed.
func ours(opts cache.Options[string, int]) filling {
	return func(ctx context.Context, tb testing.TB, keys []string) filled {
		tb.Helper()
		store, err := membus.New(nil)
		if err != nil {
			tb.Fatal(err)
		}
		c := newCache(ctx, tb, newBus(tb, store), &opts)
		for i, key := range keys {
			if _, err := c.Load(ctx, key, func(context.Context) (int, error) { return i, nil }); err != nil {
				tb.Fatal(err)
			}
		}
		return filled{c.Get, c}
	}
}

func unbounded(ctx context.Context, tb testing.TB, keys []string) filled {
	tb.Helper()
	return ours(cache.Options[string, int]{})(ctx, tb, keys)
}

func bounded(ctx context.Context, tb testing.TB, keys []string) filled {
	tb.Helper()
	return ours(cache.Options[string, int]{MaxEntries: len(keys)})(ctx, tb, keys)
}

func boundedForATime(ctx context.Context, tb testing.TB, keys []string) filled {
	tb.Helper()
	return ours(cache.Options[string, int]{MaxEntries: len(keys), TTL: lifetime})(ctx, tb, keys)
}

func golangLRU(_ context.Context, tb testing.TB, keys []string) filled {
	tb.Helper()
	c, err := lru.New[string, int](len(keys))
	if err != nil {
		tb.Fatal(err)
	}
	for i, key := range keys {
		c.Add(key, i)
	}
	return filled{c.Get, c}
}

func expirableLRU(_ context.Context, _ testing.TB, keys []string) filled {
	c := expirable.NewLRU[string, int](len(keys), nil, lifetime)
	for i, key := range keys {
		c.Add(key, i)
	}
	return filled{c.Get, c}
}

func otterWith(expiry otter.ExpiryCalculator[string, int]) filling {
	return func(_ context.Context, tb testing.TB, keys []string) filled {
		tb.Helper()
		c, err := otter.New(&otter.Options[string, int]{MaximumSize: len(keys), ExpiryCalculator: expiry})
		if err != nil {
			tb.Fatal(err)
		}
		tb.Cleanup(func() { c.StopAllGoroutines() })
		for i, key := range keys {
			c.Set(key, i)
		}
		return filled{c.GetIfPresent, c}
	}
}

func ristrettoWith(ttl time.Duration) filling {
	return func(_ context.Context, tb testing.TB, keys []string) filled {
		tb.Helper()
		c, err := ristretto.NewCache(&ristretto.Config[string, int]{
			NumCounters: int64(10 * len(keys)), MaxCost: int64(len(keys)), BufferItems: 64, IgnoreInternalCost: true,
		})
		if err != nil {
			tb.Fatal(err)
		}
		tb.Cleanup(c.Close)
		for i, key := range keys {
			for !c.SetWithTTL(key, i, 1, ttl) {
				c.Wait() // it drops what comes too fast
			}
		}
		c.Wait()
		return filled{c.Get, c}
	}
}

func newCache[V any](ctx context.Context, tb testing.TB, b *bus.Bus, opts *cache.Options[string, V]) *cache.Cache[string, V] {
	tb.Helper()
	c, err := cache.New(ctx, b, "animals", opts)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = c.Close() }) // never fails
	return c
}

// newBus opens a bus that does nothing by itself for as long as it is measured.
func newBus(tb testing.TB, backend driver.Backend) *bus.Bus {
	tb.Helper()
	b, err := bus.New(backend, &bus.Options{Keepalive: -1, LivenessBound: 10 * time.Minute})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := b.Close(); err != nil {
			tb.Errorf("close the bus: %v", err)
		}
	})
	return b
}
