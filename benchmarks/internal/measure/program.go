package measure

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
)

// Exit ends a program that has failed: with what is wrong on standard error, and 1.
// It does nothing without an error, or where help was asked for.
func Exit(name string, err error) {
	if err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintf(os.Stderr, "%s: %v\n", name, err)
		os.Exit(1)
	}
}

// IsTerminal reports whether somebody is looking at f.
func IsTerminal(f *os.File) bool {
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}

// Write prints the report as a table, or as JSON.
func (r *Report) Write(w io.Writer, table bool) error {
	if table {
		return r.Print(w)
	}
	encoder := json.NewEncoder(w)
	encoder.SetIndent("", "  ")
	return encoder.Encode(r)
}

// ErrNotRun is that of a measurement for which something is missing here.
var ErrNotRun = errors.New("NOT RUN")

// Add takes what one measurement has ended with. ErrNotRun is noted; any other error
// is returned.
func (r *Report) Add(results []Result, err error) error {
	if errors.Is(err, ErrNotRun) {
		r.NotRun = append(r.NotRun, err.Error())
		return nil
	}
	r.Results = append(r.Results, results...)
	return err
}
