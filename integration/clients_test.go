package integration_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/messagebus-go/messagebus/bus"
	"github.com/messagebus-go/messagebus/bus/bustest"
	"github.com/messagebus-go/messagebus/integration/browser"
	"github.com/messagebus-go/messagebus/integration/faultproxy"
	"github.com/messagebus-go/messagebus/jsclient"
	"github.com/messagebus-go/messagebus/transport"
	"github.com/messagebus-go/messagebus/transport/ws"
)

// A site serves the bus, both browser clients, and pages that use them, behind a
// proxy that can cut its connections.
type site struct {
	bus      *bus.Bus
	messages *transport.Handler
	proxy    *faultproxy.Proxy
	direct   string       // the address without the proxy
	polls    atomic.Int64 // requests for messages so far
	left     atomic.Int64 // held requests whose connection broke

	hung   chan struct{} // a page has asked for the answer that hang keeps back
	resume chan struct{} // have it go on
}

func startSite(t *testing.T) *site {
	t.Helper()
	if _, err := os.Stat(filepath.Join("node_modules", "message-bus-client")); err != nil {
		t.Fatal(`the gem's own client is not installed; run "scripts/setup.sh test", or "npm ci" in the folder integration`)
	}
	s := &site{
		// Whatever the pages of a test have published is kept: on a busy machine one
		// may be far behind another, and must not miss anything for it.
		bus:  bustest.On(t, bustest.NewStore(t), &bus.Options{MaxBacklogSize: 1_000_000, MaxGlobalBacklogSize: 1_000_000}),
		hung: make(chan struct{}), resume: make(chan struct{}),
	}
	var err error
	s.messages, err = transport.NewHandler(s.bus, &transport.Options{
		WebSocket: ws.Accept,
		Identify: func(r *http.Request) (transport.Identity, error) {
			user := r.Header.Get("X-User")
			if user == "" {
				return transport.Identity{}, nil
			}
			return transport.Identity{UserID: bus.StringID(user)}, nil
		},
		Trace: &transport.Trace{
			Disconnect: func(_ transport.Identity, _ string, why transport.Reason) {
				if why == transport.Left {
					s.left.Add(1)
				}
			},
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("/message-bus/", func(w http.ResponseWriter, r *http.Request) {
		s.polls.Add(1)
		s.messages.ServeHTTP(w, r)
	})
	mux.Handle("/npm/", http.StripPrefix("/npm", http.FileServer(http.Dir("node_modules"))))
	mux.Handle("/client/", http.StripPrefix("/client", jsclient.Handler()))
	mux.Handle("/", http.FileServer(http.Dir("testdata")))
	mux.Handle("/strict/", strictly(http.FileServer(http.Dir("testdata"))))
	mux.HandleFunc("POST /hang", s.hang)
	mux.HandleFunc("POST /control/{verb}", s.obey)
	server := httptest.NewServer(mux)
	s.direct = server.URL
	endWithTest(t, server, s.messages)
	s.proxy = faultproxy.Start(t, strings.TrimPrefix(server.URL, "http://"))
	return s
}

// hang keeps its answer back. A page that waits for it in the middle of a script hangs.
func (s *site) hang(_ http.ResponseWriter, r *http.Request) {
	for _, step := range []chan struct{}{s.hung, s.resume} {
		select {
		case step <- struct{}{}:
		case <-r.Context().Done():
			return
		}
	}
}

// strictly serves pages with a policy that allows them their own files and nothing else.
func strictly(pages http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Security-Policy",
			"default-src 'none'; script-src 'self'; connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'")
		pages.ServeHTTP(w, r)
	})
}

// endWithTest ends a server with the test, and before it the requests that its
// handler holds.
func endWithTest(t *testing.T, server *httptest.Server, messages *transport.Handler) {
	t.Helper()
	t.Cleanup(func() {
		if err := messages.Shutdown(context.WithoutCancel(t.Context())); err != nil {
			t.Errorf("shutdown: %v", err)
		}
		server.CloseClientConnections()
		server.Close()
	})
}

