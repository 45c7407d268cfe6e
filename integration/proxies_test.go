package integration_test

import (
	"bytes"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/messagebus-go/messagebus/integration/command"
)

// documented returns a block of the page about proxies, with other addresses.
func documented(t *testing.T, language, listen, target string) string {
	t.Helper()
	page, err := os.ReadFile(filepath.Join(command.Root(t), "docs", "operating.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, found := strings.Cut(string(page), "```"+language+"\n")
	text, _, ended := strings.Cut(rest, "```\n")
	if !found || !ended {
		t.Fatalf("docs/operating.md has no block of %s", language)
	}
	for old, replacement := range map[string]string{
		"listen 80;": "listen " + listen + ";", "bind :80\n": "bind " + listen + "\n", "example.com {\n": "http://" + listen + " {\n",
		"127.0.0.1:7410": target,
	} {
		text = strings.ReplaceAll(text, old, replacement)
	}
	if !strings.Contains(text, listen) || !strings.Contains(text, target) {
		t.Fatalf("the block of %s listens elsewhere than is replaced here:\n%s", language, text)
	}
	return text
}

func startNginx(t *testing.T, target string) string {
	t.Helper()
	folder, listen := t.TempDir(), freeAddress(t)
	config := "daemon off;\nmaster_process off;\nerror_log stderr;\npid " + folder + "/pid;\nevents {}\nhttp {\naccess_log off;\n"
	for _, kind := range []string{"client_body", "proxy", "fastcgi", "uwsgi", "scgi"} {
		config += kind + "_temp_path " + folder + "/" + kind + ";\n"
	}
	config += documented(t, "nginx", listen, target) + "}\n"
	file := filepath.Join(folder, "nginx.conf")
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	startProxy(t, listen, "nginx", "-e", "stderr", "-c", file)
	return listen
}

func startHAProxy(t *testing.T, target string) string {
	t.Helper()
	listen := freeAddress(t)
	file := filepath.Join(t.TempDir(), "haproxy.cfg")
	if err := os.WriteFile(file, []byte(documented(t, "haproxy", listen, target)), 0o600); err != nil {
		t.Fatal(err)
	}
	startProxy(t, listen, "haproxy", "-db", "-f", file)
	return listen
}

func startCaddy(t *testing.T, target string) string {
	t.Helper()
	folder, listen := t.TempDir(), freeAddress(t)
	config := "{\nadmin off\nauto_https off\nstorage file_system " + folder + "\n}\n" + documented(t, "caddyfile", listen, target)
	file := filepath.Join(folder, "Caddyfile")
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	startProxy(t, listen, "caddy", "run", "--config", file, "--adapter", "caddyfile")
	return listen
}

func freeAddress(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	return listener.Addr().String()
}

// startProxy runs a proxy until the test ends, and waits until it listens.
func startProxy(t *testing.T, listen, name string, args ...string) {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		path, err = exec.LookPath("/usr/sbin/" + name) // which is not in everybody's PATH
	}
	if err != nil {
		t.Fatalf(`%s is not installed; run "scripts/setup.sh test"`, name)
	}
	var output bytes.Buffer
	proxy := exec.Command(path, args...)
	proxy.Env = append(os.Environ(), "XDG_CONFIG_HOME="+t.TempDir()) // where Caddy keeps what it is told
	proxy.Stdout, proxy.Stderr = &output, &output
	proxy.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := proxy.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = proxy.Wait()
	}()
	t.Cleanup(func() {
		_ = proxy.Process.Signal(syscall.SIGTERM)
		<-ended
		if t.Failed() {
			t.Logf("%s printed:\n%s", name, output.String())
		}
	})
	until(t, name+" listens", func() bool {
		select {
		case <-ended:
			t.Fatalf("%s has ended:\n%s", name, output.String())
		default:
		}
		conn, err := net.Dial("tcp", listen)
		if err == nil {
			conn.Close()
		}
		return err == nil
	})
}
