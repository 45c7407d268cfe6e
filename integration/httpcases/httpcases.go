// Package httpcases is one table of cases for the Go client over HTTP, which runs against
// every server and every proxy in front of one.
package httpcases

import (
	"errors"
	"fmt"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/messagebus-go/messagebus/httpclient"
	"github.com/messagebus-go/messagebus/integration/faultproxy"
)

// A Server is what the client is to be tried against.
type Server struct {
	URL     string                                          // http://host:port
	Publish func(tb testing.TB, channel string, number int) // returns when it is stored
	Ruby    bool                                            // it is the gem's: it cannot vouch for an answer, and has no events

	// Stop ends the server, or what is in front of it, and returns what starts it again.
	// Publish works meanwhile. Then that is the fault of each case. nil: the network has its
	// faults.
	Stop func() (start func())
}

var ways = map[string]httpclient.Options{
	"streaming":    {},
	"long polling": {DisableStreaming: true},
	"polling":      {DisableLongPolling: true},
	"events":       {Events: true},
}

// A fault is what a network does to a client.
type fault struct {
	open func(t *testing.T, target string) (url string, strike func())

	// stale: answers are those of earlier requests. Only a server of this project lets the
	// client tell them from a reset, and nothing tells them from what a request asks that goes
	// back to before them: so nothing new is subscribed.
	stale bool
}

var faults = map[string]fault{
	"no fault":            {open: direct},
	"cuts":                {open: cutting},
	"delays":              {open: delaying},
	"requests sent twice": {open: doubling},
	"answers in disorder": {open: disordering, stale: true},
}

func direct(_ *testing.T, target string) (string, func()) { return "http://" + target, func() {} }

func cutting(t *testing.T, target string) (string, func()) {
	t.Helper()
	p := faultproxy.Start(t, target)
	return "http://" + p.Address(), func() { p.Cut() }
}

func delaying(t *testing.T, target string) (string, func()) {
	t.Helper()
	p := faultproxy.Start(t, target)
	slow := false
	return "http://" + p.Address(), func() {
		if slow = !slow; slow {
			p.Delay(20 * time.Millisecond)
		} else {
			p.Restore()
		}
	}
}

func doubling(t *testing.T, target string) (string, func()) {
	t.Helper()
	return serve(t, &doubler{target: target}), func() {}
}

func disordering(t *testing.T, target string) (string, func()) {
	t.Helper()
	d := &disorderer{target: target}
	return serve(t, d), d.strike
}

func (s *Server) stop() (start func()) {
	if s.Stop == nil {
		return func() {}
	}
	return s.Stop()
}

// faults are those that are tried on the server.
func (s *Server) faults() map[string]fault {
	if s.Stop == nil {
		return faults
	}
	return map[string]fault{"restarts": {open: func(t *testing.T, target string) (string, func()) {
		url, _ := direct(t, target)
		return url, func() {}
	}}}
}

// Run runs every case that fits the server.
func Run(t *testing.T, s Server) {
	t.Helper()
	for wayName, way := range ways {
		for faultName, f := range s.faults() {
			if s.Ruby && (f.stale || way.Events) {
				continue
			}
			t.Run(strings.ReplaceAll(wayName+", "+faultName, " ", "_"), func(t *testing.T) {
				t.Parallel()
				way := way
				way.Timing = httpclient.Timing{
					MinPollInterval: 5 * time.Millisecond, MaxPollInterval: 200 * time.Millisecond, CallbackInterval: 50 * time.Millisecond,
				}
				run(t, s, way, f)
			})
		}
	}
}

