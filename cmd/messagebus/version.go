package main

import (
	"cmp"
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"
)

// release is the version of a release, which its build sets. The go command has one only where
// it has the module from a proxy, as in go install.
var release string

// versionOf is how this program calls its version.
func versionOf(info *debug.BuildInfo) string { return cmp.Or(release, info.Main.Version, "(devel)") }

func newVersion() *cobra.Command {
	return &cobra.Command{
		Use:     "version",
		Short:   "Print what this program was built from",
		Example: "  messagebus version",
		Args:    arguments(0, 0, "nothing"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			info, found := debug.ReadBuildInfo()
			if !found {
				info = &debug.BuildInfo{}
			}
			if _, err := fmt.Fprintln(cmd.OutOrStdout(), versionText(info)); err != nil {
				return &outputError{err}
			}
			return nil
		},
	}
}

// versionText is the version, the commit if the build knew it, and the Go.
func versionText(info *debug.BuildInfo) string {
	text := "messagebus " + versionOf(info)
	settings := make(map[string]string, len(info.Settings))
	for _, s := range info.Settings {
		settings[s.Key] = s.Value
	}
	if revision := settings["vcs.revision"]; revision != "" {
		text += " commit " + revision
		if settings["vcs.modified"] == "true" {
			text += " (modified)"
		}
		if at := settings["vcs.time"]; at != "" {
			text += " of " + at
		}
	}
	return fmt.Sprintf("%s %s %s/%s", text, runtime.Version(), runtime.GOOS, runtime.GOARCH)
}
