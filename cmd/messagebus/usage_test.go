package main

import (
	"bytes"
	"io"
	"os"
	"strings"
	"syscall"
	"testing"
)

func TestRun_RefusesWrongUsageInOneLine(t *testing.T) {
	t.Parallel()
	tests := []struct {
		args []string
		says string
	}{
		{[]string{"nosuch"}, `there is no command "nosuch"; there are: backlog, bench, cache, completion, config, demo, doctor, health, help, last-id, man, publish, reset, serve`},
		{[]string{"help", "nosuch"}, `there is no command "nosuch"`},
		{[]string{"help", "serve", "x"}, `there is no command "x"`},
		{[]string{"completion", "nosuch"}, `"nosuch"; it is for: bash, fish, powershell, zsh`},
		{[]string{"completion"}, "the name of a shell"},
		{[]string{"completion", "bash", "x"}, "x"},
		{[]string{"--nosuch"}, "unknown flag: --nosuch"},
		{[]string{"serve", "--nosuch"}, "unknown flag: --nosuch"},
		{[]string{"serve", "x"}, "serve takes nothing, not 1 arguments"},
		{[]string{"version", "x"}, "version takes nothing"},
		{[]string{"demo", "x"}, "demo takes nothing"},
		{[]string{"demo", "--listen", "8080"}, "HOST:PORT"},
		{[]string{"serve", "--listen", "127.0.0.1"}, `"127.0.0.1" for "--listen" flag: it must be HOST:PORT`},
		{[]string{"serve", "--listen", "127.0.0.1:99999"}, "HOST:PORT"},
		{[]string{"serve", "--listen", "127.0.0.1:http"}, "HOST:PORT"},
		{[]string{"serve", "--hold", "25"}, `"25" for "--hold" flag: it must be a duration of 1ms or more`},
		{[]string{"serve", "--hold", "0"}, "it must be a duration"},
		{[]string{"serve", "--max-held", "-1"}, "it must be a whole number, 0 or more"},
		{[]string{"serve", "--max-held", "many"}, "it must be a whole number"},
		{[]string{"serve", "--no-chunked=maybe"}, "it must be true or false"},
		{[]string{"serve", "--max-backlog-size", "0"}, "1 or more"},
		{[]string{"serve", "--max-global-backlog-size", "0"}, "1 or more"},
		{[]string{"serve", "--max-backlog-age", "5ms"}, "1s or more"},
		{[]string{"serve", "--clear-every", "0"}, "1 or more"},
		{[]string{"serve", "--identity", "cookie"}, "none, header, jwt or forward"},
		{[]string{"serve", "--trusted-proxies", "10.0.0.0/99"}, `"10.0.0.0/99" is no network`},
		{[]string{"serve", "--trusted-proxies", ""}, "is no network"},
		{[]string{"serve", "--header", "NoColon"}, "it must be 'Name: value'"},
		{[]string{"serve", "--header", "A B: c"}, "it must be 'Name: value'"},
		{[]string{"serve", "--header", ": c"}, "it must be 'Name: value'"},
		{[]string{"serve", "--header", "A: b\r\nC: d"}, "control character"},
		{[]string{"serve", "--header", "A: b\nC: d"}, "control character"},
		{[]string{"serve", "--header", "A: \x00"}, "control character"},
		{[]string{"serve", "--header", "content-length: 3"}, "Content-Length is the server's own"},
		{[]string{"serve", "--store", "nats://u:hunter2@h"}, "nats: is no store that is known here; accepted: memory:, postgres://, "},
		{[]string{"serve", "--store", "x"}, "no scheme; accepted: memory:, postgres"},
		{[]string{"serve", "--store", "memory:more"}, "takes nothing after the colon"},
		{[]string{"serve", "--admin-listen", "0.0.0.0:0"}, "--admin-key (or MESSAGEBUS_ADMIN_KEY) is required"},
		{[]string{"serve", "--admin-listen", ":0"}, "not a loopback address"},
		{[]string{"serve", "--admin-listen", "[::]:0"}, "not a loopback address"},
		{[]string{"serve", "--admin-listen", "127.0.0.1:0", "--admin-key", ""}, "visible ASCII"},
		{[]string{"serve", "--admin-listen", "127.0.0.1:0", "--admin-key", "hunter2 \n"}, "visible ASCII"},
		{[]string{"publish", "/a"}, "publish takes a channel and a message, not 1 arguments"},
		{[]string{"publish", "/a", "1", "2"}, "not 3 arguments"},
		{[]string{"publish", "/a", "{"}, `the message "{": not JSON`},
		{[]string{"publish", "/a", "hello"}, "text is published with --text"},
		{[]string{"publish", "/a", ""}, "it is empty"},
		{[]string{"publish", "/a", `"\ud800"`}, "half of a surrogate pair"},
		{[]string{"publish", "/a", "\"\xff\""}, "not valid UTF-8"},
		{[]string{"publish", "/a", "\xff", "--text"}, "not valid UTF-8"},
		{[]string{"publish", "\xff", "1"}, "not valid UTF-8"},
		{[]string{"publish", "/a", "1"}, "--server URL, the admin listener"},
		{[]string{"publish", "/a", "1", "--users", "7"}, "7 is no JSON list"},
		{[]string{"publish", "/a", "1", "--users", "[]"}, "the list is empty"},
		{[]string{"publish", "/a", "1", "--users", "[1.5]"}, "1.5 is no id"},
		{[]string{"publish", "/a", "1", "--groups", "[null]"}, "null is no id"},
		{[]string{"publish", "/a", "1", "--groups", "nosuch"}, "JSON list of integers and strings"},
		{[]string{"publish", "/a", "1", "--clients", "[1]"}, "1 is no string"},
		{[]string{"publish", "/a", "1", "--max-backlog-size", "-1"}, "0 or more"},
		{[]string{"publish", "/a", "1", "--max-backlog-age", "1"}, "it must be a duration"},
		{[]string{"publish", "/a", "1", "--server", "http://u:hunter2@h"}, "--server takes no user"},
		{[]string{"publish", "/a", "1", "--server", "http://u:hun%zzter2@h"}, "--server must be the URL"},
		{[]string{"publish", "/a", "1", "--server", "127.0.0.1:7411"}, "--server must be the URL"},
		{[]string{"publish", "/a", "1", "--server", "http://h", "--store", "memory:"}, "exclude each other"},
		{[]string{"publish", "/a", "1", "--server", "http://h", "--key", "hunter2\n"}, "visible ASCII"},
		{[]string{"publish", "/a", "1", "--key", "hunter2"}, "--key goes with --server"},
		{[]string{"subscribe"}, "subscribe takes one channel or more"},
		{[]string{"subscribe", "/a"}, "--server URL"},
		{[]string{"subscribe", "/a", "--from", "first"}, "latest, a message id"},
		{[]string{"subscribe", "/a", "--from", "-1"}, "latest, a message id"},
		{[]string{"subscribe", "/a", "--from", "last:"}, "latest, a message id"},
		{[]string{"subscribe", "/a", "--from", "last:-1"}, "latest, a message id"},
		{[]string{"backlog"}, "backlog takes one channel"},
		{[]string{"backlog", "/a", "/b"}, "backlog takes one channel"},
		{[]string{"backlog", "/a"}, "--server URL"},
		{[]string{"backlog", "/a", "--after", "-1"}, "0 or more"},
		{[]string{"backlog", "/a", "--after", "1", "--last", "1"}, "exclude each other"},
		{[]string{"doctor"}, "give the URL of a store that others see"},
		{[]string{"doctor", "x"}, "doctor takes nothing"},
		{[]string{"doctor", "--store", "redis://:hunter2@h/x"}, "--store: the URL cannot be read"},
		{[]string{"last-id"}, "last-id takes one channel or more"},
		{[]string{"last-id", "/a"}, "--server URL"},
		{[]string{"cache", "nosuch"}, `there is no command "nosuch"; there are: clear, delete, dump, get, set, watch`},
		{[]string{"cache", "watch"}, "watch takes the name of a cache, not 0 arguments"},
		{[]string{"cache", "get", "users"}, "get takes the name of a cache and a key"},
		{[]string{"cache", "set", "users", "ann"}, "set takes the name of a cache, a key and a value"},
		{[]string{"cache", "set", "users", "ann", "{"}, `the value "{": not JSON`},
		{[]string{"cache", "get", "users", "{", "--json-key"}, "not JSON"},
		{[]string{"cache", "dump", "users"}, "--store URL of a store that others see is needed"},
		{[]string{"cache", "clear", "users", "--store", "memory:"}, "--store URL of a store that others see is needed"},
	}
	for _, test := range tests {
		t.Run(strings.Join(test.args, " "), func(t *testing.T) {
			t.Parallel()
			got := runArgs(t, test.args...)
			if got.code != exitUsage || got.stdout != "" {
				t.Errorf("exit code %d, output %q; want %d and nothing", got.code, got.stdout, exitUsage)
			}
			checkErrorLine(t, got.stderr, test.says)
		})
	}
}

