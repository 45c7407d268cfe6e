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
	what, beside     string // both are names of sides
	serial, parallel measure.Target
}

func comparisons() []comparison {
	none, asFast, faster := measure.Target{}, measure.Target{AtMost: 1.2}, measure.Target{AtMost: 1}
	return []comparison{
		{"MaxEntries", "golang-lru", asFast, faster},
		{"MaxEntries", "otter", none, none},
		{"MaxEntries", "ristretto", none, none},
		{"MaxEntries and TTL", "golang-lru", asFast, faster},
		{"MaxEntries and TTL", "golang-lru's expirable", none, none},
		{"MaxEntries and TTL", "otter with a TTL", none, none},
		{"MaxEntries and TTL", "ristretto with a TTL", none, none},
		{"no bound", "golang-lru", asFast, faster},
	}
}

// sides returns every cache that is compared, by its name.
func sides() map[string]filling {
	return map[string]filling{
		"MaxEntries": bounded, "MaxEntries and TTL": boundedForATime, "no bound": unbounded,
		"golang-lru": golangLRU, "golang-lru's expirable": expirableLRU,
		"otter": otterWith(nil), "otter with a TTL": otterWith(otter.ExpiryWriting[string, int](lifetime)),
		"ristretto": ristrettoWith(0), "ristretto with a TTL": ristrettoWith(lifetime),
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
		reads := map[string]lookup{}
		for name, fill := range sides() {
			reads[name] = fill(ctx, tb, keys).get
		}
		rand.New(rand.NewPCG(1, 2)).Shuffle(len(keys), func(i, j int) { keys[i], keys[j] = keys[j], keys[i] })
		readers := 1
		if parallel {
			readers = runtime.GOMAXPROCS(0)
		}
		return func(context.Context) ([]measure.Pair, error) { return timeReads(reads, keys, readers, size) }, nil
	}
	return e
}

// timeReads has all sides read in turn.
func timeReads(reads map[string]lookup, keys []string, readers int, size scale) ([]measure.Pair, error) {
	took := map[string][]float64{}
	for range size.turns {
		for name, read := range reads {
			each, err := timeTurn(read, keys, readers, size.slice)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", name, err)
			}
			took[name] = append(took[name], each)
		}
	}
	var pairs []measure.Pair
	for _, c := range comparisons() {
		pairs = append(pairs, measure.Pair{Ours: undisturbed(took[c.what]), Other: undisturbed(took[c.beside])})
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
func timeTurn(read lookup, keys []string, readers int, slice time.Duration) (float64, error) {
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
func readFor(read lookup, keys []string, at int, slice time.Duration) (reads, misses int64) {
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
