package integration_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/messagebus-go/messagebus/integration/command"
	"github.com/messagebus-go/messagebus/integration/stores"
)

// cachePatience is how long one command about a cache may take on a busy machine.
const cachePatience = 60 * time.Second

// cacheCommand is "messagebus cache" with arguments, without settings of the machine.
func cacheCommand(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), command.Binary(t), append([]string{"cache"}, args...)...)
	for _, variable := range os.Environ() {
		if !strings.HasPrefix(variable, "MESSAGEBUS_") {
			cmd.Env = append(cmd.Env, variable)
		}
	}
	return cmd
}

// runCache returns what a command about a cache prints, and its exit code.
func runCache(t *testing.T, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	cmd := cacheCommand(t, args...)
	var out, complaints bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &complaints
	err := cmd.Run()
	if _, ended := errors.AsType[*exec.ExitError](err); err != nil && !ended {
		t.Fatal(err)
	}
	return out.String(), complaints.String(), cmd.ProcessState.ExitCode()
}

// wantCache fails unless a command prints exactly that, and nothing else.
func wantCache(t *testing.T, want string, args ...string) {
	t.Helper()
	if stdout, stderr, code := runCache(t, args...); stdout != want || stderr != "" || code != 0 {
		t.Errorf("cache %q prints %q, says %q and ends with %d; want %q", args, stdout, stderr, code, want)
	}
}

// A watcher is "messagebus cache watch", whose output is read as it comes.
type watcher struct {
	cmd    *exec.Cmd
	output io.Closer
	lines  chan string // closed at the end of the output
	stderr *bytes.Buffer
}

// watchCache returns when the watcher has seen a change of the key "ready".
func watchCache(t *testing.T, url, name string, args ...string) *watcher {
	t.Helper()
	w := &watcher{lines: make(chan string, 100), stderr: &bytes.Buffer{}}
	w.cmd = cacheCommand(t, append([]string{"watch", name, "--store", url}, args...)...)
	read, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	w.cmd.Stdout, w.cmd.Stderr, w.output = write, w.stderr, read
	err = w.cmd.Start()
	write.Close()
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(w.lines)
		for scanner := bufio.NewScanner(read); scanner.Scan(); {
			w.lines <- scanner.Text()
		}
	}()
	t.Cleanup(func() {
		_ = w.cmd.Process.Kill() // unless the test has ended it
		_ = w.cmd.Wait()
		read.Close()
	})
	for deadline := time.Now().Add(cachePatience); time.Now().Before(deadline); {
		wantCache(t, "", append([]string{"set", name, "ready", "1", "--store", url}, args...)...)
		select {
		case <-w.lines:
			w.drain()
			return w
		case <-time.After(200 * time.Millisecond):
		}
	}
	t.Fatalf("nothing is watched: %s", w.stderr)
	return nil
}

// drain passes what came of the key "ready".
func (w *watcher) drain() {
	for {
		select {
		case <-w.lines:
		case <-time.After(time.Second):
			return
		}
	}
}

func (w *watcher) next(t *testing.T) string {
	t.Helper()
	select {
	case line, ok := <-w.lines:
		if !ok {
			t.Fatalf("the watcher has ended: %s", w.stderr)
		}
		return line
	case <-time.After(cachePatience):
		t.Fatal("no change was printed")
		return ""
	}
}

// wantEnd waits until the watcher has ended, which must be a success without words.
func (w *watcher) wantEnd(t *testing.T) {
	t.Helper()
	if err := w.cmd.Wait(); err != nil || w.stderr.Len() > 0 {
		t.Errorf("watch ended with %v and said %q", err, w.stderr)
	}
}

// onBothStores runs a test with the URL of each kind of store.
func onBothStores(t *testing.T, f func(t *testing.T, url string)) {
	t.Helper()
	t.Run("Redis", func(t *testing.T) { t.Parallel(); f(t, stores.RedisShared(t).URL()) })
	t.Run("Postgres", func(t *testing.T) { t.Parallel(); f(t, stores.PostgresShared(t)) })
}

var (
	originMember = regexp.MustCompile(`"origin":"[0-9a-f]{32}[0-9]+"`)
	idMember     = regexp.MustCompile(`"id":[1-9][0-9]*`)
)

