package cache_test

import (
	"context"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/messagebus-go/messagebus/bus"
	"github.com/messagebus-go/messagebus/bus/bustest"
	"github.com/messagebus-go/messagebus/cache"
)

// TestCache_EverythingAtOnce is for the race detector: readers, writers, loaders,
// faults and a Close in the middle of it, in real time.
func TestCache_EverythingAtOnce(t *testing.T) {
	t.Parallel()
	for seed := range uint64(4) {
		store := bustest.NewStore(t)
		var all []*cache.Cache[int, []int]
		for i := range 3 {
			opts := &cache.Options[int, []int]{
				OnGap: cache.GapPolicy(i), TTL: 20 * time.Millisecond, MaxStaleness: 5 * time.Millisecond, NegativeTTL: time.Millisecond,
				StaleWhileRevalidate: 10 * time.Millisecond, MaxEntries: 7 * i,
			}
			var c *cache.Cache[int, []int]
			var opened sync.WaitGroup
			opened.Add(1)
			opts.OnChange = func(change cache.Change[int, []int]) { opened.Wait(); c.Get(change.Key) }
			opts.OnEvict = func(key int, _ []int, _ cache.EvictReason) { opened.Wait(); c.Len() }
			c = open(t, bustest.On(t, store.Dial(), &bus.Options{Keepalive: -1, MaxBacklogSize: 20}), opts)
			opened.Done()
			all = append(all, c)
		}
		storm(t, store.Faults(), all, seed)
	}
}

type faults interface {
	CutFeeds(err error)
	FailOver(lost int)
	Reset()
	DropNext(n int)
	LoseAnswers(n int)
	FailRequests(err error)
}

func storm(t *testing.T, f faults, all []*cache.Cache[int, []int], seed uint64) {
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	var workers sync.WaitGroup
	for worker := range uint64(6) {
		workers.Go(func() {
			random := rand.New(rand.NewPCG(seed, worker))
			for ctx.Err() == nil {
				act(ctx, random, pick(random, all))
			}
		})
	}
	workers.Go(func() {
		random := rand.New(rand.NewPCG(seed, 99))
		ticker := time.NewTicker(3 * time.Millisecond)
		defer ticker.Stop()
		for ctx.Err() == nil {
			<-ticker.C
			f.FailRequests(nil)
			[]func(){
				func() { f.CutFeeds(errDown) }, func() { f.FailOver(1) }, f.Reset, func() { f.DropNext(1) }, func() { f.LoseAnswers(2) },
				func() { f.FailRequests(errDown) },
			}[random.IntN(6)]()
		}
		f.FailRequests(nil)
	})
	workers.Go(func() {
		<-time.After(200 * time.Millisecond)
		all[0].Close()
	})
	workers.Wait()
}

func act(ctx context.Context, random *rand.Rand, c *cache.Cache[int, []int]) {
	key := random.IntN(10)
	switch random.IntN(12) {
	case 0, 1:
		_ = c.Set(ctx, key, []int{key})
	case 2:
		_ = c.Delete(ctx, key)
	case 3:
		if random.IntN(20) == 0 {
			_ = c.Clear(ctx)
		}
	case 4, 5:
		one, giveUp := context.WithTimeout(ctx, time.Millisecond)
		_, _ = c.Load(one, key, func(ctx context.Context) ([]int, error) {
			if key == 9 {
				return nil, cache.ErrNotFound
			}
			return []int{key}, ctx.Err()
		})
		giveUp()
	case 6:
		for range c.All() {
			break
		}
		_, _ = c.Len(), c.Err()
	case 7:
		c.Forget(key)
	default:
		if v, ok := c.Get(key); ok && (len(v) != 1 || v[0] != key) {
			panic(v) // of another key
		}
	}
}
