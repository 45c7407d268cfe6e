package record_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/messagebus-go/messagebus/rubycompat/record"
)

// gems is a folder with checkouts of the gem, each named v and its version.
const gems = "MESSAGE_BUS_GEMS"

var write = flag.Bool("write", false, "write the recordings of other versions anew")

// A versionRecording holds the cases whose effects another version of the gem has not,
// as that version has them, by recording.
type versionRecording struct {
	Gem   string                   `json:"gem"`
	Cases map[string][]record.Case `json:"cases"`
}

// TestVersions makes the recordings again with other versions of the gem, and compares
// what differs from the recordings of the newest with what is written down in the
// folder versions.
func TestVersions(t *testing.T) {
	t.Parallel()
	paths, err := filepath.Glob(filepath.Join("..", "versions", "*.json"))
	if err != nil || len(paths) == 0 {
		t.Fatalf("%q, %v", paths, err)
	}
	for _, path := range paths {
		version := strings.TrimSuffix(filepath.Base(path), ".json")
		t.Run(version, func(t *testing.T) {
			t.Parallel()
			lib := libOf(t, version)
			written := readVersion(t, path)
			now := versionRecording{Gem: version, Cases: map[string][]record.Case{}}
			for name := range record.Recordings {
				now.Cases[name] = differing(t, name, written.named(name), "MESSAGE_BUS_LIB="+lib)
			}
			if *write {
				writeVersion(t, path, now)
				return
			}
			compareVersion(t, written, now)
		})
	}
}

// libOf is the folder lib of a version, of which there may be none here.
func libOf(t *testing.T, version string) string {
	t.Helper()
	folder := os.Getenv(gems)
	if folder == "" {
		leaveOut(t, gems+" names no folder with v"+version)
	}
	lib := filepath.Join(folder, "v"+version, "lib")
	if _, err := os.Stat(lib); err != nil {
		t.Fatal(err)
	}
	return lib
}

// differing returns the cases whose effects are others, as they are now, and of those whose
// headers alone are spelled otherwise the first. What becomes of messages that waited while
// the server refused writes is left out: in older versions it depends on how two threads
// meet.
func differing(t *testing.T, name string, written map[string]record.Case, env string) []record.Case {
	t.Helper()
	recorded, now := again(t, name, written, env)
	found := []record.Case{}
	spelled := false
	for i := range recorded {
		switch {
		case bytes.Contains(recorded[i], []byte(`"wait-flush"`)):
		case len(record.Differences(record.Effects(recorded[i]), now[i])) > 0:
			found = append(found, record.Effects(now[i]))
		case !spelled && bytes.Contains(recorded[i], []byte(`"header_lines"`)) && len(record.Differences(recorded[i], now[i])) > 0:
			found, spelled = append(found, now[i]), true
		}
	}
	return found
}

func writeVersion(t *testing.T, path string, now versionRecording) {
	t.Helper()
	var text bytes.Buffer
	encoder := json.NewEncoder(&text)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", " ")
	if err := encoder.Encode(now); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, text.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
}

func readVersion(t *testing.T, path string) (written versionRecording) {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, &written); err != nil {
		t.Fatal(err)
	}
	return written
}

// named are the cases of a recording by what nameOf returns.
func (v versionRecording) named(name string) map[string]record.Case {
	cases := map[string]record.Case{}
	for _, c := range v.Cases[name] {
		cases[nameOf(c)] = c
	}
	return cases
}

func compareVersion(t *testing.T, written, now versionRecording) {
	t.Helper()
	for name, cases := range now.Cases {
		want := written.named(name)
		for _, c := range cases {
			what := nameOf(c)
			if want[what] == nil {
				t.Errorf("%s differs, and is not written down: %s", what, c)
			} else if found := record.Differences(want[what], c); len(found) > 0 {
				t.Errorf("%s:\n  %s", what, strings.Join(found, "\n  "))
			}
			delete(want, what)
		}
		for what := range want {
			t.Errorf("%s is written down, and does not differ", what)
		}
	}
}
