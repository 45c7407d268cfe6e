package main

import (
	"fmt"
	"strings"

	"github.com/spf13/pflag"
)

// fromEnv marks a flag that was set by a variable of the environment.
const fromEnv = "messagebus_env"

// envName returns the variable that stands for a flag.
func envName(flag string) string {
	return "MESSAGEBUS_" + strings.ToUpper(strings.ReplaceAll(flag, "-", "_"))
}

// applyEnv sets the flags that the command line does not from the environment.
func applyEnv(flags *pflag.FlagSet, env lookup) error {
	var failed error
	flags.VisitAll(func(f *pflag.Flag) {
		value, found := env(envName(f.Name))
		if failed != nil || !found || value == "" || f.Changed || f.Name == "help" {
			return
		}
		if err := setFromEnv(f, value); err != nil {
			failed = &usageError{fmt.Errorf("%s=%q: %w", envName(f.Name), value, err)}
		}
	})
	return failed
}

func setFromEnv(f *pflag.Flag, value string) error {
	values := []string{value}
	if _, repeats := f.Annotations[repeatable]; repeats {
		values = strings.FieldsFunc(value, func(r rune) bool { return r == '\n' })
	}
	for _, v := range values {
		if err := f.Value.Set(v); err != nil {
			return err
		}
	}
	f.Changed = true
	if f.Annotations == nil {
		f.Annotations = map[string][]string{}
	}
	f.Annotations[fromEnv] = nil
	return nil
}

// typed reports whether a flag was given on the command line itself.
func typed(flags *pflag.FlagSet, name string) bool {
	f := flags.Lookup(name)
	if f == nil || !f.Changed {
		return false
	}
	_, env := f.Annotations[fromEnv]
	return !env
}
