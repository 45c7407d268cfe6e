package measure

import (
	"flag"
	"fmt"
	"os"
	"regexp"
)

// Settings are what a program that measures is told by its flags.
type Settings struct {
	Table   bool           // and not JSON
	Only    *regexp.Regexp // the names of what is measured
	Quick   bool           // a little of everything, once
	Runs    int            // that a median is of
	Profile string         // file for a profile of the process; empty: none
}

// ParseFlags reads the flags of a program that prints to out. only says what --only is
// matched with, and runs is the default of --runs.
func ParseFlags(program string, args []string, out *os.File, only string, runs int) (Settings, error) {
	var s Settings
	flags := flag.NewFlagSet(program, flag.ContinueOnError)
	flags.BoolVar(&s.Table, "table", IsTerminal(out), "print a table and not JSON; the default on a terminal")
	pattern := flags.String("only", "", "measure what matches this regular expression"+only)
	flags.BoolVar(&s.Quick, "quick", false, "do a little of everything, once; the figures mean nothing")
	flags.StringVar(&s.Profile, "cpuprofile", "", "write a profile of this process to this file")
	flags.IntVar(&s.Runs, "runs", runs, "how many runs a median is of")
	if err := flags.Parse(args); err != nil {
		return s, err
	}
	var err error
	if s.Only, err = regexp.Compile(*pattern); err != nil {
		return s, fmt.Errorf("--only: %w", err)
	}
	return s, nil
}
