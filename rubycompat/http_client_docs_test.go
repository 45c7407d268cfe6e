package rubycompat_test

import (
	"encoding/json"
	"os"
	"regexp"
	"strings"
	"testing"
)

// TestHTTPClientDocs_NameEverySettingAndMethodOfBothClientsOfTheGem compares the page with the
// recording's case of defaults, and with the tables of the facts about the browser's client.
func TestHTTPClientDocs_NameEverySettingAndMethodOfBothClientsOfTheGem(t *testing.T) {
	t.Parallel()
	rows := tableRows(t, "../docs/http-client.md")
	names := append(recordedNames(t), factNames(t)...)
	if len(names) < 45 {
		t.Fatalf("only %d names were found: %q", len(names), names)
	}
	for _, name := range names {
		if !regexp.MustCompile("`" + regexp.QuoteMeta(name) + "[`(]").MatchString(rows) {
			t.Errorf("no row of docs/http-client.md names `%s`", name)
		}
	}
}

// tableRows returns the rows of the tables of a page.
func tableRows(t *testing.T, file string) string {
	t.Helper()
	page, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var rows []string
	for line := range strings.Lines(string(page)) {
		if strings.HasPrefix(line, "|") {
			rows = append(rows, line)
		}
	}
	return strings.Join(rows, "")
}

// recordedNames are those of the Ruby client.
func recordedNames(t *testing.T) []string {
	t.Helper()
	var names []string
	for _, c := range load[struct {
		Name     string                     `json:"name"`
		Defaults map[string]json.RawMessage `json:"defaults"`
		Methods  []string                   `json:"methods"`
	}](t, clientRecording) {
		if c.Name == "defaults" {
			names = append(names, "headers", "client_id", "STARTED", "STOPPED")
			for name := range c.Defaults {
				names = append(names, name)
			}
			for _, method := range c.Methods {
				names = append(names, strings.TrimSuffix(method, "="))
			}
		}
	}
	return names
}

// factNames are those of the browser's client: the first column of its table of settings, and
// what begins an entry of its list of methods.
func factNames(t *testing.T) []string {
	t.Helper()
	page, err := os.ReadFile("golden/js-client-facts.md")
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	quoted := regexp.MustCompile("`([A-Za-z]+)(\\([^`]*\\))?`")
	method := regexp.MustCompile("^- `[a-z]+\\(.*")
	for line := range strings.Lines(string(page)) {
		head := ""
		switch {
		case strings.HasPrefix(line, "| `"):
			head, _, _ = strings.Cut(line[1:], "|")
		case method.MatchString(line):
			head, _, _ = strings.Cut(line, "→")
			head, _, _ = strings.Cut(head, ". ")
		}
		for _, match := range quoted.FindAllStringSubmatch(head, -1) {
			names = append(names, match[1])
		}
	}
	return names
}
