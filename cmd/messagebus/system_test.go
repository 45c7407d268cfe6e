//go:build unix

package main

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// writeCertificate writes a certificate for 127.0.0.1 with a serial number.
func writeCertificate(t *testing.T, certFile, keyFile string, serial int64) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(serial), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	for path, block := range map[string]*pem.Block{certFile: {Type: "CERTIFICATE", Bytes: der}, keyFile: {Type: "PRIVATE KEY", Bytes: private}} {
		if err := os.WriteFile(path, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
		at := time.Unix(1_800_000_000+serial, 0) // no two of them in one tick of the file system
		if err := os.Chtimes(path, at, at); err != nil {
			t.Fatal(err)
		}
	}
}

func serialOf(t *testing.T, c *certificate) int64 {
	t.Helper()
	pair, err := c.get(nil)
	if err != nil {
		t.Fatal(err)
	}
	return pair.Leaf.SerialNumber.Int64()
}

func TestCertificate_FollowsItsFiles(t *testing.T) {
	t.Parallel()
	cert, key := filepath.Join(t.TempDir(), "cert"), filepath.Join(t.TempDir(), "key")
	writeCertificate(t, cert, key, 1)
	c, err := newCertificate(cert, key, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	writeCertificate(t, cert, key, 2)
	c.looked = time.Now().Add(time.Hour) // however slow this machine is
	if got := serialOf(t, c); got != 1 {
		t.Errorf("%d: the files were looked at a moment ago", got)
	}
	c.reload()
	if got := serialOf(t, c); got != 2 {
		t.Errorf("after a reload: %d", got)
	}
	for _, spoil := range []func() error{
		func() error { return os.WriteFile(cert, []byte("half of a certif"), 0o600) },
		func() error { return os.Remove(key) },
	} {
		if err := spoil(); err != nil {
			t.Fatal(err)
		}
		c.reload()
		if got := serialOf(t, c); got != 2 {
			t.Errorf("with broken files: %d", got)
		}
	}
	writeCertificate(t, cert, key, 3)
	c.looked = time.Now().Add(-2 * lookEvery)
	if got := serialOf(t, c); got != 3 {
		t.Errorf("found at a handshake: %d", got)
	}
}

func TestServe_TLS(t *testing.T) {
	t.Parallel()
	cert, key := filepath.Join(t.TempDir(), "cert"), filepath.Join(t.TempDir(), "key")
	writeCertificate(t, cert, key, 1)
	s := serve(t, nil, "--tls-cert", cert, "--tls-key", key)
	publishVia(t, s, `{"channel":"/a","data":1}`)
	text, err := os.ReadFile(cert)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(text)
	for _, http2 := range []bool{true, false} {
		transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}, ForceAttemptHTTP2: http2}
		if !http2 {
			transport.TLSNextProto = map[string]func(string, *tls.Conn) http.RoundTripper{}
		}
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "https://"+s.client+"/message-bus/me/poll", strings.NewReader("/a=0"))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		answer, err := transport.RoundTrip(r) // held: the first chunk comes at once
		if err != nil {
			t.Fatal(err)
		}
		if line, err := bufio.NewReader(answer.Body).ReadString('|'); err != nil || !strings.Contains(line, `"data":1`) || (answer.ProtoMajor == 2) != http2 {
			t.Errorf("HTTP/%d: %q, %v", answer.ProtoMajor, line, err)
		}
		answer.Body.Close()
		transport.CloseIdleConnections()
	}
}

// shortDir is a directory for sockets, whose paths must be short.
func shortDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "mb") //nolint:usetesting // t.TempDir may be too long
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// overUnix is a client of whoever listens on a Unix socket.
func overUnix(t *testing.T, path string) *http.Client {
	t.Helper()
	transport := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		var dialer net.Dialer
		return dialer.DialContext(ctx, "unix", path)
	}}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport, Timeout: 30 * time.Second}
}

func get(t *testing.T, c *http.Client, url string, header http.Header) (int, string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header = header
	answer, err := c.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer.StatusCode, string(text)
}

