package main

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/messagebus-go/messagebus/bus"
)

const few = 100 // subscriptions

// crowding compares what a message costs a process that has many subscriptions, each
// on a channel of its own and with a goroutine in Next, with what it costs one that
// has few.
func crowding() experiment {
	return experiment{
		name: "crowd",
		figures: []figure{
			{name: "processor time of a message, 10,000 subscriptions", unit: "µs", beside: "with 100 subscriptions", target: target{atMost: 1.2}},
			{name: "memory of a subscription", unit: "bytes"},
			{name: "memory of a subscription and a goroutine in Next", unit: "bytes"},
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
			return func(ctx context.Context) ([]pair, error) {
				ours, err := many.messageCost(ctx, s, size.messages)
				if err != nil {
					return nil, err
				}
				other, err := some.messageCost(ctx, s, size.messages)
				return []pair{{ours, other}, {ours: many.idle}, {ours: many.waiting}}, err
			}, nil
		},
	}
}

// A crowd is subscriptions to the channels of a flood, with a goroutine each.
type crowd struct {
	in            place
	subscriptions []*bus.Subscription
	idle, waiting float64       // bytes of memory for each, without and with its goroutine
	left          atomic.Int64  // messages to come
	none          chan struct{} // receives when none is left
	failed        chan error
}

func newCrowd(ctx context.Context, tb testing.TB, s store, in place, members int) (*crowd, error) {
	tb.Helper()
	c := &crowd{in: in, none: make(chan struct{}, 1), failed: make(chan error, 1)}
	mb := newBus(tb, s.open(tb, in, subscribers, nil))
	before := memory()
	var err error
	if c.subscriptions, err = subscribeAll(ctx, mb, members); err != nil {
		return nil, err
	}
	c.idle = (memory() - before) / float64(members)
	var all sync.WaitGroup
	tb.Cleanup(all.Wait)
	ctx, cancel := context.WithCancel(ctx)
	tb.Cleanup(cancel)
	for _, sub := range c.subscriptions {
		all.Go(func() { c.fail(ctx, c.listen(ctx, sub)) })
	}
	c.waiting = (memory() - before) / float64(members)
	return c, nil
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

// listen counts the messages of one subscription.
func (c *crowd) listen(ctx context.Context, sub *bus.Subscription) error {
	for {
		if _, err := sub.Next(ctx); err != nil {
			return err
		}
		if c.left.Add(-1) == 0 {
			c.none <- struct{}{}
		}
	}
}

func (c *crowd) fail(ctx context.Context, err error) {
	if ctx.Err() != nil {
		return
	}
	select {
	case c.failed <- err:
	default: // one is enough
	}
}

// messageCost returns the microseconds of processor time of one message in a flood.
func (c *crowd) messageCost(ctx context.Context, s store, messages int) (float64, error) {
	c.left.Store(int64(messages))
	before := processorTime()
	if err := s.flood(ctx, c.in, messages, len(c.subscriptions)); err != nil {
		return 0, err
	}
	select {
	case <-c.none:
	case err := <-c.failed:
		return 0, err
	case <-ctx.Done():
		return 0, fmt.Errorf("%d messages are missing: %w", c.left.Load(), ctx.Err())
	}
	return float64((processorTime() - before).Nanoseconds()) / 1000 / float64(messages), nil
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
