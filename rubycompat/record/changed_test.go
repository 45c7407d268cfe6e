package record_test

import (
	"encoding/json"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/messagebus-go/messagebus/rubycompat/record"
)

// changes are what another version of the gem might do, by recording: in a file, one text
// in place of another. The case named shows it, and the other one does not.
var changes = map[string]struct{ file, text, instead, shows, other string }{
	"message.json":     {"message.rb", `(s2 - s1 - 1)`, `(s2 - s1 - 2)`, "encode-plain", "data-nil"},
	"redis.json":       {"backends/redis.rb", `highest_id = 0 if`, `highest_id = 1 if`, "listen-ahead", "listen-replay"},
	"postgres.json":    {"backends/postgres.rb", `highest_id = 0`, `highest_id = 1`, "listen-ahead", "listen-replay"},
	"http.json":        {"rack/middleware.rb", `["not found"]`, `["nothing"]`, "method-options-no-client", "id-zero-poll"},
	"http_client.json": {"http_client.rb", `2**failed_count`, `3**failed_count`, "connection-closed", "request-first"},
	"cache.json":       {"distributed_cache.rb", `user_ids: [-1]`, `user_ids: [-2]`, "set-string", "value-nil"},
}

// TestGolden_ShowsAChange changes one line of the gem, in a copy of it, and finds the case
// of each recording that shows it.
func TestGolden_ShowsAChange(t *testing.T) {
	t.Parallel()
	for name := range record.Recordings {
		t.Run(strings.TrimSuffix(name, ".json"), func(t *testing.T) {
			t.Parallel()
			needGem(t)
			change, ok := changes[name]
			if !ok {
				t.Fatalf("no change is known that %s shows", name)
			}
			lib := t.TempDir()
			if err := os.CopyFS(lib, os.DirFS(libOfGem(t))); err != nil {
				t.Fatal(err)
			}
			edit(t, filepath.Join(lib, "message_bus", change.file), change.text, change.instead)
			env, server := []string{"MESSAGE_BUS_LIB=" + lib}, serverOf(t, name)
			cases := casesNamed(t, name, change.shows, change.other)
			shows, other := made(t, name, cases[:1], env, server), settled(t, name, cases[1:], cases[1:], env, server)
			if len(record.Differences(cases[0], shows[0])) == 0 {
				t.Errorf("%s does not show it: %s", change.shows, shows[0])
			}
			if found := record.Differences(cases[1], other[0]); len(found) > 0 {
				t.Errorf("%s differs as well: %q", change.other, found)
			}
		})
	}
}

// libOfGem is the folder with the gem's code, wherever it is installed.
func libOfGem(t *testing.T) string {
	t.Helper()
	where, err := exec.CommandContext(t.Context(), "ruby", "-e",
		`$:.unshift ENV["MESSAGE_BUS_LIB"] if ENV["MESSAGE_BUS_LIB"]; require "message_bus"; print $".grep(%r{/message_bus\.rb\z}).first`).Output()
	if err != nil {
		t.Fatal(err)
	}
	return filepath.Dir(string(where))
}

func edit(t *testing.T, path, text, instead string) {
	t.Helper()
	program, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if strings.Count(string(program), text) != 1 {
		t.Fatalf("%q does not stand once in %s", text, path)
	}
	if err := os.WriteFile(path, []byte(strings.Replace(string(program), text, instead, 1)), 0o600); err != nil {
		t.Fatal(err)
	}
}

// casesNamed are cases of a recording, in the order of their names here.
func casesNamed(t *testing.T, recording string, names ...string) []record.Case {
	t.Helper()
	cases, err := record.Load(filepath.Join("..", "golden", recording))
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]record.Case{}
	for _, c := range cases {
		var named struct{ Name string }
		if err := json.Unmarshal(c, &named); err != nil {
			t.Fatal(err)
		}
		found[named.Name] = c
	}
	list := make([]record.Case, len(names))
	for i, name := range names {
		if list[i] = found[name]; list[i] == nil {
			t.Fatalf("%s has no case %s, but %s", recording, name, slices.Sorted(maps.Keys(found)))
		}
	}
	return list
}
