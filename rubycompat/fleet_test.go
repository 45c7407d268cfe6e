package rubycompat_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/messagebus-go/messagebus/integration/command"
	"github.com/messagebus-go/messagebus/integration/port"
	"github.com/messagebus-go/messagebus/transport"
)

// hold is how long the servers of a fleet hold a request: clients come back often, so
// that a fleet of several serves them by turns.
const hold = 400 * time.Millisecond

// A fleet is servers on one store behind an nginx, which asks them by turns, and keeps
// a log of who answered when.
type fleet struct {
	url   string
	log   string
	nginx *exec.Cmd
	ruby  map[string]rubyPeer // by address
	end   func()
}

// startFleet starts so many servers of each kind. Pages and clients come from files.
func startFleet(t *testing.T, m meeting, gos, rubies int) *fleet {
	t.Helper()
	f := &fleet{ruby: map[string]rubyPeer{}}
	var servers []string
	for range gos {
		servers = append(servers, startGoServer(t, m).address)
	}
	for range rubies {
		r := m.rubyServer(t, nil)
		address := fmt.Sprint("127.0.0.1:", r.must("port"))
		servers, f.ruby[address] = append(servers, address), r
	}
	f.startNginx(t, servers, startPages(t))
	return f
}

// A goServer is our handler in a server of net/http.
type goServer struct {
	*transport.Handler

	address string
}

func startGoServer(t *testing.T, m meeting, adjust ...func(*transport.Options)) goServer {
	t.Helper()
	options := &transport.Options{LongPoll: transport.LongPollOptions{Hold: hold}}
	for _, change := range adjust {
		change(options)
	}
	h := made(transport.NewHandler(m.goPeer(t), options))(t)
	server := httptest.NewServer(h)
	t.Cleanup(func() {
		if err := h.Shutdown(context.WithoutCancel(t.Context())); err != nil {
			t.Errorf("shutdown: %v", err)
		}
		server.CloseClientConnections()
		server.Close()
	})
	return goServer{h, server.Listener.Addr().String()}
}

// rubyServer is the gem's middleware in puma.
func (m meeting) rubyServer(t *testing.T, more map[string]any) rubyPeer {
	t.Helper()
	settings := map[string]any{"long_polling_interval": hold.Milliseconds()}
	for _, some := range []map[string]any{m.ruby, more} {
		maps.Copy(settings, some)
	}
	return startRuby(t, "server.rb", settings)
}

// startPages serves the pages of the browser clients.
func startPages(t *testing.T) (address string) {
	t.Helper()
	const pages = "../integration/"
	mux := http.NewServeMux()
	mux.Handle("/npm/", http.StripPrefix("/npm", http.FileServer(http.Dir(pages+"node_modules"))))
	mux.Handle("/client/", http.StripPrefix("/client", http.FileServer(http.Dir("../jsclient/dist"))))
	mux.Handle("/", http.FileServer(http.Dir(pages+"testdata")))
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	return server.Listener.Addr().String()
}

// startNginx runs it until stop, or the end of the test.
func (f *fleet) startNginx(t *testing.T, servers []string, pages string) {
	t.Helper()
	folder, listen := t.TempDir(), port.Address(t)
	f.url, f.log = "http://"+listen, filepath.Join(folder, "requests")
	config := "daemon off;\nmaster_process off;\nerror_log stderr;\npid " + folder + "/pid;\nevents {}\nhttp {\naccess_log off;\n" +
		"log_format served '$msec $request_time $upstream_addr';\n"
	for _, kind := range []string{"client_body", "proxy", "fastcgi", "uwsgi", "scgi"} {
		config += kind + "_temp_path " + folder + "/" + kind + ";\n"
	}
	config += "upstream servers {\nserver " + strings.Join(servers, ";\nserver ") + ";\n}\nserver {\nlisten " + listen + ";\n" +
		"location / { proxy_pass http://" + pages + "; }\n" +
		"location /message-bus/ {\naccess_log " + f.log + " served;\nproxy_pass http://servers;\n" +
		"proxy_http_version 1.1;\nproxy_set_header Connection \"\";\nproxy_buffering off;\nproxy_next_upstream off;\n}\n}\n}\n"
	file := filepath.Join(folder, "nginx.conf")
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	var output bytes.Buffer
	f.nginx = exec.Command(command.Find(t, "nginx"), "-e", "stderr", "-c", file)
	f.nginx.Stdout, f.nginx.Stderr = &output, &output
	f.nginx.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := f.nginx.Start(); err != nil {
		t.Fatalf(`nginx: %v; is it installed? run "scripts/setup.sh test"`, err)
	}
	f.end = sync.OnceFunc(func() {
		_ = f.nginx.Process.Signal(syscall.SIGTERM) // it may have ended
		_ = f.nginx.Wait()
	})
	t.Cleanup(func() {
		f.end()
		if t.Failed() {
			t.Logf("nginx printed:\n%s", output.String())
		}
	})
	until(t, "nginx listens", func() bool {
		conn, err := net.Dial("tcp", listen)
		if err == nil {
			conn.Close()
		}
		return err == nil
	})
}

// A span is when a server answered one request, the times being nginx's.
type span struct {
	from, to time.Time
	ruby     bool
}

// awaitRequest waits until the request that is under way has ended: nginx writes it into its
// log only then.
func (f *fleet) awaitRequest(t *testing.T) {
	t.Helper()
	requests := func() int { return strings.Count(f.requests(t), "\n") }
	before := requests()
	until(t, "the request under way has ended", func() bool { return requests() > before })
}

func (f *fleet) requests(t *testing.T) string {
	t.Helper()
	return string(made(os.ReadFile(f.log))(t))
}

// spans ends nginx and reads its log.
func (f *fleet) spans(t *testing.T) (all []span) {
	t.Helper()
	f.end()
	for line := range strings.Lines(f.requests(t)) {
		words := strings.Fields(line)
		if len(words) < 3 {
			t.Fatalf("the log of nginx has the line %q", line)
		}
		end, took := secondsOf(t, words[0]), secondsOf(t, words[1])
		_, ruby := f.ruby[words[2]]
		all = append(all, span{time.UnixMilli((end - took).Milliseconds()), time.UnixMilli(end.Milliseconds()), ruby})
	}
	return all
}

// handedOn is when the last of the Ruby servers had a message behind it.
func (f *fleet) handedOn() map[int]time.Time {
	times := map[int]time.Time{}
	for _, r := range f.ruby {
		for id, at := range r.must("handed_on").(object) {
			seconds, _ := at.(json.Number).Float64() // Ruby's Time.to_f
			n, _ := strconv.Atoi(id)                 // a message id
			if when := time.UnixMilli(int64(seconds * 1000)); when.After(times[n]) {
				times[n] = when
			}
		}
	}
	return times
}

func secondsOf(t *testing.T, text string) time.Duration {
	t.Helper()
	return time.Duration(made(strconv.ParseFloat(text, 64))(t) * float64(time.Second))
}
