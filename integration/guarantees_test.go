package integration_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/messagebus-go/messagebus/integration/command"
)

// A promise whose test was renamed or removed is not held by anything.
func TestGuarantees_EveryTestThatIsNamedExists(t *testing.T) {
	t.Parallel()
	root := command.Root(t)
	text, err := os.ReadFile(filepath.Join(root, "docs", "guarantees.md"))
	if err != nil {
		t.Fatal(err)
	}
	named := regexp.MustCompile("`(Test[A-Za-z0-9_]+)`").FindAllStringSubmatch(string(text), -1)
	const least = 30
	if len(named) < least {
		t.Fatalf("%d tests are named, want at least %d", len(named), least)
	}
	defined := testNames(t, root)
	for _, name := range named {
		if !defined[name[1]] {
			t.Errorf("docs/guarantees.md names %s, which does not exist", name[1])
		}
	}
}

// testNames finds the functions of all tests below a folder.
func testNames(t *testing.T, root string) map[string]bool {
	t.Helper()
	names := map[string]bool{}
	declared := regexp.MustCompile(`(?m)^func (Test[A-Za-z0-9_]+)\(`)
	err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.IsDir() && (entry.Name() == "node_modules" || entry.Name() == ".tools" || entry.Name() == ".git"):
			return filepath.SkipDir
		case !strings.HasSuffix(path, "_test.go"):
			return nil
		}
		source, err := os.ReadFile(path)
		for _, match := range declared.FindAllSubmatch(source, -1) {
			names[string(match[1])] = true
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return names
}
