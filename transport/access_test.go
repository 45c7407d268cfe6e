package transport_test

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/messagebus-go/messagebus/bus"
	"github.com/messagebus-go/messagebus/bus/bustest"
	"github.com/messagebus-go/messagebus/transport"
)

// pollOnce sends a request that is not held, with JSON as its body.
func pollOnce(t *testing.T, h http.Handler, body string, head ...string) *httptest.ResponseRecorder {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/message-bus/me/poll?dlp=t", strings.NewReader(body))
	r.Header.Set("Content-Type", "application/json")
	for _, line := range head {
		name, value, _ := strings.Cut(line, ": ")
		r.Header.Set(name, value)
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

func TestAuthorize_RefusedChannelsAreLeftOutAndNamed(t *testing.T) {
	t.Parallel()
	b := bustest.New(t)
	var traced []string
	h := newHandler(t, b, &transport.Options{
		Identify:   byHeaders,
		ServerOnly: []string{"/internal/"},
		Authorize: func(_ *http.Request, id transport.Identity, channel string) error {
			switch {
			case strings.HasPrefix(channel, "/panic"):
				panic("x")
			case strings.HasPrefix(channel, "/staff") && id.UserID != bus.IntID(7):
				return errors.New("not staff")
			}
			return nil
		},
		Trace: &transport.Trace{Refuse: func(_ transport.Identity, client, channel string, err error) {
			traced = append(traced, fmt.Sprint(client, " ", channel, ": ", err))
		}},
	})
	channels := []string{"/a", "/internal/x", "/staff, é+", "/panic", "/b"}
	var body []string
	for _, channel := range channels {
		publish(t, b, channel, 1)
		body = append(body, fmt.Sprintf("[%q,0]", channel))
	}
	w := pollOnce(t, h, "["+strings.Join(body, ",")+"]")
	if got := ids(t, w.Body.String()); got != "1 5" {
		t.Errorf("messages %s", got)
	}
	if got := w.Header().Get("Message-Bus-Refused"); got != "%2Finternal%2Fx, %2Fstaff%2C%20%C3%A9%2B, %2Fpanic" {
		t.Errorf("refused %s", got)
	}
	if w := pollOnce(t, h, `{"/panic\u0000":0}`); w.Code != http.StatusBadRequest || len(traced) != 3 {
		t.Errorf("somebody was asked about a name that is none: %d %s", w.Code, w.Body)
	}
	if len(traced) != 3 || traced[1] != "me /staff, é+: not staff" {
		t.Errorf("traced %q", traced)
	}
	if got := pollOnce(t, h, `{"/staff, é+":0}`, "X-User: 7"); got.Header().Get("Message-Bus-Refused") != "" || ids(t, got.Body.String()) != "3" {
		t.Errorf("to staff: %s %v", got.Body, got.Header())
	}
}

func TestAuthorize_HeldRequestNeverGetsARefusedChannel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, &transport.Options{ServerOnly: []string{"/secret"}})
		p := r.poll("me", "/secret/x=-2&/a=0").head()
		p.want(noMessages)
		r.publish("/secret/x", 1)
		r.publish("/a", 2)
		p.want("["+message(2, "/a", "2")+"]", noMessages, "")
		if got := p.header.Get("Message-Bus-Refused"); got != "%2Fsecret%2Fx" {
			t.Errorf("refused %q", got)
		}
	})
}

func TestAuthorize_HeaderStaysWithinWhatProxiesTake(t *testing.T) {
	t.Parallel()
	h := newHandler(t, bustest.New(t), &transport.Options{ServerOnly: []string{""}})
	var body []string
	for i := range 2000 {
		body = append(body, fmt.Sprintf(`"/channel/%d":0`, i))
	}
	got := pollOnce(t, h, "{"+strings.Join(body, ",")+"}").Header().Get("Message-Bus-Refused")
	names := strings.Split(got, ", ")
	last := names[len(names)-1]
	if len(got) > 4200 || !strings.HasPrefix(last, "+") || last != fmt.Sprint("+", 2000-(len(names)-1)) {
		t.Errorf("%d bytes, %d names, %s", len(got), len(names), last)
	}
}

