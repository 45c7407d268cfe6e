package integration_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/messagebus-go/messagebus/bus/bustest"
	"github.com/messagebus-go/messagebus/bus/redisbus"
	"github.com/messagebus-go/messagebus/integration/browser"
	"github.com/messagebus-go/messagebus/integration/command"
	"github.com/messagebus-go/messagebus/integration/port"
	"github.com/messagebus-go/messagebus/integration/stores"
	"github.com/messagebus-go/messagebus/jsclient"
)

// A listener is a program with browser clients in it, by their names.
type listener interface {
	// received returns what each client has heard so far, in order.
	received() map[string][]any
}

// throughRestarts restarts a server while messages come, and checks that each client
// of the listeners hears each of them once and in order.
func throughRestarts(t *testing.T, clients []string, listen func(base, pages string) listener) {
	t.Helper()
	const (
		restarts = 3
		part     = 20
	)
	database := stores.RedisShared(t)
	store := bustest.On(t, redisPeer(t, database.Client(t), &redisbus.Options{PubSubDB: fmt.Sprint(database.PubSubDB)}), nil)
	pages := servePages(t)
	address := port.Address(t)
	start := func() *command.Process {
		p := command.Start(t, "serve", "--listen", address, "--store", database.URL(), "--cors-origin", pages, "--drain", "100ms")
		p.WaitFor("its address", func(output string) (string, bool) { return "", strings.Contains(output, "listening for clients") })
		return p
	}
	server := start()
	all := listen("http://"+address+"/", pages)
	number := 0
	publish := func(n int) {
		for range n {
			number++
			if _, err := store.Publish(t.Context(), "/numbers", number); err != nil {
				t.Errorf("publish %d: %v", number, err)
			}
		}
	}
	haveAll := func() {
		t.Helper()
		until(t, fmt.Sprintf("all of %v have %d messages", clients, number), func() bool {
			heard := all.received()
			return !slices.ContainsFunc(clients, func(name string) bool { return len(heard[name]) < number })
		})
	}
	publish(part)
	haveAll()
	for restart := range restarts {
		var publishing sync.WaitGroup
		publishing.Go(func() { publish(part) })
		if restart%2 == 0 {
			server.Kill()
		} else {
			server.Stop()
		}
		publishing.Wait()
		publish(part) // nobody hears it yet
		server = start()
		publish(part)
		haveAll()
	}
	for name, heard := range all.received() {
		for i, data := range heard {
			if data != float64(i+1) {
				t.Fatalf("%s: number %d of %d is %v", name, i+1, number, data)
			}
		}
	}
}

// servePages serves the pages of the tests, without a bus, and returns its origin.
func servePages(t *testing.T) string {
	t.Helper()
	mux := http.NewServeMux()
	mux.Handle("/client/", http.StripPrefix("/client", jsclient.Handler()))
	mux.Handle("/", http.FileServer(http.Dir("testdata")))
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	return server.URL
}

func TestRestart_NothingIsLostOrDoubledInNode(t *testing.T) {
	t.Parallel()
	transports := []string{"auto", "stream", "poll", "sse"}
	throughRestarts(t, transports, func(base, _ string) listener { return startNode(t, base, transports) })
}

// nodeListener is testdata/restarts.mjs in Node.
type nodeListener struct {
	mu    sync.Mutex
	heard map[string][]any // guarded by mu
}

func startNode(t *testing.T, base string, transports []string) *nodeListener {
	t.Helper()
	args := append([]string{filepath.Join("testdata", "restarts.mjs"), distIndex(t), base}, transports...)
	node := exec.CommandContext(t.Context(), "node", args...)
	var problems strings.Builder
	node.Stderr = &problems
	output, err := node.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := node.Start(); err != nil {
		t.Fatalf(`node: %v; is it installed? run "scripts/setup.sh js"`, err)
	}
	l := &nodeListener{heard: map[string][]any{}}
	read := make(chan struct{})
	go func() {
		defer close(read)
		l.read(t, output)
	}()
	t.Cleanup(func() {
		_ = node.Process.Kill()
		<-read
		_ = node.Wait() // it was killed
		if problems.Len() > 0 {
			t.Errorf("node: %s", problems.String())
		}
	})
	return l
}

func (l *nodeListener) read(t *testing.T, output io.Reader) {
	lines := bufio.NewScanner(output)
	for lines.Scan() {
		var line struct {
			Transport string
			Data      any
		}
		if err := json.Unmarshal(lines.Bytes(), &line); err != nil {
			t.Errorf("node printed %s: %v", lines.Text(), err)
		}
		l.mu.Lock()
		l.heard[line.Transport] = append(l.heard[line.Transport], line.Data)
		l.mu.Unlock()
	}
}

func (l *nodeListener) received() map[string][]any {
	l.mu.Lock()
	defer l.mu.Unlock()
	return maps.Clone(l.heard)
}

func TestRestart_NothingIsLostOrDoubledInABrowser(t *testing.T) {
	t.Parallel()
	// A browser has no more than six connections to one host at a time.
	pages := [][]string{{"auto", "poll", "drop-in"}, {"sse", "ws", "shared"}}
	throughRestarts(t, slices.Concat(pages...), func(base, origin string) listener {
		b := browser.Start(t)
		var l windows
		for i, clients := range pages {
			w := b.Open(t, fmt.Sprint("page-", i+1), browser.Options{})
			w.Visit(origin + "/restarts.html?" + url.Values{"base": {base}, "client": clients}.Encode())
			l = append(l, w)
		}
		return l
	})
}

// windows are pages with testdata/restarts.html.
type windows []*browser.Window

func (all windows) received() map[string][]any {
	heard := map[string][]any{}
	for _, w := range all {
		maps.Copy(heard, browser.Eval[map[string][]any](w, "globalThis.received ?? {}"))
	}
	return heard
}
