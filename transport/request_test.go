package transport_test

import (
	"errors"
	"fmt"
	"math"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/messagebus-go/messagebus/bus"
	"github.com/messagebus-go/messagebus/bus/bustest"
	"github.com/messagebus-go/messagebus/transport"
)

func TestMiddleware_TakesWhatLiesBelowTheBasePath(t *testing.T) {
	t.Parallel()
	const next, notFound, ours = "next", "not found", noMessages
	for _, c := range []struct{ base, target, want string }{
		{"", "/message-bus/me/poll", ours},
		{"", "/message-bus/me", ours},
		{"", "/message-bus/me/", ours},
		{"", "/message-bus/me/any/thing", ours},
		{"", "/message-bus//poll", ours},
		{"", "/message-bus/./poll", ours},
		{"", "/message-bus/a%2Fb/poll", ours},
		{"", "/message-bus/a|b;c=d,e@f/poll", ours},
		{"", "/message-bus/broadcast", ours},
		{"", "/message-bus/", notFound},
		{"", "/message-bus///", notFound},
		{"", "/message-bus", next},
		{"", "/message-bus2/me/poll", next},
		{"", "/Message-Bus/me/poll", next},
		{"", "/message%2Dbus/me/poll", next},
		{"", "/x/message-bus/me/poll", next},
		{"/foo", "/foo/message-bus/me/poll", ours},
		{"foo/", "/foo/message-bus/me/poll", ours},
		{"//foo//bar//", "/foo/bar/message-bus/me/poll", ours},
		{"/foo/", "/message-bus/me/poll", next},
		{"/foo", "/foomessage-bus/me/poll", next},
	} {
		h := newHandler(t, bustest.New(t), &transport.Options{BasePath: c.base})
		r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, c.target+"?dlp=t", nil)
		w := httptest.NewRecorder()
		h.Middleware(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			fmt.Fprint(w, next)
		})).ServeHTTP(w, r)
		if got := w.Body.String(); got != c.want || (c.want == notFound) != (w.Code == http.StatusNotFound) {
			t.Errorf("base %q, %s: %d %s, want %s", c.base, c.target, w.Code, got, c.want)
		}
	}
}

func TestRequest_ClientIDIsTheRawSegment(t *testing.T) {
	t.Parallel()
	b := bustest.New(t)
	h := newHandler(t, b, nil)
	publish(t, b, "/a", 1, bus.ToClients("cli%65nt"))
	publish(t, b, "/a", 2, bus.ToClients("client"))
	r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/message-bus/cli%65nt/poll?dlp=t", strings.NewReader("/a=0"))
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	if got := w.Body.String(); got != "["+message(1, "/a", "1")+","+status(`{"/a":2}`)+"]" {
		t.Error(got)
	}
}

func TestRequest_OptionsIsAnsweredWithoutALookUp(t *testing.T) {
	t.Parallel()
	h := newHandler(t, bustest.New(t), &transport.Options{
		Identify: func(*http.Request) (transport.Identity, error) { return transport.Identity{}, errors.New("looked up") },
		Header:   func(_ *http.Request, h http.Header) { h.Set("Access-Control-Allow-Origin", "*") },
	})
	for target, want := range map[string]int{"/message-bus/me/poll": 200, "/message-bus/": 404} {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodOptions, target, nil))
		if w.Code != want || want == 200 && (w.Body.String() != "OK" || w.Header().Get("Access-Control-Allow-Origin") != "*") {
			t.Errorf("%s: %d %s %v", target, w.Code, w.Body, w.Header())
		}
	}
}

type refused struct{}

func (refused) Error() string   { return "sign in" }
func (refused) StatusCode() int { return http.StatusUnauthorized }

func TestRequest_ErrorsAndPanicsOfTheApplication(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		options transport.Options
		status  int
		body    string
	}{
		{transport.Options{Identify: func(*http.Request) (transport.Identity, error) {
			return transport.Identity{}, fmt.Errorf("wrapped: %w", refused{})
		}}, 401, "sign in"},
		{transport.Options{Identify: func(*http.Request) (transport.Identity, error) {
			return transport.Identity{}, errors.New("secret")
		}}, 500, "internal server error"},
		{transport.Options{Identify: func(*http.Request) (transport.Identity, error) { panic("secret") }}, 500, "internal server error"},
		{transport.Options{Header: func(*http.Request, http.Header) { panic("secret") }}, 500, "internal server error"},
	} {
		h := newHandler(t, bustest.New(t), &c.options)
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/message-bus/me/poll", nil))
		if w.Code != c.status || w.Body.String() != c.body {
			t.Errorf("%d %s, want %d %s", w.Code, w.Body, c.status, c.body)
		}
	}
}

