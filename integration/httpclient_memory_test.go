package integration_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/messagebus-go/messagebus/bus"
	"github.com/messagebus-go/messagebus/bus/bustest"
	"github.com/messagebus-go/messagebus/bus/membus"
	"github.com/messagebus-go/messagebus/httpclient"
	"github.com/messagebus-go/messagebus/transport"
	"github.com/messagebus-go/messagebus/transport/transporttest"
)

// A bubble is a bus, its handler, and a server in memory, in fake time.
type bubble struct {
	*testing.T

	store   *membus.Backend
	bus     *bus.Bus
	handler *transport.Handler
	server  *transporttest.Server

	mu    sync.Mutex // guards below
	conns []net.Conn // of clients
}

func inBubble(t *testing.T, opts *transport.Options, test func(b *bubble)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		b := &bubble{T: t, store: bustest.NewStore(t)}
		b.bus = bustest.On(t, b.store, &bus.Options{Keepalive: -1})
		var err error
		if b.handler, err = transport.NewHandler(b.bus, opts); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := b.handler.Shutdown(context.Background()); err != nil {
				t.Errorf("Shutdown: %v", err)
			}
		})
		synctest.Wait()
		b.server = transporttest.NewServer(t, b.handler)
		test(b)
	})
}

// dial opens a connection that cut can cut.
func (b *bubble) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	conn, err := b.server.Dial(ctx)
	if err == nil {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.conns = append(b.conns, conn)
	}
	return conn, err
}

// cut ends all connections of clients.
func (b *bubble) cut() {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, conn := range b.conns {
		_ = conn.Close()
	}
	b.conns = nil
}

// client makes a client whose connections are in memory. Its errors go to a log.
func (b *bubble) client(opts httpclient.Options) (*httpclient.Client, *errorLog) {
	b.Helper()
	log := &errorLog{}
	way := &http.Transport{DialContext: b.dial}
	opts.HTTPClient, opts.OnError = &http.Client{Transport: way}, log.add
	c, err := httpclient.New(b.server.URL(), &opts)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		c.Close()
		way.CloseIdleConnections()
	})
	return c, log
}

func (b *bubble) publish(channel string, data any, opts ...bus.PublishOption) {
	b.Helper()
	if _, err := b.bus.Publish(context.Background(), channel, data, opts...); err != nil {
		b.Fatal(err)
	}
}

type errorLog struct {
	mu   sync.Mutex
	errs []error
}

func (l *errorLog) add(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.errs = append(l.errs, err)
}

func (l *errorLog) all() []error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.errs)
}

// A tape is what a callback was called with.
type tape struct {
	mu  sync.Mutex
	ids []int64
	got []string
}

func (p *tape) add(m httpclient.Message) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.ids, p.got = append(p.ids, m.ID), append(p.got, string(m.Data))
}

func (p *tape) String() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return strings.Join(p.got, " ")
}

func (p *tape) want(t *testing.T, texts string) {
	t.Helper()
	if got := p.String(); got != texts {
		t.Errorf("the callback got %q, want %q", got, texts)
	}
}

func subscribe(t *testing.T, c *httpclient.Client, channel string, from httpclient.Position) *tape {
	t.Helper()
	p := &tape{}
	if _, err := c.Subscribe(channel, from, p.add); err != nil {
		t.Fatal(err)
	}
	return p
}

// settle waits until nothing happens any more, and d has passed.
func settle(d time.Duration) {
	<-time.After(d)
	synctest.Wait()
}

// ways are the ways in which a client may be answered.
var ways = map[string]httpclient.Options{
	"streaming":    {},
	"long polling": {DisableStreaming: true},
	"polling":      {DisableLongPolling: true},
	"events":       {Events: true},
}

func inEveryWay(t *testing.T, opts *transport.Options, test func(b *bubble, way httpclient.Options)) {
	t.Helper()
	t.Parallel()
	for name, way := range ways {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			inBubble(t, opts, func(b *bubble) { test(b, way) })
		})
	}
}

