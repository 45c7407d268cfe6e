package main

import (
	"context"
	_ "embed" // the gem's side
	"testing"

	"github.com/messagebus-go/messagebus/benchmarks/internal/measure"
)

//go:embed gem.rb
var gemProgram string

const besideGem = "the gem in Ruby"

func startGem(ctx context.Context, tb testing.TB) (*measure.Process, error) {
	tb.Helper()
	return measure.StartRuby(ctx, tb, []string{"message_bus"}, gemProgram)
}

// askGem has the gem do something that ends in a number.
func askGem(gem *measure.Process, words ...any) (answer float64, err error) {
	err = gem.Ask(words, &answer)
	return answer, err
}

// gettingInRuby compares reads in one goroutine with those of the gem.
func gettingInRuby() experiment {
	return experiment{
		name:    "gem/get",
		figures: []measure.Figure{{Name: "Get hit, no bound, 1 goroutine", Unit: "ns", Beside: besideGem}},
		prepare: func(ctx context.Context, tb testing.TB, size scale) (run, error) {
			tb.Helper()
			gem, err := startGem(ctx, tb)
			if err != nil {
				return nil, err
			}
			keys := numbered(keysRead)
			if _, err := askGem(gem, "fill", keys); err != nil {
				return nil, err
			}
			side := unbounded(ctx, tb, keys)
			return func(context.Context) ([]measure.Pair, error) {
				var took [2][]float64
				for range size.turns {
					each, err := timeTurn(side.get, keys, 1, size.slice)
					if err != nil {
						return nil, err
					}
					other, err := askGem(gem, "get", size.slice.Nanoseconds())
					if err != nil {
						return nil, err
					}
					took[0], took[1] = append(took[0], each), append(took[1], other)
				}
				return []measure.Pair{{Ours: undisturbed(took[0]), Other: undisturbed(took[1])}}, nil
			}, nil
		},
	}
}
