package main

import (
	"context"
	"errors"
	"runtime"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/messagebus-go/messagebus/benchmarks/internal/measure"
	"github.com/messagebus-go/messagebus/bus"
)

const few = 100 // subscriptions

// crowding compares what a message costs a process that has many subscriptions, each
// on a channel of its own, with what it costs one that has few.
func crowding() experiment {
	return experiment{
		name: "crowd",
		figures: []measure.Figure{
			{Name: "processor time of a message, 10,000 subscriptions", Unit: "µs", Beside: "with 100 subscriptions", Target: measure.Target{AtMost: 1.2}},
			{Name: "memory of a subscription", Unit: "bytes"},
		},
		prepare: func(ctx context.Context, tb testing.TB, s store, size scale) (run, error) {
			tb.Helper()
			many, err := newCrowd(ctx, tb, s, first, size.crowd)
			if err != nil {
				return nil, err
			}
			some, err := newCrowd(ctx, tb, s, second, few)
			if err != nil {
				return nil, err
			}
			return func(ctx context.Context) ([]measure.Pair, error) {
				var ours, other effort
				for range size.floods {
					err := errors.Join(many.take(ctx, s, size.messages, &ours), some.take(ctx, s, size.messages, &other))
					if err != nil {
						return nil, err
					}
				}
				return []measure.Pair{{Ours: ours.cost(), Other: other.cost()}, {Ours: many.memory}}, nil
			}, nil
		},
	}
}

// A crowd is subscriptions to the channels of a flood.
type crowd struct {
	in            place
	subscriptions []*bus.Subscription
	memory        float64 // bytes for each
}

func newCrowd(ctx context.Context, tb testing.TB, s store, in place, members int) (*crowd, error) {
	tb.Helper()
	mb := newBus(tb, s.open(tb, in, subscribers, nil))
	before := memory()
	subscriptions, err := subscribeAll(ctx, mb, members)
	return &crowd{in, subscriptions, (memory() - before) / float64(members)}, err
}

// subscribers is how many goroutines subscribe at once.
const subscribers = 16

// subscribeAll subscribes to so many channels of a flood.
func subscribeAll(ctx context.Context, mb *bus.Bus, channels int) ([]*bus.Subscription, error) {
	list := make([]*bus.Subscription, channels)
	errs := make([]error, subscribers)
	var all sync.WaitGroup
	for worker := range subscribers {
		all.Go(func() {
			for i := worker; i < channels && errs[worker] == nil; i += subscribers {
				list[i], errs[worker] = mb.Subscribe(ctx, floodChannel(i), bus.Latest())
			}
		})
	}
	all.Wait()
	return list, errors.Join(errs...)
}

// take takes a flood with the subscriptions in turn.
func (c *crowd) take(ctx context.Context, s store, messages int, e *effort) error {
	taken := 0
	return e.take(ctx, s, c.in, messages, len(c.subscriptions), func() error {
		sub := c.subscriptions[taken%len(c.subscriptions)]
		taken++
		return receive(ctx, sub)
	})
}

// memory returns the bytes that are in use, in the heap and for stacks.
func memory() float64 {
	runtime.GC()
	runtime.GC() // what the first one has found to be finalized
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return float64(m.HeapAlloc + m.StackInuse)
}

// processorTime returns how much this process has used.
func processorTime() time.Duration {
	var usage syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &usage) != nil {
		return 0 // it cannot fail with these arguments
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}