// checkErrorLine checks that an error is one plain line that says something,
// and repeats no secret.
func checkErrorLine(t *testing.T, stderr, says string) {
	t.Helper()
	if !strings.HasPrefix(stderr, "messagebus: ") || strings.Count(stderr, "\n") != 1 || !strings.HasSuffix(stderr, "\n") {
		t.Errorf("stderr is %q; want one line that starts with messagebus:", stderr)
	}
	if !strings.Contains(stderr, says) {
		t.Errorf("stderr is %q; want it to contain %q", stderr, says)
	}
	if strings.Contains(stderr, "hunter2") || strings.Contains(stderr, "zzter2") {
		t.Errorf("stderr repeats the password: %q", stderr)
	}
}

func TestRun_FailsWithOneWhereTheWorldIsInTheWay(t *testing.T) {
	t.Parallel()
	s := serve(t, nil)
	tests := []struct {
		args []string
		says string
	}{
		{[]string{"serve", "--listen", s.client}, "cannot listen on " + s.client},
		{[]string{"serve", "--listen", "127.0.0.1:0", "--admin-listen", s.admin}, "cannot listen on " + s.admin},
		{[]string{"demo", "--listen", s.client}, "cannot listen on " + s.client},
		{[]string{"publish", "/a", "1", "--server", "http://127.0.0.1:1"}, "connection refused"},
		{[]string{"backlog", "/a", "--server", "http://" + s.client}, "the server answered 404: not found"},
	}
	for _, test := range tests {
		got := runArgs(t, test.args...)
		if got.code != exitFailure {
			t.Errorf("%q: exit code %d, want %d", test.args, got.code, exitFailure)
		}
		// A server's log may have begun before.
		lines := strings.SplitAfter(got.stderr, "\n")
		checkErrorLine(t, lines[max(0, len(lines)-2)], test.says)
		if strings.Contains(got.stderr, "may have been published") {
			t.Errorf("%q: nothing was sent: %s", test.args, got.stderr)
		}
	}
}

