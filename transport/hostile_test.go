package transport_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/messagebus-go/messagebus/bus"
	"github.com/messagebus-go/messagebus/bus/bustest"
	"github.com/messagebus-go/messagebus/transport"
)

func TestHostile_NamesAreBoundedAndClean(t *testing.T) {
	t.Parallel()
	h := newHandler(t, bustest.New(t), &transport.Options{Limits: transport.LimitOptions{MaxChannelBytes: 50, MaxClientIDBytes: 20, MaxChannels: 3}})
	long := func(n int) string { return strings.Repeat("x", n) }
	for _, c := range []struct {
		clientID, contentType, body string
		status                      int
	}{
		{long(20), js, `{"` + long(50) + `":0}`, 200},
		{long(21), js, `{}`, 400},
		{"\xff", js, `{}`, 400},
		{"me", js, `{"` + long(51) + `":0}`, 400},
		{"me", form, long(51) + "=0", 400},
		{"me", js, `{"a\u0000b":0}`, 400},
		{"me", form, "a%00b=0", 400},
		{"me", js, `{"a":0,"b":0,"c":0}`, 200},
		{"me", js, `{"a":0,"b":0,"c":0,"d":0}`, 400},
		{"me", form, "%ff=0", 400},
		{"me", js, "{\"\xff\":0}", 400},
	} {
		r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/message-bus/x/poll?dlp=t", strings.NewReader(c.body))
		r.URL.Path, r.URL.RawPath = "/message-bus/"+c.clientID+"/poll", "/message-bus/"+c.clientID+"/poll"
		r.Header.Set("Content-Type", c.contentType)
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if w.Code != c.status || c.status != 200 && (w.Body.Len() == 0 || strings.Contains(w.Body.String(), "\n")) {
			t.Errorf("client %q, %q: %d %s", c.clientID, c.body, w.Code, w.Body)
		}
	}
}

func TestHostile_BodyThatNeverEndsIsGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, nil)
		start := time.Now()
		conn, err := r.server.Dial(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		p := send(t, conn, "POST /message-bus/me/poll HTTP/1.1\r\nHost: x\r\nContent-Type: "+form+"\r\nContent-Length: 1000\r\n\r\n/a=")
		stop := make(chan struct{})
		defer close(stop)
		go func() { // a byte each second
			for {
				select {
				case <-time.After(time.Second):
					_, _ = io.WriteString(conn, "1") // until it is closed
				case <-stop:
					return
				}
			}
		}()
		p.head()
		if took := time.Since(start); p.status != http.StatusRequestTimeout || took != 15*time.Second {
			t.Errorf("status %d after %v", p.status, took)
		}
		if text := p.body(); strings.Contains(text, "transport.test") {
			t.Errorf("it names an address: %s", text)
		}
		p.wantEnd()
	})
}

// What net/http says of a connection is not for those who ask.
func TestHostile_BodyThatIsCutShortIsRefusedWithoutAddresses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, nil)
		p := send(t, r.dial(), "POST /message-bus/me/poll HTTP/1.1\r\nHost: x\r\nContent-Type: "+form+"\r\nTransfer-Encoding: chunked\r\n\r\n4\r\n/a=0\r\nzz\r\n").head()
		if text := p.body(); p.status != http.StatusBadRequest || text != "the body cannot be read to its end" {
			t.Errorf("%d %s", p.status, text)
		}
		p.wantEnd()
	})
}

func TestHostile_ReadTimeoutDoesNotEndAHold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, &transport.Options{Limits: transport.LimitOptions{ReadTimeout: time.Second}})
		for _, chunks := range []string{"X-None: 1", "Dont-Chunk: 1"} {
			start := time.Now()
			p := r.poll("me", "/a=0", chunks).head()
			if chunks == "Dont-Chunk: 1" {
				p.body()
			} else {
				p.want(noMessages, noMessages, "")
			}
			if held := time.Since(start); held != 25*time.Second {
				t.Errorf("held for %v", held)
			}
		}
	})
}

func TestHostile_OneUserMayNotHoldEverything(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, &transport.Options{Identify: byHeaders, Limits: transport.LimitOptions{MaxHeldPerUser: 3}})
		for i := range 3 {
			r.poll(fmt.Sprint("c", i), "/a=0", "X-User: 7").head().want(noMessages)
		}
		p := r.poll("c4", "/a=0", "X-User: 7").head()
		if p.status != http.StatusTooManyRequests || p.header.Get("Retry-After") != "10" {
			t.Errorf("%d %v %s", p.status, p.header, p.body())
		}
		for _, other := range []string{"X-User: 8", "X-User: \"7\"", "X-None: 1"} {
			r.poll("c4", "/a=0", other).head().want(noMessages)
		}
		r.poll("c4", "/a=0", "X-User: 7", "X-Site: s").head().want(noMessages)
		<-time.After(26 * time.Second)
		r.held(0)
		r.poll("c4", "/a=0", "X-User: 7").head().want(noMessages) // there is room again
	})
}

