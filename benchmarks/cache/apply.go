package main

import (
	"context"
	"encoding/json"
	"errors"
	"runtime"
	"testing"
	"time"

	"github.com/messagebus-go/messagebus/benchmarks/internal/measure"
	"github.com/messagebus-go/messagebus/bus/driver"
	"github.com/messagebus-go/messagebus/bus/membus"
	"github.com/messagebus-go/messagebus/cache"
)

// What Go and Ruby peers publish: a string as plain JSON, and a small hash,
// {"a"=>1, "b"=>"two"}, in Ruby's Marshal.
const (
	plainEnvelope   = `{"data":{"op":"set","key":"dog","value":"woof","marshalled":false,"origin":"0123456789abcdef0123456789abcdef4711","hash_key":"animals"},"user_ids":[-1],"group_ids":null,"client_ids":null}`
	marshalEnvelope = `{"data":{"op":"set","key":"dog","value":"BAh7B0kiBmEGOgZFVGkGSSIGYgY7AFRJIgh0d28GOwBU\n","marshalled":true,"origin":"0123456789abcdef0123456789abcdef4711","hash_key":"animals"},"user_ids":[-1],"group_ids":null,"client_ids":null}`
)

// burst is how many messages come at once: fewer than a subscription queues.
const burst = 200

// applying times how a cache takes the changes of peers, from the bytes that a
// store hands over to the callback OnChange, with all that the bus does on the way.
// It runs on one processor, so that work in a second goroutine counts.
func applying() experiment {
	figure := func(what string, most float64) measure.Figure {
		return measure.Figure{
			Name: "apply a remote change, " + what, Unit: "ns", Beside: "json.Unmarshal of the same envelope", Target: measure.Target{AtMost: most},
		}
	}
	return experiment{
		name:    "apply",
		figures: []measure.Figure{figure("plain JSON", 2), figure("a small hash of Ruby's", 3)},
		prepare: func(ctx context.Context, tb testing.TB, size scale) (run, error) {
			tb.Helper()
			a, err := newApplier(ctx, tb)
			if err != nil {
				return nil, err
			}
			envelopes := []string{plainEnvelope, marshalEnvelope}
			return func(context.Context) ([]measure.Pair, error) {
				defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
				pairs := make([]measure.Pair, len(envelopes))
				for i, envelope := range envelopes {
					var took [2][]float64
					for range size.turns {
						bare, err := timeUnmarshal([]byte(envelope), size.slice)
						if err != nil {
							return nil, err
						}
						took[0], took[1] = append(took[0], a.time([]byte(envelope), size.slice)), append(took[1], bare)
					}
					pairs[i] = measure.Pair{Ours: undisturbed(took[0]), Other: undisturbed(took[1])}
				}
				return pairs, nil
			}, nil
		},
	}
}

// timeUnmarshal returns the nanoseconds that reading an envelope alone takes.
func timeUnmarshal(envelope []byte, slice time.Duration) (float64, error) {
	begin := time.Now()
	n := 0
	for ; time.Since(begin) < slice; n += burst {
		for range burst {
			var v struct {
				Data struct {
					Op         string          `json:"op"`
					Key        string          `json:"key"`
					Value      json.RawMessage `json:"value"`
					Marshalled bool            `json:"marshalled"`
					Origin     string          `json:"origin"`
					Name       string          `json:"hash_key"`
				} `json:"data"`
				UserIDs   []int    `json:"user_ids"`
				GroupIDs  []int    `json:"group_ids"`
				ClientIDs []string `json:"client_ids"`
			}
			if err := json.Unmarshal(envelope, &v); err != nil {
				return 0, err
			}
		}
	}
	return float64(time.Since(begin).Nanoseconds()) / float64(n), nil
}

// An applier is a cache whose store hands over what it is told to.
type applier struct {
	stream  *stream
	left    int
	applied chan struct{} // a burst was applied
}

func newApplier(ctx context.Context, tb testing.TB) (*applier, error) {
	tb.Helper()
	store, err := membus.New(nil)
	if err != nil {
		return nil, err
	}
	a := &applier{stream: &stream{bursts: make(chan []byte), ended: make(chan struct{})}, applied: make(chan struct{}, 1)}
	newCache(ctx, tb, newBus(tb, fed{store, a.stream}), &cache.Options[string, any]{OnChange: func(cache.Change[string, any]) {
		if a.left--; a.left == 0 {
			a.applied <- struct{}{}
		}
	}})
	return a, nil
}

// time returns the nanoseconds that one change takes.
func (a *applier) time(envelope []byte, slice time.Duration) float64 {
	begin := time.Now()
	n := 0
	for ; time.Since(begin) < slice; n += burst {
		a.left = burst
		a.stream.bursts <- envelope
		<-a.applied
	}
	return float64(time.Since(begin).Nanoseconds()) / float64(n)
}

// fed is a store whose feed is what a stream brings.
type fed struct {
	driver.Backend

	stream *stream
}

func (f fed) Listen(context.Context) (driver.Stream, error) { return f.stream, nil }

// A stream brings bursts of one message. One goroutine is in Next.
type stream struct {
	bursts chan []byte
	ended  chan struct{}
	now    []byte
	left   int
	id     int64
}

func (s *stream) Next(ctx context.Context) (driver.Message, error) {
	for s.left == 0 {
		select {
		case s.now = <-s.bursts:
			s.left = burst
		case <-s.ended:
			return driver.Message{}, errEnded
		case <-ctx.Done():
			return driver.Message{}, ctx.Err()
		}
	}
	s.left--
	s.id++
	return driver.Message{GlobalID: s.id, ID: s.id, Channel: "/distributed_hash", Data: s.now}, nil
}

func (s *stream) Ping(context.Context) error { return nil }

func (s *stream) Close() error { close(s.ended); return nil }

// applyingInRuby compares with what the gem does with such an envelope.
func applyingInRuby() experiment {
	figure := func(what string) measure.Figure {
		return measure.Figure{Name: "apply a remote change, " + what, Unit: "ns", Beside: besideGem}
	}
	return experiment{
		name:    "gem/apply",
		figures: []measure.Figure{figure("plain JSON"), figure("a small hash of Ruby's")},
		prepare: func(ctx context.Context, tb testing.TB, size scale) (run, error) {
			tb.Helper()
			gem, err := startGem(ctx, tb)
			if err != nil {
				return nil, err
			}
			a, err := newApplier(ctx, tb)
			if err != nil {
				return nil, err
			}
			return func(context.Context) ([]measure.Pair, error) {
				var pairs []measure.Pair
				for _, envelope := range []string{plainEnvelope, marshalEnvelope} {
					var took [2][]float64
					for range size.turns {
						other, err := askGem(gem, "apply", envelope, burst)
						if err != nil {
							return nil, err
						}
						took[0], took[1] = append(took[0], a.time([]byte(envelope), size.slice)), append(took[1], other)
					}
					pairs = append(pairs, measure.Pair{Ours: undisturbed(took[0]), Other: undisturbed(took[1])})
				}
				return pairs, nil
			}, nil
		},
	}
}

var errEnded = errors.New("the stream was closed")