func TestClients_ThousandMessagesOnceAndInOrderThroughTenCuts(t *testing.T) {
	t.Parallel()
	for name, page := range map[string]string{
		"the gem's streaming": "npm.html",
		"the gem's polling":   "npm.html?polling",
		"ours streaming":      "own.html",
		"ours polling":        "own.html?poll",
		"ours by events":      "own.html?sse",
		"ours by WebSocket":   "own.html?ws",
		"our drop-in":         "dropin.html",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := startSite(t)
			b := browser.Start(t)
			w := b.Open(t, name, browser.Options{})
			w.Visit("http://" + s.proxy.Address() + "/" + page)
			s.publishThroughCuts(t, w)
			s.check(t, w, strings.Contains(page, "?poll"))
		})
	}
}

const (
	numbers = 1000
	cuts    = 10
)

// publishThroughCuts publishes the numbers from 1, and cuts all connections in
// the middle of it, each time when the page is connected again.
func (s *site) publishThroughCuts(t *testing.T, w *browser.Window) {
	t.Helper()
	const part = numbers / cuts
	number := 0
	publish := func(n int) {
		for range n {
			number++
			if _, err := s.bus.Publish(t.Context(), "/numbers", number); err != nil {
				t.Errorf("publish %d: %v", number, err)
			}
		}
	}
	for cut := range cuts {
		publish(part / 4)
		w.WaitFor(fmt.Sprintf(`received.length >= %d`, number))
		until(t, "the page asks again", func() bool { return s.messages.Held() > 0 })
		// While the cut happens, messages go on coming; the first cut meets a
		// request that is held and silent, a later one answers on their way.
		begun := make(chan struct{})
		var publishing sync.WaitGroup
		publishing.Go(func() {
			publish(cut * part / cuts / 2)
			close(begun)
			publish(part - part/4 - cut*part/cuts/2)
		})
		<-begun
		until(t, "there is a connection to cut", func() bool { return s.proxy.Cut() > 0 })
		publishing.Wait()
	}
	w.WaitFor(fmt.Sprintf(`received.length >= %d`, numbers))
}

// until tries again until done.
func until(t *testing.T, what string, done func() bool) {
	t.Helper()
	retry := time.NewTicker(time.Millisecond)
	defer retry.Stop()
	deadline := time.NewTimer(time.Minute)
	defer deadline.Stop()
	for !done() {
		select {
		case <-retry.C:
		case <-deadline.C:
			t.Fatalf("a minute has passed before %s", what)
		}
	}
}

func (s *site) check(t *testing.T, w *browser.Window, polling bool) {
	t.Helper()
	received := browser.Eval[[][3]int64](w, `received`)
	if len(received) != numbers {
		t.Errorf("%d messages were received", len(received))
	}
	for i, m := range received {
		if m[0] != int64(i)+1 {
			t.Fatalf("message %d of %d was received as number %d", m[0], numbers, i+1)
		}
		if i > 0 && (m[1] <= received[i-1][1] || m[2] <= received[i-1][2]) {
			t.Errorf("ids %d and %d came after %d and %d", m[1], m[2], received[i-1][1], received[i-1][2])
		}
	}
	if gaps := browser.Eval[int](w, `(globalThis.gaps ?? []).filter(({ reason }) => reason !== 'possible').length`); gaps != 0 {
		t.Errorf("%d gaps were reported where nothing was lost", gaps)
	}
	// What was cut had to be asked for again, but for a cut that met no request: a
	// page may be slow to come back. Streaming asks no oftener than that (a request
	// per cut and a few that met a connection being cut); polling does.
	polls, left := s.polls.Load(), s.left.Load()
	t.Logf("%d requests, of which %d were cut off while they were held", polls, left)
	if polls <= cuts/2 {
		t.Errorf("only %d requests were made: the cuts cut nothing", polls)
	}
	if !polling && (polls > 5*cuts || left < cuts/2) {
		t.Errorf("%d requests were made and %d cut off while held: that is not streaming", polls, left)
	}
}
