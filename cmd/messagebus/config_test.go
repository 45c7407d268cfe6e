package main

import (
	"bytes"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/spf13/pflag"
	"go.yaml.in/yaml/v3"
)

func TestConfig_FlagsWinOverTheEnvironmentAndThatOverTheFile(t *testing.T) {
	t.Parallel()
	path := write(t, "messagebus.yaml", `
listen: 127.0.0.1:1
hold: 3s
max-held: 7
no-chunked: true
drain: 1s
allow-channels: [/a/*, "/b"]
cors-origin: https://a.example
`)
	s := parseServe(t, environ{"MESSAGEBUS_CONFIG": path, "MESSAGEBUS_HOLD": "4s", "MESSAGEBUS_DRAIN": "2s"}, "--drain", "3s")
	if s.listen != "127.0.0.1:1" || s.longPoll.Hold != 4*time.Second || s.limits.MaxHeld != 7 || !s.longPoll.DisableChunked ||
		s.longPoll.Drain != 3*time.Second || len(s.allow) != 2 || s.allow[1] != "/b" || len(s.origins) != 1 {
		t.Errorf("got %+v", s)
	}
}

func TestConfig_NamesEveryMistakeWithItsLine(t *testing.T) {
	t.Parallel()
	path := write(t, "messagebus.yaml", `hold: soon
nosuch: 1
max_held: 5
drain: 1s
drain: 2s
allow-channels: [/a, b]
header: {a: b}
listen:
listen: [":1"]
admin-key: "hunter2 and more"
config: other.yaml
&x read-timeout: *x
`)
	got := runWith(t, environ{"MESSAGEBUS_MAX_CHANNELS": "x"}, "", "config", "check", "--config", path)
	if got.code != exitUsage || got.stdout != "" {
		t.Errorf("exit code %d: %s", got.code, got.stdout)
	}
	want := []string{
		`MESSAGEBUS_MAX_CHANNELS="x": it must be a whole number`,
		`:1: hold is "soon": it must be a duration`,
		`:2: there is no setting "nosuch"`,
		`:3: there is no setting "max_held"; perhaps max-held`,
		`:5: drain is set in line 4 already`,
		`:6: allow-channels is "/a, b": "b" is no pattern`,
		`:7: header: it must be text`,
		`:8: listen: it must be text`,
		`:9: listen is set in line 8 already`,
		`:11: there is no setting "config"`,
		`:12: read-timeout: it must be text`,
	}
	lines := strings.Split(strings.TrimSpace(got.stderr), "\n")
	if len(lines) != len(want) {
		t.Fatalf("%d messages, want %d:\n%s", len(lines), len(want), got.stderr)
	}
	for i, line := range lines {
		if !strings.Contains(line, want[i]) || strings.Contains(line, "hunter2") {
			t.Errorf("line %d is %q, want %q in it", i, line, want[i])
		}
	}
}

func TestConfig_RefusesWhatIsNoMapping(t *testing.T) {
	t.Parallel()
	for text, says := range map[string]string{
		"- a":                    "must be a YAML mapping",
		"hunter2":                "must be a YAML mapping",
		"a: b\n---\nc: d":        "second document",
		"admin-key: \"hunter2":   "not YAML",
		"admin-key: *hunter2":    "not YAML",
		"admin-key: !!hunter2 [": "not YAML",
		"\tadmin-key: hunter2":   "not YAML",
	} {
		got := runArgs(t, "config", "check", "--config", write(t, "c.yaml", text))
		if got.code != exitUsage || strings.Contains(got.stderr, "hunter2") || !strings.Contains(got.stderr, says) {
			t.Errorf("%q: %d %s", text, got.code, got.stderr)
		}
	}
	for _, text := range []string{"", "# nothing\n", "---\n", "null"} {
		if got := runArgs(t, "config", "check", "--config", write(t, "c.yaml", text)); got.code != exitDone || got.stdout != "ok\n" {
			t.Errorf("%q: %+v", text, got)
		}
	}
	if got := runArgs(t, "serve", "--config", t.TempDir()+"/none"); got.code != exitUsage {
		t.Errorf("a missing file: %+v", got)
	}
}

