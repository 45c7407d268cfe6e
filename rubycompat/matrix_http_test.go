package rubycompat_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/messagebus-go/messagebus/bus"
	"github.com/messagebus-go/messagebus/httpclient"
	"github.com/messagebus-go/messagebus/integration/browser"
)

// httpSubjects are every client over HTTP against servers of Go, of Ruby, and both by
// turns. What the gem's server loses between its look at the backlog and the hold is no
// fault of the others: whatever does not come once and in order was published while Ruby
// served the client. Where all servers are Go, that is nothing.
func httpSubjects() (all []subject) {
	for _, c := range []struct {
		name string
		open func(t *testing.T, url string) httpClient
	}{
		{"the gem's HTTPClient", openGemsClient},
		{"message-bus-client of npm", openPage("npm.html")},
		{"message-bus-client of npm, polling", openPage("npm.html?polling")},
		{"the Go client", openGoClient(httpclient.Options{})},
		{"the Go client, polling", openGoClient(httpclient.Options{DisableStreaming: true})},
		{"the TypeScript client", openPage("own.html")},
		{"the TypeScript client, polling", openPage("own.html?poll")},
	} {
		against := func(name string, gos, rubies int) way {
			return way{name, met(func(t *testing.T, m meeting) { serveClient(t, m, startFleet(t, m, gos, rubies), c.open) })}
		}
		all = append(all, subject{"HTTP", c.name, "", []way{against("Go server", 1, 0), against("Ruby server", 0, 1), against("by turns", 1, 1)}})
	}
	return all
}

// The pages subscribe to this channel from its beginning.
const numbersChannel = "/numbers"

// A receipt is a message that a client got.
type receipt struct{ number, id int }

// An httpClient is one that has subscribed to numbersChannel.
type httpClient interface {
	received() []receipt
	close()
}

func openGemsClient(t *testing.T, url string) httpClient {
	t.Helper()
	r := startRuby(t, "client.rb", map[string]any{"base": url, "min_poll_interval": 0.01, "max_poll_interval": 0.1})
	r.must("subscribe", "live", numbersChannel, 0)
	return &gemsClient{r: r}
}

type gemsClient struct {
	r   rubyPeer
	all []receipt
}

func (c *gemsClient) received() []receipt {
	for _, m := range c.r.received("live", 0) {
		o := m.(object)
		c.all = append(c.all, receipt{integer(o["data"]), integer(o["message_id"])})
	}
	return c.all
}

func (c *gemsClient) close() { c.r.must("stop") }

func openGoClient(options httpclient.Options) func(t *testing.T, url string) httpClient {
	return func(t *testing.T, url string) httpClient {
		t.Helper()
		options := options
		options.Timing = httpclient.Timing{MinPollInterval: 10 * time.Millisecond, MaxPollInterval: 100 * time.Millisecond}
		c := &goClient{client: made(httpclient.New(url, &options))(t)}
		t.Cleanup(func() { c.client.Close() })
		made(c.client.Subscribe(numbersChannel, httpclient.After(0), func(m httpclient.Message) {
			var n int
			if err := m.Decode(&n); err != nil {
				t.Error(err)
			}
			c.mu.Lock()
			c.all = append(c.all, receipt{n, int(m.ID)})
			c.mu.Unlock()
		}))(t)
		return c
	}
}

type goClient struct {
	client *httpclient.Client

	mu  sync.Mutex // guards all
	all []receipt
}

func (c *goClient) received() []receipt {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.all)
}

func (c *goClient) close() { c.client.Close() }

func openPage(name string) func(t *testing.T, url string) httpClient {
	return func(t *testing.T, url string) httpClient {
		t.Helper()
		w := browser.Start(t).Open(t, "matrix", browser.Options{})
		w.Visit(url + "/" + name)
		return page{w}
	}
}

type page struct{ w *browser.Window }

func (p page) received() (all []receipt) {
	for _, m := range browser.Eval[[][3]int](p.w, `typeof received === "undefined" ? [] : received`) {
		all = append(all, receipt{m[0], m[1]})
	}
	return all
}

func (p page) close() { p.w.Close() }

// A mailing is a message that was published. It is over when the servers of Ruby, which
// may be late, have it behind them.
type mailing struct {
	id           int
	began, ended time.Time
}

