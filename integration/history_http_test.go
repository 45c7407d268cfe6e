package integration_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/messagebus-go/messagebus/bus"
	"github.com/messagebus-go/messagebus/httpclient"
	"github.com/messagebus-go/messagebus/integration/history"
	"github.com/messagebus-go/messagebus/transport"
	"github.com/messagebus-go/messagebus/transport/transporttest"
)

// Histories whose readers are clients over HTTP: what the promise of package bus is to
// who is beside the store, package httpclient's is from afar, through any of several servers.

func TestHistory_HTTPClientRedisModel(t *testing.T) {
	t.Parallel()
	playInBubbles(t, 2, served(redisModelStage))
}

func TestHistory_HTTPClientMemory(t *testing.T) {
	t.Parallel()
	playInBubbles(t, 2, served(memoryStage))
}

// TestHistory_HTTPClientPostgresModel has no plain publishers: who is between two requests may
// miss what they commit late.
func TestHistory_HTTPClientPostgresModel(t *testing.T) {
	t.Parallel()
	playInBubbles(t, 2, served(func(p *play) stage {
		p.seed &^= 1
		s := postgresModelStage(p)
		s.late = true
		return s
	}))
}

func served(build func(*play) stage) func(*play) stage {
	return func(p *play) stage {
		s := build(p)
		s.served = true
		// Who stands at 0 behind a reset is not told when the channel begins again once more: a slow
		// client may for long.
		s.faults = slices.DeleteFunc(s.faults, func(f fault) bool { return f.name == "expire a channel" })
		return s
	}
}

// serve starts a server of each peer.
func (p *play) serve() {
	p.Helper()
	for _, b := range p.buses {
		h, err := transport.NewHandler(b.Bus, &transport.Options{
			Identify: func(r *http.Request) (transport.Identity, error) {
				return transport.Identity{Site: r.Header.Get("X-Site")}, nil
			},
			LongPoll: transport.LongPollOptions{Hold: 5 * time.Second},
			Limits:   transport.LimitOptions{MaxQueuedBytes: 2000},
		})
		if err != nil {
			p.Fatal(err)
		}
		p.Cleanup(func() {
			if err := h.Shutdown(context.Background()); err != nil {
				p.Errorf("Shutdown: %v", err)
			}
		})
		p.servers = append(p.servers, transporttest.NewServer(p.T, h))
	}
}

// A visitor is a client over HTTP with a few subscriptions, whose requests come to any of
// the servers. It reads at its own speed, and its connections are cut.
type visitor struct {
	*play

	name   string
	site   string
	random *rand.Rand
	client *httpclient.Client
	way    *http.Transport
	delay  time.Duration
	stays  bool // else it comes back as another client, from where the one before was
	visits []*visit

	mu    sync.Mutex // guards below
	conns []net.Conn
	paths *rand.Rand
}

// A visit is one subscription.
type visit struct {
	channel string
	log     *history.Reader
	sub     *httpclient.Subscription
	last    bool // it has seen the last message
	waiting []came
	highest int64 // id that it has come to
}

// came is an answer of Next.
type came struct {
	m   httpclient.Message
	err error
}

func newVisitor(p *play, number int) *visitor {
	random := rand.New(rand.NewPCG(p.seed, uint64(1000+number)))
	v := &visitor{
		play: p, random: random, paths: rand.New(rand.NewPCG(p.seed, uint64(3000+number))), name: fmt.Sprintf("visitor %d", number),
		site: [...]string{"", "blue", "green"}[random.IntN(3)], stays: random.IntN(2) == 0,
	}
	if random.IntN(4) == 0 {
		v.delay = time.Duration(random.IntN(200)) * time.Millisecond
	}
	return v
}

// open makes the client.
func (v *visitor) open(positions map[string]httpclient.Position) error {
	opts := httpclient.Options{
		Positions: positions,
		Timing:    httpclient.Timing{MaxPollInterval: 2 * time.Second, CallbackInterval: time.Second},
		Header:    func(context.Context) (http.Header, error) { return http.Header{"X-Site": {v.site}}, nil },
		OnError:   func(error) {}, // requests fail here
	}
	switch v.random.IntN(4) {
	case 0:
		opts.DisableStreaming = true
	case 1:
		opts.DisableLongPolling = true
	case 2:
		opts.Events = true
	}
	v.way = &http.Transport{DialContext: v.dial, DisableKeepAlives: v.random.IntN(2) == 0}
	opts.HTTPClient = &http.Client{Transport: v.way}
	var err error
	v.client, err = httpclient.New(v.servers[0].URL(), &opts)
	return err
}

// dial comes to any of the servers.
func (v *visitor) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	v.mu.Lock()
	server := v.servers[v.paths.IntN(len(v.servers))]
	v.mu.Unlock()
	conn, err := server.Dial(ctx)
	if err == nil {
		v.mu.Lock()
		defer v.mu.Unlock()
		v.conns = append(v.conns, conn)
	}
	return conn, err
}

func (v *visitor) cut() {
	v.mu.Lock()
	defer v.mu.Unlock()
	for _, conn := range v.conns {
		_ = conn.Close()
	}
	v.conns = nil
}

func (v *visitor) close() {
	_ = v.client.Close()
	v.way.CloseIdleConnections()
}

