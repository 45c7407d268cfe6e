package demo_test

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/messagebus-go/messagebus/bus"
	"github.com/messagebus-go/messagebus/bus/bustest"
	"github.com/messagebus-go/messagebus/cmd/messagebus/internal/demo"
)

// setup returns the demo on a bus of its own; below /message-bus/ it answers
// with the path.
func setup(t *testing.T) (http.Handler, *bus.Bus) {
	t.Helper()
	b := bustest.New(t)
	h, err := demo.NewHandler(b, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, "messages of "+r.URL.Path)
	}), nil)
	if err != nil {
		t.Fatal(err)
	}
	return h, b
}

func get(h http.Handler, path string, header ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(http.MethodGet, path, nil)
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

func post(h http.Handler, body string, header ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(http.MethodPost, "/demo/publish", strings.NewReader(body))
	r.Header.Set("Content-Type", "application/json")
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

func TestNewHandler_RefusesWhatItCannotWorkWithout(t *testing.T) {
	t.Parallel()
	if _, err := demo.NewHandler(nil, http.NotFoundHandler(), nil); err == nil {
		t.Error("no bus: accepted")
	}
	if _, err := demo.NewHandler(bustest.New(t), nil, nil); err == nil {
		t.Error("no handler for /message-bus/: accepted")
	}
}

func TestPage_AllThatItAsksForIsServed(t *testing.T) {
	t.Parallel()
	h, _ := setup(t)
	reference := regexp.MustCompile(`(?:src|href|from)[= ]["']((?:/|\./)[^"'#]*)["']`)
	seen := map[string]bool{}
	for queue := []string{"/"}; len(queue) > 0; queue = queue[1:] {
		path := queue[0]
		if seen[path] {
			continue
		}
		seen[path] = true
		answer := get(h, path)
		if answer.Code != http.StatusOK {
			t.Errorf("%s: %d", path, answer.Code)
			continue
		}
		for _, match := range reference.FindAllStringSubmatch(answer.Body.String(), -1) {
			queue = append(queue, strings.Replace(match[1], "./", "/assets/", 1))
		}
	}
	for _, path := range []string{"/assets/style.css", "/assets/favicon.svg", "/assets/main.js", "/assets/wire.js", "/client/index.js"} {
		if !seen[path] {
			t.Errorf("the page does not lead to %s; it leads to %v", path, seen)
		}
	}
}

func TestPage_RunsNothingInline(t *testing.T) {
	t.Parallel()
	h, _ := setup(t)
	answer := get(h, "/")
	policy := answer.Header().Get("Content-Security-Policy")
	if !strings.Contains(policy, "default-src 'self'") || strings.Contains(policy, "unsafe") {
		t.Errorf("policy %q", policy)
	}
	if found := regexp.MustCompile(`<script>|<style|\son\w+=|\sstyle=|https?://`).FindAllString(answer.Body.String(), -1); found != nil {
		t.Errorf("the page has %q", found)
	}
	for name, want := range map[string]string{
		"Content-Type": "text/html; charset=utf-8", "X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer",
	} {
		if got := answer.Header().Get(name); got != want {
			t.Errorf("%s is %q, not %q", name, got, want)
		}
	}
}

func TestAssets_AnswerNotModified(t *testing.T) {
	t.Parallel()
	h, _ := setup(t)
	tag := get(h, "/assets/style.css").Header().Get("ETag")
	if answer := get(h, "/assets/style.css", "If-None-Match", tag); answer.Code != http.StatusNotModified {
		t.Errorf("with tag %q: %d", tag, answer.Code)
	}
}

func TestHandler_LeavesTheRestToOthers(t *testing.T) {
	t.Parallel()
	h, _ := setup(t)
	if got := get(h, "/message-bus/a/poll").Body.String(); got != "messages of /message-bus/a/poll" {
		t.Errorf("/message-bus/: %q", got)
	}
	for _, path := range []string{"/x", "/assets/demo.go", "/assets/", "/assets/..%2fdemo.go", "/client/nothing.js"} {
		if answer := get(h, path); answer.Code != http.StatusNotFound {
			t.Errorf("%s: %d", path, answer.Code)
		}
	}
	if answer := get(h, "/demo/publish"); answer.Code != http.StatusMethodNotAllowed {
		t.Errorf("GET /demo/publish: %d", answer.Code)
	}
}

func TestPublish_EachKindGoesToItsChannel(t *testing.T) {
	t.Parallel()
	for kind, channel := range map[string]string{
		"say":    "/demo/room/lab",
		"here":   "/demo/room/lab/presence",
		"typing": "/demo/room/lab/presence",
		"bye":    "/demo/room/lab/presence",
		"open":   "/demo/rooms",
	} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			h, b := setup(t)
			text := ""
			if kind == "say" {
				text = "<b>hello</b>\nthere"
			}
			body, err := json.Marshal(map[string]string{"room": "lab", "kind": kind, "from": "w1", "name": " Ada ", "text": text})
			if err != nil {
				t.Fatal(err)
			}
			before := time.Now().UnixMilli()
			answer := post(h, string(body))
			if answer.Code != http.StatusOK {
				t.Fatalf("%d %s", answer.Code, answer.Body)
			}
			var got struct{ ID, At int64 }
			if err := json.Unmarshal(answer.Body.Bytes(), &got); err != nil {
				t.Fatal(err)
			}
			m, ok, err := b.LastMessage(t.Context(), channel)
			if err != nil || !ok {
				t.Fatalf("nothing on %s: %v", channel, err)
			}
			var data struct {
				Room, Kind, From, Name, Text string
				At                           int64
			}
			if err := m.Decode(&data); err != nil {
				t.Fatal(err)
			}
			if m.ID != got.ID || data.At != got.At || got.At < before {
				t.Errorf("answered %+v, stored %d at %d, sent at %d", got, m.ID, data.At, before)
			}
			if data.Room != "lab" || data.Kind != kind || data.From != "w1" || data.Name != "Ada" || data.Text != text {
				t.Errorf("stored %+v", data)
			}
		})
	}
}

