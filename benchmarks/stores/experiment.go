package main

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/messagebus-go/messagebus/benchmarks/internal/measure"
)

// An experiment measures some figures of a store, all of them in every run.
type experiment struct {
	name    string
	figures []measure.Figure
	// prepare returns what measures once, and says how large a run is to be.
	prepare func(ctx context.Context, tb testing.TB, s store, size scale) (run, error)
}

// A run returns one pair for each figure.
type run func(ctx context.Context) ([]measure.Pair, error)

// scale says how much is done in one run.
type scale struct {
	runs     int           // after one that does not count
	slice    time.Duration // how long one side has its turn
	turns    int           // of both sides, within a run
	floods   int           // of both sides, within a run
	messages int           // of a flood
	timed    int           // messages whose way is timed
	crowd    int           // subscriptions, where they are many
	channels int           // to catch up on, where they are many
}

var (
	full  = scale{runs: 5, slice: 100 * time.Millisecond, turns: 10, floods: 3, messages: 50_000, timed: 1000, crowd: 10_000, channels: 1000}
	quick = scale{runs: 1, slice: 2 * time.Millisecond, turns: 1, floods: 1, messages: 500, timed: 5, crowd: 200, channels: 50}
)

// measure carries out an experiment.
func (e experiment) measure(ctx context.Context, tb testing.TB, s store, size scale) ([]measure.Result, error) {
	tb.Helper()
	pairs, err := e.repeat(ctx, tb, s, size)
	if err != nil {
		return nil, fmt.Errorf("%s, %s: %w", s.name(), e.name, err)
	}
	results := make([]measure.Result, len(e.figures))
	for f, figure := range e.figures {
		results[f] = figure.Result(s.name(), pairs[f])
	}
	return results, nil
}

// repeat returns the pairs of each figure. The first run does not count.
func (e experiment) repeat(ctx context.Context, tb testing.TB, s store, size scale) ([][]measure.Pair, error) {
	tb.Helper()
	once, err := e.prepare(ctx, tb, s, size)
	if err != nil {
		return nil, err
	}
	if _, err := once(ctx); err != nil {
		return nil, err
	}
	if err := s.settle(ctx); err != nil {
		return nil, err
	}
	pairs := make([][]measure.Pair, len(e.figures))
	for range size.runs {
		measured, err := once(ctx)
		if err != nil {
			return nil, err
		}
		for f, p := range measured {
			pairs[f] = append(pairs[f], p)
		}
	}
	return pairs, nil
}