func TestFilters_AreAskedFromTheNewestToTheFirstNo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		var asked []string
		filter := func(name, prefix string, allow func(data string) bool) transport.Filter {
			return transport.Filter{Prefix: prefix, Allow: func(m *bus.Message, to transport.Identity, clientID string) bool {
				mu.Lock()
				defer mu.Unlock()
				asked = append(asked, fmt.Sprintf("%s %s %s %v %s", name, m.Channel, m.Data, to.UserID, clientID))
				return allow(string(m.Data))
			}}
		}
		panics := 0
		r := newRig(t, &transport.Options{
			Identify: byHeaders,
			Filters: []transport.Filter{
				filter("old", "/a", func(d string) bool { return d != "3" }),
				filter("new", "/a", func(d string) bool {
					if d == "4" {
						panic("x")
					}
					return d != "2"
				}),
			},
			Trace: &transport.Trace{Panic: func(string) { panics++ }},
		})
		r.publish("/a", 0, bus.ToUsers(bus.IntID(9))) // is shown to no filter
		r.publish("/a", 1)
		r.publish("/a", 2)
		synctest.Wait() // until they have gone by
		p := r.poll("me", "/a=0&/ab=0&/b=0", "X-User: 7").head()
		p.want("[" + message(2, "/a", "1") + "," + status(`{"/a":3}`) + "]")
		for i := 1; i <= 5; i++ {
			r.publish("/a", i)
		}
		r.publish("/b", 4)
		p.want("["+message(4, "/a", "1")+"]", "["+message(8, "/a", "5")+"]", "["+message(9, "/b", "4")+"]")
		r.publish("/a", 2)
		p.want("["+status(`{"/a":10}`)+"]", "")
		mu.Lock()
		defer mu.Unlock()
		want := "new 1,old 1,new 2,new 1,old 1,new 2,new 3,old 3,new 4,new 5,old 5,new 2"
		for i, s := range asked {
			asked[i] = strings.Replace(strings.Replace(s, " /a", "", 1), " 7 me", "", 1)
		}
		if got := strings.Join(asked, ","); got != want || panics != 1 {
			t.Errorf("asked %s; %d panics", got, panics)
		}
	})
}

func TestIdentity_HeldRequestEndsWhenItExpires(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var why []transport.Reason
		var expires time.Time
		r := newRig(t, &transport.Options{
			Identify: func(*http.Request) (transport.Identity, error) { return transport.Identity{Expires: expires}, nil },
			Trace:    &transport.Trace{Disconnect: func(_ transport.Identity, _ string, reason transport.Reason) { why = append(why, reason) }},
		})
		start := time.Now()
		expires = start.Add(7 * time.Second)
		p := r.poll("me", "/a=0").head()
		p.want(noMessages, noMessages, "")
		p.wantEnd()
		if held := time.Since(start); held != 7*time.Second || !slices.Equal(why, []transport.Reason{transport.IdentityExpired}) {
			t.Errorf("held for %v, ended because %v", held, why)
		}
		if p := r.poll("me", "/a=0").head(); p.status != http.StatusUnauthorized {
			t.Errorf("status %d afterwards", p.status)
		}
	})
}

func TestIdentity_OneThatExpiresWhileTheEndIsWrittenGetsNothingMore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		expires := time.Now().Add(40 * time.Second)
		opts := slowOptions(0)
		opts.Identify = func(*http.Request) (transport.Identity, error) { return transport.Identity{Expires: expires}, nil }
		r := newRig(t, opts)
		p := r.poll("me", "/a=0").head()
		p.want(noMessages)
		r.publish("/a", 1)             // being written, as nobody reads
		<-time.After(30 * time.Second) // it was held for long enough
		r.publish("/a", 2)
		<-time.After(20 * time.Second)
		p.want("["+message(1, "/a", "1")+"]", noMessages, "")
	})
}

