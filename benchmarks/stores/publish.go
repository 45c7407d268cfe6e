package main

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/messagebus-go/messagebus/benchmarks/internal/measure"
	"github.com/messagebus-go/messagebus/bus"
	"github.com/messagebus-go/messagebus/bus/driver"
)

// publishing compares Bus.Publish with the same request, sent by the client library
// alone: the script of redisbus, the statements of pgbus.
func publishing(goroutines int) experiment {
	return experiment{
		name: fmt.Sprintf("publish/%d", goroutines),
		figures: []measure.Figure{{
			Name: fmt.Sprintf("publish, %d goroutines", goroutines), Unit: "messages/s",
			Beside: "the same request, by the client library alone", Target: measure.Target{AtLeast: 0.9},
		}},
		prepare: func(_ context.Context, tb testing.TB, s store, size scale) (run, error) {
			tb.Helper()
			mb := newBus(tb, s.open(tb, first, goroutines, nil))
			other, same := s.bare(tb, goroutines), envelope(helloJSON)
			return func(ctx context.Context) ([]measure.Pair, error) {
				p, err := byTurns(ctx, size, goroutines,
					func(ctx context.Context) error {
						_, err := mb.Publish(ctx, publishChannel, hello)
						return err
					},
					func(ctx context.Context) error { return other.publish(ctx, same) },
				)
				return []measure.Pair{p}, err
			}, nil
		},
	}
}

// newBus opens a bus that does nothing by itself for as long as it is measured.
func newBus(tb testing.TB, backend driver.Backend) *bus.Bus {
	tb.Helper()
	mb, err := bus.New(backend, &bus.Options{Keepalive: -1, LivenessBound: 10 * time.Minute})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := mb.Close(); err != nil {
			tb.Errorf("close the bus: %v", err)
		}
	})
	return mb
}

// byTurns has both sides do the same work in short slices of time, one after the
// other, so that both meet the same machine, and returns the rates per second.
func byTurns(ctx context.Context, size scale, goroutines int, ours, other func(context.Context) error) (measure.Pair, error) {
	var did [2]int64
	var took [2]time.Duration
	sides := [2]func(context.Context) error{ours, other}
	for i := range 2 * size.turns {
		side := (i + i/2) % 2 // each begins every other time
		n, d, err := forAWhile(ctx, size.slice, goroutines, sides[side])
		if err != nil {
			return measure.Pair{}, err
		}
		did[side] += n
		took[side] += d
	}
	rate := func(side int) float64 { return float64(did[side]) / took[side].Seconds() }
	return measure.Pair{Ours: rate(0), Other: rate(1)}, nil
}

// forAWhile runs f again and again in so many goroutines.
func forAWhile(ctx context.Context, d time.Duration, goroutines int, f func(context.Context) error) (int64, time.Duration, error) {
	var all sync.WaitGroup
	var done atomic.Int64
	var failed atomic.Pointer[error]
	begin := time.Now()
	for range goroutines {
		all.Go(func() {
			n := int64(0)
			for ; n == 0 || time.Since(begin) < d; n++ {
				if err := f(ctx); err != nil {
					failed.Store(&err)
					return
				}
			}
			done.Add(n)
		})
	}
	all.Wait()
	if err := failed.Load(); err != nil {
		return 0, 0, *err
	}
	return done.Load(), time.Since(begin), nil
}
