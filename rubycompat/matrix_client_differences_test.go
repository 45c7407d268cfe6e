package rubycompat_test

import (
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/messagebus-go/messagebus/httpclient"
)

// clientDifferenceSubjects are the differences that are wanted of a client over HTTP. They
// concern no store, and are shown once.
func clientDifferenceSubjects() []subject {
	of := func(rule string, test func(t *testing.T)) subject {
		return subject{"differences", rule, onRedis, []way{{sideBySide, func(t *testing.T, _ store) { test(t) }}}}
	}
	return []subject{
		of("polls-with-dlp", pollsWithDLP),
		of("base-path-kept", basePathKept),
		of("every-part-read", everyPartRead),
		of("only-200", only200),
		of("stop-ends-request", stopEndsRequest),
		of("changes-restart", changeRestartsRequest),
		of("subscription-has-its-id", subscriptionHasItsID),
	}
}

// A scriptedServer answers its first requests as it is told, and holds the others.
type scriptedServer struct {
	url   string
	hold  chan struct{} // closed at the end of the test
	left  chan struct{} // closed when a client leaves a request that is held
	leave sync.Once

	mu      sync.Mutex // guards below
	lines   []string   // of the requests
	bodies  []string
	answers []scriptedAnswer
}

type scriptedAnswer struct {
	status int
	text   string
}

func startScript(t *testing.T, answers ...scriptedAnswer) *scriptedServer {
	t.Helper()
	s := &scriptedServer{hold: make(chan struct{}), left: make(chan struct{}), answers: answers}
	server := httptest.NewServer(s)
	s.url = server.URL
	t.Cleanup(func() {
		close(s.hold)
		server.CloseClientConnections()
		server.Close()
	})
	return s
}

// ServeHTTP implements http.Handler.
func (s *scriptedServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body) // a client that leaves is noticed below
	s.mu.Lock()
	s.lines, s.bodies = append(s.lines, r.RequestURI), append(s.bodies, string(body))
	answer, found := scriptedAnswer{}, len(s.answers) > 0
	if found {
		answer, s.answers = s.answers[0], s.answers[1:]
	}
	s.mu.Unlock()
	if found {
		w.WriteHeader(answer.status)
		io.WriteString(w, answer.text)
		return
	}
	select {
	case <-s.hold:
	case <-r.Context().Done():
		s.leave.Do(func() { close(s.left) })
	}
}

func (s *scriptedServer) asked(t *testing.T, n int) (lines, bodies []string) {
	t.Helper()
	until(t, fmt.Sprintf("%d requests", n), func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		lines, bodies = s.lines, s.bodies
		return len(lines) >= n
	})
	return lines, bodies
}

// part is an answer with messages of /a whose data are their ids.
func part(ids ...int) string {
	var all []string
	for _, id := range ids {
		all = append(all, fmt.Sprintf(`{"global_id":%d,"message_id":%d,"channel":"/a","data":%d}`, id, id, id))
	}
	return "[" + strings.Join(all, ",") + "]"
}

const separator = "\r\n|\r\n"

// gemClient subscribes to /a from 0.
func gemClient(t *testing.T, base string, more map[string]any) rubyPeer {
	t.Helper()
	settings := map[string]any{"base": base, "min_poll_interval": 0.01, "max_poll_interval": 0.1, "background_callback_interval": 0.05}
	maps.Copy(settings, more)
	r := startRuby(t, "client.rb", settings)
	r.must("subscribe", "live", "/a", 0)
	return r
}

// A heardBy collects the ids of one subscription.
type heardBy struct {
	mu  sync.Mutex // guards ids
	ids []int
}

func (h *heardBy) take(m httpclient.Message) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.ids = append(h.ids, int(m.ID))
}

// want waits for the last id, and compares all.
func (h *heardBy) want(t *testing.T, ids ...int) {
	t.Helper()
	var got []int
	until(t, fmt.Sprintf("Go hears %v", ids), func() bool {
		h.mu.Lock()
		defer h.mu.Unlock()
		got = h.ids
		return len(got) > 0 && got[len(got)-1] == ids[len(ids)-1]
	})
	if fmt.Sprint(got) != fmt.Sprint(ids) {
		t.Errorf("Go hears %v, want %v", got, ids)
	}
}

func ownClient(t *testing.T, base string, options httpclient.Options) *httpclient.Client {
	t.Helper()
	options.Timing = httpclient.Timing{MinPollInterval: 10 * time.Millisecond, MaxPollInterval: 100 * time.Millisecond, CallbackInterval: 50 * time.Millisecond}
	c := made(httpclient.New(base, &options))(t)
	t.Cleanup(func() { c.Close() })
	return c
}

func listen(t *testing.T, c *httpclient.Client, channel string, after int64) *heardBy {
	t.Helper()
	h := &heardBy{}
	made(c.Subscribe(channel, httpclient.After(after), h.take))(t)
	return h
}