func TestOrigins_OnlyListedPagesMayReadAnswers(t *testing.T) {
	t.Parallel()
	h := newHandler(t, bustest.New(t), &transport.Options{Origins: []string{"https://app.test", "https://*.tenants.test:8443"}})
	for page, allowed := range map[string]bool{
		"https://app.test":              true,
		"HTTPS://APP.test":              true,
		"http://app.test":               false,
		"https://app.test:444":          false,
		"https://evilapp.test":          false,
		"https://app.test.evil":         false,
		"https://x.app.test":            false,
		"https://a.tenants.test:8443":   true,
		"https://a.b.tenants.test:8443": true,
		"https://tenants.test:8443":     false,
		"https://.tenants.test:8443":    false,
		"https://eviltenants.test:8443": false,
		"https://a.tenants.test":        false,
		"null":                          false,
		"":                              false,
	} {
		w := pollOnce(t, h, `{}`, "Origin: "+page)
		got := w.Header()
		if (got.Get("Access-Control-Allow-Origin") == page && page != "") != allowed || (got.Get("Access-Control-Allow-Credentials") == "true") != allowed ||
			got.Get("Vary") != "Origin" {
			t.Errorf("%s: %v", page, got)
		}
		refused := pollOnce(t, h, `x`, "Origin: "+page) // must be readable too
		if (refused.Header().Get("Access-Control-Allow-Origin") != "") != allowed || refused.Code != http.StatusBadRequest {
			t.Errorf("%s, refused: %d %v", page, refused.Code, refused.Header())
		}
	}
}

func TestOrigins_PreflightIsAnswered(t *testing.T) {
	t.Parallel()
	h := newHandler(t, bustest.New(t), &transport.Options{Origins: []string{"https://app.test"}})
	for page, allowed := range map[string]bool{"https://app.test": true, "https://else.test": false} {
		r := httptest.NewRequestWithContext(t.Context(), http.MethodOptions, "/message-bus/me/poll", nil)
		r.Header.Set("Origin", page)
		r.Header.Set("Access-Control-Request-Method", "POST")
		r.Header.Set("Access-Control-Request-Headers", "content-type,x-silence-logger")
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		got := w.Header()
		if w.Code != http.StatusOK || (got.Get("Access-Control-Allow-Headers") == "content-type,x-silence-logger") != allowed ||
			(got.Get("Access-Control-Allow-Methods") != "") != allowed {
			t.Errorf("%s: %d %v", page, w.Code, got)
		}
	}
}

func TestOrigins_ThatAreNoneAreRefused(t *testing.T) {
	t.Parallel()
	for _, origin := range []string{"*", "app.test", "https://", "https://app.test/", "https://a.*.test", "https://*", "https://*.*.test", "null", ""} {
		if _, err := transport.NewHandler(bustest.New(t), &transport.Options{Origins: []string{origin}}); err == nil {
			t.Errorf("%q was taken", origin)
		}
	}
}

func TestBroadcast_PublishesWhatAFormSays(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		method, target, contentType, body string
		status                            int
		data                              string // on /said; empty: nothing
	}{
		{"POST", "broadcast", form, "channel=/said&data=hello", 200, `"hello"`},
		{"POST", "broadcast", "", "channel=/said&data=hello", 200, `"hello"`},
		{"GET", "broadcast?channel=/said&data=hello", "", "", 200, `"hello"`},
		{"PUT", "broadcast?channel=/said&data=old", form, "data=new", 200, `"new"`},
		{"POST", "broadcast", form, "channel=/said", 200, "null"},
		{"POST", "broadcast", form, "channel=/said&data", 200, "null"},
		{"POST", "broadcast", form, "channel=/said&data[a]=1&data[b][]=2&data[b][]=3", 200, `{"a":"1","b":["2","3"]}`},
		{"POST", "broadcast", form, "channel=/said&data[][a]=1&data[][b]=2&data[][a]=3", 200, `[{"a":"1","b":"2"},{"a":"3"}]`},
		{"POST", "broadcast", form, "channel=/said&data=1&data[a]=2", 400, ""},
		{"POST", "broadcast", form, "channel=/said&data[a]=2&data[]=1", 400, ""},
		{"POST", "broadcast", form, "channel=/said&data" + strings.Repeat("[a]", 33) + "=2", 400, ""},
		{"POST", "broadcast", form, "channel[a]=/said&data=1", 400, ""},
		{"POST", "broadcast", form, "channel=/sa$$123$$id", 400, ""},
		{"POST", "broadcast", form, "data=1", 400, ""},
		{"POST", "broadcast", js, `{"channel":"/said"}`, 400, ""},
		{"POST", "broadcast", form, "channel=/private&data=1", 403, ""},
		{"POST", "broadcast/x?dlp=t", form, "channel=1&data=1", 200, ""},
		{"POST", "broadcast/?dlp=t", form, "channel=1&data=1", 200, ""},
	} {
		b := bustest.New(t)
		h := newHandler(t, b, &transport.Options{Broadcast: func(_ *http.Request, channel string) error {
			if channel != "/said" && !strings.Contains(channel, "$$") {
				return forbidden{}
			}
			return nil
		}})
		r := httptest.NewRequestWithContext(t.Context(), c.method, "/message-bus/"+c.target, strings.NewReader(c.body))
		r.Header.Set("Content-Type", c.contentType)
		if c.contentType == "" {
			r.Header.Del("Content-Type")
		}
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		m, found, err := b.LastMessage(t.Context(), "/said")
		if w.Code != c.status || err != nil || string(m.Data) != c.data || found != (c.data != "") ||
			found && (w.Body.String() != "sent" || w.Header().Get("Content-Type") != "text/html") {
			t.Errorf("%s %s %s: %d %s; %s %v", c.method, c.target, c.body, w.Code, w.Body, m.Data, err)
		}
	}
}

