// Command cache measures the distributed cache beside golang-lru, otter and
// ristretto, which share nothing with other processes, beside what its parts cost
// alone and, where it is installed, beside the Ruby gem:
//
//	go run ./benchmarks/cache
//	go run ./benchmarks/cache --only '^get' --runs 3
//
// It starts a Redis server, and peers in processes of their own. All sides of a
// comparison take turns in short slices within one run, so that a ratio holds on a
// busy machine as well; every figure is the median of five runs. On a terminal it
// prints a table, into a pipe JSON. It takes less than four minutes.
package main

import (
	"context"
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
	if store := os.Getenv(peerVariable); store != "" {
		measure.Exit("cache", peer(ctx, store, os.Stdin, os.Stdout))
		return
	}
	measure.Exit("cache", program(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

// program measures what the arguments ask for.
func program(ctx context.Context, args []string, out, progress *os.File) error {
	settings, err := measure.ParseFlags("cache", args, out, ", as in get/parallel", full.runs)
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
	found, err := measureAll(ctx, size, settings.Only, progress)
	if err != nil {
		return err
	}
	return found.Write(out, settings.Table)
}

// measureAll carries out the experiments whose names are wanted.
func measureAll(ctx context.Context, size scale, wanted *regexp.Regexp, progress io.Writer) (measure.Report, error) {
	found := measure.Report{Machine: measure.Machine()}
	for _, e := range experiments() {
		if !wanted.MatchString(e.name) {
			continue
		}
		fmt.Fprintln(progress, e.name)
		var results []measure.Result
		err := measure.Hosted(func(tb testing.TB) (err error) { // what it opens ends with it
			results, err = e.measure(ctx, tb, size)
			return err
		})
		if err := found.Add(results, err); err != nil {
			return found, fmt.Errorf("%s: %w", e.name, err)
		}
	}
	return found, nil
}

func experiments() []experiment {
	return []experiment{
		getting("get/serial", false), getting("get/parallel", true), gettingInRuby(), allocating(),
		setting(), applying(), applyingInRuby(), remembering(),
	}
}
