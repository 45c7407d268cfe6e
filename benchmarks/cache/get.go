package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/maypok86/otter/v2"

	"github.com/messagebus-go/messagebus/benchmarks/internal/measure"
)

// keysRead is how many keys are read, again and again in the same random order.
const keysRead = 10_000

// A comparison is two sides and where their ratio has to be.
type comparison struct {
	what, beside string
	ours, other  filling
	serial       measure.Target
	parallel     measure.Target
}

func comparisons() []comparison {
	asFast, faster := measure.Target{AtMost: 1.2}, measure.Target{AtMost: 1}
	return []comparison{
		{"MaxEntries", "golang-lru", bounded, golangLRU, asFast, faster},
		{"MaxEntries", "otter", bounded, otterWith(nil), measure.Target{}, measure.Target{}},
		{"MaxEntries", "ristretto", bounded, ristrettoWith(0), measure.Target{}, measure.Target{}},
		{"MaxEntries and TTL", "golang-lru without a TTL", boundedForATime, golangLRU, asFast, faster},
		{"MaxEntries and TTL", "golang-lru's expirable", boundedForATime, expirableLRU, measure.Target{}, measure.Target{}},
		{"MaxEntries and TTL", "otter with a TTL", boundedForATime, otterWith(otter.ExpiryWriting[string, int](lifetime)), measure.Target{}, measure.Target{}},
		{"MaxEntries and TTL", "ristretto with a TTL", boundedForATime, ristrettoWith(lifetime), measure.Target{}, measure.Target{}},
		{"no bound", "golang-lru", unbounded, golangLRU, asFast, faster},
	}
}

// getting times reads of keys that are there, by one goroutine or by one on each
// core.
func getting(name string, parallel bool) experiment {
	e := experiment{name: name}
	for _, c := range comparisons() {
		mode, target := "1 goroutine", c.serial
		if parallel {
			mode, target = "all cores", c.parallel
		}
		e.figures = append(e.figures, measure.Figure{
			Name: fmt.Sprintf("Get hit, %s, %s", c.what, mode), Unit: "ns", Beside: c.beside, Target: target,
		})
	}
	e.prepare = func(ctx context.Context, tb testing.TB, size scale) (run, error) {
		tb.Helper()
		keys := numbered(keysRead)
		sides := make([]func(string) (int, bool), 0, 2*len(e.figures))
		for _, c := range comparisons() {
			sides = append(sides, c.ours(ctx, tb, keys).get, c.other(ctx, tb, keys).get)
		}
		rand.New(rand.NewPCG(1, 2)).Shuffle(len(keys), func(i, j int) { keys[i], keys[j] = keys[j], keys[i] })
		readers := 1
		if parallel {
			readers = runtime.GOMAXPROCS(0)
		}
		return func(context.Context) ([]measure.Pair, error) { return timeReads(sides, keys, readers, size) }, nil
	}
	return e
}

// timeReads has all sides read in turn.
func timeReads(sides []func(string) (int, bool), keys []string, readers int, size scale) ([]measure.Pair, error) {
	took := make([][]float64, len(sides))
	for range size.turns {
		for i, read := range sides {
			each, err := timeTurn(read, keys, readers, size.slice)
			if err != nil {
				return nil, err
			}
			took[i] = append(took[i], each)
		}
	}
	var pairs []measure.Pair
	for both := range slices.Chunk(took, 2) {
		pairs = append(pairs, measure.Pair{Ours: undisturbed(both[0]), Other: undisturbed(both[1])})
	}
	return pairs, nil
}

// undisturbed returns what a side needs when nothing else has the processor: its
// turns are short, and on a busy machine a tenth of them at least is not interrupted.
func undisturbed(turns []float64) float64 {
	slices.Sort(turns)
	return turns[len(turns)/10]
}

// timeTurn returns the nanoseconds of one read.
func timeTurn(read func(string) (int, bool), keys []string, readers int, slice time.Duration) (float64, error) {
	var total, misses atomic.Int64
	var all sync.WaitGroup
	begin := time.Now()
	for i := range readers {
		all.Go(func() {
			n, missed := readFor(read, keys, i*len(keys)/readers, slice)
			total.Add(n)
			misses.Add(missed)
		})
	}
	all.Wait()
	if misses.Load() > 0 {
		return 0, fmt.Errorf("%d of %d reads were misses", misses.Load(), total.Load())
	}
	return float64(time.Since(begin).Nanoseconds()) / float64(total.Load()), nil
}

// readFor reads for a while, and looks at the clock now and then.
func readFor(read func(string) (int, bool), keys []string, at int, slice time.Duration) (reads, misses int64) {
	const block = 500
	for begin := time.Now(); time.Since(begin) < slice; reads += block {
		for range block {
			if at++; at == len(keys) {
				at = 0
			}
			if _, ok := read(keys[at]); !ok {
				misses++
			}
		}
	}
	return reads, misses
}

// allocating counts what reads allocate.
func allocating() experiment {
	none := measure.Target{Limit: 0.001}
	e := experiment{name: "get/allocations", figures: []measure.Figure{
		{Name: "allocations of a Get hit, MaxEntries", Unit: "allocations", Target: none},
		{Name: "allocations of a Get hit, MaxEntries and TTL", Unit: "allocations", Target: none},
		{Name: "allocations of a Get hit, no bound", Unit: "allocations", Target: none},
	}}
	e.prepare = func(ctx context.Context, tb testing.TB, _ scale) (run, error) {
		tb.Helper()
		keys := numbered(keysRead)
		var sides [3]filled
		for i, fill := range []filling{bounded, boundedForATime, unbounded} {
			sides[i] = fill(ctx, tb, keys)
		}
		return func(context.Context) ([]measure.Pair, error) {
			pairs := make([]measure.Pair, len(sides))
			for i, side := range sides {
				allocated := testing.AllocsPerRun(1, func() {
					for _, key := range keys {
						side.get(key)
					}
				})
				pairs[i].Ours = allocated / keysRead
			}
			return pairs, nil
		}, nil
	}
	return e
}