func wantHeardByGem(t *testing.T, r rubyPeer, ids ...int) {
	t.Helper()
	var got []int
	for _, m := range r.received("live", len(ids)) {
		got = append(got, integer(m.(object)["message_id"]))
	}
	if fmt.Sprint(got) != fmt.Sprint(ids) {
		t.Errorf("the gem's client hears %v, want %v", got, ids)
	}
}

func pollsWithDLP(t *testing.T) {
	gems, ours := startScript(t), startScript(t)
	gemClient(t, gems.url, map[string]any{"enable_long_polling": false})
	listen(t, ownClient(t, ours.url, httpclient.Options{DisableLongPolling: true}), "/a", 0)
	if lines, _ := gems.asked(t, 1); strings.Contains(lines[0], "dlp") {
		t.Errorf("the gem's client asks for %s", lines[0])
	}
	if lines, _ := ours.asked(t, 1); !strings.HasSuffix(lines[0], "?dlp=t") {
		t.Errorf("Go asks for %s", lines[0])
	}
}

func basePathKept(t *testing.T) {
	gems, ours := startScript(t), startScript(t)
	gemClient(t, gems.url+"/forum", nil)
	listen(t, ownClient(t, ours.url+"/forum", httpclient.Options{}), "/a", 0)
	if lines, _ := gems.asked(t, 1); !strings.HasPrefix(lines[0], "/message-bus/") {
		t.Errorf("the gem's client asks for %s", lines[0])
	}
	if lines, _ := ours.asked(t, 1); !strings.HasPrefix(lines[0], "/forum/message-bus/") {
		t.Errorf("Go asks for %s", lines[0])
	}
}

// An answer in one piece, where chunks were asked for.
func everyPartRead(t *testing.T) {
	answers := []scriptedAnswer{{200, part(1)}, {200, part(2) + separator}}
	gems, ours := startScript(t, answers...), startScript(t, answers...)
	r := gemClient(t, gems.url, nil)
	listen(t, ownClient(t, ours.url, httpclient.Options{}), "/a", 0).want(t, 1, 2)
	wantHeardByGem(t, r, 2)
}

func only200(t *testing.T) {
	answers := []scriptedAnswer{{500, part(1) + separator}, {200, part(2) + separator}}
	gems, ours := startScript(t, answers...), startScript(t, answers...)
	r := gemClient(t, gems.url, nil)
	listen(t, ownClient(t, ours.url, httpclient.Options{}), "/a", 0).want(t, 2)
	wantHeardByGem(t, r, 1, 2)
}

func stopEndsRequest(t *testing.T) {
	gems, ours := startScript(t), startScript(t)
	r, c := gemClient(t, gems.url, nil), ownClient(t, ours.url, httpclient.Options{})
	listen(t, c, "/a", 0)
	gems.asked(t, 1)
	ours.asked(t, 1)
	r.must("stop")
	c.Stop()
	until(t, "Go leaves its request", func() bool {
		select {
		case <-ours.left:
			return true
		default:
			return false
		}
	})
	select {
	case <-gems.left:
		t.Error("the gem's client has left its request: the difference is gone")
	default:
	}
}

func changeRestartsRequest(t *testing.T) {
	gems, ours := startScript(t), startScript(t)
	r, c := gemClient(t, gems.url, nil), ownClient(t, ours.url, httpclient.Options{})
	listen(t, c, "/a", 0)
	gems.asked(t, 1)
	ours.asked(t, 1)
	r.must("subscribe", "more", "/b", 0)
	listen(t, c, "/b", 0)
	if _, bodies := ours.asked(t, 2); !strings.Contains(bodies[1], "b") {
		t.Errorf("Go asks again with %s", bodies[1])
	}
	if lines, _ := gems.asked(t, 1); len(lines) != 1 {
		t.Errorf("the gem's client has asked %d times: the difference is gone", len(lines))
	}
}

// Two subscriptions to one channel, from different positions.
func subscriptionHasItsID(t *testing.T) {
	answers := []scriptedAnswer{{200, "[]" + separator}, {200, part(3, 6) + separator}}
	gems, ours := startScript(t, answers...), startScript(t, answers...)
	c := ownClient(t, ours.url, httpclient.Options{})
	later, earlier := listen(t, c, "/a", 5), listen(t, c, "/a", 2)
	earlier.want(t, 3, 6)
	later.want(t, 6)
	r := startRuby(t, "client.rb", map[string]any{"base": gems.url, "min_poll_interval": 0.5})
	r.must("subscribe", "live", "/a", 5)
	r.must("subscribe", "other", "/a", 2)
	wantSame(t, "the one position of the gem's channel", object{"/a": number(2)}, r.must("channels"))
	wantHeardByGem(t, r, 3, 6)
}
