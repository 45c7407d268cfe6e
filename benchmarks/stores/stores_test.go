package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"testing"

	"github.com/messagebus-go/messagebus/benchmarks/internal/measure"
)

// TestMain makes the test binary a peer as well, as main does.
func TestMain(m *testing.M) {
	if role := os.Getenv(peerVariable); role != "" {
		measure.Exit("stores", peer(context.Background(), role, os.Stdin, os.Stdout))
		return
	}
	os.Exit(m.Run())
}

// BenchmarkStores does a little of everything that this program measures, so that it
// keeps working. Its figures mean nothing.
func BenchmarkStores(b *testing.B) {
	for _, kind := range kinds() {
		b.Run(kind.name, func(b *testing.B) {
			s := kind.start(b)
			for _, e := range kind.experiments {
				b.Run(e.name, func(b *testing.B) { benchmark(b, e, s) })
			}
		})
	}
}

func benchmark(b *testing.B, e experiment, s store) {
	b.Helper()
	for b.Loop() {
		results, err := e.measure(b.Context(), b, s, quick)
		if errors.Is(err, measure.ErrNotRun) {
			b.Skip(err)
		}
		if err != nil {
			b.Fatal(err)
		}
		for i, r := range results {
			b.ReportMetric(r.Ours, fmt.Sprintf("ours/%d", i))
		}
	}
}

func TestHello_IsWhatABusStores(t *testing.T) {
	t.Parallel()
	if text, err := json.Marshal(hello); err != nil || string(text) != helloJSON {
		t.Errorf("got %s, %v", text, err)
	}
}
