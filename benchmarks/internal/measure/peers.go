package measure

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// StartSelf starts this program once more, with a variable by which main knows what
// to be. It ends with tb.
func StartSelf(ctx context.Context, tb testing.TB, variable, value string) (*Process, error) {
	tb.Helper()
	program, err := os.Executable()
	if err != nil {
		return nil, err
	}
	command := exec.CommandContext(context.WithoutCancel(ctx), program) //nolint:gosec // this program; it ends with its input
	command.Env = append(os.Environ(), variable+"="+value)
	return Start(tb, command)
}

// StartRuby starts a Ruby program that needs some gems. It fails with ErrNotRun where
// one of them is missing: not installed, and, of message_bus, in no folder that
// MESSAGE_BUS_LIB names. It ends with tb.
func StartRuby(ctx context.Context, tb testing.TB, gems []string, program string, args ...string) (*Process, error) {
	tb.Helper()
	load := `$LOAD_PATH.unshift(ENV["MESSAGE_BUS_LIB"]) if ENV["MESSAGE_BUS_LIB"]; ARGV.each { |gem| require gem }`
	if output, err := ruby(ctx, load, gems).CombinedOutput(); err != nil {
		why, _, _ := strings.Cut(string(output), "\n")
		return nil, fmt.Errorf("%w: no Ruby with %s (%w: %s)", ErrNotRun, strings.Join(gems, " and "), err, why)
	}
	command := ruby(context.WithoutCancel(ctx), program, args)
	command.Env = append(os.Environ(), "LANG=C.UTF-8")
	return Start(tb, command)
}

func ruby(ctx context.Context, program string, args []string) *exec.Cmd {
	return exec.CommandContext(ctx, "ruby", slices.Concat([]string{"-W0", "-e", program}, args)...) //nolint:gosec // our own program; it ends with its input
}

// TimeEach sends single messages each way, by turns, and returns the times in
// microseconds in ascending order. The listener says after each how many nanoseconds
// it took.
func TimeEach(ctx context.Context, listener *Process, messages int, ways []func(context.Context) error) ([][]float64, error) {
	took := make([][]float64, len(ways))
	for range messages {
		for i, send := range ways {
			if err := send(ctx); err != nil {
				return nil, err
			}
			nanoseconds, err := listener.ReadNumber()
			if err != nil {
				return nil, err
			}
			took[i] = append(took[i], nanoseconds/1000)
		}
	}
	for _, times := range took {
		slices.Sort(times)
	}
	return took, nil
}
