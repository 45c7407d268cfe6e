package main

import (
	"net/http"
	"testing"
	"time"

	"github.com/spf13/cobra"
)

func TestEnv_SetsEveryFlagThatIsNotGiven(t *testing.T) {
	t.Parallel()
	env := environ{
		"MESSAGEBUS_LISTEN":          "127.0.0.1:1",
		"MESSAGEBUS_HOLD":            "3s",
		"MESSAGEBUS_MAX_HELD":        "7",
		"MESSAGEBUS_NO_LONG_POLL":    "true",
		"MESSAGEBUS_NO_CHUNKED":      "false",
		"MESSAGEBUS_HEADER":          "A: 1\nB: 2\nA: 3",
		"MESSAGEBUS_TRUSTED_PROXIES": "10.1.2.3/8, ::1",
		"MESSAGEBUS_ADMIN_KEY":       "secret",
		"MESSAGEBUS_BASE_PATH":       "", // as good as none
		"MESSAGEBUS_HELP":            "true",
	}
	s := parseServe(t, env, "--hold", "4s", "--max-backlog-size", "5")
	if s.listen != "127.0.0.1:1" || s.longPoll.Hold != 4*time.Second || s.limits.MaxHeld != 7 || !s.longPoll.Disabled || s.longPoll.DisableChunked ||
		s.adminKey != "secret" || s.basePath != "/" || s.bus.MaxBacklogSize != 5 {
		t.Errorf("got %+v", s)
	}
	if got := s.trusted.String(); got != "10.0.0.0/8,::1/128" {
		t.Errorf("trusted proxies are %s", got)
	}
	if a, b := s.header.Values("A"), s.header.Values("B"); len(a) != 2 || a[0] != "1" || a[1] != "3" || len(b) != 1 {
		t.Errorf("headers are %v", s.header)
	}
}

// parseServe reads a command line without running it.
func parseServe(t *testing.T, env environ, args ...string) *serveCommand {
	t.Helper()
	s := defaultServe()
	s.header = http.Header{}
	cmd := &cobra.Command{}
	s.addFlags(cmd.Flags())
	if err := cmd.ParseFlags(args); err != nil {
		t.Fatal(err)
	}
	if err := applySettings(cmd.Flags(), env.lookup); err != nil {
		t.Fatal(err)
	}
	return s
}

func TestEnv_WrongValueNamesTheVariable(t *testing.T) {
	t.Parallel()
	tests := []struct{ name, value, says string }{
		{"MESSAGEBUS_HOLD", "soon", `MESSAGEBUS_HOLD="soon": it must be a duration`},
		{"MESSAGEBUS_NO_CHUNKED", "maybe", `MESSAGEBUS_NO_CHUNKED="maybe": it must be true or false`},
		{"MESSAGEBUS_HEADER", "A: 1\nB", `MESSAGEBUS_HEADER="A: 1\nB": it must be 'Name: value'`},
		{"MESSAGEBUS_MAX_HELD", "x", `MESSAGEBUS_MAX_HELD="x": it must be a whole number`},
		{"MESSAGEBUS_STORE", "nats://u:hunter2@h", "accepted: memory:, "},
		{"MESSAGEBUS_STORE", "nats://u:hunter2/x@h", "accepted: memory:, "},
		{"MESSAGEBUS_ADMIN_KEY", "hunter2 ", "visible ASCII"},
	}
	for _, test := range tests {
		got := runWith(t, environ{test.name: test.value}, "", "serve", "--listen", "127.0.0.1:0")
		if got.code != exitUsage {
			t.Errorf("%s=%q: exit code %d", test.name, test.value, got.code)
		}
		checkErrorLine(t, got.stderr, test.says)
	}
}

func TestReach_FlagWinsOverEnvironment(t *testing.T) {
	t.Parallel()
	server := environ{"MESSAGEBUS_SERVER": "http://127.0.0.1:1"}
	store := environ{"MESSAGEBUS_STORE": "memory:"}
	both := environ{"MESSAGEBUS_SERVER": "http://127.0.0.1:1", "MESSAGEBUS_STORE": "memory:"}
	tests := []struct {
		env  environ
		args []string
		says string
	}{
		{server, nil, "connection refused"},
		{server, []string{"--store", "memory:"}, "--store memory: is gone"},
		{store, nil, "--store memory: is gone"},
		{store, []string{"--server", "http://127.0.0.1:1"}, "connection refused"},
		{both, nil, "exclude each other"},
		{both, []string{"--server", "http://127.0.0.1:1"}, "connection refused"},
		{both, []string{"--store", "memory:"}, "--store memory: is gone"},
	}
	for _, test := range tests {
		got := runWith(t, test.env, "", append([]string{"last-id", "/a"}, test.args...)...)
		checkErrorLine(t, got.stderr, test.says)
	}
}
