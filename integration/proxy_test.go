package integration_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/messagebus-go/messagebus/bus"
	"github.com/messagebus-go/messagebus/bus/bustest"
	"github.com/messagebus-go/messagebus/integration/command"
	"github.com/messagebus-go/messagebus/transport"
	"github.com/messagebus-go/messagebus/transport/ws"
)

// Message n+1 is published when the client has read n, all of them within one
// held request: a proxy that collects anything stops it.
func TestProxy_MessagesAreReadOneByOne(t *testing.T) {
	t.Parallel()
	for name, start := range map[string]func(t *testing.T, target string) string{"nginx": startNginx, "HAProxy": startHAProxy} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b, h, target := serveBus(t)
			proxy := start(t, target)
			for name, open := range map[string]func(t *testing.T, address string) func() (int, error){
				"stream": openStream, "server-sent events": openEvents, "WebSocket": openWebSocket,
			} {
				t.Run(name, func(t *testing.T) { readOneByOne(t, b, h, open(t, proxy)) })
			}
		})
	}
}

// readOneByOne publishes what next is to read. The data are the numbers from 1.
func readOneByOne(t *testing.T, b *bus.Bus, h *transport.Handler, next func() (int, error)) {
	t.Helper()
	until(t, "one request is held, and none of those that left", func() bool { return h.Held() == 1 })
	const n = 200
	for i := 1; i <= n; i++ {
		if _, err := b.Publish(t.Context(), "/numbers", i); err != nil {
			t.Fatal(err)
		}
		if got, err := next(); err != nil || got != i {
			t.Fatalf("read %d, %v; want %d", got, err, i)
		}
		if held := h.Held(); held != 1 {
			t.Fatalf("%d requests are held at message %d", held, i)
		}
	}
}

func serveBus(t *testing.T) (*bus.Bus, *transport.Handler, string) {
	t.Helper()
	b := bustest.New(t)
	h, err := transport.NewHandler(b, &transport.Options{
		WebSocket: ws.Accept,
		LongPoll:  transport.LongPollOptions{Hold: time.Hour, Heartbeat: time.Minute},
	})
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(h)
	endWithTest(t, server, h)
	return b, h, strings.TrimPrefix(server.URL, "http://")
}

// numbersIn returns the number of the one message in an array, if there is one.
func numbersIn(part []byte) (int, bool, error) {
	var messages []struct {
		Channel string
		Data    json.RawMessage
	}
	if err := json.Unmarshal(part, &messages); err != nil {
		return 0, false, fmt.Errorf("%q: %w", part, err)
	}
	for _, m := range messages {
		if m.Channel == "/numbers" {
			var number int
			err := json.Unmarshal(m.Data, &number)
			return number, true, err
		}
	}
	return 0, false, nil
}

// nextNumber reads parts until there is a message in one.
func nextNumber(read func() ([]byte, error)) func() (int, error) {
	return func() (int, error) {
		for {
			part, err := read()
			if err != nil {
				return 0, err
			}
			if number, found, err := numbersIn(part); found || err != nil {
				return number, err
			}
		}
	}
}

// open sends a request on a connection that ends with the test.
func openRequest(t *testing.T, method, url, body string) io.Reader {
	t.Helper()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	ctx, cancel := context.WithCancel(t.Context())
	t.Cleanup(cancel)
	request, err := http.NewRequestWithContext(ctx, method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	request.Header.Set("Accept-Encoding", "gzip") // which the proxy is not to do
	answer, err := client.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { answer.Body.Close() })
	if answer.StatusCode != http.StatusOK {
		t.Fatalf("the answer is %s", answer.Status)
	}
	return answer.Body
}

func openStream(t *testing.T, address string) func() (int, error) {
	t.Helper()
	in := bufio.NewReader(openRequest(t, http.MethodPost, "http://"+address+"/message-bus/stream/poll", "/numbers=-1"))
	return nextNumber(func() ([]byte, error) {
		part := []byte{}
		for !bytes.HasSuffix(part, []byte("\r\n|\r\n")) {
			line, err := in.ReadBytes('\n')
			if err != nil {
				return nil, err
			}
			part = append(part, line...)
		}
		return bytes.TrimSuffix(part, []byte("\r\n|\r\n")), nil
	})
}

func openEvents(t *testing.T, address string) func() (int, error) {
	t.Helper()
	lines := bufio.NewScanner(openRequest(t, http.MethodGet, "http://"+address+"/message-bus/events/sse?/numbers=-1", ""))
	return nextNumber(func() ([]byte, error) {
		for lines.Scan() {
			if message, found := bytes.CutPrefix(lines.Bytes(), []byte("data: ")); found {
				return append(append([]byte{'['}, message...), ']'), nil
			}
		}
		return nil, fmt.Errorf("the stream ended: %w", lines.Err())
	})
}

func openWebSocket(t *testing.T, address string) func() (int, error) {
	t.Helper()
	header := http.Header{"Origin": {"http://" + address}} // as a page of the proxy's
	conn, _, err := websocket.Dial(t.Context(), "ws://"+address+"/message-bus/socket/ws", &websocket.DialOptions{HTTPHeader: header})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.CloseNow() })
	if err := conn.Write(t.Context(), websocket.MessageText, []byte(`{"subscribe":{"/numbers":-1}}`)); err != nil {
		t.Fatal(err)
	}
	read := func() ([]byte, error) {
		_, part, err := conn.Read(t.Context())
		return part, err
	}
	if _, err := read(); err != nil { // that it has subscribed
		t.Fatal(err)
	}
	return nextNumber(read)
}

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
		"listen 80;": "listen " + listen + ";", "bind :80\n": "bind " + listen + "\n", "127.0.0.1:7410": target,
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