func TestPublish_PresenceDoesNotPushOutWhatWasSaid(t *testing.T) {
	t.Parallel()
	h, b := setup(t)
	post(h, `{"room":"lab","kind":"say","from":"w1","name":"Ada","text":"first"}`)
	for range 300 {
		post(h, `{"room":"lab","kind":"typing","from":"w1","name":"Ada"}`)
	}
	if said, err := b.Backlog(t.Context(), "/demo/room/lab", 0); err != nil || len(said) != 1 {
		t.Errorf("%d messages are left, %v", len(said), err)
	}
	if heard, err := b.Backlog(t.Context(), "/demo/room/lab/presence", 0); err != nil || len(heard) != 200 {
		t.Errorf("%d presence messages are kept, %v", len(heard), err)
	}
}

func TestPublish_SaysWhatIsWrong(t *testing.T) {
	t.Parallel()
	long := func(n int) string { return strings.Repeat("é", n) }
	for name, c := range map[string]struct {
		body   string
		status int
		reason string
	}{
		"empty":             {``, 400, "one JSON object"},
		"no object":         {`[]`, 400, "one JSON object"},
		"two objects":       {`{"room":"a","kind":"here","from":"w","name":"A"}{}`, 400, "something follows"},
		"unknown field":     {`{"rom":"a"}`, 400, "rom"},
		"wrong type":        {`{"room":5}`, 400, "room"},
		"no kind":           {`{"room":"a","from":"w","name":"A"}`, 400, "kind"},
		"other kind":        {`{"room":"a","kind":"shout","from":"w","name":"A"}`, 400, `"shout"`},
		"no room":           {`{"kind":"here","from":"w","name":"A"}`, 400, "room"},
		"room in capitals":  {`{"room":"Lab","kind":"here","from":"w","name":"A"}`, 400, "room"},
		"room is a path":    {`{"room":"a/presence","kind":"here","from":"w","name":"A"}`, 400, "room"},
		"room separator":    {`{"room":"a$|$b","kind":"here","from":"w","name":"A"}`, 400, "room"},
		"room of dashes":    {`{"room":"a--b","kind":"here","from":"w","name":"A"}`, 400, "room"},
		"long room":         {`{"room":"` + long(33) + `","kind":"here","from":"w","name":"A"}`, 400, "32"},
		"no from":           {`{"room":"a","kind":"here","name":"A"}`, 400, "from"},
		"odd from":          {`{"room":"a","kind":"here","from":"<b>","name":"A"}`, 400, "from"},
		"no name":           {`{"room":"a","kind":"here","from":"w","name":"  "}`, 400, "name"},
		"long name":         {`{"room":"a","kind":"here","from":"w","name":"` + long(41) + `"}`, 400, "40"},
		"name of lines":     {`{"room":"a","kind":"here","from":"w","name":"A\nB"}`, 400, "one line"},
		"nothing said":      {`{"room":"a","kind":"say","from":"w","name":"A","text":" \n "}`, 400, "text"},
		"too much said":     {`{"room":"a","kind":"say","from":"w","name":"A","text":"` + long(2001) + `"}`, 400, "2001"},
		"NUL":               {`{"room":"a","kind":"say","from":"w","name":"A","text":"x\u0000y"}`, 400, "NUL"},
		"text while typing": {`{"room":"a","kind":"typing","from":"w","name":"A","text":"x"}`, 400, "typing"},
		"body too long":     {`{"text":"` + strings.Repeat("x", 40<<10) + `"}`, 413, "32768"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h, b := setup(t)
			answer := post(h, c.body)
			var got struct{ Error string }
			if err := json.Unmarshal(answer.Body.Bytes(), &got); err != nil {
				t.Fatalf("%d %q: %v", answer.Code, answer.Body, err)
			}
			if answer.Code != c.status || !strings.Contains(got.Error, c.reason) {
				t.Errorf("%d %q, not %d with %q", answer.Code, got.Error, c.status, c.reason)
			}
			if stored, err := b.GlobalBacklog(t.Context(), 0); err != nil || len(stored) != 0 {
				t.Errorf("stored: %v, %v", stored, err)
			}
		})
	}
}