func TestServe_UnixSockets(t *testing.T) {
	t.Parallel()
	dir := shortDir(t)
	clients, operators := filepath.Join(dir, "c"), filepath.Join(dir, "o")
	left, err := net.Listen("unix", clients) // by a process that was killed
	if err != nil {
		t.Fatal(err)
	}
	left.(*net.UnixListener).SetUnlinkOnClose(false)
	left.Close()
	s := serve(t, nil, "--listen", "unix:"+clients, "--admin-listen", "unix:"+operators, "--identity", "header")
	if info, err := os.Stat(clients); err != nil || info.Mode().Perm() != 0o660 {
		t.Errorf("the socket: %v, %v", info.Mode(), err)
	}
	if status, text := get(t, overUnix(t, operators), "http://localhost/last-id?channel=/a", http.Header{}); status != 200 {
		t.Errorf("an operator over the socket: %d %s", status, text)
	}
	who := http.Header{"X-Messagebus-Identity": {`{"user":1}`}}
	if status, text := get(t, overUnix(t, clients), "http://x/message-bus/me/poll?dlp=t", who); status != 200 {
		t.Errorf("a proxy over the socket: %d %s", status, text)
	}
	taken := runArgs(t, "serve", "--listen", "unix:"+clients)
	if taken.code != exitFailure || !strings.Contains(taken.stderr, "address already in use") {
		t.Errorf("a socket in use: %+v", taken)
	}
	s.stop()
	file := write(t, "file", "precious")
	if got := runArgs(t, "serve", "--listen", "unix:"+file); got.code != exitFailure {
		t.Errorf("a file in its place: %+v", got)
	}
	if text, err := os.ReadFile(file); err != nil || string(text) != "precious" {
		t.Errorf("the file is %q, %v", text, err)
	}
}

// start starts the program through a shell command that execs "$0" "$@".
func startThrough(t *testing.T, script string, files []*os.File, env []string, args ...string) *program {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "sh", append([]string{"-c", script, self(t)}, args...)...)
	cmd.ExtraFiles = files
	return startCommand(t, cmd, env...)
}

// until reads the log until a line has text in it.
func (p *program) until(t *testing.T, text string) string {
	t.Helper()
	var log strings.Builder
	for p.stderr.Scan() {
		fmt.Fprintln(&log, p.stderr.Text())
		if strings.Contains(p.stderr.Text(), text) {
			return p.stderr.Text()
		}
	}
	t.Fatalf("the log ends without %q:\n%s", text, log.String())
	return ""
}

func (p *program) end(t *testing.T) {
	t.Helper()
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	for p.stderr.Scan() {
	}
	if err := p.cmd.Wait(); err != nil {
		t.Errorf("it ended with %v", err)
	}
}

func TestProgram_TakesSocketsOfSystemdAndTellsItWhenItIsReady(t *testing.T) {
	t.Parallel()
	dir := shortDir(t)
	told, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: filepath.Join(dir, "n"), Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer told.Close()
	var files []*os.File
	var addresses []string
	for range 2 {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		addresses = append(addresses, l.Addr().String())
		file, err := l.(*net.TCPListener).File()
		if err != nil {
			t.Fatal(err)
		}
		l.Close()
		files = append(files, file)
	}
	p := startThrough(t, `LISTEN_PID=$$ exec "$0" "$@"`, files,
		[]string{"LISTEN_FDS=2", "LISTEN_FDNAMES=clients:operators", "NOTIFY_SOCKET=" + filepath.Join(dir, "n")},
		"serve", "--listen", "systemd:clients", "--admin-listen", "systemd:operators", "--admin-key", "k")
	for _, file := range files {
		file.Close()
	}
	read := func() string {
		buffer := make([]byte, 100)
		if err := told.SetReadDeadline(time.Now().Add(time.Minute)); err != nil {
			t.Fatal(err)
		}
		n, err := told.Read(buffer)
		if err != nil {
			t.Error(err)
		}
		return string(buffer[:n])
	}
	if got := read(); got != "READY=1" {
		t.Errorf("systemd is told %q", got)
	}
	if status, _ := get(t, client(t), "http://"+addresses[1]+"/last-id?channel=/a", http.Header{"Authorization": {"Bearer k"}}); status != 200 {
		t.Errorf("an operator: %d", status)
	}
	if status, _ := get(t, client(t), "http://"+addresses[0]+"/message-bus/me/poll?dlp=t", http.Header{}); status != 200 {
		t.Errorf("poll: %d", status)
	}
	p.end(t)
	if got := read(); got != "STOPPING=1" {
		t.Errorf("systemd is told %q", got)
	}
}