// run reads until all subscriptions have seen the last message.
func (v *visitor) run(ctx context.Context) error {
	if v.random.IntN(2) == 0 && !pause(ctx, v.comesAfter(v.random)) {
		return ctx.Err()
	}
	if err := v.open(nil); err != nil {
		return err
	}
	defer func() { v.close() }()
	for _, channel := range v.channels() {
		// Of what is not kept, a server whose feed is behind may hand out some that was before, and not all.
		if err := v.visit(ctx, channel, v.random.IntN(2) == 0 || channel == unkept); err != nil {
			return err
		}
	}
	for {
		left := 0
		for _, one := range v.visits {
			if err := v.read(ctx, one); err != nil {
				return err
			}
			if !one.last {
				left++
			}
		}
		if left == 0 {
			return nil
		}
		if err := v.act(ctx); err != nil {
			return err
		}
	}
}

// channels are one or two of the site.
func (v *visitor) channels() []string {
	all := map[string][]string{
		"": {"/a", "/b", "/c|d", "/global/e", unkept}, "blue": {"/a", "/f", "/global/e"}, "green": {"/a", "/global/e"},
	}[v.site]
	v.random.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	return all[:1+v.random.IntN(2)]
}

// visit subscribes to what there is, or to what comes.
func (v *visitor) visit(ctx context.Context, channel string, latest bool) error {
	start := history.Start{Channel: history.Name(channel, v.site), Latest: latest}
	one := &visit{channel: channel}
	name := fmt.Sprintf("%s, subscription %d to %s", v.name, len(v.visits), start.Channel)
	var err error
	one.log, err = v.h.Reader(name, start, func() (err error) {
		from := httpclient.After(0)
		if latest {
			from = httpclient.Latest()
		}
		one.sub, err = v.client.Subscribe(channel, from, nil)
		known := false
		for err == nil && len(one.waiting) == 0 && !known { // only with the server's answer it has begun
			_, known = v.client.Positions()[channel]
			known = known && latest
			for _, other := range append(v.visits, one) { // one that is not read would hold up all
				err = errors.Join(err, v.read(ctx, other))
			}
		}
		return err
	})
	v.visits = append(v.visits, one)
	return err
}

// read takes the next message, if there is one.
func (v *visitor) read(ctx context.Context, one *visit) error {
	within, cancel := context.WithTimeout(ctx, 20*time.Millisecond)
	defer cancel()
	m, err := one.sub.Next(within)
	if err == nil || !errors.Is(err, within.Err()) { // a gap may come in the last moment
		one.waiting = append(one.waiting, came{m, err})
	}
	if one.log == nil {
		return ctx.Err()
	}
	for _, c := range one.waiting {
		if gap, told := errors.AsType[*httpclient.GapError](c.err); told {
			c.err = &bus.GapError{Channel: gap.Channel, Site: v.site, After: gap.After, Next: gap.Next, Reason: bus.GapReason(gap.Reason)}
		}
		late := one.comesTo(c.m.ID, c.err) && v.stage.late
		saw := one.log.Saw(bus.Message{Channel: one.channel, Site: v.site, ID: c.m.ID, GlobalID: c.m.GlobalID, Data: c.m.Data, Late: late}, c.err)
		one.last = one.last || saw.Last
	}
	one.waiting = nil
	return ctx.Err()
}

// comesTo reports whether a message comes after one with a higher id, as a client is not
// told which do: what was not kept, and was announced while the backlog was read for it.
func (one *visit) comesTo(id int64, err error) (late bool) {
	if gap, told := errors.AsType[*bus.GapError](err); told {
		if gap.Reason == bus.GapReset {
			one.highest = 0
		}
		id = gap.Next - 1
	} else {
		late = id <= one.highest
	}
	one.highest = max(one.highest, id)
	return late
}

// act is what the visitor does now and then.
func (v *visitor) act(ctx context.Context) error {
	select {
	case <-v.over:
		return nil
	default:
	}
	switch n := v.random.IntN(300); {
	case n < 3:
		v.cut()
	case n == 3 && v.stays && len(v.visits) < 4 && v.visits[0].channel != unkept: // again to one of its channels
		return v.visit(ctx, v.visits[0].channel, false)
	case n == 3 && !v.stays:
		return v.comeBack(ctx)
	case n < 6:
		pause(ctx, time.Duration(v.random.IntN(5000))*time.Millisecond)
	case v.delay > 0:
		pause(ctx, v.delay)
	}
	return nil
}

// comeBack goes on as another client, which has been told where this one was.
func (v *visitor) comeBack(ctx context.Context) error {
	positions := v.client.Positions()
	v.h.Note(fmt.Sprintf("%s comes back to %v", v.name, positions))
	v.close()
	kept, err := json.Marshal(positions)
	if err == nil {
		positions = nil
		err = json.Unmarshal(kept, &positions)
	}
	if err != nil {
		return err
	}
	pause(ctx, time.Duration(v.random.IntN(3000))*time.Millisecond)
	if err := v.open(positions); err != nil {
		return err
	}
	for _, one := range v.visits {
		if one.sub, err = v.client.Subscribe(one.channel, httpclient.After(0), nil); err != nil {
			return err
		}
	}
	return nil
}
