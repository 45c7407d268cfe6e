package main

import (
	"context"
	"fmt"
	"testing"

	"github.com/messagebus-go/messagebus/benchmarks/internal/measure"
)

// rows are in the order of docs/performance.md.
func rows(size scale) []row {
	return []row{
		streaming(size), idle(size), bursting(size), ownChannels(size), spreading(size), polling(size), asking(size), stopping(size),
	}
}

// at10 is a flow of ten messages a second for all.
func (r *rig) at10(s *side) flow { return s.onJoint(10, 10*r.size.seconds) }

func streaming(size scale) row {
	return row{
		name: fmt.Sprintf("%d streaming clients × 10 messages/s", size.some),
		figures: []measure.Figure{
			{Name: "CPU of a delivery", Unit: "µs", Beside: besideBare, Target: measure.Target{AtMost: 1.1}},
			{Name: "publish to client, p99", Unit: "ms", Beside: besideBare, Target: measure.Target{AtMost: 1.3}},
		},
		prepare: func(ctx context.Context, tb testing.TB, r *rig) (run, error) {
			tb.Helper()
			sides, err := r.connected(ctx, tb, "bare", size.some, command{})
			if err != nil {
				return nil, err
			}
			return func(ctx context.Context) ([]measure.Pair, error) {
				rounds, err := inTurn(ctx, sides, r.at10)
				if err != nil {
					return nil, err
				}
				return []measure.Pair{cpuPair(rounds), p99Pair(rounds)}, nil
			}, nil
		},
	}
}

func idle(size scale) row {
	return row{
		name: fmt.Sprintf("%d idle streaming clients", size.many),
		figures: []measure.Figure{
			{Name: "resident memory of a client", Unit: "bytes", Beside: besideBare, Target: measure.Target{Limit: 3000}},
			{Name: "goroutines more than without clients", Beside: besideBare, Target: measure.Target{Limit: 10}},
		},
		prepare: func(_ context.Context, _ testing.TB, r *rig) (run, error) {
			return func(ctx context.Context) (pairs []measure.Pair, err error) {
				var ours, bare memory
				err = measure.Hosted(func(tb testing.TB) (err error) { // fresh processes for each run
					ours, bare, err = r.idleMemory(ctx, tb)
					return err
				})
				each := float64(size.many)
				return []measure.Pair{
					{Ours: float64(ours.Resident) / each, Other: float64(bare.Resident) / each},
					{Ours: float64(ours.Goroutines), Other: float64(bare.Goroutines)},
				}, err
			}, nil
		},
	}
}

// idleMemory returns what idle clients add.
func (r *rig) idleMemory(ctx context.Context, tb testing.TB) (ours, bare memory, err error) {
	tb.Helper()
	sides, err := r.bothSides(ctx, tb, "bare")
	if err != nil {
		return ours, bare, err
	}
	var added [2]memory
	for i, s := range sides {
		if added[i], err = s.growth(func() error { return s.connect(r.size.many, command{}) }); err != nil {
			return ours, bare, err
		}
	}
	return added[0], added[1], nil
}

// growth returns what f adds to the memory of the server.
func (s *side) growth(f func() error) (m memory, err error) {
	var before, after memory
	if err := s.server.Ask(question{Ask: "memory"}, &before); err != nil {
		return m, err
	}
	if err := f(); err != nil {
		return m, err
	}
	err = s.server.Ask(question{Ask: "memory"}, &after)
	return memory{after.Resident - before.Resident, after.Goroutines - before.Goroutines}, err
}

func bursting(size scale) row {
	return row{
		name: fmt.Sprintf("%d streaming clients × %d messages/s × %d s", size.burst, size.swift, size.swiftFor),
		figures: []measure.Figure{
			{Name: "deliveries, each once and in order", Beside: "expected", Target: measure.Target{AtLeast: 1}},
			{Name: "publish to client, p99", Unit: "ms", Target: measure.Target{Limit: 100}},
			{Name: "CPU of a delivery", Unit: "µs", Beside: "the bare write loop, of one second"},
		},
		prepare: func(ctx context.Context, tb testing.TB, r *rig) (run, error) {
			tb.Helper()
			sides, err := r.connected(ctx, tb, "bare", size.burst, command{})
			if err != nil {
				return nil, err
			}
			return func(ctx context.Context) ([]measure.Pair, error) {
				rounds, err := inTurn(ctx, sides, func(s *side) flow {
					if s == sides[0] {
						return s.onJoint(size.swift, size.swiftFor*size.swift)
					}
					return s.onJoint(size.swift, size.swift) // it cannot keep up, and needs much longer than that
				})
				if err != nil {
					return nil, err
				}
				all := measure.Pair{Ours: float64(rounds[0].Received), Other: float64(rounds[0].deliveries)}
				return []measure.Pair{all, {Ours: milliseconds(rounds[0].P99)}, cpuPair(rounds)}, nil
			}, nil
		},
	}
}

