package operating_test

import (
	"os"
	"path/filepath"
	"regexp"
	"testing"
)

var yamlBlock = regexp.MustCompile("(?s)```yaml\n(.*?)```")

// The file with the key is the reader's, so that only the settings are checked.
func TestScrape_IsAConfigurationOfPrometheus(t *testing.T) {
	t.Parallel()
	block := yamlBlock.FindSubmatch(read(t, "metrics.md"))
	if block == nil {
		t.Fatal("metrics.md has no block of YAML")
	}
	path := filepath.Join(t.TempDir(), "prometheus.yml")
	if err := os.WriteFile(path, block[1], 0o600); err != nil {
		t.Fatal(err)
	}
	promtool(t, nil, "check", "config", "--syntax-only", path)
}
