package main

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/messagebus-go/messagebus/benchmarks/internal/measure"
	"github.com/messagebus-go/messagebus/bus"
)

// flooding compares a loop over Next with one over what the client library receives,
// of messages that come as fast as the server can send them.
func flooding() experiment {
	return experiment{
		name: "flood",
		figures: []measure.Figure{
			{Name: "one subscriber in a flood", Unit: "messages/s", Beside: besideLoop, Target: measure.Target{AtLeast: 0.8}},
			{Name: "processor time of a message in a flood", Unit: "µs", Beside: besideLoop},
		},
		prepare: func(ctx context.Context, tb testing.TB, s store, size scale) (run, error) {
			tb.Helper()
			sub, err := newBus(tb, s.open(tb, first, 1, nil)).Subscribe(ctx, floodChannel(0), bus.Latest())
			if err != nil {
				return nil, err
			}
			heard, err := s.bare(tb, 1).listen(ctx)
			if err != nil {
				return nil, err
			}
			tb.Cleanup(heard.close)
			return func(ctx context.Context) ([]measure.Pair, error) {
				var ours, other effort
				for range size.floods {
					err := ours.take(ctx, s, first, size.messages, 1, func() error { return receive(ctx, sub) })
					if err != nil {
						return nil, err
					}
					err = other.take(ctx, s, second, size.messages, 1, func() error {
						_, err := heard.next(ctx)
						return err
					})
					if err != nil {
						return nil, err
					}
				}
				return []measure.Pair{{Ours: ours.rate(), Other: other.rate()}, {Ours: ours.cost(), Other: other.cost()}}, nil
			}, nil
		},
	}
}

const besideLoop = "the loop of the client library alone"

// An effort is what it took a subscriber to take floods.
type effort struct {
	messages  int
	took      time.Duration // from the first message of a flood to its last one
	processor time.Duration // that this process used
}

// take has the server flood a subscriber that waits for it, which takes all of it. The
// server sends nothing before all of it is ready.
func (e *effort) take(ctx context.Context, s store, in place, messages, channels int, next func() error) error {
	flooded := make(chan error, 1)
	used := processorTime()
	go func() { flooded <- s.flood(ctx, in, messages, channels) }()
	if err := next(); err != nil {
		return errors.Join(err, <-flooded)
	}
	begin := time.Now()
	for range messages - 1 {
		if err := next(); err != nil {
			return errors.Join(err, <-flooded)
		}
	}
	e.took += time.Since(begin)
	e.processor += processorTime() - used
	e.messages += messages
	return <-flooded
}

// rate is messages per second.
func (e *effort) rate() float64 { return float64(e.messages) / e.took.Seconds() }

// cost is microseconds of processor time for each message.
func (e *effort) cost() float64 {
	return float64(e.processor.Nanoseconds()) / 1000 / float64(e.messages)
}

// receive waits for a message. That something may be lost is no matter here: a store
// that cannot prove that nothing is says so, and the messages come all the same.
func receive(ctx context.Context, sub *bus.Subscription) error {
	for {
		_, err := sub.Next(ctx)
		if _, gap := errors.AsType[*bus.GapError](err); !gap {
			return err
		}
	}
}
