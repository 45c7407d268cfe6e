package rubycompat_test

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/messagebus-go/messagebus/bus"
	"github.com/messagebus-go/messagebus/transport"
)

// httpDifferenceSubjects are the differences that are wanted of a server, with one of each
// kind on one store.
func httpDifferenceSubjects() []subject {
	of := func(rule string, test func(t *testing.T, m meeting)) subject {
		return subject{"differences", rule, "", []way{{sideBySide, met(test)}}}
	}
	return []subject{
		of("bad-input-refused", badInputRefused),
		of("data-as-stored", dataAsStored),
		of("undecodable-skipped", undecodableSkipped),
		of("filter-panic-withholds", filterPanicWithholds),
		of("head-at-once", headAtOnce),
		of("own-requests-only", ownRequestsOnly),
		of("place-free-at-once", placeFreeAtOnce),
		of("global-live", globalLive),
		of("withheld-told-at-end", withheldToldAtEnd),
	}
}

// long is how long a request is held that a test ends in another way.
const long = 10 * time.Second

// A pair is a server of each kind, on one store.
type pair struct {
	t   *testing.T
	b   *bus.Bus
	gem rubyPeer
	own goServer
	gems,
	ours endpoint
}

// An endpoint is a server's address.
type endpoint struct {
	t       *testing.T
	address string
}

func newPair(t *testing.T, m meeting, held time.Duration, lookups any, adjust ...func(*transport.Options)) pair {
	t.Helper()
	identify := func(o *transport.Options) {
		o.LongPoll.Hold = held
		o.Identify = func(r *http.Request) (transport.Identity, error) {
			id := transport.Identity{Site: r.Header.Get("X-Site")}
			if user := r.Header.Get("X-User"); user != "" {
				id.UserID = bus.StringID(user)
			}
			return id, nil
		}
	}
	gem := m.rubyServer(t, map[string]any{"lookups": lookups, "long_polling_interval": held.Milliseconds()})
	own := startGoServer(t, m, append(adjust, identify)...)
	return pair{
		t: t, b: m.goPeer(t), gem: gem, own: own,
		gems: endpoint{t, fmt.Sprint("127.0.0.1:", gem.must("port"))}, ours: endpoint{t, own.address},
	}
}

// A reply is an answer that was read to its end.
type reply struct {
	status int
	body   string
}

// ask sends a poll that is answered at once.
func (e endpoint) ask(body string) reply {
	e.t.Helper()
	return <-e.send("?dlp=t", body)
}

// send sends a poll by a client called c, which takes no chunks, with headers by turns.
func (e endpoint) send(query, body string, headers ...string) <-chan reply {
	e.t.Helper()
	request := made(http.NewRequestWithContext(e.t.Context(), http.MethodPost, "http://"+e.address+"/message-bus/c/poll"+query, strings.NewReader(body)))(e.t)
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("Dont-Chunk", "true")
	for i := 0; i < len(headers); i += 2 {
		request.Header.Set(headers[i], headers[i+1])
	}
	request.Close = true
	answers := make(chan reply, 1)
	go func() {
		response, err := http.DefaultClient.Do(request)
		if err != nil {
			answers <- reply{body: err.Error()}
			return
		}
		defer response.Body.Close()
		text, _ := io.ReadAll(response.Body) // what came of it
		answers <- reply{response.StatusCode, string(text)}
	}()
	return answers
}

func (p pair) gemHolds(n int) {
	p.t.Helper()
	until(p.t, fmt.Sprintf("the gem holds %d", n), func() bool { return integer(p.gem.must("held")) == n })
}

func (p pair) weHold(n int) {
	p.t.Helper()
	until(p.t, fmt.Sprintf("Go holds %d", n), func() bool { return p.own.Held() == n })
}

// wantReply wants a status, and that the body has some text, or has not.
func wantReply(t *testing.T, who string, got reply, status int, has, lacks string) {
	t.Helper()
	if got.status != status || !strings.Contains(got.body, has) || lacks != "" && strings.Contains(got.body, lacks) {
		t.Errorf("%s answers %d %.300q, want %d with %q and without %q", who, got.status, got.body, status, has, lacks)
	}
}

func badInputRefused(t *testing.T, m meeting) {
	t.Helper()
	p := newPair(t, m, hold, nil)
	for _, body := range []string{`{"/a":`, `7`, ``, `null`} {
		wantReply(t, "the gem", p.gems.ask(body), http.StatusInternalServerError, "", "")
		wantReply(t, "Go", p.ours.ask(body), http.StatusBadRequest, "", "\r\n")
	}
}

func dataAsStored(t *testing.T, m meeting) {
	t.Helper()
	p := newPair(t, m, hold, nil)
	p.gem.must("publish_stored", "/a", `{"data":1.0e2,"user_ids":null,"group_ids":null,"client_ids":null}`)
	wantReply(t, "the gem", p.gems.ask(`{"/a":0}`), http.StatusOK, `"data":100.0`, "")
	wantReply(t, "Go", p.ours.ask(`{"/a":0}`), http.StatusOK, `"data":1.0e2`, "")
}

