package main

import (
	"context"
	"fmt"
	"testing"

	"github.com/messagebus-go/messagebus/benchmarks/internal/measure"
	"github.com/messagebus-go/messagebus/integration/stores"
)

// A rig is what all rows share.
type rig struct {
	redis    *stores.RedisServer
	places   int // that have been used
	size     scale
	profiles string // folder for those of the servers; empty: none are made
}

// A row is one line of work, which is measured as several figures in every run.
type row struct {
	name    string
	figures []measure.Figure
	// prepare starts what the row needs, and returns what measures once.
	prepare func(ctx context.Context, tb testing.TB, r *rig) (run, error)
}

// A run returns a pair for each figure.
type run func(ctx context.Context) ([]measure.Pair, error)

// scale says how much is done.
type scale struct {
	runs     int
	seconds  int // of publishing in one run
	some     int // clients, where there are many
	many     int // clients, where there are very many
	burst    int // clients, where messages come fast
	swift    int // messages a second, where they come fast
	swiftFor int // seconds of that
	asked    int // channels that one client asks for, at most
}

var (
	full   = scale{runs: 5, seconds: 3, some: 1000, many: 9000, burst: 500, swift: 400, swiftFor: 5, asked: 10_000}
	hasty  = scale{runs: 1, seconds: 1, some: 1000, many: 9000, burst: 500, swift: 400, swiftFor: 5, asked: 10_000}
	little = scale{runs: 1, seconds: 1, some: 20, many: 50, burst: 10, swift: 50, swiftFor: 1, asked: 1000}
)

// measure carries out a row. Besides the runs that count it has one before them,
// which does not, to warm up.
func (w row) measure(ctx context.Context, tb testing.TB, r *rig, progress func(string)) ([]measure.Result, error) {
	tb.Helper()
	progress(w.name + ": connecting")
	once, err := w.prepare(ctx, tb, r)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", w.name, err)
	}
	pairs := make([][]measure.Pair, len(w.figures))
	for i := range 1 + r.size.runs {
		progress(fmt.Sprintf("%s: run %d of %d", w.name, i, r.size.runs))
		measured, err := once(ctx)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", w.name, err)
		}
		for f, p := range measured {
			if i > 0 {
				pairs[f] = append(pairs[f], p)
			}
		}
	}
	results := make([]measure.Result, len(w.figures))
	for f, figure := range w.figures {
		results[f] = figure.Result(w.name, pairs[f])
	}
	return results, nil
}

const (
	besideBare = "the bare write loop"
	besideGem  = "the gem on puma"
)

// bothSides starts this project's server and another one.
func (r *rig) bothSides(ctx context.Context, tb testing.TB, other string) (sides [2]*side, err error) {
	tb.Helper()
	for i, kind := range []string{"ours", other} {
		if sides[i], err = r.side(ctx, tb, kind); err != nil {
			return sides, err
		}
	}
	return sides, nil
}

// connected is bothSides with so many clients of a kind each.
func (r *rig) connected(ctx context.Context, tb testing.TB, other string, clients int, kind command) ([]*side, error) {
	tb.Helper()
	sides, err := r.bothSides(ctx, tb, other)
	if err != nil {
		return nil, err
	}
	for _, s := range sides {
		if err := s.connect(clients, kind); err != nil {
			return nil, err
		}
	}
	return sides[:], nil
}

// inTurn carries out the same round on each side.
func inTurn(ctx context.Context, sides []*side, flowOf func(*side) flow) ([]round, error) {
	rounds := make([]round, len(sides))
	for i, s := range sides {
		var err error
		if rounds[i], err = s.run(ctx, flowOf(s)); err != nil {
			return nil, err
		}
	}
	return rounds, nil
}

func cpuPair(rounds []round) measure.Pair {
	return measure.Pair{Ours: rounds[0].perDelivery(), Other: rounds[1].perDelivery()}
}

func p99Pair(rounds []round) measure.Pair {
	return measure.Pair{Ours: milliseconds(rounds[0].P99), Other: milliseconds(rounds[1].P99)}
}