func TestRequest_PanicsInTraceAreContained(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, &transport.Options{Trace: &transport.Trace{
			Connect:    func(transport.Identity, string) { panic("x") },
			Disconnect: func(transport.Identity, string, transport.Reason) { panic("x") },
			Deliver:    func(*bus.Message, int) { panic("x") },
		}})
		p := r.poll("me", "/a=0").head()
		p.want(noMessages)
		r.publish("/a", 1)
		p.want("["+message(1, "/a", "1")+"]", noMessages, "")
	})
}

func TestHeaders_OfTheApplicationOnHeldAnswers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, &transport.Options{Header: func(_ *http.Request, h http.Header) {
			h.Set("X-Extra", "one\r\nX-Forged: yes")
			h.Set("Content-Type", "text/mine")
			h.Set("Transfer-Encoding", "mine")
			h.Set("Content-Encoding", "gzip")
			h["X Bad"] = []string{"x"}
			h.Set("Expires", "never")
			h.Del("Pragma")
		}})
		p := r.poll("me", "/a=0").head()
		want := "cache-control: must-revalidate, private, max-age=0|expires: never|x-extra: one  X-Forged: yes|connection: close|" +
			"content-type: text/plain; charset=utf-8|transfer-encoding: chunked|x-content-type-options: nosniff|x-accel-buffering: no"
		if got := strings.Join(p.lines, "|"); got != want {
			t.Errorf("%s", got)
		}
	})
}

func TestRequest_WhoGetsAMessage(t *testing.T) {
	t.Parallel()
	anyone := transport.Identity{}
	user := func(id bus.ID) transport.Identity { return transport.Identity{UserID: id} }
	groups := func(ids ...bus.ID) transport.Identity { return transport.Identity{GroupIDs: ids} }
	one, three := bus.IntID(1), bus.IntID(3)
	many := make([]bus.ID, 100)
	for i := range many {
		many[i] = bus.IntID(int64(100 + i))
	}
	for i, c := range []struct {
		who  transport.Identity
		to   []bus.PublishOption
		gets bool
	}{
		{anyone, nil, true},
		{anyone, []bus.PublishOption{bus.ToUsers(one)}, false},
		{user(one), []bus.PublishOption{bus.ToUsers(three, one)}, true},
		{user(bus.StringID("1")), []bus.PublishOption{bus.ToUsers(one)}, false},
		{groups(one, three), []bus.PublishOption{bus.ToGroups(three)}, true},
		{groups(one), []bus.PublishOption{bus.ToGroups(three)}, false},
		{groups(bus.StringID("3")), []bus.PublishOption{bus.ToGroups(three)}, false},
		{groups(three), []bus.PublishOption{bus.ToUsers(one), bus.ToGroups(three)}, true},
		{user(one), []bus.PublishOption{bus.ToUsers(one), bus.ToGroups(three)}, true},
		{anyone, []bus.PublishOption{bus.ToClients("me")}, true},
		{anyone, []bus.PublishOption{bus.ToClients("Me")}, false},
		{anyone, []bus.PublishOption{bus.ToClients("me"), bus.ToUsers(one)}, false},
		{user(one), []bus.PublishOption{bus.ToClients("you"), bus.ToUsers(one)}, false},
		{user(many[99]), []bus.PublishOption{bus.ToUsers(many...)}, true},
		{user(one), []bus.PublishOption{bus.ToUsers(many...)}, false},
		{groups(many[50]), []bus.PublishOption{bus.ToUsers(one), bus.ToGroups(many...)}, true},
		{user(many[50]), []bus.PublishOption{bus.ToGroups(many...)}, false},
	} {
		b := bustest.New(t)
		h := newHandler(t, b, &transport.Options{Identify: func(*http.Request) (transport.Identity, error) { return c.who, nil }})
		publish(t, b, "/a", 1, c.to...)
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/message-bus/me/poll?dlp=t", strings.NewReader("/a=0")))
		want := "[" + message(1, "/a", "1") + "]"
		if !c.gets {
			want = "[" + status(`{"/a":1}`) + "]"
		}
		if got := w.Body.String(); got != want {
			t.Errorf("case %d: %s", i, got)
		}
	}
}

func TestNewHandler_RefusesSettingsOutOfRange(t *testing.T) {
	t.Parallel()
	b := bustest.New(t)
	for _, opts := range []transport.Options{
		{LongPoll: transport.LongPollOptions{Hold: -1}},
		{LongPoll: transport.LongPollOptions{MaxAge: math.MaxInt64}}, // would be over at once
		{LongPoll: transport.LongPollOptions{Heartbeat: math.MaxInt64}},
		{Limits: transport.LimitOptions{WriteTimeout: -1}},
		{Limits: transport.LimitOptions{MaxRequestBytes: -1}},
		{Limits: transport.LimitOptions{MaxChannels: -1}},
		{Limits: transport.LimitOptions{MaxQueuedBytes: -1}},
	} {
		if _, err := transport.NewHandler(b, &opts); err == nil {
			t.Errorf("%+v was taken", opts)
		}
	}
	if _, err := transport.NewHandler(nil, nil); err == nil {
		t.Error("no bus was taken")
	}
}
