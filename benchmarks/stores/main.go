// Command stores measures the bus on real servers, which it starts, beside the
// client libraries alone and, where it is installed, the Ruby gem:
//
//	go run ./benchmarks/stores
//	go run ./benchmarks/stores --only 'Redis.*publish' --json
//
// What it compares takes turns in short slices within one run, so that a ratio
// holds on a busy machine as well. Every figure is the median of five runs.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"regexp"
	"testing"

	"github.com/messagebus-go/messagebus/benchmarks/internal/measure"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if role := os.Getenv(peerVariable); role != "" {
		measure.Exit("stores", peer(ctx, role, os.Stdin, os.Stdout))
		return
	}
	measure.Exit("stores", program(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

// program measures what the arguments ask for.
func program(ctx context.Context, args []string, out, progress io.Writer) error {
	flags := flag.NewFlagSet("stores", flag.ContinueOnError)
	asJSON := flags.Bool("json", false, "print JSON instead of a table")
	only := flags.String("only", "", "measure what matches this regular expression, as in Redis/publish/16")
	hasty := flags.Bool("quick", false, "do a little of everything, once; the figures mean nothing")
	profile := flags.String("cpuprofile", "", "write a profile of this process to this file")
	size := full
	flags.IntVar(&size.runs, "runs", full.runs, "how many runs a median is of")
	if err := flags.Parse(args); err != nil {
		return err
	}
	wanted, err := regexp.Compile(*only)
	if err != nil {
		return fmt.Errorf("--only: %w", err)
	}
	if *hasty {
		size = quick
	}
	stop, err := measure.Profile(*profile)
	if err != nil {
		return err
	}
	defer stop()
	var found measure.Report
	err = measure.Hosted(func(tb testing.TB) error {
		found, err = measureAll(ctx, tb, size, wanted, progress)
		return err
	})
	if err != nil {
		return err
	}
	return found.Write(out, !*asJSON)
}

// measureAll carries out the experiments whose names are wanted.
func measureAll(ctx context.Context, tb testing.TB, size scale, wanted *regexp.Regexp, progress io.Writer) (measure.Report, error) {
	tb.Helper()
	found := measure.Report{Machine: measure.Machine()}
	for _, kind := range kinds() {
		var s store
		for _, e := range kind.experiments {
			name := kind.name + "/" + e.name
			if !wanted.MatchString(name) {
				continue
			}
			if s == nil {
				s = kind.start(tb)
			}
			fmt.Fprintln(progress, name)
			var results []measure.Result
			err := measure.Hosted(func(tb testing.TB) (err error) { // what it opens ends with it
				results, err = e.measure(ctx, tb, s, size)
				return err
			})
			if err := found.Add(results, err); err != nil {
				return found, err
			}
		}
	}
	return found, nil
}

// A kind is a kind of store, with what is measured on it.
type kind struct {
	name        string
	start       func(testing.TB) store
	experiments []experiment
}

func kinds() []kind {
	return []kind{
		{"Redis", newRedis, []experiment{
			publishing(1), publishing(16), publishing(128),
			delivering(), flooding(), crowding(), catchingUp(),
			gemPublishing(1), gemPublishing(16), gemFlooding(), gemCatchingUp(),
		}},
		{"Postgres", newPostgres, []experiment{
			publishing(1), publishing(16), publishing(128),
			delivering(), flooding(), crowding(), catchingUp(),
			gemPublishing(1), gemPublishing(16), gemFlooding(), gemCatchingUp(),
		}},
	}
}
