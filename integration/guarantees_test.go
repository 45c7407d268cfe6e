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

// A promise whose test was renamed or removed is not held by anything, and nor is a
// limit.
func TestGuarantees_EveryTestThatIsNamedExists(t *testing.T) {
	t.Parallel()
	root := command.Root(t)
	defined := testNames(t, root)
	for page, least := range map[string]int{"guarantees.md": 30, "protocol.md": 20, "operating.md": 1} {
		named := named.FindAllStringSubmatch(readPage(t, root, page), -1)
		if len(named) < least {
			t.Errorf("docs/%s: %d tests are named, want at least %d", page, len(named), least)
		}
		for _, name := range named {
			if !defined[name[1]] {
				t.Errorf("docs/%s names %s, which does not exist", page, name[1])
			}
		}
	}
}

var named = regexp.MustCompile("`(Test[A-Za-z0-9_]+)`")

func readPage(t *testing.T, root, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, "docs", name))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// Nobody has tried to get around a limit that names no test.
func TestLimits_EachNamesTheTestOfItsHostileClient(t *testing.T) {
	t.Parallel()
	_, table, found := strings.Cut(readPage(t, command.Root(t), "protocol.md"), "| limit | default | test |\n| --- | --- | --- |\n")
	table, _, _ = strings.Cut(table, "\n\n")
	limits := strings.Split(strings.TrimSpace(table), "\n")
	const least = 15
	if !found || len(limits) < least {
		t.Fatalf("docs/protocol.md has %d limits, want at least %d", len(limits), least)
	}
	for _, limit := range limits {
		if columns := strings.Split(limit, "|"); len(columns) != 5 || !named.MatchString(columns[3]) {
			t.Errorf("docs/protocol.md: no test is named by %s", limit)
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