func TestPublish_TakesTheLongestOfEach(t *testing.T) {
	t.Parallel()
	h, _ := setup(t)
	body := `{"room":"` + strings.Repeat("ö", 32) + `","kind":"say","from":"` + strings.Repeat("f", 40) +
		`","name":"` + strings.Repeat("é", 40) + `","text":"` + strings.Repeat(`\ud83d\ude00`, 2000) + `"}`
	if answer := post(h, body); answer.Code != http.StatusOK {
		t.Errorf("%d %s", answer.Code, answer.Body)
	}
}

func TestPublish_OnlyFromItsOwnPage(t *testing.T) {
	t.Parallel()
	const body = `{"room":"a","kind":"here","from":"w","name":"A"}`
	for name, c := range map[string]struct {
		header []string
		status int
	}{
		"own page":           {[]string{"Sec-Fetch-Site", "same-origin", "Origin", "http://example.com"}, 200},
		"no browser":         {nil, 200},
		"other site":         {[]string{"Sec-Fetch-Site", "cross-site"}, 403},
		"other port":         {[]string{"Sec-Fetch-Site", "same-site"}, 403},
		"old browser":        {[]string{"Origin", "http://elsewhere.example"}, 403},
		"form":               {[]string{"Content-Type", "application/x-www-form-urlencoded"}, 415},
		"text":               {[]string{"Content-Type", "text/plain; x=application/json"}, 415},
		"none":               {[]string{"Content-Type", ""}, 415},
		"JSON with encoding": {[]string{"Content-Type", "application/json; charset=utf-8"}, 200},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h, _ := setup(t)
			if answer := post(h, body, c.header...); answer.Code != c.status {
				t.Errorf("%d %s, not %d", answer.Code, answer.Body, c.status)
			}
		})
	}
}

func TestPublish_StoreThatRefuses(t *testing.T) {
	t.Parallel()
	h, b := setup(t)
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	answer := post(h, `{"room":"a","kind":"here","from":"w","name":"A"}`)
	if answer.Code != http.StatusServiceUnavailable || !strings.Contains(answer.Body.String(), "could not be stored") {
		t.Errorf("%d %s", answer.Code, answer.Body)
	}
}
