package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/messagebus-go/messagebus/cmd/messagebus/internal/doctor"
)

// doctorPatience bounds all questions to a store together.
const doctorPatience = 2 * time.Minute

func newDoctor(env lookup) *cobra.Command {
	store, asJSON := defaultStore, false
	cmd := &cobra.Command{
		Use:   "doctor",
		Short: "Look at a live store, and say what would break",
		Long: `Look at a live store of Redis or Postgres, and say what is there and what would
break: which versions of the gem have published, channels, ids and limits, who
listens, what this user may do, and how the server is set up.

Nothing is changed, a bounded part of the store is read, and what was not looked at
is named. No message and no password is printed. It is best run as the user of the
bus, while its processes run.

A finding is ok, a note, a warning (it works, and may lose or surprise) or an error
(it does not work, or will not), and says what to do.

With --json there is one JSON object a line:

  {"server":{"url":…,"version":…,"place":…,"holds":…}}
  {"finding":{"severity":…,"topic":…,"says":…,"do":…}}
  {"channel":{"channel":…,"site":…,"messages":…,"first_id":…,"last_id":…,"expires_in":…}}
  {"not_looked_at":"…"}

Exit codes: 0 no error was found, 1 at least one was, or the store cannot be asked,
2 wrong usage.`,
		Example: `  messagebus doctor --store redis://127.0.0.1:6379
  messagebus doctor --store postgres://bus@127.0.0.1/app --json`,
		Args: arguments(0, 0, "nothing"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			kind, err := findStore(store)
			if err != nil {
				return err
			}
			if kind.inspect == nil {
				return usagef("--store %s is gone when this command ends; give the URL of a store that others see", kind.form)
			}
			ctx, cancel := context.WithTimeout(cmd.Context(), doctorPatience)
			defer cancel()
			report, err := kind.inspect(ctx, store)
			if err != nil {
				return err
			}
			return show(cmd.OutOrStdout(), report, asJSON, env)
		},
	}
	annotate(addString(cmd.Flags(), &store, "store", "URL", storeUsage), maskedURLFlag)
	addSwitch(cmd.Flags(), &asJSON, "json", "print JSON, one object a line")
	return cmd
}

// errFound ends the program with a failure after a report that says why.
var errFound = errors.New("something does not work, or will not")

func show(w io.Writer, report *doctor.Report, asJSON bool, env lookup) error {
	write := func() error { return report.Text(w, coloured(w, env)) }
	if asJSON {
		write = func() error { return reportLines(&lines{w: w}, report) }
	}
	if err := write(); err != nil {
		return &outputError{err}
	}
	if report.Failed() {
		return fmt.Errorf("%s: %w", report.Server.URL, errFound)
	}
	return nil
}

// reportLine is a line of a report; one member is there.
type reportLine struct {
	Server      *doctor.Server  `json:"server,omitempty"`
	Finding     *doctor.Finding `json:"finding,omitempty"`
	Channel     *doctor.Channel `json:"channel,omitempty"`
	NotLookedAt string          `json:"not_looked_at,omitempty"`
}

func reportLines(out *lines, report *doctor.Report) error {
	all := make([]reportLine, 1, 1+len(report.Findings)+len(report.Channels)+len(report.NotLookedAt))
	all[0].Server = &report.Server
	for i := range report.Findings {
		all = append(all, reportLine{Finding: &report.Findings[i]})
	}
	for i := range report.Channels {
		all = append(all, reportLine{Channel: &report.Channels[i]})
	}
	for _, what := range report.NotLookedAt {
		all = append(all, reportLine{NotLookedAt: what})
	}
	for _, line := range all {
		if err := out.write(line); err != nil {
			return err
		}
	}
	return nil
}

// coloured reports whether w is a terminal of somebody who wants colours (no-color.org).
func coloured(w io.Writer, env lookup) bool {
	file, ok := w.(*os.File)
	if !ok {
		return false
	}
	if value, found := env("NO_COLOR"); found && value != "" {
		return false
	}
	if value, _ := env("TERM"); value == "dumb" {
		return false
	}
	info, err := file.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}
