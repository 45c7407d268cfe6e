package main

import (
	"context"
	"testing"
	"time"

	"github.com/messagebus-go/messagebus/benchmarks/internal/measure"
)

// An experiment measures some figures, all of them in every run.
type experiment struct {
	name    string
	once    bool // it comes to the same in every run: one is enough
	figures []measure.Figure
	// prepare returns what measures once, and says how large a run is to be.
	prepare func(ctx context.Context, tb testing.TB, size scale) (run, error)
}

type run = measure.Run

// scale says how much is done in one run.
type scale struct {
	runs    int           // after one that does not count
	slice   time.Duration // how long one side has its turn
	turns   int           // of every side, within a run
	timed   int           // messages whose way is timed
	entries int           // whose memory is measured
}

var (
	full  = scale{runs: 5, slice: 2 * time.Millisecond, turns: 100, timed: 1000, entries: 1_000_000}
	quick = scale{runs: 1, slice: time.Millisecond, turns: 1, timed: 5, entries: 10_000}
)

// measure carries out an experiment.
func (e experiment) measure(ctx context.Context, tb testing.TB, size scale) ([]measure.Result, error) {
	tb.Helper()
	run, err := e.prepare(ctx, tb, size)
	if err != nil {
		return nil, err
	}
	if e.once {
		size.runs = 1
	}
	return measure.Repeat(ctx, "cache", e.figures, size.runs, run)
}
