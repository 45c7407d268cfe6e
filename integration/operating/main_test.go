package operating_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/messagebus-go/messagebus/bus/leakcheck"
	"github.com/messagebus-go/messagebus/integration/command"
)

func TestMain(m *testing.M) { leakcheck.Main(m, command.Remove) }

// read returns a file of docs/operating.
func read(t *testing.T, name string) []byte {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(folder(t), name))
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func folder(t *testing.T) string {
	t.Helper()
	return filepath.Join(command.Root(t), "docs", "operating")
}