// run publishes in rounds, in each of which the fault strikes while it publishes, and one
// subscription begins and another ends.
func run(t *testing.T, s Server, way httpclient.Options, f fault) {
	t.Helper()
	const rounds, each, meanwhile = 6, 15, 5
	url, hit := f.open(t, strings.TrimPrefix(s.URL, "http://"))
	way.OnError = func(err error) {
		if gap, ok := errors.AsType[*httpclient.GapError](err); ok {
			t.Errorf("%v", gap)
		}
	}
	c, err := httpclient.New(url, &way)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	room := "/" + strings.NewReplacer("/", "-", "#", "-", ",", "").Replace(t.Name())
	canary := subscribe(t, c, room+"/canary", httpclient.After(0))
	first := subscribe(t, c, room+"/first", httpclient.After(0))
	var later []*tape
	published := 0
	publish := func(n int) {
		for range n {
			published++
			s.Publish(t, room+"/first", published)
		}
	}
	strike := func() {
		start := s.stop()
		hit()
		publish(meanwhile)
		start()
	}
	for round := range rounds {
		// So that what is published is live.
		canary.hear(t, s, room+"/canary")
		if round == rounds/2 {
			strike()
			canary.hear(t, s, room+"/canary")
		}
		publish(each)
		first.wait(t, published)
		strike()
		if f.stale {
			continue
		}
		later = append(later, subscribe(t, c, room+"/first", httpclient.Last(3)))
		if round > 1 {
			later[round-2].sub.Close()
		}
	}
	canary.hear(t, s, room+"/canary")
	publish(1)
	first.wait(t, published)
	first.check(t, 1, published)
	for i, l := range later {
		if i == len(later)-1 {
			l.waitFor(t, published)
		}
		if got := l.all(); len(got) > 0 {
			l.check(t, got[0], got[len(got)-1])
		}
	}
}

// A tape is what one subscription got, in its order.
type tape struct {
	sub *httpclient.Subscription

	mu      sync.Mutex // guards below
	numbers []int
	canary  int
	grown   chan struct{}
}

func subscribe(t *testing.T, c *httpclient.Client, channel string, from httpclient.Position) *tape {
	t.Helper()
	p := &tape{grown: make(chan struct{}, 1)}
	var err error
	p.sub, err = c.Subscribe(channel, from, func(m httpclient.Message) {
		var n int
		if err := m.Decode(&n); err != nil {
			t.Errorf("message %s: %v", m.Data, err)
		}
		p.mu.Lock()
		p.numbers = append(p.numbers, n)
		p.mu.Unlock()
		select {
		case p.grown <- struct{}{}:
		default:
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func (p *tape) all() []int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.numbers)
}

const patience = 2 * time.Minute

// until waits until done, looking whenever something comes, and every now and then.
func (p *tape) until(t *testing.T, what string, done func([]int) bool, again func()) {
	t.Helper()
	retry := time.NewTicker(100 * time.Millisecond)
	defer retry.Stop()
	deadline := time.NewTimer(patience)
	defer deadline.Stop()
	for !done(p.all()) {
		select {
		case <-p.grown:
		case <-retry.C:
			again()
		case <-deadline.C:
			t.Fatalf("waited in vain for %s; got %v", what, p.all())
		}
	}
}

func (p *tape) wait(t *testing.T, n int) {
	t.Helper()
	p.until(t, fmt.Sprintf("%d messages", n), func(got []int) bool { return len(got) >= n }, func() {})
}

func (p *tape) waitFor(t *testing.T, number int) {
	t.Helper()
	p.until(t, fmt.Sprintf("message %d", number), func(got []int) bool { return slices.Contains(got, number) }, func() {})
}

// hear publishes until the client hears it: its request is held, or it polls.
func (p *tape) hear(t *testing.T, s Server, channel string) {
	t.Helper()
	before := len(p.all())
	publish := func() {
		p.canary++
		s.Publish(t, channel, p.canary)
	}
	publish()
	p.until(t, "a sign of life", func(got []int) bool { return len(got) > before }, publish)
}

// check compares with all numbers from first to last.
func (p *tape) check(t *testing.T, first, last int) {
	t.Helper()
	got := p.all()
	ok := len(got) == last-first+1
	for i, n := range got {
		ok = ok && n == first+i
	}
	if !ok {
		t.Errorf("got %v, want all from %d to %d", got, first, last)
	}
}

func serve(t *testing.T, h interface {
	close()
	httpHandler
}) string {
	t.Helper()
	server := httptest.NewServer(h)
	t.Cleanup(func() {
		server.CloseClientConnections()
		server.Close()
		h.close()
	})
	return server.URL
}
