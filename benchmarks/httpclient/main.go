// Command httpclient measures the Go client over HTTP beside net/http and encoding/json,
// which read the same bytes and do nothing else:
//
//	go run ./benchmarks/httpclient
//	go run ./benchmarks/httpclient --only idle --runs 3
//
// Both sides take turns within one run, so that a ratio holds on a busy machine as
// well; every figure is the median of five runs. On a terminal it prints a table, into
// a pipe JSON. It takes less than a minute.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"testing"

	"github.com/messagebus-go/messagebus/benchmarks/internal/measure"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if os.Getenv(serverVariable) != "" {
		measure.Exit("httpclient", serve(os.Stdin, os.Stdout))
		return
	}
	measure.Exit("httpclient", program(ctx, os.Args[1:], os.Stdout))
}

// program measures what the arguments ask for.
func program(ctx context.Context, args []string, out *os.File) error {
	settings, err := measure.ParseFlags("httpclient", args, out, ": read, idle, delay", full.runs)
	if err != nil {
		return err
	}
	size := full
	size.runs = settings.Runs
	if settings.Quick {
		size = quick
	}
	stop, err := measure.Profile(settings.Profile)
	if err != nil {
		return err
	}
	defer stop()
	found := measure.Report{Machine: measure.Machine()}
	for _, e := range experiments() {
		if !settings.Only.MatchString(e.name) {
			continue
		}
		err := measure.Hosted(func(tb testing.TB) error { // what it opens ends with it
			return found.Add(e.measure(ctx, tb, size))
		})
		if err != nil {
			return fmt.Errorf("%s: %w", e.name, err)
		}
	}
	return found.Write(out, settings.Table)
}

// An experiment measures some figures, all of them in every run.
type experiment struct {
	name    string
	figures []measure.Figure
	// prepare returns what measures once, and says how large a run is to be.
	prepare func(ctx context.Context, tb testing.TB, size scale) (measure.Run, error)
}

func experiments() []experiment { return []experiment{reading(), idling(), delaying()} }

// scale says how much is done in one run.
type scale struct {
	runs     int // after one that does not count
	messages int // that are read at once; half of them are the backlog
	turns    int // of both sides at that, within a run
	clients  int // that are idle
	timed    int // messages whose way is timed
}

var (
	full  = scale{runs: 5, messages: 100_000, turns: 3, clients: 1000, timed: 2000}
	quick = scale{runs: 1, messages: 1000, turns: 1, clients: 20, timed: 5}
)

func (e experiment) measure(ctx context.Context, tb testing.TB, size scale) ([]measure.Result, error) {
	tb.Helper()
	run, err := e.prepare(ctx, tb, size)
	if err != nil {
		return nil, err
	}
	return measure.Repeat(ctx, "httpclient", e.figures, size.runs, run)
}
