package main

import (
	"fmt"
	"os"

	"github.com/spf13/cobra"
	"github.com/spf13/cobra/doc"
)

func newMan(root *cobra.Command) *cobra.Command {
	return &cobra.Command{
		Use:     "man DIRECTORY",
		Short:   "Write the manual pages",
		Long:    "Write a manual page for each command into a directory, which is made if there is none.",
		Example: "  messagebus man /usr/local/share/man/man1",
		Args:    arguments(1, 1, "a directory"),
		RunE: func(_ *cobra.Command, args []string) error {
			if err := os.MkdirAll(args[0], 0o755); err != nil { //nolint:gosec // manuals are for everybody
				return err
			}
			root.DisableAutoGenTag = true // the same pages from the same program
			if err := doc.GenManTree(root, &doc.GenManHeader{Title: "MESSAGEBUS", Section: "1", Source: "messagebus", Manual: "messagebus"}, args[0]); err != nil {
				return fmt.Errorf("cannot write the manual pages: %w", err)
			}
			return nil
		},
	}
}
