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
		figures: []measure.Figure{{
			Name: "one subscriber in a flood", Unit: "messages/s",
			Beside: "the loop of the client library alone", Target: measure.Target{AtLeast: 0.8},
		}},
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
				ours, err := floodRate(ctx, s, first, size.messages, 1, func() error { return receive(ctx, sub) })
				if err != nil {
					return nil, err
				}
				other, err := floodRate(ctx, s, second, size.messages, 1, func() error {
					_, err := heard.next(ctx)
					return err
				})
				return []measure.Pair{{Ours: ours, Other: other}}, err
			}, nil
		},
	}
}

// floodRate returns the rate from the first message of a flood to the last one, of
// a subscriber that waits for it. The server sends nothing before all of it is ready.
func floodRate(ctx context.Context, s store, in place, messages, channels int, next func() error) (float64, error) {
	flooded := make(chan error, 1)
	go func() { flooded <- s.flood(ctx, in, messages, channels) }()
	if err := next(); err != nil {
		return 0, errors.Join(err, <-flooded)
	}
	begin := time.Now()
	for range messages - 1 {
		if err := next(); err != nil {
			return 0, errors.Join(err, <-flooded)
		}
	}
	return float64(messages-1) / time.Since(begin).Seconds(), <-flooded
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