func TestHelp_HasAnExampleForEveryCommand(t *testing.T) {
	t.Parallel()
	for _, name := range []string{
		"demo", "serve", "publish", "subscribe", "backlog", "last-id", "bench", "doctor", "health", "version", "cache",
		"cache watch", "cache get", "cache set", "cache delete", "cache clear", "cache dump",
		"completion", "completion bash", "completion zsh", "completion fish", "completion powershell",
	} {
		args := append(strings.Fields(name), "--help")
		got := runArgs(t, args...)
		if got.code != exitDone || got.stderr != "" || !strings.Contains(got.stdout, "Examples:\n  messagebus "+strings.Fields(name)[0]) {
			t.Errorf("%q: %+v; want help with an example", args, got)
		}
		for _, odd := range []string{"0x", "(default [])", "(default 0", "map["} {
			if strings.Contains(got.stdout, odd) {
				t.Errorf("%q: the help contains %q:\n%s", args, odd, got.stdout)
			}
		}
	}
	for _, args := range [][]string{nil, {"help"}, {"--help"}, {"help", "serve"}} {
		if got := runArgs(t, args...); got.code != exitDone || !strings.Contains(got.stdout, "Usage:") {
			t.Errorf("%q: %+v; want the help", args, got)
		}
	}
}

func TestCompletion_IsWritten(t *testing.T) {
	t.Parallel()
	for _, shell := range []string{"bash", "zsh", "fish", "powershell"} {
		if got := runArgs(t, "completion", shell); got.code != exitDone || !strings.Contains(got.stdout, "messagebus") {
			t.Errorf("%s: exit code %d, %d bytes", shell, got.code, len(got.stdout))
		}
	}
}

func TestVersion_NamesTheGo(t *testing.T) {
	t.Parallel()
	got := runArgs(t, "version")
	if got.code != exitDone || !strings.HasPrefix(got.stdout, "messagebus ") || !strings.Contains(got.stdout, " go1.") || strings.Count(got.stdout, "\n") != 1 {
		t.Errorf("got %+v", got)
	}
}

// A reader that went away, such as head, is no failure; a full disk is one.
func TestOutput_ThatIsClosedEndsQuietly(t *testing.T) {
	t.Parallel()
	reader, writer, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	reader.Close()
	defer writer.Close()
	tests := []struct {
		stdout io.Writer
		code   int
		stderr string
	}{
		{writer, exitDone, ""},
		{failingWriter{}, exitFailure, "messagebus: cannot write the output: no space left on device\n"},
	}
	for _, test := range tests {
		var stderr bytes.Buffer
		code := run(t.Context(), []string{"version"}, environ{}.lookup, strings.NewReader(""), test.stdout, &stderr)
		if code != test.code || stderr.String() != test.stderr {
			t.Errorf("exit code %d, stderr %q; want %d and %q", code, stderr.String(), test.code, test.stderr)
		}
	}
}

type failingWriter struct{}

func (failingWriter) Write([]byte) (int, error) { return 0, syscall.ENOSPC }
