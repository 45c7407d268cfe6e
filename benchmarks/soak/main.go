// Command soak lets servers run for long under a steady load, and looks at what
// becomes of them and of the messages:
//
//	go run ./benchmarks/soak growth --plot growth.svg
//	go run ./benchmarks/soak kills
//
// growth watches one server for twenty minutes: what it has resident, its goroutines
// and its open files. With kills, one of three servers behind nginx is killed every ten
// seconds, for ten minutes. Both start all that they need, a Redis server too, put
// the load on with messagebus bench, and end with an error when a message is missing,
// comes twice, or a gap is reported. On a terminal they print a table, into a pipe
// JSON.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"testing"
	"time"

	"github.com/messagebus-go/messagebus/benchmarks/internal/measure"
	"github.com/messagebus-go/messagebus/integration/command"
	"github.com/messagebus-go/messagebus/integration/stores"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	measure.Exit("soak", errors.Join(program(ctx, os.Args[1:], os.Stdout), command.Remove(), stores.Close()))
}

// program does what the arguments ask for.
func program(ctx context.Context, args []string, out *os.File) error {
	what := ""
	if len(args) > 0 {
		what, args = args[0], args[1:]
	}
	flags := flag.NewFlagSet("soak "+what, flag.ContinueOnError)
	table := flags.Bool("table", measure.IsTerminal(out), "print a table and not JSON; the default on a terminal")
	var run func(context.Context, testing.TB) ([]measure.Result, error)
	switch what {
	case "growth":
		duration := flags.Duration("duration", 20*time.Minute, "how long messages are published")
		plot := flags.String("plot", "", "write the course of the figures as an SVG picture to this file")
		run = func(ctx context.Context, tb testing.TB) ([]measure.Result, error) {
			return growth(ctx, tb, *duration, sampleEvery, *plot)
		}
	case "kills":
		duration := flags.Duration("duration", 10*time.Minute, "how long messages are published")
		run = func(ctx context.Context, tb testing.TB) ([]measure.Result, error) {
			return kills(ctx, tb, *duration, killEvery)
		}
	default:
		return fmt.Errorf("%q is neither growth nor kills, which the first argument has to be", what)
	}
	if err := flags.Parse(args); err != nil {
		return err
	}
	found := measure.Report{Machine: measure.Machine()}
	err := measure.Hosted(func(tb testing.TB) (err error) {
		found.Results, err = run(ctx, tb)
		return err
	})
	if len(found.Results) > 0 {
		err = errors.Join(found.Write(out, *table), err)
	}
	return err
}
