package dashboard

import (
	"os"
	"strings"
	"testing"
)

// documented returns the example of an answer in the document.
func documented(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile("../../../../docs/operating/dashboard.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, found := strings.Cut(string(text), "`"+path)
	_, rest, fenced := strings.Cut(rest, "```json\n")
	example, _, closed := strings.Cut(rest, "```")
	if !found || !fenced || !closed {
		t.Fatalf("there is no example of %s", path)
	}
	return example
}
