package integration_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"testing"

	"github.com/messagebus-go/messagebus/integration/browser"
	"github.com/messagebus-go/messagebus/jsclient"
)

// A badServer answers as no message bus does.
type badServer struct {
	answer  http.HandlerFunc
	foreign bool   // it is of another origin than the page
	limits  bool   // it asks to come back later
	silent  bool   // the drop-in takes it for a good answer with nothing in it, as the gem's client does
	says    string // what a page hears of it
}

const loginPage = "<!doctype html><title>Please log in</title>"

func says(contentType, text string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", contentType)
		io.WriteString(w, text)
	}
}

func refuses(status int) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { http.Error(w, loginPage, status) }
}

func redirects(to string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, to, http.StatusFound) }
}

// oneMessage is a good answer: a message, and then silence until the client has enough.
func oneMessage(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("X-Content-Type-Options", "nosniff") // or a browser keeps back what it guesses by
	if r.FormValue("/a") == "0" {
		io.WriteString(w, `[{"global_id":1,"message_id":1,"channel":"/a","data":null}]`+"\r\n|\r\n")
	}
	w.(http.Flusher).Flush()
	<-r.Context().Done()
}

// badServers are by what they do. elsewhere is an address of another origin.
func badServers(elsewhere string) map[string]badServer {
	const html, plain, whole = "text/html; charset=utf-8", "text/plain; charset=utf-8", "application/json; charset=utf-8"
	all := map[string]badServer{
		"an HTML page":                      {answer: says(html, loginPage), says: "answer"},
		"an HTML page that says it is JSON": {answer: says(whole, loginPage), says: "answer"},
		"a malformed part":                  {answer: says(plain, "[{\"chan\r\n|\r\n"), says: "answer"},
		"nothing":                           {answer: says(plain, ""), silent: true, says: "answer"},
		"a redirect to a login page":        {answer: redirects("/login"), says: "answer"},
		"a captive portal":                  {answer: redirects(elsewhere + "/login"), says: "request"},
		"no leave for other origins":        {answer: says(whole, "[]"), foreign: true, says: "request"},
		"a broken connection": {says: "request", answer: func(http.ResponseWriter, *http.Request) {
			panic(http.ErrAbortHandler)
		}},
	}
	for _, status := range []int{401, 403, 429, 500, 503} {
		all[fmt.Sprint(status)] = badServer{answer: refuses(status), limits: status == http.StatusTooManyRequests, says: fmt.Sprint("refused ", status)}
	}
	return all
}

// startBad serves a page, and beside it a server that is no good, on its own origin and
// on another one. It returns the addresses of both, and of the page.
func startBad(t *testing.T) (mux *http.ServeMux, near, far string) {
	t.Helper()
	mux = http.NewServeMux()
	mux.Handle("/client/", http.StripPrefix("/client", jsclient.Handler()))
	mux.Handle("/", http.FileServer(http.Dir("testdata")))
	mux.Handle("/login", says("text/html", loginPage))
	first, second := httptest.NewServer(mux), httptest.NewServer(mux)
	t.Cleanup(first.Close)
	t.Cleanup(second.Close)
	return mux, first.URL, second.URL
}

// most is how many requests a client sends to the server in a minute: the module waits
// up to 1, 2, 4 s … after failures, the drop-in, as the gem's client does, 15, 15, 45 s.
func (s *badServer) most(client string) int {
	const everyQuarter = 4
	switch {
	case s.limits, s.silent && client == "drop-in":
		return everyQuarter
	case client == "drop-in":
		return 3
	default:
		return 7
	}
}

// speed is how much faster time goes on the page. What is slow on a busy machine makes
// requests come later, never sooner.
const speed = 20

func TestBadServer_GetsFewRequestsInAMinute(t *testing.T) {
	t.Parallel()
	mux, near, far := startBad(t)
	b := browser.Start(t) // ends before the servers, which wait for their requests
	servers := badServers(far)
	for name, server := range servers {
		path := "/" + url.PathEscape(name) + "/"
		mux.Handle(path, server.answer)
		base := near + path
		if server.foreign {
			base = far + path
		}
		for _, client := range []string{"module", "drop-in"} {
			t.Run(client+", "+name, func(t *testing.T) {
				t.Parallel()
				w := visitBad(t, b, near, client, base)
				most := server.most(client)
				w.WaitFor(fmt.Sprintf("globalThis.asked?.length > %d", most))
				if span := speed * browser.Eval[float64](w, fmt.Sprintf("spanOf(%d)", most)); span < 59_000 {
					t.Errorf("%d requests in %v ms", most+1, span)
				}
				server.check(t, w, client)
			})
		}
	}
}

// check looks at what the page was told.
func (s *badServer) check(t *testing.T, w *browser.Window, client string) {
	t.Helper()
	told := browser.Eval[[]string](w, "errors")
	if client == "drop-in" {
		// As the gem's client, it has no words for what refuses it.
		if s.says == "answer" && !s.silent && len(told) == 0 {
			t.Error("the page was told nothing")
		}
		return
	}
	if len(told) == 0 || told[0] != s.says {
		t.Errorf("the page was told %q, want %q", told, s.says)
	}
	if status := browser.Eval[string](w, "client.status"); status != "retrying" {
		t.Errorf("the page shows %q, want %q", status, "retrying")
	}
}

func visitBad(t *testing.T, b *browser.Browser, origin, client, base string) *browser.Window {
	t.Helper()
	w := b.Open(t, "bad", browser.Options{})
	w.Visit(origin + "/bad.html?" + url.Values{"client": {client}, "base": {base}, "speed": {fmt.Sprint(speed)}}.Encode())
	return w
}

func TestBadCallback_CostsNoRequest(t *testing.T) {
	t.Parallel()
	mux, origin, _ := startBad(t)
	b := browser.Start(t)
	mux.HandleFunc("/good/", oneMessage)
	for _, client := range []string{"module", "drop-in"} {
		t.Run(client, func(t *testing.T) {
			t.Parallel()
			w := visitBad(t, b, origin, client, origin+"/good/")
			w.WaitFor("globalThis.minuteSinceCall")
			if asked := browser.Eval[int](w, "asked.length"); asked != 1 {
				t.Errorf("%d requests in a minute", asked)
			}
			if told := browser.Eval[[]string](w, "errors"); len(told) != 1 {
				t.Errorf("the page was told %q", told)
			}
		})
	}
}
