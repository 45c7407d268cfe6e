package main

import (
	"context"
	"errors"
	"os"
	"testing"

	"github.com/messagebus-go/messagebus/benchmarks/internal/measure"
)

// TestMain makes the test binary a peer as well, as main does.
func TestMain(m *testing.M) {
	if store := os.Getenv(peerVariable); store != "" {
		measure.Exit("cache", peer(context.Background(), store, os.Stdin, os.Stdout))
		return
	}
	os.Exit(m.Run())
}

// BenchmarkCache does a little of everything that this program measures, so that it
// keeps working. Its figures mean nothing.
func BenchmarkCache(b *testing.B) {
	for _, e := range experiments() {
		b.Run(e.name, func(b *testing.B) {
			for b.Loop() {
				_, err := e.measure(b.Context(), b, quick)
				if errors.Is(err, measure.ErrNotRun) {
					b.Skip(err)
				}
				if err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