func TestConfig_CheckFindsWhatDoesNotFitTogether(t *testing.T) {
	t.Parallel()
	short := write(t, "short", "short")
	for args, says := range map[string]string{
		"--identity jwt":                               "--identity: jwt needs keys",
		"--identity forward":                           "--identity: forward needs auth-url",
		"--identity forward --auth-url nosuch":         "--auth-url: it must be a URL",
		"--jwt-key x":                                  "--jwt-key: it goes with the identity jwt, which is none",
		"--identity jwt --jwt-secret-file " + short:    "short: the secret has 5 bytes",
		"--identity jwt --jwt-key " + short:            "short: there is no public key",
		"--identity jwt --jwt-key nosuch":              "--jwt-key: open nosuch",
		"--identity jwt --jwks-url ftp://x":            "--jwks-url: it must be a URL",
		"--tls-cert x":                                 "--tls-cert: tls-key is missing",
		"--tls-cert x --tls-key y":                     "--tls-cert: stat x",
		"--admin-listen systemd":                       "--admin-key (or MESSAGEBUS_ADMIN_KEY) is required",
		"--admin-key-file nosuch":                      "--admin-key-file: open nosuch",
		"--admin-key-file " + short + " --admin-key x": "--admin-key-file: there is a admin-key as well",
		"--store-file " + short:                        "the URL has no scheme",
		"--cors-origin nosuch":                         "nosuch",
		"--server-only internal":                       "it must begin with /",
		"--allow-channels internal":                    "it must begin with / or *",
		"--auth-header X:Y":                            "name of a header",
	} {
		got := runArgs(t, append([]string{"config", "check"}, strings.Fields(args)...)...)
		if got.code != exitUsage {
			t.Errorf("%s: exit code %d", args, got.code)
		}
		checkErrorLine(t, got.stderr, says)
	}
}

// What print writes is a file that says the same, secrets left out.
func TestConfig_PrintIsAConfiguration(t *testing.T) {
	t.Parallel()
	args := []string{
		"--allow-channels", "/a/*", "--allow-channels", "/b", "--hold", "3s", "--header", "A: 1", "--no-chunked",
		"--store", "redis://ann:hunter2@127.0.0.1:1/3?pubsub_db=4", "--admin-key", "hunter2", "--jwks-url", "https://u:hunter2@h/x",
	}
	got := runWith(t, environ{"MESSAGEBUS_DRAIN": "2s"}, "", append([]string{"config", "print"}, args...)...)
	if got.code != exitDone || strings.Contains(got.stdout, "hunter2") || !strings.Contains(got.stdout, "drain: 2s # MESSAGEBUS_DRAIN\n") {
		t.Fatalf("%+v", got)
	}
	path := write(t, "c.yaml", strings.ReplaceAll(got.stdout, "***", "key"))
	s := parseServe(t, nil, "--config", path)
	if len(s.allow) != 2 || s.longPoll.Hold != 3*time.Second || !s.longPoll.DisableChunked || s.store != "redis://127.0.0.1:1/3" || s.header.Get("A") != "1" {
		t.Errorf("%+v", s)
	}
}

// Whatever the file, nothing panics, each message has its place, and no secret
// is in it.
func FuzzConfig(f *testing.F) {
	for _, text := range []string{"listen: :1", "a: [b, {c: d}]", "? [x]\n: y", "&a b: *a", "<<: {hold: 1s}", "admin-key: |\n  x", "\x00", "hold: !!binary aGk="} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		s := defaultServe()
		flags := pflag.NewFlagSet("serve", pflag.ContinueOnError)
		s.addFlags(flags)
		for _, err := range applyConfig(flags, "c.yaml", text) {
			if !strings.HasPrefix(err.Error(), "c.yaml:") {
				t.Errorf("%q: %v", text, err)
			}
		}
		var printed bytes.Buffer
		if err := printConfig(&printed, flags); err != nil {
			t.Fatal(err)
		}
		if s.adminKey != "" && s.adminKey != "***" && len(s.adminKey) > 20 && bytes.Contains(printed.Bytes(), []byte(s.adminKey)) {
			t.Errorf("%q: the key is printed", text)
		}
		if err := yaml.Unmarshal(printed.Bytes(), &map[string]any{}); err != nil {
			t.Errorf("%q: what is printed is no YAML: %v\n%s", text, err, printed.String())
		}
	})
}

func TestReadSecret(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{"a": "a", "a\n": "a", "a\r\n": "a", "a\n\n": "a\n", "a b": "a b", "": "", "\n": ""} {
		if got, err := readSecret(write(t, "s", text)); got != want || (err == nil) != (want != "") {
			t.Errorf("%q: %q, %v", text, got, err)
		}
	}
	big := write(t, "big", strings.Repeat("hunter2", maxSecretBytes))
	if _, err := readSecret(big); err == nil || strings.Contains(err.Error(), "hunter2") {
		t.Error(err)
	}
	if _, err := readSecret(os.DevNull); err == nil {
		t.Error("nothing is a secret")
	}
}