func undecodableSkipped(t *testing.T, m meeting) {
	t.Helper()
	p := newPair(t, m, hold, nil)
	p.gem.must("publish_stored", "/a", `{"data":`)
	p.gem.must("publish", "/a", "good")
	wantReply(t, "the gem", p.gems.ask(`{"/a":0}`), http.StatusInternalServerError, "", `"good"`)
	wantReply(t, "Go", p.ours.ask(`{"/a":0}`), http.StatusOK, `"good"`, "")
}

func filterPanicWithholds(t *testing.T, m meeting) {
	t.Helper()
	p := newPair(t, m, hold, nil, func(o *transport.Options) {
		o.Filters = []transport.Filter{{Prefix: "/a", Allow: func(m *bus.Message, _ transport.Identity, _ string) bool {
			return m.Data[len(m.Data)] == 0 // panics
		}}}
	})
	p.gem.must("break_filter", "/a")
	p.gem.must("publish", "/a", "withheld")
	p.gem.must("publish", "/b", "free")
	wantReply(t, "the gem", p.gems.ask(`{"/a":0,"/b":0}`), http.StatusInternalServerError, "", `"free"`)
	wantReply(t, "Go", p.ours.ask(`{"/a":0,"/b":0}`), http.StatusOK, `"free"`, `"withheld"`)
}

func headAtOnce(t *testing.T, m meeting) {
	t.Helper()
	p := newPair(t, m, hold, nil)
	head := func(e endpoint) (body string) {
		conn := made(net.Dial("tcp", e.address))(t)
		defer conn.Close()
		fmt.Fprint(conn, "HEAD /message-bus/c/poll HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
		_, body, _ = strings.Cut(string(made(io.ReadAll(conn))(t)), "\r\n\r\n")
		return body
	}
	if body := head(p.gems); !strings.Contains(body, "[]") {
		t.Errorf("the gem sends to HEAD: %q", body)
	}
	if body := head(p.ours); body != "" {
		t.Errorf("Go sends to HEAD: %q", body)
	}
}

// Two users with one client id.
func ownRequestsOnly(t *testing.T, m meeting) {
	t.Helper()
	p := newPair(t, m, long, "users")
	first := p.gems.send("", `{"/a":0}`, "X-User", "ann")
	p.gemHolds(1)
	second := p.gems.send("", `{"/a":0}`, "X-User", "bob")
	wantReply(t, "the gem, to the first", <-first, http.StatusOK, "[]", "news")
	p.gemHolds(1)
	ours := []<-chan reply{p.ours.send("", `{"/a":0}`, "X-User", "ann"), p.ours.send("", `{"/a":0}`, "X-User", "bob")}
	p.weHold(2)
	made(p.b.Publish(t.Context(), "/a", "news"))(t)
	wantReply(t, "the gem, to the second", <-second, http.StatusOK, "news", "")
	for _, answer := range ours {
		wantReply(t, "Go, to both", <-answer, http.StatusOK, "news", "")
	}
}

func placeFreeAtOnce(t *testing.T, m meeting) {
	t.Helper()
	p := newPair(t, m, time.Hour, nil)
	var conns []net.Conn
	for _, e := range []endpoint{p.gems, p.ours} {
		conn := made(net.Dial("tcp", e.address))(t)
		fmt.Fprint(conn, "POST /message-bus/c/poll HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 8\r\n\r\n{\"/a\":0}")
		conns = append(conns, conn)
	}
	p.gemHolds(1)
	p.weHold(1)
	for _, conn := range conns {
		conn.Close()
	}
	p.weHold(0)
	wantSame(t, "what the gem holds", number(1), p.gem.must("held"))
}

func globalLive(t *testing.T, m meeting) {
	t.Helper()
	p := newPair(t, m, 2*time.Second, "sites")
	gems := p.gems.send("", `{"/global/a":0}`, "X-Site", "one")
	p.gemHolds(1)
	ours := p.ours.send("", `{"/global/a":0}`, "X-Site", "one")
	p.weHold(1)
	made(p.b.Publish(t.Context(), "/global/a", "news"))(t)
	wantReply(t, "Go", <-ours, http.StatusOK, "news", "")
	wantReply(t, "the gem", <-gems, http.StatusOK, "[]", "news")
	wantReply(t, "the gem, to the next request", <-p.gems.send("?dlp=t", `{"/global/a":0}`, "X-Site", "one"), http.StatusOK, "news", "")
}

func withheldToldAtEnd(t *testing.T, m meeting) {
	t.Helper()
	p := newPair(t, m, 2*time.Second, "users")
	gems := p.gems.send("", `{"/a":0}`, "X-User", "ann")
	p.gemHolds(1)
	ours := p.ours.send("", `{"/a":0}`, "X-User", "ann")
	p.weHold(1)
	id := made(p.b.Publish(t.Context(), "/a", "for bob", bus.ToUsers(bus.StringID("bob"))))(t)
	wantReply(t, "the gem", <-gems, http.StatusOK, "[]", "")
	wantReply(t, "Go", <-ours, http.StatusOK, fmt.Sprintf(`"data":{"/a":%d}`, id), "bob")
}
