package main

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/messagebus-go/messagebus/benchmarks/internal/measure"
	"github.com/messagebus-go/messagebus/integration/command"
	"github.com/messagebus-go/messagebus/integration/stores"
)

func TestMain(m *testing.M) {
	code := m.Run()
	for _, err := range []error{command.Remove(), stores.Close()} {
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
	}
	os.Exit(code)
}

// BenchmarkSoak does both for seconds, so that they keep working. Their figures mean
// nothing, but what is missing or comes twice is an error here too.
func BenchmarkSoak(b *testing.B) {
	check := func(results []measure.Result, err error) {
		if err != nil || len(results) == 0 {
			b.Fatalf("%v: %v", results, err)
		}
	}
	b.Run("growth", func(b *testing.B) {
		for b.Loop() {
			picture := filepath.Join(b.TempDir(), "growth.svg")
			check(growth(b.Context(), b, 4*time.Second, 100*time.Millisecond, picture))
			if svg, err := os.ReadFile(picture); err != nil || !strings.Contains(string(svg), "goroutines") {
				b.Errorf("the picture: %v: %.100s", err, svg)
			}
		}
	})
	b.Run("kills", func(b *testing.B) {
		for b.Loop() {
			check(kills(b.Context(), b, 4*time.Second, time.Second))
		}
	})
}

// The end of a course that grows steadily is as much above its first quarter as it grew.
func TestGrown_SaysHowMuchACourseHasGrown(t *testing.T) {
	t.Parallel()
	for range 100 {
		l := load{duration: time.Duration(1+rand.IntN(100)) * time.Minute}
		growth := 1 + rand.Float64()
		var course []sample
		for at := time.Duration(0); at <= l.duration; at += l.duration / 1000 {
			part := float64(at) / float64(l.duration)
			jagged := 1 + 0.01*rand.Float64() // as collections make it
			course = append(course, sample{at: at, resident: 1e8 * (1 + (growth-1)*max(0, part-0.25)/0.75) * jagged})
		}
		results := grown(l, course, sample{goroutines: 10}, sample{goroutines: 10})
		i := slices.IndexFunc(results, func(r measure.Result) bool { return r.Figure == "resident at the end" })
		if got := results[i].Ratio; got < growth*0.95 || got > growth*1.02 || *results[i].Met != (got <= 1.1) {
			t.Errorf("%v for a growth of %v: %+v", got, growth, results[i])
		}
	}
}

func TestRead_TakesTheServersOwnFiguresAndMissesNone(t *testing.T) {
	t.Parallel()
	text := "# TYPE go_goroutines gauge\ngo_goroutines 17\ngo_goroutines_other 1\nprocess_resident_memory_bytes 3.2e+07\ngo_memstats_heap_inuse_bytes 8e6\n" +
		"process_open_fds 20\nmessagebus_held_requests 5\ngo_gc_duration_seconds{quantile=\"0\"} 1\ngo_gc_duration_seconds_count 9\n"
	want := sample{resident: 3.2e7, heap: 8e6, goroutines: 17, files: 20, held: 5, collections: 9}
	if got, err := read(strings.NewReader(text)); err != nil || got != want {
		t.Errorf("read %+v: %v", got, err)
	}
	for line := range strings.Lines(text) {
		name, _, _ := strings.Cut(line, " ")
		if strings.ContainsAny(name, "#{") || name == "go_goroutines_other" {
			continue
		}
		if _, err := read(strings.NewReader(strings.ReplaceAll(text, line, ""))); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("without %s: %v", name, err)
		}
	}
}