func TestCacheCommand_WatchPrintsWhatTheOthersDo(t *testing.T) {
	t.Parallel()
	onBothStores(t, func(t *testing.T, url string) {
		w := watchCache(t, url, "users")
		for _, step := range []struct {
			args []string
			want string
		}{
			{[]string{"set", "users", "ann", `{"age":44,"tags":["a","ü\n"],"of":{"x":1.0}}`}, `{"op":"set","key":"ann","value":{"age":44,"tags":["a","ü\n"],"of":{"x":1.0}},ORIGIN,ID}`},
			{[]string{"set", "users", "1", `"text"`}, `{"op":"set","key":"1","value":"text",ORIGIN,ID}`},
			{[]string{"set", "users", "1", "123456789012345678901234567890", "--json-key"}, `{"op":"set","key":1,"value":123456789012345678901234567890,ORIGIN,ID}`},
			{[]string{"set", "users", "1e0", "null", "--json-key"}, `{"op":"set","key":1.0,"value":null,ORIGIN,ID}`},
			{[]string{"set", "users", "null", "false", "--json-key"}, `{"op":"set","key":null,"value":false,ORIGIN,ID}`},
			{[]string{"set", "others", "ann", "1"}, ""},
			{[]string{"set", "users", "ann", "1", "--site", "other"}, ""},
			{[]string{"delete", "users", "1"}, `{"op":"delete","key":"1",ORIGIN,ID}`},
			{[]string{"clear", "users"}, `{"op":"clear",ORIGIN,ID}`},
			{[]string{"set", "users", "bob", "--", "-7"}, `{"op":"set","key":"bob","value":-7,ORIGIN,ID}`},
		} {
			wantCache(t, "", append([]string{step.args[0], "--store", url}, step.args[1:]...)...)
			if step.want == "" {
				continue
			}
			line := w.next(t)
			if got := idMember.ReplaceAllString(originMember.ReplaceAllString(line, "ORIGIN"), "ID"); got != step.want {
				t.Errorf("%q: watch prints %s, want %s", step.args, line, step.want)
			}
		}
	})
}

func TestCacheCommand_GetAndDumpKnowWhatTheBacklogTells(t *testing.T) {
	t.Parallel()
	onBothStores(t, func(t *testing.T, url string) {
		store := []string{"--store", url}
		run := func(want string, args ...string) { t.Helper(); wantCache(t, want, append(args, store...)...) }
		run("", "dump", "users")
		run("", "set", "users", "gone", "0")
		run("", "clear", "users")
		run("", "set", "users", "bob", `[1,"two",null]`)
		run("", "set", "users", "ann", `{"age":44}`)
		run("", "set", "users", "7", "1.5", "--json-key")
		run("", "set", "users", "eve", "1", "--app-version", "v2")
		run("", "set", "users", "tom", "1", "--site", "other")
		run("{\"age\":44}\n", "get", "users", "ann")
		run("1.5\n", "get", "users", "7", "--json-key")
		run("1\n", "get", "users", "eve", "--app-version", "v2")
		run("{\"key\":\"ann\",\"value\":{\"age\":44}}\n{\"key\":\"bob\",\"value\":[1,\"two\",null]}\n{\"key\":\"eve\",\"value\":1}\n{\"key\":7,\"value\":1.5}\n", "dump", "users")
		run("{\"key\":\"eve\",\"value\":1}\n", "dump", "users", "--app-version", "v2")
		run("{\"key\":\"tom\",\"value\":1}\n", "dump", "users", "--site", "other")
		for _, absent := range [][]string{{"gone"}, {"7"}, {"tom"}, {"ann", "--app-version", "v2"}} {
			stdout, stderr, code := runCache(t, append(append([]string{"get", "users"}, absent...), store...)...)
			if stdout != "" || code != 1 || !isOneLine(stderr) {
				t.Errorf("get %q prints %q, says %q and ends with %d", absent, stdout, stderr, code)
			}
		}
	})
}

func isOneLine(complaint string) bool {
	return strings.HasPrefix(complaint, "messagebus: ") && strings.Count(complaint, "\n") == 1 && len(complaint) < 500
}

