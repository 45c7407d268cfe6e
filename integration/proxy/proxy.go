// Package proxy runs proxies in front of a server, with the settings of docs/operating.md.
package proxy

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/messagebus-go/messagebus/integration/command"
	"github.com/messagebus-go/messagebus/integration/document"
	"github.com/messagebus-go/messagebus/integration/port"
)

// A Proxy is one that runs until its test ends.
type Proxy struct {
	tb      testing.TB
	name    string
	address string
	process *exec.Cmd
	output  output
	ended   chan struct{} // closed when the process has ended
}

// Address is where the proxy listens, as host:port.
func (p *Proxy) Address() string { return p.address }

// Nginx starts nginx in front of targets, one or as many as the page has, each host:port.
func Nginx(tb testing.TB, targets ...string) *Proxy {
	tb.Helper()
	folder, listen := tb.TempDir(), port.Address(tb)
	var config strings.Builder
	config.WriteString("daemon off;\nerror_log stderr notice;\nworker_shutdown_timeout 100ms;\npid " + folder + "/pid;\nevents {}\nhttp {\naccess_log off;\n")
	for _, kind := range []string{"client_body", "proxy", "fastcgi", "uwsgi", "scgi"} {
		config.WriteString(kind + "_temp_path " + folder + "/" + kind + ";\n")
	}
	target := targets[0]
	if len(targets) > 1 {
		var servers string
		servers, target = upstream(tb, targets)
		config.WriteString(servers)
	}
	config.WriteString(documented(tb, "nginx", listen, target) + "}\n")
	file := write(tb, folder, "nginx.conf", config.String())
	return start(tb, listen, "nginx", "-e", "stderr", "-c", file)
}

// HAProxy starts HAProxy in front of target, which is host:port.
func HAProxy(tb testing.TB, target string) *Proxy {
	tb.Helper()
	listen := port.Address(tb)
	file := write(tb, tb.TempDir(), "haproxy.cfg", documented(tb, "haproxy", listen, target))
	return start(tb, listen, "haproxy", "-db", "-f", file)
}

// Caddy starts Caddy in front of target, which is host:port.
func Caddy(tb testing.TB, target string) *Proxy {
	tb.Helper()
	folder, listen := tb.TempDir(), port.Address(tb)
	config := "{\nadmin off\nauto_https off\nstorage file_system " + folder + "\n}\n" + documented(tb, "caddyfile", listen, target)
	file := write(tb, folder, "Caddyfile", config)
	return start(tb, listen, "caddy", "run", "--config", file, "--adapter", "caddyfile")
}

// Reload has nginx begin anew, as after a change of its settings, and returns when its
// connections from before are gone.
func (p *Proxy) Reload() {
	p.tb.Helper()
	const over = "exited with code"
	before := p.output.count(over)
	if err := p.process.Process.Signal(syscall.SIGHUP); err != nil {
		p.tb.Errorf("proxy: reload %s: %v", p.name, err)
		return
	}
	p.until("has reloaded", func() bool { return p.output.count(over) > before })
}

func write(tb testing.TB, folder, name, text string) (file string) {
	tb.Helper()
	file = filepath.Join(folder, name)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		tb.Fatal(err)
	}
	return file
}

// server is the address of the server in the blocks of the page.
const server = "127.0.0.1:7410"

// documented returns the first block of the page about proxies, with other addresses.
func documented(tb testing.TB, language, listen, target string) string {
	tb.Helper()
	return rewritten(tb, block(tb, language, 0), map[string]string{
		"listen 80;": "listen " + listen + ";", "bind :80\n": "bind " + listen + "\n", "example.com {\n": "http://" + listen + " {\n",
		server: target,
	}, listen, target)
}

// upstream returns the block of several servers and its name.
func upstream(tb testing.TB, targets []string) (text, name string) {
	tb.Helper()
	text = block(tb, "nginx", 1)
	name = strings.Fields(text)[1]
	addresses := map[string]string{}
	for i, target := range targets {
		addresses[fmt.Sprintf("127.0.0.1:74%d0", i+1)] = target
	}
	return rewritten(tb, text, addresses, targets...), name
}

// block returns the n-th block in a language, from 0.
func block(tb testing.TB, language string, n int) string {
	tb.Helper()
	parts := strings.SplitN(document.Read(tb, "operating.md"), "```"+language+"\n", n+3)
	if len(parts) < n+2 {
		tb.Fatalf("proxy: docs/operating.md has no block %d of %s", n, language)
	}
	text, _, _ := strings.Cut(parts[n+1], "```\n")
	return text
}

// rewritten replaces what replacements name, after which text has to hold all of want.
func rewritten(tb testing.TB, text string, replacements map[string]string, want ...string) string {
	tb.Helper()
	for old, replacement := range replacements {
		text = strings.ReplaceAll(text, old, replacement)
	}
	for _, part := range want {
		if !strings.Contains(text, part) {
			tb.Fatalf("proxy: this block is otherwise than is replaced here, there is no %s:\n%s", part, text)
		}
	}
	return text
}

// start runs a proxy until the test ends, and waits until it listens.
func start(tb testing.TB, listen, name string, args ...string) *Proxy {
	tb.Helper()
	p := &Proxy{tb: tb, name: name, address: listen, process: exec.Command(command.Find(tb, name), args...), ended: make(chan struct{})}
	p.process.Stdout, p.process.Stderr = &p.output, &p.output
	p.process.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := p.process.Start(); err != nil {
		tb.Fatal(err)
	}
	go func() {
		defer close(p.ended)
		_ = p.process.Wait()
	}()
	tb.Cleanup(func() {
		_ = p.process.Process.Signal(syscall.SIGTERM)
		<-p.ended
		if tb.Failed() {
			tb.Logf("%s printed:\n%s", name, p.output.text())
		}
	})
	p.until("listens", func() bool {
		conn, err := net.Dial("tcp", listen)
		if err == nil {
			conn.Close()
		}
		return err == nil
	})
	return p
}

// until waits until done.
func (p *Proxy) until(what string, done func() bool) {
	p.tb.Helper()
	const patience = time.Minute
	retry := time.NewTicker(5 * time.Millisecond)
	defer retry.Stop()
	deadline := time.NewTimer(patience)
	defer deadline.Stop()
	for !done() {
		select {
		case <-retry.C:
		case <-p.ended:
			p.tb.Fatalf("%s has ended:\n%s", p.name, p.output.text())
		case <-deadline.C:
			p.tb.Fatalf("not within %v: %s %s; it printed:\n%s", patience, p.name, what, p.output.text())
		}
	}
}

// output is what a process prints.
type output struct {
	mu  sync.Mutex // guards buf
	buf bytes.Buffer
}

func (o *output) Write(b []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.Write(b)
}

func (o *output) text() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.String()
}

func (o *output) count(text string) int { return strings.Count(o.text(), text) }
