package main

import (
	"context"
	"testing"
	"time"

	"github.com/messagebus-go/messagebus/benchmarks/internal/measure"
	"github.com/messagebus-go/messagebus/bus"
)

const fewChannels = 10

// catchingUp cuts the feed of a bus with many subscriptions while a message is
// published on each of their channels.
func catchingUp() experiment {
	return experiment{
		name: "catch-up",
		figures: []measure.Figure{
			{Name: "round trips of a reconnect, 1,000 channels", Unit: "", Beside: "of one with 10 channels", Target: measure.Target{AtMost: 1}},
			{Name: "from the cut to the last of 1,000 missed messages", Unit: "ms", Beside: "of 10 (both wait 5 to 55 ms by chance)"},
		},
		prepare: func(ctx context.Context, tb testing.TB, s store, size scale) (run, error) {
			tb.Helper()
			many, err := newMissing(ctx, tb, s, first, size.channels)
			if err != nil {
				return nil, err
			}
			some, err := newMissing(ctx, tb, s, second, fewChannels)
			if err != nil {
				return nil, err
			}
			return func(ctx context.Context) ([]measure.Pair, error) {
				ours, err := many.cut(ctx, s)
				if err != nil {
					return nil, err
				}
				other, err := some.cut(ctx, s)
				return []measure.Pair{
					{Ours: ours.turns, Other: other.turns}, {Ours: ours.milliseconds, Other: other.milliseconds},
				}, err
			}, nil
		},
	}
}

// missing is a bus that misses a message on each of its channels.
type missing struct {
	in            place
	turns         *measure.Turns
	subscriptions []*bus.Subscription
}

// reconnect is what it took to have them all.
type reconnect struct{ turns, milliseconds float64 }

func newMissing(ctx context.Context, tb testing.TB, s store, in place, channels int) (*missing, error) {
	tb.Helper()
	m := &missing{in: in, turns: &measure.Turns{}}
	mb := newBus(tb, s.open(tb, in, subscribers, m.turns))
	var err error
	m.subscriptions, err = subscribeAll(ctx, mb, channels)
	return m, err
}

func (m *missing) cut(ctx context.Context, s store) (reconnect, error) {
	begin, before := time.Now(), m.turns.N()
	if err := s.cutFeeds(ctx, m.in, len(m.subscriptions)); err != nil {
		return reconnect{}, err
	}
	for _, sub := range m.subscriptions {
		if err := receive(ctx, sub); err != nil {
			return reconnect{}, err
		}
	}
	took := time.Since(begin)
	return reconnect{float64(m.turns.N() - before), float64(took.Microseconds()) / 1000}, nil
}