func TestCacheCommand_BadInputChangesNothing(t *testing.T) {
	t.Parallel()
	url := stores.RedisShared(t).URL()
	wantCache(t, "", "set", "users", "ann", "1", "--store", url)
	for _, args := range [][]string{
		{"set", "users", "ann"},
		{"set", "users", "ann", "2", "3"},
		{"set", "users", "ann", ""},
		{"set", "users", "ann", "{"},
		{"set", "users", "ann", "2 3"},
		{"set", "users", "ann", "\"\xff\""},
		{"set", "users", "ann", `"\ud800"`},
		{"set", "users", "ann", "1e999"},
		{"set", "users", "ann", "NaN"},
		{"set", "users", "ann", strings.Repeat("[", 200) + strings.Repeat("]", 200)},
		{"set", "users", "ann", strings.Repeat("7", 70_000)},
		{"set", "users", "\xff", "2"},
		{"set", "users", "ann", "2", "--json-key"},
		{"set", "users", "1]", "2", "--json-key"},
		{"set", "users", `"\ud800"`, "2", "--json-key"},
		{"set", "users\xff", "ann", "2"},
		{"set", "users", "ann", "2", "--site", "\xff"},
		{"set", "users", "ann", "2", "--nope"},
		{"get", "users"},
		{"get", "users", "{", "--json-key"},
		{"delete", "users"},
		{"delete", "users", "\xff"},
		{"clear"},
		{"clear", "users", "ann"},
		{"dump"},
		{"watch"},
		{"watch", "users", "ann"},
	} {
		stdout, stderr, code := runCache(t, append(args, "--store", url)...)
		if stdout != "" || code != 2 || !isOneLine(stderr) {
			t.Errorf("cache %.100q prints %q, says %q and ends with %d; want 2", args, stdout, stderr, code)
		}
	}
	for _, bad := range []string{"", "memory:", "nope", "http://127.0.0.1"} {
		if stdout, stderr, code := runCache(t, "dump", "users", "--store", bad); stdout != "" || code != 2 || !isOneLine(stderr) {
			t.Errorf("--store %q: it prints %q, says %q and ends with %d", bad, stdout, stderr, code)
		}
	}
	wantCache(t, "{\"key\":\"ann\",\"value\":1}\n", "dump", "users", "--store", url)
}

func TestCacheCommand_AStoreThatIsDownIsAFailure(t *testing.T) {
	t.Parallel()
	for _, url := range []string{"redis://:topsecret@127.0.0.1:1", "postgres://ann:topsecret@127.0.0.1:1/none"} {
		for _, args := range [][]string{{"set", "users", "ann", "1"}, {"get", "users", "ann"}, {"watch", "users"}} {
			stdout, stderr, code := runCache(t, append(args, "--store", url)...)
			if stdout != "" || code != 1 || !strings.HasPrefix(stderr, "messagebus: ") || strings.Contains(stderr, "topsecret") {
				t.Errorf("cache %q on a store that is down prints %q, says %q and ends with %d", args, stdout, stderr, code)
			}
		}
	}
}

// TestCacheCommand_WatchEndsWithItsReader, as "watch | head -1" does, and with a
// signal.
func TestCacheCommand_WatchEndsWithItsReader(t *testing.T) {
	t.Parallel()
	url := stores.RedisShared(t).URL()
	set := func(value string) { t.Helper(); wantCache(t, "", "set", "users", "ann", value, "--store", url) }

	piped := watchCache(t, url, "users")
	set("1")
	if line := piped.next(t); !json.Valid([]byte(line)) {
		t.Errorf("it prints %s", line)
	}
	piped.output.Close()
	set("2") // at which it notices
	piped.wantEnd(t)

	for _, signal := range []os.Signal{os.Interrupt, syscall.SIGTERM} {
		w := watchCache(t, url, "users")
		if err := w.cmd.Process.Signal(signal); err != nil {
			t.Fatal(err)
		}
		w.wantEnd(t)
	}

	killed := watchCache(t, url, "users")
	if err := killed.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = killed.cmd.Wait() // it had no chance to end well
	set("3")
	wantCache(t, "3\n", "get", "users", "ann", "--store", url)
}
