package gettingstarted_test

import (
	"context"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/messagebus-go/messagebus/integration/browser"
	"github.com/messagebus-go/messagebus/integration/command"
	"github.com/messagebus-go/messagebus/integration/document"
	"github.com/messagebus-go/messagebus/integration/port"
)

// patience is how long commands may take, a first build among them.
const patience = 5 * time.Minute

// TestGettingStarted_RunsAsItIsWritten follows the page from its first line to its last, in an
// empty folder, and says how long that took.
func TestGettingStarted_RunsAsItIsWritten(t *testing.T) {
	f := newFolder(t)
	begin := time.Now()
	for _, s := range document.Sections(document.Read(t, "getting-started.md"), "## ")[1:] {
		since := time.Now()
		for _, b := range document.Blocks(t, s) {
			f.follow(b)
		}
		t.Logf("%s: %.1f s", s.Name, time.Since(since).Seconds())
	}
	t.Logf("all of it: %.1f s", time.Since(begin).Seconds())
	f.talks()
}

// talks has two browsers talk, as the page says.
func (f *folder) talks() {
	f.t.Helper()
	b := browser.Start(f.t)
	windows := map[string]*browser.Window{}
	for _, name := range []string{"ann", "bob"} {
		w := b.Open(f.t, "getting started "+name, browser.Options{Phone: true})
		w.Visit("http://" + f.public + "/")
		w.Type("#login input", name)
		w.Click("#login button")
		w.WaitForText("#messages", "ann: hello") // said before
		windows[name] = w
	}
	windows["bob"].Type("#say input", "good morning")
	windows["bob"].Click("#say button")
	for name, w := range windows {
		w.WaitForText("#messages", "bob: good morning")
		w.Screenshot("getting-started-" + name)
		if problems := w.Problems(); len(problems) > 0 {
			f.t.Errorf("%s: %q", name, problems)
		}
	}
}

// A folder is where the reader of the page is. Addresses are those of free ports.
type folder struct {
	t         *testing.T
	path      string
	public    string   // address of nginx
	addresses []string // of all that the page starts
	replace   *strings.Replacer
}

func newFolder(t *testing.T) *folder {
	t.Helper()
	nginx, app, server, admin := port.Address(t), port.Address(t), port.Address(t), port.Address(t)
	host, number, err := net.SplitHostPort(app)
	if err != nil {
		t.Fatal(err)
	}
	// The clone is of what is tested, be it committed or not.
	clone := "mkdir messagebus; tar -C " + command.Root(t) + " -c --exclude .git --exclude .tools --exclude node_modules --exclude output . | tar -C messagebus -x"
	return &folder{t: t, path: t.TempDir(), public: nginx, addresses: []string{nginx, app, server, admin}, replace: strings.NewReplacer(
		"git clone https://github.com/messagebus-go/messagebus", clone,
		`("127.0.0.1", 3000)`, `("`+host+`", `+number+`)`,
		"127.0.0.1:8000", nginx, "127.0.0.1:3000", app, "127.0.0.1:7410", server, "127.0.0.1:7411", admin,
	)}
}

// follow does what a block says.
func (f *folder) follow(b document.Block) {
	f.t.Helper()
	text := f.replace.Replace(b.Text)
	switch {
	case b.File != "":
		if err := os.WriteFile(filepath.Join(f.path, b.File), []byte(text), 0o600); err != nil {
			f.t.Fatal(err)
		}
	case strings.Contains(b.Before, "terminal of its own"):
		f.start(text)
	default:
		if output := f.run(text); b.Prints != "" && !b.Fits(output) {
			f.t.Errorf("%sprints\n%s\nand not, as the page says,\n%s", b.Text, output, b.Prints)
		}
	}
}

func (f *folder) run(text string) string {
	f.t.Helper()
	ctx, cancel := context.WithTimeout(f.t.Context(), patience)
	defer cancel()
	var problems strings.Builder
	sh := exec.CommandContext(ctx, "sh", "-ec", text)
	sh.Dir, sh.Env, sh.Stderr = f.path, environment(), &problems
	output, err := sh.Output()
	if err != nil {
		f.t.Fatalf("%s: %v\n%s", text, err, problems.String())
	}
	return string(output)
}

// start starts a program that goes on, and waits until it listens.
func (f *folder) start(text string) {
	f.t.Helper()
	before := f.listening()
	var output strings.Builder
	sh := exec.Command("sh", "-ec", "exec "+text)
	sh.Dir, sh.Env, sh.Stdout, sh.Stderr = f.path, environment(), &output, &output
	if err := sh.Start(); err != nil {
		f.t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- sh.Wait() }()
	f.t.Cleanup(func() {
		_ = sh.Process.Signal(os.Interrupt) // or it has ended
		<-ended
		if f.t.Failed() {
			f.t.Logf("%s%s", text, output.String())
		}
	})
	retry := time.NewTicker(20 * time.Millisecond)
	defer retry.Stop()
	deadline := time.NewTimer(patience)
	defer deadline.Stop()
	for f.listening() == before {
		select {
		case <-retry.C:
		case err := <-ended:
			ended <- err
			f.t.Fatalf("%sends at once: %v", text, err)
		case <-deadline.C:
			f.t.Fatalf("%sdoes not listen", text)
		}
	}
}

// listening returns how many of the page's addresses take connections.
func (f *folder) listening() (n int) {
	for _, address := range f.addresses {
		if conn, err := net.Dial("tcp", address); err == nil {
			conn.Close()
			n++
		}
	}
	return n
}

// environment is that of a machine on which nothing was set for the tests. nginx may lie
// where only root looks.
func environment() (list []string) {
	for _, variable := range os.Environ() {
		if !strings.HasPrefix(variable, "MESSAGEBUS_") && !strings.HasPrefix(variable, "GOWORK=") && !strings.HasPrefix(variable, "PATH=") {
			list = append(list, variable)
		}
	}
	return append(list, "PATH="+os.Getenv("PATH")+":/usr/sbin")
}
