// Command fanout measures what it costs to serve many clients, beside a bare loop
// that writes the same bytes, and the Ruby gem on puma where it is installed:
//
//	go run ./benchmarks/fanout
//	go run ./benchmarks/fanout --only 'own' --profile /tmp/profiles
//
// It starts a Redis server, and each server and each crowd of clients in a process
// of its own. Both sides take turns; every figure is the median of five runs, every
// ratio that of the ratios within each run. On a terminal it prints a table, into
// a pipe JSON. It ends with an error when a message is missing, comes twice or out
// of order.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"regexp"
	"testing"

	"github.com/messagebus-go/messagebus/benchmarks/internal/measure"
	"github.com/messagebus-go/messagebus/integration/stores"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	measure.Exit("fanout", runRoleOr(ctx, func() error { return program(ctx, os.Args[1:], os.Stdout, os.Stderr) }))
}

// runRoleOr runs the process that this one was started as, or f.
func runRoleOr(ctx context.Context, f func() error) error {
	text := os.Getenv(roleVariable)
	if text == "" {
		return f()
	}
	var r role
	if err := json.Unmarshal([]byte(text), &r); err != nil {
		return fmt.Errorf("%s: %w", roleVariable, err)
	}
	switch r.Kind {
	case "crowd":
		return runCrowd(ctx, os.Stdin, os.Stdout)
	case "bare":
		return runServer(ctx, openBare, r, os.Stdin, os.Stdout)
	default:
		return runServer(ctx, openOurs, r, os.Stdin, os.Stdout)
	}
}

// program measures what the arguments ask for.
func program(ctx context.Context, args []string, out, errOut *os.File) error {
	flags := flag.NewFlagSet("fanout", flag.ContinueOnError)
	table := flags.Bool("table", measure.IsTerminal(out), "print a table and not JSON; the default on a terminal")
	only := flags.String("only", "", "measure the rows that match this regular expression")
	quick := flags.Bool("quick", false, "one run of everything, in about two minutes")
	runs := flags.Int("runs", full.runs, "how many runs a median is of")
	profiles := flags.String("profile", "", "write profiles of the servers into this folder")
	if err := flags.Parse(args); err != nil {
		return err
	}
	wanted, err := regexp.Compile(*only)
	if err != nil {
		return fmt.Errorf("--only: %w", err)
	}
	size := full
	size.runs = *runs
	if *quick {
		size = hasty
	}
	var found measure.Report
	err = measure.Hosted(func(tb testing.TB) (err error) {
		found, err = measureAll(ctx, tb, size, wanted, *profiles, progressOn(errOut))
		return err
	})
	if err != nil {
		return err
	}
	return found.Write(out, *table)
}

// progressOn shows what is being done in one line of a terminal, and nothing
// elsewhere.
func progressOn(f *os.File) func(string) {
	if !measure.IsTerminal(f) {
		return func(string) {}
	}
	return func(what string) { fmt.Fprintf(f, "\r\x1b[K%s", what) }
}

// newRedis starts a server with a database for each side, that waits for slow
// readers, whom it would cut off otherwise.
func newRedis(tb testing.TB) *stores.RedisServer {
	tb.Helper()
	return stores.RedisWith(tb, stores.RedisOptions{
		Config: []string{"databases 256", "client-output-buffer-limit pubsub 0 0 0"},
	})
}

// measureAll measures the rows whose names are wanted.
func measureAll(ctx context.Context, tb testing.TB, size scale, wanted *regexp.Regexp, profiles string, progress func(string)) (measure.Report, error) {
	tb.Helper()
	defer progress("")
	found := measure.Report{Machine: measure.Machine()}
	r := &rig{redis: newRedis(tb), size: size, profiles: profiles}
	for _, w := range rows(size) {
		if !wanted.MatchString(w.name) {
			continue
		}
		var results []measure.Result
		err := measure.Hosted(func(tb testing.TB) (err error) { // what it starts ends with it
			results, err = w.measure(ctx, tb, r, progress)
			return err
		})
		if err := found.Add(results, err); err != nil {
			return found, err
		}
	}
	return found, nil
}
