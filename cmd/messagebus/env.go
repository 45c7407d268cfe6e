package main

import (
	"fmt"
	"strings"

	"github.com/spf13/pflag"
)

// origin is the annotation that says where a flag was set but on the command
// line: a variable, or a line of a file.
const origin = "messagebus_origin"

// envName returns the variable that stands for a flag.
func envName(flag string) string {
	return "MESSAGEBUS_" + strings.ToUpper(strings.ReplaceAll(flag, "-", "_"))
}

// applyEnv sets the flags that the command line does not from the environment.
func applyEnv(flags *pflag.FlagSet, env lookup) (wrong mistakes) {
	flags.VisitAll(func(f *pflag.Flag) {
		value, found := env(envName(f.Name))
		if !found || value == "" || f.Changed || f.Name == "help" {
			return
		}
		values := []string{value}
		if repeats(f) {
			values = strings.FieldsFunc(value, func(r rune) bool { return r == '\n' })
		}
		if err := setFrom(f, envName(f.Name), values); err != nil {
			wrong = append(wrong, fmt.Errorf("%s=%q: %w", envName(f.Name), shown(f, value), err))
		}
	})
	return wrong
}

func repeats(f *pflag.Flag) bool {
	_, found := f.Annotations[repeatable]
	return found
}

// setFrom sets a flag to what was found elsewhere than on the command line.
func setFrom(f *pflag.Flag, where string, values []string) error {
	if f.Annotations == nil {
		f.Annotations = map[string][]string{}
	}
	f.Annotations[origin] = []string{where}
	f.Changed = true
	for _, v := range values {
		if err := f.Value.Set(v); err != nil {
			return err
		}
	}
	return nil
}

// originOf says where a flag was set; empty: nowhere.
func originOf(f *pflag.Flag) string {
	switch {
	case !f.Changed:
		return ""
	case f.Annotations[origin] != nil:
		return f.Annotations[origin][0]
	default:
		return "--" + f.Name
	}
}

// typed reports whether a flag was given on the command line itself.
func typed(flags *pflag.FlagSet, name string) bool {
	f := flags.Lookup(name)
	return f != nil && f.Changed && f.Annotations[origin] == nil
}
