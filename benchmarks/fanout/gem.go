package main

import (
	"context"
	_ "embed" // the gem's side
	"testing"

	"github.com/messagebus-go/messagebus/benchmarks/internal/measure"
)

//go:embed gem.rb
var gemProgram string

func startGem(ctx context.Context, tb testing.TB, in place) (*measure.Process, error) {
	tb.Helper()
	return measure.StartRuby(ctx, tb, []string{"message_bus", "puma"}, gemProgram, in.URL)
}
