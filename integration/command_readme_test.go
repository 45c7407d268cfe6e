package integration_test

import (
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/messagebus-go/messagebus/integration/command"
	"github.com/messagebus-go/messagebus/integration/port"
	"github.com/messagebus-go/messagebus/integration/stores"
)

const commandREADME = "cmd/messagebus/README.md"

// A terminal is where the lines of a page are entered, with addresses and files of the test's own.
type terminal struct {
	t       *testing.T
	folder  string
	env     []string // with messagebus on the path
	replace *strings.Replacer
}

func newTerminal(t *testing.T, replacements ...string) *terminal {
	t.Helper()
	return &terminal{
		t, t.TempDir(), append(os.Environ(), "PATH="+filepath.Dir(command.Binary(t))+":"+os.Getenv("PATH")),
		strings.NewReplacer(replacements...),
	}
}

func (c *terminal) command(ctx context.Context, line string) *exec.Cmd {
	sh := exec.CommandContext(ctx, "sh", "-c", "exec "+c.replace.Replace(line))
	sh.Dir, sh.Env = c.folder, c.env
	return sh
}

// runs runs a line to its end, which is a success, and returns what it prints.
func (c *terminal) runs(line string) string {
	c.t.Helper()
	sh := c.command(c.t.Context(), line)
	var problems strings.Builder
	sh.Stderr = &problems
	output, err := sh.Output()
	if err != nil {
		c.t.Errorf("%s: %v\n%s%s", line, err, output, problems.String())
	}
	return string(output)
}

// goesOn starts a line that goes on until the test ends, and waits until it has printed something.
func (c *terminal) goesOn(line, prints string) {
	c.t.Helper()
	// It is interrupted, and not killed, when the test ends.
	started := command.Run(c.t, c.command(context.WithoutCancel(c.t.Context()), line))
	started.WaitFor(prints, func(output string) (string, bool) {
		return "", strings.Contains(output, c.replace.Replace(prints))
	})
}

// again enters a line again and again until end is called.
func (c *terminal) again(line string) (end func()) {
	c.t.Helper()
	ctx, cancel := context.WithCancel(c.t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for ctx.Err() == nil {
			_ = c.command(ctx, line).Run() // the last one is killed
		}
	}()
	return func() {
		cancel()
		<-ended
	}
}

// TestCommandREADME_LinesDoWhatTheySay enters all commands of the page, in its order.
func TestCommandREADME_LinesDoWhatTheySay(t *testing.T) {
	t.Parallel()
	client, admin := port.Address(t), port.Address(t)
	c := newTerminal(t, "127.0.0.1:7410", client, "127.0.0.1:7411", admin, "https://example.com", "http://"+client,
		"redis://127.0.0.1:6379", stores.Redis(t).URL(), "messagebus demo", "messagebus demo --listen "+port.Address(t),
		"messagebus bench", "messagebus bench --duration 200ms")
	goOn := map[string]string{ // what lines print that do not end
		"serve": "127.0.0.1:7411", "demo": "http://", "subscribe": `"data":{"text":"hello"}`, "cache watch": `"op":"set"`,
	}
	outputs := map[string]string{ // what others print
		"publish": `{"id":1}`, "backlog": `"data":{"text":"hello"}`, "last-id": `"last_id":1`,
		"cache get": `{"age":44}`, "cache set": "", "bench": "", "health": "",
	}
	entered, set := 0, ""
	_, blocks := readBlocks(t, commandREADME)
	for _, b := range blocks {
		for line := range strings.Lines(b.text) {
			words, isCommand := strings.CutPrefix(strings.TrimSpace(line), "messagebus ")
			if !isCommand || b.language != "" {
				continue
			}
			entered++
			name, _, _ := strings.Cut(words, " ")
			if name == "cache" {
				name = strings.Join(strings.Fields(words)[:2], " ")
			}
			line = "messagebus " + words
			switch name {
			case "cache set":
				set = line
			case "cache watch": // it tells of what is set after it has begun to listen
				defer c.again(set)()
			}
			if prints, endless := goOn[name]; endless {
				c.goesOn(line, prints)
				continue
			}
			prints, known := outputs[name]
			if output := c.runs(line); !known || !strings.Contains(output, prints) {
				t.Errorf("%s\nprints %q, want %q", line, output, prints)
			}
		}
	}
	const least = 12
	if entered < least {
		t.Errorf("the page has %d commands, want at least %d", entered, least)
	}
}

// TestCommandREADME_SettingsAreTaken checks the file of settings, and an identity as it is written.
func TestCommandREADME_SettingsAreTaken(t *testing.T) {
	t.Parallel()
	_, blocks := readBlocks(t, commandREADME)
	for _, b := range blocks {
		switch {
		case b.language == "yaml":
			c := newTerminal(t)
			secret := filepath.Join(c.folder, "store")
			settings := strings.ReplaceAll(b.text, "/etc/messagebus/store", secret)
			for path, text := range map[string]string{secret: "redis://127.0.0.1:6379", filepath.Join(c.folder, "settings.yaml"): settings} {
				if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			c.runs("messagebus config check --config settings.yaml")
		case strings.HasPrefix(b.text, `{"user":`):
			client := port.Address(t)
			c := newTerminal(t, "1767225600", "32503680000") // an identity that has not expired yet
			c.goesOn("messagebus serve --identity header --listen "+client, client)
			ask := "curl -s -o /dev/null -w '%{http_code}' -d /news=0 -H 'X-MessageBus-Identity: " + strings.TrimSpace(b.text) +
				"' 'http://" + client + "/message-bus/me/poll?dlp=t'"
			if status := c.runs(ask); status != "200" {
				t.Errorf("%sis answered %s", b.text, status)
			}
		}
	}
}

// TestCommandREADME_PrintedMembersAreThoseThatAreSaid compares what is printed of a message with the
// line that shows it.
func TestCommandREADME_PrintedMembersAreThoseThatAreSaid(t *testing.T) {
	t.Parallel()
	_, blocks := readBlocks(t, commandREADME)
	for _, b := range blocks {
		said, _, _ := strings.Cut(b.text, "\n")
		if !strings.HasPrefix(said, `{"channel":`) {
			continue
		}
		c := newTerminal(t)
		store := " --store " + stores.Redis(t).URL()
		var message struct {
			Channel string          `json:"channel"`
			Data    json.RawMessage `json:"data"`
		}
		decode(t, said, &message)
		for range 3 {
			c.runs("messagebus publish " + message.Channel + " '" + string(message.Data) + "' --users '[7]' --site eu" + store)
		}
		printed := c.runs("messagebus backlog " + message.Channel + " --site eu --last 1" + store)
		if want := strings.Replace(said, `"global_id":8`, `"global_id":3`, 1); strings.TrimSpace(printed) != want {
			t.Errorf("a message is printed\n%s\nand not, as the page says,\n%s", printed, want)
		}
		return
	}
	t.Error("the page shows no message")
}