// serveClient publishes from both sides while a client is served.
func serveClient(t *testing.T, m meeting, f *fleet, open func(t *testing.T, url string) httpClient) {
	t.Helper()
	const numbers = 300
	c := open(t, f.url)
	p := &mailer{t: t, b: m.goPeer(t, keepAll), r: m.rubyPeer(t)}
	p.r.must("set", "max_backlog_size", many)
	p.r.must("set", "max_global_backlog_size", many)
	again := time.NewTicker(100 * time.Millisecond)
	defer again.Stop()
	until(t, "the client hears", func() bool {
		p.publish()
		<-again.C
		return len(c.received()) > 0
	})
	pause := time.NewTicker(4 * time.Millisecond)
	defer pause.Stop()
	for range numbers {
		p.publish()
		for range rand.IntN(4) {
			<-pause.C
		}
	}
	// The last that was published may be what is lost: another one shows it.
	until(t, "the client has what was published last", func() bool {
		last := p.publish()
		<-again.C
		return slices.ContainsFunc(c.received(), func(r receipt) bool { return r.id >= last.id-1 })
	})
	received, handedOn := c.received(), f.handedOn()
	f.awaitRequest(t)
	c.close()
	for i, m := range p.sent {
		if at := handedOn[m.id]; at.After(m.ended) {
			p.sent[i].ended = at
		}
	}
	p.judge(received, f.spans(t))
}

// A mailer publishes the numbers from 1, from Go and from Ruby by turns.
type mailer struct {
	t    *testing.T
	b    *bus.Bus
	r    rubyPeer
	sent []mailing
}

func (p *mailer) publish() mailing {
	p.t.Helper()
	number := len(p.sent) + 1
	m := mailing{began: time.Now()}
	if number%2 == 0 {
		m.id = integer(p.r.must("publish", numbersChannel, number))
	} else {
		m.id = int(made(p.b.Publish(p.t.Context(), numbersChannel, number))(p.t))
	}
	m.ended = time.Now()
	p.sent = append(p.sent, m)
	return m
}

// judge wants all that was published up to the highest id that came, once and in order,
// but for what was published while Ruby served the client.
func (p *mailer) judge(received []receipt, spans []span) {
	p.t.Helper()
	came, highest, odd := map[int][]int{}, 0, map[string]map[int]bool{"missing": {}, "twice": {}, "late": {}}
	for i, r := range received {
		if came[r.id] = append(came[r.id], i); len(came[r.id]) > 1 {
			odd["twice"][r.id] = true
		} else if r.id < highest {
			odd["late"][r.id] = true
		}
		highest = max(highest, r.id)
		if r.number < 1 || r.number > len(p.sent) || p.sent[r.number-1].id != r.id {
			p.t.Errorf("the client got %d with the id %d, which nobody published", r.number, r.id)
		}
	}
	ruby := 0
	for _, s := range spans {
		if s.ruby {
			ruby++
		}
	}
	control := ruby == len(spans) // nobody else can have done it, between requests either
	for _, m := range p.sent {
		if m.id < highest && len(came[m.id]) == 0 {
			odd["missing"][m.id] = true
		}
		for what := range odd {
			if odd[what][m.id] && !control && !servedByRuby(m, spans) {
				p.t.Errorf("message %d is %s, came as %v, and was published and on its way from %v to %v, while Ruby did not serve: %s",
					m.id, what, came[m.id], m.began.Format(time.StampMicro), m.ended.Format(time.StampMicro), timetable(spans))
			}
		}
	}
	summary := fmt.Sprintf("%d messages in %d requests, %d of them served by Ruby", len(received), len(spans), ruby)
	if n := len(odd["missing"]) + len(odd["twice"]) + len(odd["late"]); n > 0 {
		summary += fmt.Sprintf("; by Ruby's doing %d missing, %d twice, %d late", len(odd["missing"]), len(odd["twice"]), len(odd["late"]))
	}
	notef(p.t, "%s", summary)
}

// timetable says who served when.
func timetable(spans []span) string {
	var lines strings.Builder
	for _, s := range spans {
		fmt.Fprintf(&lines, "\n%s to %s, Ruby: %v", s.from.Format(time.StampMicro), s.to.Format(time.StampMicro), s.ruby)
	}
	return lines.String()
}

// servedByRuby says whether a message was published, or was still on its way, while
// Ruby answered. nginx looks at the clock once a turn, which a busy machine makes long.
func servedByRuby(m mailing, spans []span) bool {
	const blur = 25 * time.Millisecond
	return slices.ContainsFunc(spans, func(s span) bool {
		return s.ruby && m.began.Before(s.to.Add(blur)) && m.ended.After(s.from.Add(-blur))
	})
}
