package main

import (
	"context"
	_ "embed" // the gem's side
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/messagebus-go/messagebus/benchmarks/internal/measure"
	"github.com/messagebus-go/messagebus/bus"
)

//go:embed gem.rb
var gemProgram string

const besideGem = "the gem in Ruby"

// faster is what is expected beside the gem.
var faster = measure.Target{AtLeast: 3}

// A gemProcess is the gem in a Ruby process, in the second place.
type gemProcess struct{ *measure.Process }

func startGem(ctx context.Context, tb testing.TB, s store) (*gemProcess, error) {
	tb.Helper()
	where, err := json.Marshal(s.where())
	if err != nil {
		return nil, err
	}
	p, err := measure.StartRuby(ctx, tb, []string{"message_bus"}, gemProgram, string(where))
	if err != nil {
		return nil, err
	}
	return &gemProcess{p}, nil
}

// ask has the gem do something that ends in a number.
func (g *gemProcess) ask(words ...any) (float64, error) {
	if err := g.tell(words...); err != nil {
		return 0, err
	}
	return g.ReadNumber()
}

func (g *gemProcess) tell(words ...any) error {
	line, err := json.Marshal(words)
	if err != nil {
		return err
	}
	_, err = g.Input.Write(append(line, '\n'))
	return err
}

// gemPublishing compares the publishes of one process with so many goroutines, or
// threads.
func gemPublishing(threads int) experiment {
	return experiment{
		name: fmt.Sprintf("gem/publish/%d", threads),
		figures: []measure.Figure{{
			Name: fmt.Sprintf("publish, one process, %d at once", threads), Unit: "messages/s", Beside: besideGem, Target: faster,
		}},
		prepare: func(ctx context.Context, tb testing.TB, s store, size scale) (run, error) {
			tb.Helper()
			gem, err := startGem(ctx, tb, s)
			if err != nil {
				return nil, err
			}
			mb := newBus(tb, s.open(tb, first, threads, nil))
			if _, err := gem.ask("publish", threads, size.slice.Seconds()); err != nil { // its connections
				return nil, err
			}
			return func(ctx context.Context) ([]measure.Pair, error) {
				var rates measure.Pair
				for range size.turns {
					n, took, err := forAWhile(ctx, size.slice, threads, func(ctx context.Context) error {
						_, err := mb.Publish(ctx, publishChannel, hello)
						return err
					})
					if err != nil {
						return nil, err
					}
					other, err := gem.ask("publish", threads, size.slice.Seconds())
					if err != nil {
						return nil, err
					}
					rates.Ours += float64(n) / took.Seconds() / float64(size.turns)
					rates.Other += other / float64(size.turns)
				}
				return []measure.Pair{rates}, nil
			}, nil
		},
	}
}

// gemFlooding compares how fast one subscriber of a process takes a flood.
func gemFlooding() experiment {
	return experiment{
		name:    "gem/flood",
		figures: []measure.Figure{{Name: "one subscriber in a flood", Unit: "messages/s", Beside: besideGem, Target: faster}},
		prepare: func(ctx context.Context, tb testing.TB, s store, size scale) (run, error) {
			tb.Helper()
			gem, err := startGem(ctx, tb, s)
			if err != nil {
				return nil, err
			}
			sub, err := newBus(tb, s.open(tb, first, 1, nil)).Subscribe(ctx, floodChannel(0), bus.Latest())
			if err != nil {
				return nil, err
			}
			if _, err := gem.ask("subscribe", floodChannel(0)); err != nil {
				return nil, err
			}
			return func(ctx context.Context) ([]measure.Pair, error) {
				var ours effort
				err := ours.take(ctx, s, first, size.messages, 1, func() error { return receive(ctx, sub) })
				if err != nil {
					return nil, err
				}
				if err := gem.tell("receive", size.messages); err != nil {
					return nil, err
				}
				if err := s.flood(ctx, second, size.messages, 1); err != nil {
					return nil, err
				}
				other, err := gem.ReadNumber()
				return []measure.Pair{{Ours: ours.rate(), Other: other}}, err
			}, nil
		},
	}
}

// gemCatchingUp compares reading the backlogs of many channels: in one request, and in
// one for each.
func gemCatchingUp() experiment {
	return experiment{
		name: "gem/catch-up",
		figures: []measure.Figure{{
			Name: "the backlogs of 1,000 channels, of two messages each", Unit: "channels/s", Beside: besideGem, Target: faster,
		}},
		prepare: func(ctx context.Context, tb testing.TB, s store, size scale) (run, error) {
			tb.Helper()
			gem, err := startGem(ctx, tb, s)
			if err != nil {
				return nil, err
			}
			for _, in := range []place{first, first, second, second} { // two floods are kept
				if err := s.flood(ctx, in, size.channels, size.channels); err != nil {
					return nil, err
				}
			}
			mb := newBus(tb, s.open(tb, first, 1, nil))
			from := make(map[string]bus.Position, size.channels)
			for i := range size.channels {
				from[floodChannel(i)] = bus.After(0)
			}
			return func(ctx context.Context) ([]measure.Pair, error) {
				begin := time.Now()
				pages, err := mb.Read(ctx, from)
				if err != nil {
					return nil, err
				}
				ours := float64(size.channels) / time.Since(begin).Seconds()
				for channel, page := range pages {
					if n := len(page.Messages); n != 2 {
						return nil, fmt.Errorf("%s has %d messages, want 2", channel, n)
					}
				}
				other, err := gem.ask("backlogs", size.channels)
				return []measure.Pair{{Ours: ours, Other: other}}, err
			}, nil
		},
	}
}