func ownChannels(size scale) row {
	few := size.many / 10
	return row{
		name: fmt.Sprintf("%d clients on channels of their own, 2000 messages/s in all", size.many),
		figures: []measure.Figure{
			{Name: "CPU of a delivery", Unit: "µs", Beside: besideBare, Target: measure.Target{AtMost: 1.5}},
			{
				Name:   fmt.Sprintf("CPU of a delivery, times that with %d clients", few),
				Beside: besideBare, Target: measure.Target{Limit: 1.1},
			},
		},
		prepare: func(ctx context.Context, tb testing.TB, r *rig) (run, error) {
			tb.Helper()
			var sides []*side
			for _, clients := range []int{size.many, few} {
				two, err := r.connected(ctx, tb, "bare", clients, command{Own: true})
				if err != nil {
					return nil, err
				}
				sides = append(sides, two...)
			}
			return func(ctx context.Context) ([]measure.Pair, error) {
				rounds, err := inTurn(ctx, sides, func(s *side) flow { return s.onOwn(2000, 2000*size.seconds) })
				if err != nil {
					return nil, err
				}
				many, few := cpuPair(rounds[:2]), cpuPair(rounds[2:])
				return []measure.Pair{many, {Ours: many.Ours / few.Ours, Other: many.Other / few.Other}}, nil
			}, nil
		},
	}
}

func spreading(size scale) row {
	fleets := []int{1, 2, 4}
	w := row{name: fmt.Sprintf("%d streaming clients × 10 messages/s, on several servers", size.some)}
	for _, servers := range fleets[1:] {
		w.figures = append(w.figures,
			measure.Figure{Name: fmt.Sprintf("CPU of a delivery, %d servers together", servers), Unit: "µs", Beside: "one server"},
			measure.Figure{Name: fmt.Sprintf("publish to client, p99, %d servers", servers), Unit: "ms", Beside: "one server"})
	}
	w.prepare = func(ctx context.Context, tb testing.TB, r *rig) (run, error) {
		tb.Helper()
		var sides []*side
		for _, servers := range fleets {
			s, err := r.fleet(ctx, tb, servers)
			if err != nil {
				return nil, err
			}
			if err := s.connect(size.some, command{}); err != nil {
				return nil, err
			}
			sides = append(sides, s)
		}
		return func(ctx context.Context) (pairs []measure.Pair, err error) {
			rounds, err := inTurn(ctx, sides, r.at10)
			if err != nil {
				return nil, err
			}
			for _, several := range rounds[1:] {
				beside := []round{several, rounds[0]}
				pairs = append(pairs, cpuPair(beside), p99Pair(beside))
			}
			return pairs, nil
		}, nil
	}
	return w
}

func polling(size scale) row {
	return row{
		name: fmt.Sprintf("%d long-polling clients × 10 messages/s", size.some),
		figures: []measure.Figure{
			{Name: "CPU of a delivery", Unit: "µs", Beside: besideGem, Target: measure.Target{AtMost: 1.0 / 3}},
			{Name: "publish to client, p99", Unit: "ms", Beside: besideGem},
			{Name: "messages that a client never gets", Beside: besideGem},
		},
		prepare: func(ctx context.Context, tb testing.TB, r *rig) (run, error) {
			tb.Helper()
			sides, err := r.connected(ctx, tb, "gem", size.some, command{Poll: true})
			if err != nil {
				return nil, err
			}
			return func(ctx context.Context) ([]measure.Pair, error) {
				rounds, err := inTurn(ctx, sides, func(s *side) flow {
					f := s.onJoint(10, 10)
					f.waits = true
					return f
				})
				if err != nil {
					return nil, err
				}
				missed := measure.Pair{Ours: float64(rounds[0].Missed), Other: float64(rounds[1].Missed)}
				return []measure.Pair{cpuPair(rounds), p99Pair(rounds), missed}, nil
			}, nil
		},
	}
}
