package integration_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/messagebus-go/messagebus/bus"
	"github.com/messagebus-go/messagebus/integration/command"
)

// A diagnosis is what "messagebus doctor" says of a store.
type diagnosis struct {
	code           int
	stdout, stderr string
	server         struct{ URL, Version, Place, Holds string }
	findings       []finding
	channels       []diagnosedChannel
	notLookedAt    []string
}

type finding struct{ Severity, Topic, Says, Do string }

type diagnosedChannel struct {
	Channel, Site string
	Messages      int64
	FirstID       int64  `json:"first_id"`
	LastID        int64  `json:"last_id"`
	ExpiresIn     *int64 `json:"expires_in"`
}

// runDoctor runs the command on a store, which takes it less than a minute.
func runDoctor(t *testing.T, url string, args ...string) diagnosis {
	t.Helper()
	binary := command.Binary(t) // which may take long to build
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, binary, append([]string{"doctor", "--store", url}, args...)...)
	for _, variable := range os.Environ() {
		if !strings.HasPrefix(variable, "MESSAGEBUS_") {
			cmd.Env = append(cmd.Env, variable)
		}
	}
	var out, complaints bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &complaints
	err := cmd.Run()
	if _, ended := errors.AsType[*exec.ExitError](err); err != nil && !ended {
		t.Fatal(err)
	}
	return diagnosis{code: cmd.ProcessState.ExitCode(), stdout: out.String(), stderr: complaints.String()}
}

// diagnose runs it, and reads its JSON.
func diagnose(t *testing.T, url string) diagnosis {
	t.Helper()
	d := runDoctor(t, url, "--json")
	for line := range strings.Lines(d.stdout) {
		var said struct {
			Server      *struct{ URL, Version, Place, Holds string }
			Finding     *finding
			Channel     *diagnosedChannel
			NotLookedAt string `json:"not_looked_at"`
		}
		if err := json.Unmarshal([]byte(line), &said); err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		switch {
		case said.Server != nil:
			d.server = *said.Server
		case said.Finding != nil:
			d.findings = append(d.findings, *said.Finding)
		case said.Channel != nil:
			d.channels = append(d.channels, *said.Channel)
		default:
			d.notLookedAt = append(d.notLookedAt, said.NotLookedAt)
		}
	}
	failed := slices.ContainsFunc(d.findings, func(f finding) bool { return f.Severity == "error" })
	if want := map[bool]int{false: 0, true: 1}[failed || len(d.findings) == 0]; d.code != want {
		t.Errorf("it ends with %d, want %d:\n%s%s", d.code, want, d.stdout, d.stderr)
	}
	return d
}

// wants fails unless a finding of that severity and topic says a text.
func (d diagnosis) wants(t *testing.T, severity, topic, says string) {
	t.Helper()
	for _, f := range d.findings {
		if f.Severity == severity && f.Topic == topic && strings.Contains(f.Says, says) {
			if f.Do == "" && severity != "ok" && severity != "note" {
				t.Errorf("%s %s: it does not say what to do: %s", severity, topic, f.Says)
			}
			return
		}
	}
	t.Errorf("no %s about %s says %q:\n%s%s", severity, topic, says, d.stdout, d.stderr)
}

// wantsNothingWorse fails if a finding is worse than a note, but for topics.
func (d diagnosis) wantsNothingWorse(t *testing.T, but ...string) {
	t.Helper()
	for _, f := range d.findings {
		if f.Severity != "ok" && f.Severity != "note" && !slices.Contains(but, f.Topic) {
			t.Errorf("%s %s: %s", f.Severity, f.Topic, f.Says)
		}
	}
}

// wantsSkipped fails unless what was not looked at has a text.
func (d diagnosis) wantsSkipped(t *testing.T, says string) {
	t.Helper()
	if !strings.Contains(strings.Join(d.notLookedAt, "\n"), says) {
		t.Errorf("it does not say that it skipped %q, but %q", says, d.notLookedAt)
	}
}

// hides fails if anything that was printed has one of these.
func (d diagnosis) hides(t *testing.T, secrets ...string) {
	t.Helper()
	for _, secret := range secrets {
		if strings.Contains(d.stdout+d.stderr, secret) {
			t.Errorf("it prints %q:\n%s%s", secret, d.stdout, d.stderr)
		}
	}
}

// publishTo publishes so many messages on a channel of a bus.
func publishTo(t *testing.T, b *bus.Bus, channel string, count int, opts ...bus.PublishOption) {
	t.Helper()
	for n := range count {
		if _, err := b.Publish(t.Context(), channel, map[string]any{"secret": "topsecret", "n": n}, opts...); err != nil {
			t.Fatal(err)
		}
	}
}

func TestDoctor_PrintsAlignedTextForPeople(t *testing.T) {
	t.Parallel()
	onBothStores(t, func(t *testing.T, url string) {
		d := runDoctor(t, url)
		if strings.Contains(d.stdout, "\x1b[") {
			t.Error("colours are for terminals")
		}
		column := 0
		for line := range strings.Lines(d.stdout) {
			fields := strings.Fields(line)
			if len(fields) == 0 || !slices.Contains([]string{"ok", "note", "warning", "error"}, fields[0]) {
				continue
			}
			// Severity, topic and sentence each begin at the same place in all lines.
			at := strings.LastIndex(line[:min(len(line), 32)], "  ")
			if column == 0 {
				column = at
			}
			if at != column {
				t.Errorf("the sentence of %q begins at %d, not at %d", line, at, column)
			}
		}
		if column == 0 || !strings.HasPrefix(d.stdout, strings.SplitN(url, "?", 2)[0][:8]) {
			t.Errorf("it prints\n%s%s", d.stdout, d.stderr)
		}
	})
}

func TestDoctor_RefusesWhatIsNoSharedStore(t *testing.T) {
	t.Parallel()
	for _, url := range []string{"memory:", "nats://u:topsecret@h", ""} {
		d := runDoctor(t, url)
		if d.code != 2 || d.stdout != "" || !isOneLine(d.stderr) {
			t.Errorf("--store %q: %+v", url, d)
		}
		d.hides(t, "topsecret")
	}
	for _, url := range []string{"redis://:topsecret@127.0.0.1:1", "postgres://ann:topsecret@127.0.0.1:1/none"} {
		d := runDoctor(t, url)
		if d.code != 1 || d.stdout != "" || !strings.HasPrefix(d.stderr, "messagebus: ") {
			t.Errorf("a store that is down: %+v", d)
		}
		d.hides(t, "topsecret")
	}
}

// listen has a bus listen to its store, and returns when it does.
func listen(t *testing.T, b *bus.Bus) {
	t.Helper()
	sub, err := b.SubscribeAll(t.Context(), bus.LatestGlobal())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { sub.Close() })
	eventually(t, time.Minute, "the bus to listen", func() bool { return b.Health().Live })
}