func TestListen_WithoutSystemd(t *testing.T) {
	t.Parallel()
	pid := fmt.Sprint(os.Getpid())
	for name, env := range map[string]environ{
		"nothing":      {},
		"another":      {"LISTEN_PID": "1", "LISTEN_FDS": "1"},
		"none":         {"LISTEN_PID": pid, "LISTEN_FDS": "0"},
		"another name": {"LISTEN_PID": pid, "LISTEN_FDS": "1", "LISTEN_FDNAMES": "x"},
		"wrong count":  {"LISTEN_PID": pid, "LISTEN_FDS": "1", "LISTEN_FDNAMES": "x:clients"},
	} {
		if l, err := listen(t.Context(), "systemd:clients", env.lookup); err == nil {
			l.Close()
			t.Errorf("%s: it listens", name)
		}
	}
}

func TestProgram_TakesOverChangedSettingsOnSIGHUP(t *testing.T) {
	t.Parallel()
	path := write(t, "c.yaml", "allow-channels: [/a]\nhold: 5s\n")
	p := startThrough(t, `exec "$0" "$@"`, nil, nil, "serve", "--listen", "127.0.0.1:0", "--config", path)
	address := logged.FindStringSubmatch(p.until(t, "listening for clients"))[2]
	refused := func() string {
		r := send(t, "POST", "http://"+address+"/message-bus/me/poll?dlp=t", "/a=0&/b=0", form)
		return r.header.Get("Message-Bus-Refused")
	}
	change := func(text, says string) {
		t.Helper()
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := p.cmd.Process.Signal(syscall.SIGHUP); err != nil {
			t.Fatal(err)
		}
		p.until(t, says)
	}
	if got := refused(); got != "%2Fb" {
		t.Errorf("at first %q is refused", got)
	}
	change("allow-channels: [/b]\nhold: 6s\n", "some changed settings need a restart")
	p.until(t, "the settings are reloaded")
	if got := refused(); got != "%2Fa" {
		t.Errorf("then %q is refused", got)
	}
	change("allow-channels: [/a, b]\n", "nothing is reloaded")
	change("identity: jwt\n", "nothing is reloaded")
	if got := refused(); got != "%2Fa" {
		t.Errorf("after a mistake %q is refused", got)
	}
	p.end(t)
}

func TestServe_StartsWithoutItsStoreUnlessThatIsRequired(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	nobody := "redis://" + l.Addr().String()
	l.Close()
	s := serve(t, nil, "--store", nobody)
	if status, text := get(t, client(t), "http://"+s.admin+"/health", http.Header{}); status != 503 {
		t.Errorf("health: %d %s", status, text)
	}
	got := runArgs(t, "serve", "--listen", "127.0.0.1:0", "--store", nobody, "--require-store")
	if got.code != exitFailure || !strings.Contains(got.stderr, "the store does not answer") || strings.Contains(got.stderr, "listening") {
		t.Errorf("%+v", got)
	}
}

// Full disks and closed pipes are no reason to stop.
func TestProgram_GoesOnWithoutItsOutput(t *testing.T) {
	t.Parallel()
	for name, script := range map[string]string{
		"closed": `exec "$0" "$@" >&- 2>&-`,
		"full":   `exec "$0" "$@" >/dev/full 2>/dev/full`,
		"gone":   `"$0" "$@" 2>&1 | true`,
	} {
		dir := shortDir(t)
		socket := filepath.Join(dir, "o")
		ctx, cancel := context.WithCancel(t.Context())
		cmd := exec.CommandContext(ctx, "sh", "-c", script, self(t), "serve", "--listen", "127.0.0.1:0", "--admin-listen", "unix:"+socket)
		cmd.Env = append(os.Environ(), asProgram+"=1")
		cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		c := overUnix(t, socket)
		retry := time.NewTicker(20 * time.Millisecond)
		up := false
		for range 1500 {
			if _, err := os.Stat(socket); err == nil {
				if answer, err := c.Get("http://localhost/health"); err == nil {
					answer.Body.Close()
					up = true
					break
				}
			}
			<-retry.C
		}
		retry.Stop()
		if !up {
			t.Errorf("%s: it does not answer", name)
		}
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM)
		_ = cmd.Wait()
		cancel()
	}
}