func TestHostile_OneAddressMayNotHoldEverything(t *testing.T) {
	t.Parallel()
	s := listen(t, &transport.Options{
		TrustedProxies: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("10.0.0.0/8")},
		Limits:         transport.LimitOptions{MaxHeldPerAddress: 2},
	}, nil, (*httptest.Server).Start)
	n := 0
	ask := func(forwarded ...string) int {
		n++
		head := []string{}
		for _, f := range forwarded {
			head = append(head, "X-Forwarded-For: "+f)
		}
		return send(t, s.dial(t), request(fmt.Sprint("/message-bus/c", n, "/poll"), "/a=0", head...)).head().status
	}
	for _, c := range []struct {
		from   []string
		status int
	}{
		{[]string{"203.0.113.5"}, 200},
		{[]string{"1.2.3.4, 203.0.113.5"}, 200}, // the first one may be made up
		{[]string{"9.9.9.9, 203.0.113.5, 10.1.1.1"}, 429},
		{[]string{"8.8.8.8", "203.0.113.5"}, 429}, // two lines are one list
		{[]string{"203.0.113.6"}, 200},
		{[]string{"2001:db8:1:2::1"}, 200},
		{[]string{"2001:db8:1:2:ffff::1"}, 200},
		{[]string{"2001:db8:1:2::3"}, 429}, // of the same /64
		{[]string{"2001:db8:1:3::1"}, 200},
		{[]string{"::ffff:203.0.113.5"}, 429},
		{[]string{"203.0.113.5:4711"}, 429}, // some proxies write the port too
		{[]string{"[2001:db8:1:2::4]:4711"}, 429},
		{nil, 200}, {nil, 200}, {nil, 200}, // the proxy does not say for whom: not counted
		{[]string{"rubbish"}, 200},
	} {
		if got := ask(c.from...); got != c.status {
			t.Errorf("%q: %d, want %d", c.from, got, c.status)
		}
	}
}

func TestHostile_OneAddressBehindAUnixSocketMayNotHoldEverything(t *testing.T) {
	t.Parallel()
	s := listen(t, &transport.Options{
		TrustedProxies: []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")},
		Limits:         transport.LimitOptions{MaxHeldPerAddress: 1},
	}, nil, func(server *httptest.Server) { startUnix(t, server) })
	for i, want := range []int{http.StatusOK, http.StatusTooManyRequests} {
		p := send(t, s.dial(t), request(fmt.Sprint("/message-bus/c", i, "/poll"), "/a=0", "X-Forwarded-For: 203.0.113.5")).head()
		if p.status != want {
			t.Errorf("request %d: %d, want %d", i, p.status, want)
		}
	}
}

func TestHostile_ForwardedAddressIsBelievedFromTrustedProxiesOnly(t *testing.T) {
	t.Parallel()
	s := listen(t, &transport.Options{
		TrustedProxies: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")},
		Limits:         transport.LimitOptions{MaxHeldPerAddress: 1},
	}, nil, (*httptest.Server).Start)
	want := http.StatusOK
	for i := range 3 { // each time another address is made up
		p := send(t, s.dial(t), request(fmt.Sprint("/message-bus/c", i, "/poll"), "/a=0", fmt.Sprint("X-Forwarded-For: 203.0.113.", i))).head()
		if p.status != want {
			t.Errorf("request %d: %d, want %d", i, p.status, want)
		}
		want = http.StatusTooManyRequests
	}
}

func TestHostile_ClientIDOfSomebodyElseClosesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, &transport.Options{Identify: byHeaders})
		mine := r.poll("id", "/a=0&__seq=1", "X-User: 7").head()
		mine.want(noMessages)
		for _, thief := range []string{"X-User: 8", "X-User: \"7\"", "X-None: 1", "X-Site: s", "X-User: 7\r\nX-Site: s", "X-User: 7\r\nX-Sited: 1"} {
			r.poll("id", "/a=0&__seq=99", thief).head().want(noMessages)
		}
		r.publish("/a", "x", bus.ToUsers(bus.IntID(7)))
		mine.want("[" + message(1, "/a", `"x"`) + "]")
		again := r.poll("id", "/a=1&__seq=2", "X-User: 7").head()
		again.want(noMessages)
		mine.want(noMessages, "") // the same user's next request does close it
	})
}