type forbidden struct{}

func (forbidden) Error() string   { return "not allowed" }
func (forbidden) StatusCode() int { return http.StatusForbidden }

func TestOnError_MayAnswerWhateverFails(t *testing.T) {
	t.Parallel()
	var seen []string
	answers := true
	h := newHandler(t, bustest.New(t), &transport.Options{
		Identify: func(r *http.Request) (transport.Identity, error) {
			if r.Header.Get("X-Fail") != "" {
				return transport.Identity{}, errors.New("secret")
			}
			return transport.Identity{}, nil
		},
		OnError: func(w http.ResponseWriter, _ *http.Request, err error) bool {
			seen = append(seen, err.Error())
			if answers {
				w.WriteHeader(http.StatusTeapot)
			}
			return answers
		},
	})
	for _, c := range []struct {
		body, fail string
		status     int
	}{{`{`, "", 400}, {`{}`, "x", 500}, {`{"/$|$":0}`, "", 400}} {
		for _, answers = range []bool{true, false} {
			w := pollOnce(t, h, c.body, "X-Fail: "+c.fail)
			want := c.status
			if answers {
				want = http.StatusTeapot
			}
			if w.Code != want || answers && w.Header().Get("Cache-Control") != "" {
				t.Errorf("%s: %d %v", c.body, w.Code, w.Header())
			}
		}
	}
	if len(seen) != 6 || !strings.Contains(seen[2], "secret") {
		t.Errorf("seen %q", seen)
	}
}

func TestHandler_UnderAStrippedPrefixAndAMux(t *testing.T) {
	t.Parallel()
	h := newHandler(t, bustest.New(t), nil)
	mux := http.NewServeMux()
	mux.Handle("/app/", http.StripPrefix("/app", h))
	for target, want := range map[string]int{
		"/app/message-bus/me/poll?dlp=t":     http.StatusOK,
		"/app/message-bus/a%2Fb/poll?dlp=t":  http.StatusOK,
		"/app/message%2Dbus/me/poll?dlp=t":   http.StatusNotFound,
		"/app/app/message-bus/me/poll?dlp=t": http.StatusNotFound,
		"/message-bus/me/poll?dlp=t":         http.StatusNotFound,
	} {
		w := httptest.NewRecorder()
		mux.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodPost, target, nil))
		if w.Code != want {
			t.Errorf("%s: %d, want %d", target, w.Code, want)
		}
	}
}

func TestIdentity_EmptySiteIsASiteWhereItIsSaidToBe(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sited := false
		r := newRig(t, &transport.Options{Identify: func(*http.Request) (transport.Identity, error) {
			return transport.Identity{Sited: sited}, nil
		}})
		none := r.poll("none", "/a=0").head()
		none.want(noMessages)
		sited = true
		empty := r.poll("empty", "/a=0").head()
		empty.want(noMessages)
		r.publish("/a", 1)
		publish(t, r.bus.Site(""), "/a", 2)
		none.want("[" + message(1, "/a", "1") + "]")
		empty.want("[" + message(2, "/a", "2") + "]")
		r.publish("/a", 3)
		none.want("[" + message(3, "/a", "3") + "]")
		go func() { _, _ = io.Copy(io.Discard, none.in) }()
		empty.want(noMessages, "")
	})
}
