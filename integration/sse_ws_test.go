package integration_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/messagebus-go/messagebus/bus/bustest"
	"github.com/messagebus-go/messagebus/integration/browser"
	"github.com/messagebus-go/messagebus/transport"
)

// What the browser brings along needs no client of anybody's.
func TestBrowser_ThousandMessagesOnceAndInOrderThroughTenCuts(t *testing.T) {
	t.Parallel()
	for name, page := range map[string]string{"EventSource": "sse.html", "WebSocket": "ws.html"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := startSite(t)
			w := browser.Start(t).Open(t, name, browser.Options{})
			w.Visit("http://" + s.proxy.Address() + "/" + page)
			s.publishThroughCuts(t, w)
			s.check(t, w, false)
		})
	}
}

// With HTTP/2 there is no connection to take over: the handler's goroutine
// writes. Message n+1 is published when the page has n, so what is collected on
// the way is never got.
func TestBrowser_StreamsOverTLSAndHTTP2(t *testing.T) {
	t.Parallel()
	b := bustest.New(t)
	messages, err := transport.NewHandler(b, nil)
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.Handle("/message-bus/", messages)
	mux.Handle("/npm/", http.StripPrefix("/npm", http.FileServer(http.Dir("node_modules"))))
	mux.Handle("/", http.FileServer(http.Dir("testdata")))
	server := httptest.NewUnstartedServer(mux)
	server.EnableHTTP2 = true
	server.StartTLS()
	endWithTest(t, server, messages)
	for name, page := range map[string]string{"the gem's client": "npm.html", "EventSource": "sse.html"} {
		t.Run(name, func(t *testing.T) {
			b.Publish(t.Context(), "/numbers", 0)
			w := browser.Start(t).Open(t, name, browser.Options{Untrusted: true})
			w.Visit(server.URL + "/" + page)
			w.WaitFor("received.length > 0")
			start := browser.Eval[int](w, "received.length")
			const n = 100
			for i := range n {
				if _, err := b.Publish(t.Context(), "/numbers", i); err != nil {
					t.Fatal(err)
				}
				w.WaitFor(fmt.Sprintf("received.length > %d", start+i))
			}
			if got := browser.Eval[string](w, "performance.getEntriesByType('navigation')[0].nextHopProtocol"); got != "h2" {
				t.Errorf("the protocol is %s", got)
			}
			if got := browser.Eval[int](w, "performance.getEntriesByType('resource').filter((e) => e.name.includes('/message-bus/page/') || e.name.endsWith('/poll')).length"); got > 3 {
				t.Errorf("%d requests for %d messages: that is not streaming", got, n)
			}
		})
	}
}