// TestHostile_WhatFollowsARequestIsNoRequest sends shapes by which somebody
// behind a proxy may try to have his bytes taken for the request of another.
func TestHostile_WhatFollowsARequestIsNoRequest(t *testing.T) {
	t.Parallel()
	const second = "POST /evil HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n"
	const start = "POST /message-bus/me/poll HTTP/1.1\r\nHost: x\r\nContent-Type: " + form + "\r\n"
	for name, c := range map[string]struct {
		request string
		held    bool
	}{
		"pipelined":                {start + "Content-Length: 4\r\n\r\n/a=0" + second, true},
		"pipelined, no chunks":     {start + "Dont-Chunk: 1\r\nContent-Length: 4\r\n\r\n/a=0" + second, true},
		"longer than announced":    {start + "Content-Length: 4\r\n\r\n/a=0&/b=0", true},
		"early data":               {start + "Content-Length: 4\r\n\r\n/a=0" + strings.Repeat("x", 100_000), true},
		"chunked and pipelined":    {start + "Transfer-Encoding: chunked\r\n\r\n4\r\n/a=0\r\n0\r\n\r\n" + second, true},
		"length and chunked":       {start + "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + second, true},
		"two lengths":              {start + "Content-Length: 4\r\nContent-Length: 5\r\n\r\n/a=0" + second, false},
		"length with a sign":       {start + "Content-Length: +4\r\n\r\n/a=0" + second, false},
		"odd transfer encoding":    {start + "Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n" + second, false},
		"two transfer encodings":   {start + "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n" + second, false},
		"space before the colon":   {start + "Content-Length : 4\r\n\r\n/a=0" + second, false},
		"bare line feed in a name": {start + "Content-Length: 4\r\nX\nY: 1\r\n\r\n/a=0" + second, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			evil := make(chan string, 10)
			s := listen(t, &transport.Options{LongPoll: transport.LongPollOptions{Hold: 150 * time.Millisecond}},
				func(h http.Handler) http.Handler {
					return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
						if r.URL.Path == "/evil" {
							evil <- r.URL.Path
						}
						h.ServeHTTP(w, r)
					})
				}, (*httptest.Server).Start)
			conn := s.dial(t)
			if _, err := io.WriteString(conn, c.request); err != nil {
				t.Logf("the server stopped reading: %v", err)
			}
			all, _ := io.ReadAll(conn) // a reset is an end as well
			if n := strings.Count(string(all), "HTTP/1.1 "); n > 1 || n == 0 && c.held {
				t.Errorf("%d answers: %.600s", n, all)
			}
			if c.held != strings.HasPrefix(string(all), "HTTP/1.1 200") {
				t.Errorf("%.300s", all)
			}
			select {
			case <-evil:
				t.Error("what followed was taken for a request")
			default:
			}
		})
	}
}

func TestRequest_BasePathBeyondASCII(t *testing.T) {
	t.Parallel()
	for _, base := range []string{"/käse brot", "/k%C3%A4se"} {
		h := newHandler(t, bustest.New(t), &transport.Options{BasePath: base})
		for _, target := range []string{
			"/k%C3%A4se%20brot/message-bus/me/poll", "/k%c3%a4se%20brot/message-bus/me/poll", "/k%C3%A4se/message-bus/me/poll",
		} {
			w := httptest.NewRecorder()
			h.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodPost, target+"?dlp=t", nil))
			want := http.StatusNotFound
			if strings.Contains(target, "brot") == strings.Contains(base, "brot") {
				want = http.StatusOK
			}
			if w.Code != want {
				t.Errorf("base %s, %s: %d", base, target, w.Code)
			}
		}
	}
}

func TestShutdown_SpreadsTheEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, &transport.Options{LongPoll: transport.LongPollOptions{Drain: 100 * time.Millisecond}})
		const n = 200
		start := time.Now()
		ends := make(chan time.Duration, n)
		for i := range n {
			p := r.poll("c"+strconv.Itoa(i), "/a=0").head()
			p.want(noMessages)
			go func() {
				_, _ = io.ReadAll(p.in)
				ends <- time.Since(start)
			}()
		}
		if err := r.handler.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
		early := 0
		for range n {
			end := <-ends
			if end < 50*time.Millisecond {
				early++
			}
			if end > 110*time.Millisecond {
				t.Errorf("one ended after %v", end)
			}
		}
		if early < n/3 || early > 2*n/3 {
			t.Errorf("%d of %d ended in the first half", early, n)
		}
	})
}

func TestShutdown_SpreadsOverHalfOfItsTimeAtMost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, nil)
		for i := range 1000 {
			p := r.poll("c"+strconv.Itoa(i), "/a=0").head()
			p.want(noMessages)
			go func() { _, _ = io.ReadAll(p.in) }()
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		start := time.Now()
		if err := r.handler.Shutdown(ctx); err != nil || time.Since(start) > 600*time.Millisecond {
			t.Errorf("%v after %v", err, time.Since(start))
		}
	})
}

func TestHold_MaxAgeEndsItWithJitter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, &transport.Options{LongPoll: transport.LongPollOptions{MaxAge: 10 * time.Second}})
		start := time.Now()
		ends := make(map[time.Duration]bool)
		ended := make(chan time.Duration)
		for i := range 10 {
			p := r.poll("c"+strconv.Itoa(i), "/a=0").head()
			go func() {
				_, _ = io.ReadAll(p.in)
				ended <- time.Since(start)
			}()
		}
		for range 10 {
			end := <-ended
			if ends[end] = true; end < 9*time.Second || end > 11*time.Second {
				t.Errorf("ended after %v", end)
			}
		}
		if len(ends) < 5 {
			t.Errorf("they ended at %d times", len(ends))
		}
	})
}
