package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"testing"
)

// TestMain makes the test binary a peer as well, as main does.
func TestMain(m *testing.M) {
	if role := os.Getenv(peerVariable); role != "" {
		exitOn(peer(context.Background(), role, os.Stdin, os.Stdout))
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
		if errors.Is(err, errNotRun) {
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

func TestTarget_IsMetOnItsSideOnly(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		target target
		ratio  float64
		met    bool
	}{
		{target{atLeast: 0.9}, 0.9, true},
		{target{atLeast: 0.9}, 0.89, false},
		{target{atMost: 1.2}, 1.2, true},
		{target{atMost: 1.2}, 1.21, false},
		{target{}, 7, true},
	} {
		if test.target.met(test.ratio) != test.met {
			t.Errorf("%v is met by %v: %v", test.target, test.ratio, !test.met)
		}
	}
}

func TestFigure_TakesTheMedianOfRatiosAndNotTheRatioOfMedians(t *testing.T) {
	t.Parallel()
	f := figure{beside: "other", target: target{atLeast: 0.9}}
	r := f.result("store", []pair{{1, 1}, {10, 20}, {3, 2}, {100, 100}, {5, 10}})
	if r.Ratio != 1 || r.Ours != 5 || r.Other != 10 || *r.Spread != [2]float64{0.5, 1.5} || !*r.Met {
		t.Errorf("got %+v", r)
	}
}
