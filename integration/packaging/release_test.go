package packaging_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/messagebus-go/messagebus/integration/command"
)

// A build is how goreleaser has the binary made.
type build struct {
	Main    string
	Env     []string
	Flags   []string
	Ldflags []string
}

func readRelease(t *testing.T) (b build, contents []string) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(command.Root(t), ".goreleaser.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	var release struct {
		Builds []build
		Nfpms  []struct {
			Contents []struct{ Src string }
		}
	}
	if err := yaml.Unmarshal(text, &release); err != nil {
		t.Fatal(err)
	}
	for _, file := range release.Nfpms[0].Contents {
		contents = append(contents, file.Src)
	}
	return release.Builds[0], contents
}

// A linker that is told to set a variable that is not there says nothing.
func TestRelease_KnowsItsVersion(t *testing.T) {
	t.Parallel()
	b, _ := readRelease(t)
	program := filepath.Join(t.TempDir(), "messagebus")
	args := append([]string{"build", "-o", program, "-ldflags", strings.ReplaceAll(strings.Join(b.Ldflags, " "), "{{ .Version }}", "1.2.3")}, b.Flags...)
	cmd := exec.CommandContext(t.Context(), "go", append(args, b.Main)...)
	cmd.Dir, cmd.Env = command.Root(t), append(os.Environ(), b.Env...)
	if output, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, output)
	}
	output, err := exec.CommandContext(t.Context(), program, "version").CombinedOutput()
	if err != nil || !strings.HasPrefix(string(output), "messagebus v1.2.3 ") {
		t.Errorf("%v, %q; want the version v1.2.3", err, output)
	}
}

// What the package takes from the repository is there; dist-docs is made for the release.
func TestRelease_HasItsFiles(t *testing.T) {
	t.Parallel()
	_, contents := readRelease(t)
	if len(contents) == 0 {
		t.Error("the package has no files")
	}
	for _, name := range contents {
		if _, err := os.Stat(filepath.Join(command.Root(t), name)); err != nil && !strings.HasPrefix(name, "dist-docs/") {
			t.Error(err)
		}
	}
}