func TestHTTPClient_GetsBacklogAndLiveMessages(t *testing.T) {
	inEveryWay(t, nil, func(b *bubble, way httpclient.Options) {
		b.publish("/a", 1)
		b.publish("/a", 2)
		b.publish("/b", 1)
		b.publish("/b", 2)
		c, log := b.client(way)
		all, last, live := subscribe(b.T, c, "/a", httpclient.After(0)), subscribe(b.T, c, "/b", httpclient.Last(1)), subscribe(b.T, c, "/c", httpclient.Latest())
		empty := subscribe(b.T, c, "/d", httpclient.Last(2))
		settle(20 * time.Second)
		b.publish("/c", 7)
		b.publish("/a", 3)
		for i := range 5 { // more than the tail
			b.publish("/d", i)
		}
		settle(time.Minute)
		b.publish("/a", 4)
		b.publish("/b", 3)
		b.publish("/c", 8, bus.ToClients("somebody else"))
		settle(time.Minute)
		b.publish("/c", 9)
		settle(time.Minute)
		all.want(b.T, "1 2 3 4")
		last.want(b.T, "2 3")
		live.want(b.T, "7 9")
		empty.want(b.T, "0 1 2 3 4")
		if errs := log.all(); len(errs) > 0 {
			b.Errorf("errors: %v", errs)
		}
	})
}

// gaps are the gaps among errors, as text; anything else fails the test.
func (b *bubble) gaps(log *errorLog) string {
	b.Helper()
	var texts []string
	for _, err := range log.all() {
		gap, ok := errors.AsType[*httpclient.GapError](err)
		if !ok {
			b.Errorf("error %v", err)
			continue
		}
		texts = append(texts, fmt.Sprintf("%s %d-%d %s", gap.Channel, gap.After, gap.Next, gap.Reason))
	}
	return strings.Join(texts, ", ")
}

func TestHTTPClient_IsToldOfWhatWasTrimmedWhileItWasAway(t *testing.T) {
	inEveryWay(t, nil, func(b *bubble, way httpclient.Options) {
		for i := range 3 {
			b.publish("/a", i+1)
		}
		c, log := b.client(way)
		first := subscribe(b.T, c, "/a", httpclient.After(0))
		settle(time.Minute)
		c.Stop()
		stored, err := json.Marshal(c.Positions())
		if err != nil {
			b.Fatal(err)
		}
		for i := range 6 {
			b.publish("/a", i+4)
		}
		b.store.Faults().Trim("/a", 2)
		c.Start()
		settle(time.Minute)
		first.want(b.T, "1 2 3 8 9")
		if got := b.gaps(log); got != "/a 3-8 trimmed" {
			b.Errorf("gaps: %s", got)
		}
		// So does another process that goes on from the same position.
		way.Positions = map[string]httpclient.Position{}
		if err := json.Unmarshal(stored, &way.Positions); err != nil {
			b.Fatal(err)
		}
		again, log := b.client(way)
		second := subscribe(b.T, again, "/a", httpclient.Latest())
		settle(time.Minute)
		second.want(b.T, "8 9")
		if got := b.gaps(log); got != "/a 3-8 trimmed" {
			b.Errorf("gaps of another process: %s", got)
		}
	})
}

