package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/messagebus-go/messagebus/bus"
)

// The exit codes.
const (
	exitDone    = 0
	exitFailure = 1
	exitUsage   = 2
)

// usageError is a command line or a value that cannot work, whatever the state
// of the world.
type usageError struct{ err error }

func (e *usageError) Error() string { return e.err.Error() }
func (e *usageError) Unwrap() error { return e.err }

func usagef(format string, args ...any) error {
	return &usageError{fmt.Errorf(format, args...)}
}

// asUsage marks err, if there is one, as an error of usage.
func asUsage(err error) error {
	if err == nil {
		return nil
	}
	return &usageError{err}
}

// mistakes are errors of usage that are told together, one a line.
type mistakes []error

func (m mistakes) Error() string { return errors.Join(m...).Error() }

func (m mistakes) Unwrap() []error { return m }

// orNil returns m if there is any in it.
func (m mistakes) orNil() error {
	if len(m) == 0 {
		return nil
	}
	return &usageError{m}
}

// outputError is a failed write to standard output.
type outputError struct{ err error }

func (e *outputError) Error() string { return "cannot write the output: " + e.err.Error() }
func (e *outputError) Unwrap() error { return e.err }

// hungUp reports whether whoever reads the output has gone, as head does.
func hungUp(err error) bool {
	var output *outputError
	return errors.As(err, &output) &&
		(errors.Is(err, syscall.EPIPE) || errors.Is(err, io.ErrClosedPipe) || errors.Is(err, os.ErrClosed))
}

// report writes err as one line and returns the exit code.
func report(stderr io.Writer, err error) int {
	if err == nil || hungUp(err) {
		return exitDone
	}
	for _, one := range single(err) {
		fmt.Fprintf(stderr, "messagebus: %s\n", oneLine(one.Error()))
	}
	var usage *usageError
	if errors.As(err, &usage) || refused(err) {
		return exitUsage
	}
	return exitFailure
}

// single returns what err is made of: several mistakes, or itself.
func single(err error) []error {
	if several, ok := errors.AsType[mistakes](err); ok {
		return several
	}
	return []error{err}
}

// refused reports whether the bus refused a value, which no repetition mends.
func refused(err error) bool {
	for _, cause := range []error{
		bus.ErrInvalidChannel, bus.ErrInvalidTarget, bus.ErrInvalidData, bus.ErrInvalidLimit, bus.ErrTooLarge,
	} {
		if errors.Is(err, cause) {
			return true
		}
	}
	return false
}

// oneLine keeps what others put into an error from writing lines of its own.
func oneLine(s string) string {
	s = strings.ReplaceAll(strings.TrimSpace(s), "\n", "; ")
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, s)
}

// arguments checks the number of arguments; most below 0: no limit.
func arguments(least, most int, what string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) >= least && (most < 0 || len(args) <= most) {
			return nil
		}
		return fmt.Errorf("%s takes %s, not %d arguments; see \"%s --help\"", cmd.Name(), what, len(args), cmd.CommandPath())
	}
}

// markUsage makes what refuses arguments an error of usage, in all commands.
func markUsage(cmd *cobra.Command) {
	if check := cmd.Args; check != nil {
		cmd.Args = func(cmd *cobra.Command, args []string) error { return asUsage(check(cmd, args)) }
	}
	for _, child := range cmd.Commands() {
		markUsage(child)
	}
}

// mendCompletion has cobra's command refuse a shell that it does not know;
// as it comes it shows its help and reports success.
func mendCompletion(root *cobra.Command) {
	completion, _, err := root.Find([]string{"completion"})
	if err != nil {
		return
	}
	completion.Args = arguments(1, 1, "the name of a shell")
	completion.Example = "  messagebus completion bash >/etc/bash_completion.d/messagebus"
	completion.RunE = func(cmd *cobra.Command, args []string) error {
		return usagef("completion is not written for %q; it is for: %s", args[0], commandNames(cmd))
	}
	for _, shell := range completion.Commands() {
		shell.Example = "  messagebus completion " + shell.Name()
	}
}

func commandNames(cmd *cobra.Command) string {
	var names []string
	for _, child := range cmd.Commands() {
		if child.IsAvailableCommand() || child.Name() == "help" {
			names = append(names, child.Name())
		}
	}
	return strings.Join(names, ", ")
}
