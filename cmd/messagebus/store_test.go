package main

import (
	"errors"
	"strings"
	"testing"
)

// A URL with a password may come with any mistake; no error repeats it.
func TestOpenStore_NeverRepeatsAPassword(t *testing.T) {
	t.Parallel()
	for _, url := range []string{
		"redis://user:hunter2@host:6379/0", "postgres://user:hunter2@host/db?sslmode=x",
		"redis://user:hunter2%zz@host", "redis://user:hun/hunter2@host", "redis://user:hunter2", ":hunter2@host",
		"memory:hunter2", "memory://user:hunter2@host", "memory:?password=hunter2", "hunter2", "//:hunter2@host", "redis://host:hunter2",
	} {
		for _, open := range []func() error{
			func() error { _, err := openStore(url, nil); return err },
			func() error { _, err := openSharedStore(url); return err },
		} {
			err := open()
			var usage *usageError
			if err == nil || strings.Contains(err.Error(), "hunter2") || !errors.As(err, &usage) || !strings.Contains(err.Error(), "memory:") {
				t.Errorf("%q: %v", url, err)
			}
		}
	}
}
