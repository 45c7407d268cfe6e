package rubycompat_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// TestFromRuby_HasEveryDifferenceOfOtherVersions ties the page to the recordings of the
// folder versions: where a case is no longer otherwise from one version that was tried to
// the next, a row that says so is about a version in between; and where a row says that
// it is recorded, there is such a case.
func TestFromRuby_HasEveryDifferenceOfOtherVersions(t *testing.T) {
	t.Parallel()
	rows := recordedRows(t)
	told := map[string]bool{}
	for name, last := range lastOtherwise(t) {
		next := nextVersion(t, last)
		found := false
		for _, since := range rows {
			if olderThan(last, since) && !olderThan(next, since) {
				found, told[since] = true, true
			}
		}
		if !found {
			t.Errorf("%s is otherwise in %s, and as in 4.5.2 in %s: no row of docs/from-ruby.md about a version in between says that it is recorded", name, last, next)
		}
	}
	for _, since := range rows {
		if !told[since] {
			t.Errorf("docs/from-ruby.md says of %s that it is recorded, and no case is", since)
		}
	}
}

// recordedRows are the versions of which the page says that what changed is recorded.
func recordedRows(t *testing.T) (versions []string) {
	t.Helper()
	_, table, _ := strings.Cut(readPage(t), "\n### Which versions of the gem\n")
	table, _, _ = strings.Cut(table, "\n## ")
	for line := range strings.Lines(table) {
		since, says, _ := strings.Cut(strings.TrimPrefix(line, "| "), " | ")
		if strings.HasPrefix(line, "| ") && strings.Contains(says, "*recorded*") {
			versions = append(versions, strings.Split(since, ", ")...)
		}
	}
	return versions
}

// triedVersions are those with recordings, from the oldest to the newest.
func triedVersions(t *testing.T) []string {
	t.Helper()
	paths, err := filepath.Glob("versions/*.json")
	if err != nil || len(paths) == 0 {
		t.Fatalf("%q, %v", paths, err)
	}
	versions := make([]string, len(paths))
	for i, path := range paths {
		versions[i] = strings.TrimSuffix(filepath.Base(path), ".json")
	}
	slices.SortFunc(versions, compareVersions)
	return versions
}

// lastOtherwise says of each case that is otherwise in some version which the newest is.
func lastOtherwise(t *testing.T) map[string]string {
	t.Helper()
	last := map[string]string{}
	for _, version := range triedVersions(t) {
		text, err := os.ReadFile(filepath.Join("versions", version+".json"))
		if err != nil {
			t.Fatal(err)
		}
		var recording struct {
			Cases map[string][]struct{ Name string }
		}
		if err := json.Unmarshal(text, &recording); err != nil {
			t.Fatalf("%s: %v", version, err)
		}
		for file, cases := range recording.Cases {
			for _, c := range cases {
				last[file+": "+c.Name] = version
			}
		}
	}
	return last
}

// nextVersion is the one that was tried after a version; after the newest, the one that
// all is compared with.
func nextVersion(t *testing.T, version string) string {
	t.Helper()
	versions := triedVersions(t)
	if i := slices.Index(versions, version) + 1; i < len(versions) {
		return versions[i]
	}
	return "4.5.2"
}

func olderThan(a, b string) bool { return compareVersions(a, b) < 0 }

// compareVersions takes one without a last number for its first.
func compareVersions(a, b string) int { return slices.Compare(numbers(a), numbers(b)) }

// numbers are those of a version, three of them.
func numbers(version string) []int {
	all := make([]int, 3)
	for i, digits := range regexp.MustCompile(`\d+`).FindAllString(version, 3) {
		all[i], _ = strconv.Atoi(digits)
	}
	return all
}
