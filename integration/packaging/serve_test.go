package packaging_test

import (
	"context"
	"io"
	"maps"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/messagebus-go/messagebus/integration/command"
	"github.com/messagebus-go/messagebus/integration/port"
	"github.com/messagebus-go/messagebus/integration/stores"
)

// patience is how long a server may take until it is well.
const patience = time.Minute

// A packaged server is what a file says of it, with addresses of this machine.
type packaged struct {
	args    []string          // after the program
	env     map[string]string // what the file sets
	health  []string          // how the file asks whether it is well, after the program
	clients string            // address
}

// here replaces the addresses and paths of a file by those of this test.
func (p *packaged) here(t *testing.T, others ...string) {
	t.Helper()
	p.clients = port.Address(t)
	replace := strings.NewReplacer(append(others, "127.0.0.1:7410", p.clients, "127.0.0.1:7411", port.Address(t), ":7410", p.clients)...)
	for _, list := range [][]string{p.args, p.health} {
		for i := range list {
			list[i] = replace.Replace(list[i])
		}
	}
	for name := range p.env {
		p.env[name] = replace.Replace(p.env[name])
	}
}

// program is messagebus as the file starts it.
func (p *packaged) program(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.CommandContext(context.Background(), command.Binary(t), args...)
	cmd.Env = []string{"PATH=" + os.Getenv("PATH")}
	for _, name := range slices.Sorted(maps.Keys(p.env)) {
		cmd.Env = append(cmd.Env, name+"="+p.env[name])
	}
	return cmd
}

// serves starts the server, waits until its own health check finds it well, and has a
// client read what another process has published.
func (p *packaged) serves(t *testing.T) {
	t.Helper()
	command.Run(t, p.program(t, p.args...))
	p.awaitHealth(t)
	if output, err := p.program(t, "publish", "/chat", `"packaged"`).CombinedOutput(); err != nil {
		t.Fatalf("publish: %v\n%s", err, output)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+p.clients+"/message-bus/me/poll?dlp=t", strings.NewReader("/chat=0"))
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	response, err := client.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil || !strings.Contains(string(body), `"data":"packaged"`) {
		t.Errorf("a client reads %v %s", err, body)
	}
}

func (p *packaged) awaitHealth(t *testing.T) {
	t.Helper()
	for deadline := time.Now().Add(patience); ; {
		output, err := p.program(t, p.health...).CombinedOutput()
		switch {
		case err == nil:
			return
		case time.Now().After(deadline):
			t.Fatalf("%s: %v\n%s", p.health, err, output)
		}
	}
}

// file returns the path of a file of the folder packaging.
func file(t *testing.T, name string) string {
	t.Helper()
	return filepath.Join(command.Root(t), "packaging", name)
}

func read(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(file(t, name))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestCompose_ServesOnRedis(t *testing.T) {
	t.Parallel()
	p := readCompose(t, "compose/redis.yaml")
	p.here(t, "redis://redis:6379", stores.Redis(t).URL())
	p.serves(t)
}

func TestCompose_ServesOnPostgres(t *testing.T) {
	t.Parallel()
	p := readCompose(t, "compose/postgres.yaml")
	p.here(t, "postgres://bus:bus@postgres/bus", stores.Postgres(t).NewDatabase(t))
	p.serves(t)
}

func TestKubernetes_Serves(t *testing.T) {
	t.Parallel()
	p := readDeployment(t, "kubernetes/messagebus.yaml")
	p.here(t, "secret messagebus/store", stores.Redis(t).URL())
	p.serves(t)
}

func TestUnit_ServesAndTellsSystemd(t *testing.T) {
	t.Parallel()
	settings := filepath.Join(t.TempDir(), "messagebus.yaml")
	redis := stores.Redis(t)
	u := readUnit(t, "systemd/messagebus.service")
	p := &packaged{args: u.start, health: readImage(t, "Dockerfile").health}
	text := &packaged{args: []string{read(t, "debian/messagebus.yaml")}, health: p.health}
	text.here(t, "redis://127.0.0.1:6379", redis.URL())
	if err := os.WriteFile(settings, []byte(text.args[0]), 0o600); err != nil {
		t.Fatal(err)
	}
	p.here(t, "/etc/messagebus.yaml", settings)
	p.clients = text.clients
	p.env = map[string]string{"MESSAGEBUS_STORE": redis.URL()} // for publish alone: the file says the same
	for i := range u.check {
		u.check[i] = strings.ReplaceAll(u.check[i], "/etc/messagebus.yaml", settings)
	}
	if output, err := p.program(t, u.check...).CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", u.check, err, output)
	}
	if u.kind != "notify" {
		t.Errorf("Type=%s, but the program tells systemd when it is ready", u.kind)
	}
	ready := listenForSystemd(t, p)
	p.serves(t)
	ready()
}

// listenForSystemd stands in for systemd; what it returns waits until the program has said
// that it is ready.
func listenForSystemd(t *testing.T, p *packaged) (ready func()) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "notify")
	socket, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { socket.Close() })
	p.env["NOTIFY_SOCKET"] = path
	return func() {
		t.Helper()
		if err := socket.SetReadDeadline(time.Now().Add(patience)); err != nil {
			t.Fatal(err)
		}
		text := make([]byte, 1<<10)
		n, err := socket.Read(text)
		if err != nil || !strings.Contains(string(text[:n]), "READY=1") {
			t.Errorf("systemd hears %v %s", err, text[:n])
		}
	}
}