func TestHTTPClient_IsToldOfAResetHoweverFarTheNewIdsAre(t *testing.T) {
	inEveryWay(t, nil, func(b *bubble, way httpclient.Options) {
		for i := range 3 {
			b.publish("/a", i+1)
		}
		c, log := b.client(way)
		// Two subscriptions of one channel, one of which began later: it needs the other's
		// part of the answer for nothing, and is told all the same.
		first := subscribe(b.T, c, "/a", httpclient.After(0))
		second := subscribe(b.T, c, "/a", httpclient.Latest())
		settle(time.Minute)
		c.Stop()
		b.store.Faults().Reset()
		b.store.Faults().CutFeeds(errors.New("cut"))
		settle(10 * time.Second)
		for i := range 7 {
			b.publish("/a", 11+i)
		}
		third := subscribe(b.T, c, "/a", httpclient.After(5))
		c.Start()
		settle(2 * time.Minute)
		b.publish("/a", 20)
		settle(time.Minute)
		first.want(b.T, "1 2 3 11 12 13 14 15 16 17 20")
		second.want(b.T, "11 12 13 14 15 16 17 20")
		third.want(b.T, "16 17 20")
		if got := b.gaps(log); !strings.Contains(got, "/a 3-") || !strings.Contains(got, "reset") || strings.Contains(got, "/a 5-") {
			b.Errorf("gaps: %s", got)
		}
	})
}

func TestHTTPClient_IsToldOfAResetAndAFailoverWhileItIsConnected(t *testing.T) {
	inEveryWay(t, nil, func(b *bubble, way httpclient.Options) {
		b.publish("/a", 1)
		b.publish("/b", 1)
		c, log := b.client(way)
		got := subscribe(b.T, c, "/a", httpclient.After(0))
		settle(20 * time.Second)
		b.store.Faults().Reset()
		b.store.Faults().CutFeeds(errors.New("cut"))
		settle(20 * time.Second)
		b.publish("/a", "new")
		settle(time.Minute)
		got.want(b.T, `1 "new"`)
		if gaps := b.gaps(log); !strings.HasPrefix(gaps, "/a 1-") || !strings.Contains(gaps, "reset") {
			b.Errorf("gaps: %s", gaps)
		}
		b.publish("/a", "lost")
		settle(time.Minute)
		b.store.Faults().FailOver(1)
		b.store.Faults().CutFeeds(errors.New("cut"))
		settle(20 * time.Second)
		b.publish("/a", "after")
		settle(2 * time.Minute)
		got.want(b.T, `1 "new" "lost" "new" "after"`) // after a reset all that is stored comes
		if gaps := b.gaps(log); strings.Count(gaps, "/a") < 2 {
			b.Errorf("gaps: %s", gaps)
		}
	})
}

func TestHTTPClient_IsToldWhatItMayNotHave(t *testing.T) {
	var open atomic.Bool
	opts := &transport.Options{Authorize: func(_ *http.Request, _ transport.Identity, channel string) error {
		if channel == "/staff,ü" && !open.Load() {
			return errors.New("no")
		}
		return nil
	}}
	t.Parallel()
	for name, way := range ways {
		t.Run(name, func(t *testing.T) {
			open.Store(false)
			inBubble(t, opts, func(b *bubble) {
				c, log := b.client(way)
				got := subscribe(b.T, c, "/a", httpclient.After(0))
				staff, err := c.Subscribe("/staff,ü", httpclient.After(0), nil)
				if err != nil {
					b.Fatal(err)
				}
				refusedFn := subscribe(b.T, c, "/staff,ü", httpclient.After(0))
				b.publish("/a", 1)
				b.publish("/staff,ü", 1)
				settle(2 * time.Hour)
				got.want(b.T, "1")
				refusedFn.want(b.T, "")
				var refused *httpclient.RefusedError
				if _, err := staff.Next(b.Context()); !errors.As(err, &refused) || refused.Channel != "/staff,ü" {
					b.Errorf("Next: %v", err)
				}
				if errs := log.all(); len(errs) != 1 || !errors.As(errs[0], &refused) {
					b.Errorf("errors %v", errs)
				}
				open.Store(true)
				settle(2 * time.Hour)
				if m, err := staff.Next(b.Context()); err != nil || m.ID != 3-1 {
					b.Errorf("Next once it is allowed: %v %v", m, err)
				}
				refusedFn.want(b.T, "1")
			})
		})
	}
}
