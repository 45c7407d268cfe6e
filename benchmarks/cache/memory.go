package main

import (
	"context"
	"runtime"
	"testing"

	"github.com/messagebus-go/messagebus/benchmarks/internal/measure"
)

// remembering measures what an entry takes, its key not counted, in a cache of a
// million.
func remembering() experiment {
	within := measure.Target{AtMost: 1.3}
	figure := func(what, beside string, target measure.Target) measure.Figure {
		return measure.Figure{Name: "memory of an entry, " + what, Unit: "bytes", Beside: beside, Target: target}
	}
	e := experiment{name: "memory", once: true, figures: []measure.Figure{
		figure("MaxEntries", "golang-lru", within),
		figure("MaxEntries and TTL", "golang-lru", within),
		figure("no bound", "golang-lru", within),
		figure("MaxEntries", "otter", measure.Target{}),
		figure("MaxEntries", "ristretto", measure.Target{}),
	}}
	e.prepare = func(_ context.Context, _ testing.TB, size scale) (run, error) {
		keys := numbered(size.entries)
		all := []filling{bounded, boundedForATime, unbounded, golangLRU, otterWith(nil), ristrettoWith(0)}
		return func(ctx context.Context) ([]measure.Pair, error) {
			bytes := make([]float64, len(all))
			for i, fill := range all {
				var err error
				if bytes[i], err = memoryOf(ctx, fill, keys); err != nil {
					return nil, err
				}
			}
			return []measure.Pair{
				{Ours: bytes[0], Other: bytes[3]}, {Ours: bytes[1], Other: bytes[3]}, {Ours: bytes[2], Other: bytes[3]},
				{Ours: bytes[0], Other: bytes[4]}, {Ours: bytes[0], Other: bytes[5]},
			}, nil
		}, nil
	}
	return e
}

// memoryOf fills a cache and returns the bytes that each entry has added.
func memoryOf(ctx context.Context, fill filling, keys []string) (bytes float64, err error) {
	err = measure.Hosted(func(tb testing.TB) error {
		before := heap()
		made := fill(ctx, tb, keys)
		bytes = (heap() - before) / float64(len(keys))
		runtime.KeepAlive(made.held)
		return nil
	})
	return bytes, err
}

func heap() float64 {
	runtime.GC()
	runtime.GC() // what the first one has only put aside
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return float64(m.HeapAlloc)
}
