package integration_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/messagebus-go/messagebus/bus"
	"github.com/messagebus-go/messagebus/bus/bustest"
	"github.com/messagebus-go/messagebus/bus/driver"
	"github.com/messagebus-go/messagebus/integration/history"
	"github.com/messagebus-go/messagebus/transport/transporttest"
)

// Random histories on every store: publishers, readers and faults, judged by package
// history, which knows the promise and no store.
//
// MESSAGEBUS_SOAK is how long they go on, as in 10m; by default a minute.
// MESSAGEBUS_SEED chooses the faults, as a run that failed has printed it.

func TestFaultHistory_Memory(t *testing.T)        { t.Parallel(); playHistory(t, memoryStage) }
func TestFaultHistory_Redis(t *testing.T)         { t.Parallel(); playHistory(t, redisStage) }
func TestFaultHistory_RedisSentinel(t *testing.T) { t.Parallel(); playHistory(t, sentinelStage) }
func TestFaultHistory_Postgres(t *testing.T)      { t.Parallel(); playHistory(t, postgresStage) }

func TestFaultHistory_MemoryManyTimes(t *testing.T) { t.Parallel(); playInBubbles(t, 5, memoryStage) }

// playInBubbles plays histories in bubbles, where time is not waited for: a minute takes a
// second or two.
func playInBubbles(t *testing.T, histories int, build func(*play) stage) {
	t.Helper()
	for i := range histories {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { playHistory(t, build) })
		})
	}
}

const (
	historyPublishers = 100
	historyReaders    = 50
	historyPeers      = 5

	// historyPause is what a publisher waits on average: all four histories together
	// make a few hundred messages a second.
	historyPause = 1500 * time.Millisecond

	// historyLiveness is short, so that a minute holds many faults.
	historyLiveness = 3 * time.Second

	// historyPatience is how long a store may take to recover: a queue of hundreds of
	// messages is flushed one by one.
	historyPatience = 2 * time.Minute
)

// A stage is where a history plays: peers on one store, and what can happen to it.
type stage struct {
	peers  []driver.Backend
	faults []fault
	// oneLife is whether a reader that moves to another peer may find an earlier life
	// of the store there: it stays with its own.
	oneLife bool
	others  []func(context.Context) // publish beside the peers, until their context ends
	served  bool                    // readers come by HTTP, to a server of each peer
	late    bool                    // what is behind others may be late, which clients over HTTP are not told
	end     func()                  // ends what the stage itself does; nil: nothing
}

// A fault breaks something and mends it again. Its weight is how often it is chosen.
type fault struct {
	name   string
	weight int
	happen func(p *play)
}

// A play is one history in the making.
type play struct {
	*testing.T

	h       *history.History
	stage   stage
	seed    uint64
	random  *rand.Rand // the faults' own
	buses   []*historyBus
	servers []*transporttest.Server // of the peers; none: readers are beside them
	over    chan struct{}           // closed when the faults are over: all readers are quick then
}

func playHistory(t *testing.T, build func(*play) stage) {
	t.Helper()
	p := &play{T: t, h: history.New(), seed: historySeed(t), over: make(chan struct{})}
	p.random = rand.New(rand.NewPCG(p.seed, 0))
	p.stage = build(p)
	for i, peer := range p.stage.peers {
		p.buses = append(p.buses, newHistoryBus(t, i, peer))
	}
	if p.stage.served {
		p.serve()
	}
	t.Cleanup(p.writeIfFailed)

	readers := p.startReaders()
	publishers := p.startPublishers()
	p.breakThings(historyDuration(t))
	close(p.over)
	publishers.stop()
	p.awaitWell()
	p.publishLast()
	readers.wait(t)
	if p.stage.end != nil {
		p.stage.end()
	}
	report, err := p.h.Check()
	t.Logf("seed %d: %+v", p.seed, report)
	if err != nil {
		t.Errorf("the promise was broken:\n%v", err)
	}
	if report.Accepted < historyPublishers {
		t.Errorf("only %d messages were accepted", report.Accepted)
	}
}

func historySeed(t *testing.T) uint64 {
	t.Helper()
	text := os.Getenv("MESSAGEBUS_SEED")
	if text == "" {
		return rand.Uint64()
	}
	seed, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		t.Fatalf("MESSAGEBUS_SEED is %q; it must be a number, as a run that failed has printed it", text)
	}
	return seed
}

func historyDuration(t *testing.T) time.Duration {
	t.Helper()
	text := os.Getenv("MESSAGEBUS_SOAK")
	if text == "" {
		return time.Minute
	}
	d, err := time.ParseDuration(text)
	if err != nil || d <= 0 {
		t.Fatalf("MESSAGEBUS_SOAK is %q; it must be a duration, as in 10m", text)
	}
	return d
}

// writeIfFailed says where a history is that broke the promise. It stays there.
func (p *play) writeIfFailed() {
	if !p.Failed() {
		return
	}
	file, err := os.CreateTemp("", "messagebus-history-*.txt")
	if err != nil {
		p.Logf("the history is not written: %v", err)
		return
	}
	defer file.Close()
	if _, err := p.h.WriteTo(file); err != nil {
		p.Logf("the history is not written whole: %v", err)
	}
	p.Logf("seed %d; MESSAGEBUS_SEED=%d chooses the same faults. The history: %s", p.seed, p.seed, file.Name())
	for _, b := range p.buses {
		p.Logf("peer %d: %+v", b.number, b.Health())
	}
}

