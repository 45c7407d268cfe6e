package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"github.com/messagebus-go/messagebus/bus"
	"github.com/messagebus-go/messagebus/bus/driver"
)

func TestPublish_LinesOfOneChannelStayInOrder(t *testing.T) {
	t.Parallel()
	s := serve(t, nil)
	var input strings.Builder
	for i := range 2000 {
		fmt.Fprintf(&input, `{"channel":"/c%d","data":%d}`+"\n", i%7, i)
	}
	got := runWith(t, nil, input.String()+"\n", "publish", "--stdin", "--server", "http://"+s.admin)
	var count summary
	if err := json.Unmarshal([]byte(got.stdout), &count); err != nil || got.code != exitDone || count.Published != 2000 || got.stderr != "" {
		t.Fatalf("%+v, %v", got, err)
	}
	for c := range 7 {
		stored := runArgs(t, "backlog", fmt.Sprintf("/c%d", c), "--server", "http://"+s.admin)
		last, n := -1, 0
		for line := range strings.Lines(stored.stdout) {
			var m struct{ Data int }
			if err := json.Unmarshal([]byte(line), &m); err != nil || m.Data <= last {
				t.Fatalf("after %d comes %s", last, line)
			}
			last = m.Data
			n++
		}
		if n < 285 {
			t.Errorf("channel %d has %d messages", c, n)
		}
	}
}

func TestPublish_ALineThatIsWrongIsNamed(t *testing.T) {
	t.Parallel()
	s := serve(t, nil)
	const good = `{"channel":"/a","data":1}` + "\n"
	for name, test := range map[string]struct {
		input, says string
		code        int
	}{
		"no JSON":      {good + "\n" + "x\n" + good, "line 3: ", exitUsage},
		"no channel":   {good + `{"data":1}`, "line 2: channel: it is missing", exitUsage},
		"unknown":      {`{"channel":"/a","data":1,"users":[1]}`, `line 1: unknown member "users"`, exitUsage},
		"too long":     {good + strings.Repeat("x", maxPublishBytes+1), "line 2: it is longer than", exitUsage},
		"the server's": {good + `{"channel":"a","data":1,"user_ids":[]}` + "\n", "line 2: ", exitUsage},
	} {
		got := runWith(t, nil, test.input, "publish", "--stdin", "--server", "http://"+s.admin)
		if got.code == exitDone || !strings.Contains(got.stderr, test.says) || strings.Count(got.stderr, "\n") != 1 {
			t.Errorf("%s: %+v", name, got)
		}
		if !strings.HasPrefix(got.stdout, `{"published":`) {
			t.Errorf("%s: no count in %q", name, got.stdout)
		}
	}
	if got := runArgs(t, "publish", "--stdin", "/a", "1"); got.code != exitUsage {
		t.Errorf("a message as well: %+v", got)
	}
	if got := runArgs(t, "publish", "--stdin", "--users", "[1]"); got.code != exitUsage {
		t.Errorf("users: %+v", got)
	}
}

// failing is a service whose publishes fail.
type failing struct{ service }

func (failing) publish(context.Context, *publication) (int64, error) { return 0, bus.ErrReadOnly }

// An error is told at once, and not when the next line comes.
func TestPublish_AFailureDoesNotWaitForTheNextLine(t *testing.T) {
	t.Parallel()
	reader, writer := io.Pipe()
	defer writer.Close()
	go func() { _, _ = io.WriteString(writer, `{"channel":"/a","data":1}`+"\n") }()
	count, err := publishLines(t.Context(), failing{}, reader, nil)
	if !errors.Is(err, bus.ErrReadOnly) || !strings.HasPrefix(err.Error(), "line 1: ") || count.Published != 0 {
		t.Errorf("%+v, %v", count, err)
	}
}

// resetting is a store that can be reset.
type resetting struct {
	driver.Backend

	resets int
}

func (r *resetting) Reset(context.Context) error { r.resets++; return nil }

func TestReset_NeedsYesAndAStoreThatCan(t *testing.T) {
	t.Parallel()
	for args, says := range map[string]string{
		"reset --store redis://u:hunter2@127.0.0.1:1/3": "--yes is missing: all messages of redis://127.0.0.1:1/3",
		"reset --yes":    "--store memory: is gone",
		"reset":          "--store memory: is gone",
		"reset --yes /a": "reset takes nothing",
	} {
		got := runArgs(t, strings.Fields(args)...)
		if got.code != exitUsage {
			t.Errorf("%s: %+v", args, got)
		}
		checkErrorLine(t, got.stderr, says)
	}
	cmd := &cobra.Command{}
	var out bytes.Buffer
	cmd.SetOut(&out)
	cmd.SetContext(t.Context())
	store := &resetting{}
	if err := reset(cmd, owned{Backend: store}); err != nil || store.resets != 1 || out.String() != `{"reset":true}`+"\n" {
		t.Errorf("%v, %d resets, %q", err, store.resets, out.String())
	}
	if err := reset(cmd, owned{}); err == nil {
		t.Error("a store that cannot is reset")
	}
}

func TestMan_HasAPageForEachCommand(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "man1")
	for range 2 { // the same again
		if got := runArgs(t, "man", dir); got.code != exitDone {
			t.Fatalf("%+v", got)
		}
	}
	for _, name := range []string{"messagebus", "messagebus-serve", "messagebus-config-check", "messagebus-reset"} {
		text, err := os.ReadFile(filepath.Join(dir, name+".1"))
		if err != nil || !bytes.Contains(text, []byte(`.TH "MESSAGEBUS" "1"`)) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if got := runArgs(t, "man", os.DevNull); got.code != exitFailure {
		t.Errorf("a file in its place: %+v", got)
	}
}
