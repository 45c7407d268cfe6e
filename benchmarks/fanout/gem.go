package main

import (
	"context"
	_ "embed" // the gem's side
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/messagebus-go/messagebus/benchmarks/internal/measure"
)

//go:embed gem.rb
var gemProgram string

// errNotRun is that of a row for which something is missing here.
var errNotRun = errors.New("NOT RUN")

// startGem fails with errNotRun where there is no gem, or no puma: none installed,
// and no folder that MESSAGE_BUS_LIB names.
func startGem(ctx context.Context, tb testing.TB, in place) (*measure.Process, error) {
	tb.Helper()
	const load = `$LOAD_PATH.unshift(ENV["MESSAGE_BUS_LIB"]) if ENV["MESSAGE_BUS_LIB"]; require "message_bus"; require "puma"`
	if output, err := exec.CommandContext(ctx, "ruby", "-W0", "-e", load).CombinedOutput(); err != nil {
		why, _, _ := strings.Cut(string(output), "\n")
		return nil, fmt.Errorf("%w: no Ruby with the gems message_bus and puma (%w: %s)", errNotRun, err, why)
	}
	program := exec.CommandContext(context.WithoutCancel(ctx), "ruby", "-W0", "-e", gemProgram, in.URL) //nolint:gosec // our own program; it ends with its input
	program.Env = append(os.Environ(), "LANG=C.UTF-8")
	return measure.Start(tb, program)
}