// A historyBus is one peer. It knows the global ids of what it published, which
// Publish does not return.
type historyBus struct {
	*bus.Bus

	number  int
	globals sync.Map // "id channel" to global id
}

func newHistoryBus(t *testing.T, number int, peer driver.Backend) *historyBus {
	t.Helper()
	b := &historyBus{number: number}
	b.Bus = bustest.On(t, peer, &bus.Options{
		MaxBacklogSize: 300, MaxGlobalBacklogSize: 1500,
		LivenessBound: historyLiveness,
		Keepalive:     -1, // every message is numbered
		Trace: &bus.Trace{Publish: func(i bus.PublishInfo) {
			if i.Err == nil {
				b.globals.Store(fmt.Sprint(i.ID, history.Name(i.Channel, i.Site)), i.GlobalID)
			}
		}},
	})
	return b
}

// A place is a channel as one reaches it: on the bus itself or on the view of a site.
type place struct{ channel, site string }

var historyPlaces = []place{
	{"/a", ""}, {"/b", ""}, {"/c|d", ""}, {"/global/e", ""},
	{"/a", "blue"}, {"/f", "blue"}, {"/global/e", "blue"}, {"/a", "green"}, {unkept, ""},
}

// unkept is a channel whose messages come live, and are not kept for who is late.
const unkept = "/unkept"

func (l place) name() string { return history.Name(l.channel, l.site) }

func (l place) on(b *historyBus) *bus.Bus {
	if l.site == "" {
		return b.Bus
	}
	return b.Site(l.site)
}

// publish publishes one message, and does not wait for longer than a caller would.
func (p *play) publish(b *historyBus, at place, payload history.Payload) error {
	return p.h.Publish(at.name(), func(number int) (int64, int64, error) {
		ctx, cancel := context.WithTimeout(p.Context(), 2*historyLiveness)
		defer cancel()
		payload.Number = number
		var options []bus.PublishOption
		if at.channel == unkept && !payload.Last {
			options = append(options, bus.MaxBacklogSize(0))
		}
		id, err := at.on(b).Publish(ctx, at.channel, payload, options...)
		globalID, _ := b.globals.LoadAndDelete(fmt.Sprint(id, at.name()))
		global, _ := globalID.(int64)
		return id, global, err
	})
}

func (p *play) startPublishers() *publishing {
	ctx, cancel := context.WithCancel(p.Context())
	work := &publishing{cancel: cancel}
	for i := range historyPublishers {
		random := rand.New(rand.NewPCG(p.seed, uint64(1+i)))
		b := p.buses[i%len(p.buses)]
		work.work.Go(func() {
			for pause(ctx, time.Duration(random.ExpFloat64()*float64(historyPause))) {
				payload := history.Payload{}
				if random.IntN(50) == 0 { // longer than a notice of Postgres
					payload.Padding = strings.Repeat("x", 9000)
				}
				_ = p.publish(b, historyPlaces[random.IntN(len(historyPlaces))], payload) // it is in the history
			}
		})
	}
	for _, publish := range p.stage.others {
		work.work.Go(func() { publish(ctx) })
	}
	p.Cleanup(work.stop)
	return work
}

// pause waits; false when ctx is done.
func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// breakThings has one fault after another happen.
func (p *play) breakThings(during time.Duration) {
	total := 0
	for _, f := range p.stage.faults {
		total += f.weight
	}
	end := time.Now().Add(during)
	for time.Now().Before(end) {
		p.wait(500, 3000)
		n := p.random.IntN(total)
		for _, f := range p.stage.faults {
			if n -= f.weight; n < 0 {
				p.h.Note("FAULT " + f.name)
				f.happen(p)
				p.h.Note("end of " + f.name)
				break
			}
		}
	}
}

// wait waits between so many milliseconds and so many.
func (p *play) wait(least, most int) {
	pause(p.Context(), time.Duration(least+p.random.IntN(most-least))*time.Millisecond)
}

// awaitWell waits until every peer is well and has published what it had queued.
func (p *play) awaitWell() {
	p.Helper()
	for _, b := range p.buses {
		eventually(p.T, historyPatience, fmt.Sprintf("peer %d to be well", b.number), func() bool { return b.Health().OK })
	}
}

// publishLast publishes the message on every channel that readers wait for, after one
// that shows whether connections from before the faults are still there.
func (p *play) publishLast() {
	p.Helper()
	eventually(p.T, historyPatience, "the store to take messages", func() bool {
		return p.publish(p.buses[0], historyPlaces[0], history.Payload{}) == nil
	})
	done := map[string]bool{}
	for _, at := range historyPlaces {
		if done[at.name()] {
			continue
		}
		done[at.name()] = true
		eventually(p.T, historyPatience, "the last message on "+at.name(), func() bool {
			return p.publish(p.buses[0], at, history.Payload{Last: true}) == nil
		})
	}
}

func historyNames() int {
	names := map[string]bool{}
	for _, at := range historyPlaces {
		names[at.name()] = true
	}
	return len(names)
}
