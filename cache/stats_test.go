package cache_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"github.com/messagebus-go/messagebus/bus/bustest"
	"github.com/messagebus-go/messagebus/cache"
)

// What Get answers is what is counted, and so for Load: once, whatever it does
// after it has found nothing.
func TestStats_CountHitsAndMisses(t *testing.T) {
	t.Parallel()
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	for _, opts := range []cache.Options[string, int]{{}, {MaxEntries: 3}, {TTL: time.Second}, {TTL: time.Second, StaleWhileRevalidate: time.Second}} {
		synctest.Test(t, func(t *testing.T) {
			c := open(t, bustest.New(t), &opts)
			var hits, misses uint64
			count := func(hit bool) {
				if hit {
					hits++
				} else {
					misses++
				}
			}
			for range 2000 {
				key := fmt.Sprint(random.IntN(5))
				switch random.IntN(8) {
				case 0:
					must(t, c.Set(t.Context(), key, 1))
				case 1:
					must(t, c.Delete(t.Context(), key))
				case 2:
					c.Forget(key)
				case 3:
					synctest.Wait() // until here a Get has to look at own writes
				case 4:
					<-time.After(300 * time.Millisecond)
				case 5:
					held := c.Stats().Hits
					loaded := false
					_, err := c.Load(t.Context(), key, func(context.Context) (int, error) { loaded = true; return 1, nil })
					must(t, err)
					synctest.Wait()
					count(c.Stats().Hits > held)
					if loaded == (c.Stats().Hits > held) {
						t.Fatalf("a loader was run: %v, and a hit was counted: %v", loaded, !loaded)
					}
				default:
					_, held := c.Get(key)
					count(held)
				}
				if s := c.Stats(); s.Hits != hits || s.Misses != misses {
					t.Fatalf("%d hits and %d misses are counted, there were %d and %d", s.Hits, s.Misses, hits, misses)
				}
			}
			if hits < 100 || misses < 100 {
				t.Errorf("%d hits and %d misses: this tests little", hits, misses)
			}
		})
	}
}

// Who goes over all of a cache has not asked for a key.
func TestStats_DoNotCountAll(t *testing.T) {
	t.Parallel()
	c := open[string, int](t, bustest.New(t), nil)
	must(t, c.Set(t.Context(), "dog", 1))
	for range c.All() {
		_ = c.Len()
	}
	if s := c.Stats(); s.Hits != 0 || s.Misses != 0 {
		t.Errorf("%+v", s)
	}
}
