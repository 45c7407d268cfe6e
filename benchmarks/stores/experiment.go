package main

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"
)

// An experiment measures some figures of a store, all of them in every run.
type experiment struct {
	name    string
	figures []figure
	// prepare returns what measures once, and says how large a run is to be.
	prepare func(ctx context.Context, tb testing.TB, s store, size scale) (run, error)
}

// A figure is one line of the table.
type figure struct {
	name   string
	unit   string
	beside string // what the other side is; empty: there is none
	target target
}

// A target is where the ratio of the two sides has to be.
type target struct {
	atLeast, atMost float64 // 0: no such bound
}

func (t target) met(ratio float64) bool {
	return ratio >= t.atLeast && (t.atMost == 0 || ratio <= t.atMost)
}

func (t target) String() string {
	switch {
	case t.atLeast > 0:
		return fmt.Sprintf("≥ %.1f", t.atLeast)
	case t.atMost > 0:
		return fmt.Sprintf("≤ %.1f", t.atMost)
	default:
		return ""
	}
}

// A pair is what the two sides reached within one run.
type pair struct{ ours, other float64 }

// A run returns one pair for each figure.
type run func(ctx context.Context) ([]pair, error)

// scale says how much is done in one run.
type scale struct {
	runs     int           // after one that does not count
	slice    time.Duration // how long one side has its turn
	turns    int           // of both sides, within a run
	messages int           // of a flood
	timed    int           // messages whose way is timed
	crowd    int           // subscriptions, where they are many
	channels int           // to catch up on, where they are many
}

var (
	full  = scale{runs: 5, slice: 100 * time.Millisecond, turns: 10, messages: 50_000, timed: 1000, crowd: 10_000, channels: 1000}
	quick = scale{runs: 1, slice: 2 * time.Millisecond, turns: 1, messages: 500, timed: 5, crowd: 200, channels: 50}
)

// A result is a figure with its medians. The ratio is the median of those of each
// run, since a busy machine slows both sides of a run.
type result struct {
	Store  string      `json:"store"`
	Figure string      `json:"figure"`
	Unit   string      `json:"unit"`
	Ours   float64     `json:"ours"`
	Beside string      `json:"beside,omitempty"`
	Other  float64     `json:"other,omitempty"`
	Ratio  float64     `json:"ratio,omitempty"`
	Spread *[2]float64 `json:"ratios_from_to,omitempty"`
	Target string      `json:"target,omitempty"`
	Met    *bool       `json:"met,omitempty"`
}

// measure carries out an experiment.
func (e experiment) measure(ctx context.Context, tb testing.TB, s store, size scale) ([]result, error) {
	tb.Helper()
	pairs, err := e.repeat(ctx, tb, s, size)
	if err != nil {
		return nil, fmt.Errorf("%s, %s: %w", s.name(), e.name, err)
	}
	results := make([]result, len(e.figures))
	for f, figure := range e.figures {
		results[f] = figure.result(s.name(), pairs[f])
	}
	return results, nil
}

// repeat returns the pairs of each figure. The first run does not count.
func (e experiment) repeat(ctx context.Context, tb testing.TB, s store, size scale) ([][]pair, error) {
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
	pairs := make([][]pair, len(e.figures))
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

func (f figure) result(store string, pairs []pair) result {
	r := result{Store: store, Figure: f.name, Unit: f.unit, Beside: f.beside, Target: f.target.String()}
	r.Ours = median(pairs, func(p pair) float64 { return p.ours })
	if f.beside == "" {
		return r
	}
	ratio := func(p pair) float64 { return p.ours / p.other }
	r.Other, r.Ratio = median(pairs, func(p pair) float64 { return p.other }), median(pairs, ratio)
	all := sorted(pairs, ratio)
	r.Spread = &[2]float64{all[0], all[len(all)-1]}
	if f.target != (target{}) {
		met := f.target.met(r.Ratio)
		r.Met = &met
	}
	return r
}

func sorted(pairs []pair, of func(pair) float64) []float64 {
	values := make([]float64, len(pairs))
	for i, p := range pairs {
		values[i] = of(p)
	}
	slices.Sort(values)
	return values
}

func median(pairs []pair, of func(pair) float64) float64 {
	return sorted(pairs, of)[len(pairs)/2]
}
