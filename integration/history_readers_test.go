package integration_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/messagebus-go/messagebus/bus"
	"github.com/messagebus-go/messagebus/integration/history"
)

// The readers of a history: each begins somewhere, at some time, reads at its own
// speed, and subscribes anew from its position every now and then.

// An audience is all readers of a history.
type audience struct {
	work sync.WaitGroup

	mu      sync.Mutex // guards below
	waiting map[string]bool
}

func (p *play) startReaders() *audience {
	a := &audience{waiting: map[string]bool{}}
	ctx, cancel := context.WithCancel(p.Context())
	for i := range historyReaders {
		name, run := p.newReader(i)
		a.waiting[name] = true
		a.work.Go(func() {
			if err := run(ctx); err != nil {
				p.Errorf("%s: %v", name, err)
			}
			a.mu.Lock()
			defer a.mu.Unlock()
			delete(a.waiting, name)
		})
	}
	p.Cleanup(func() { cancel(); a.work.Wait() })
	return a
}

func (p *play) newReader(number int) (name string, run func(context.Context) error) {
	if len(p.servers) > 0 {
		v := newVisitor(p, number)
		return v.name, v.run
	}
	r := newHistoryReader(p, number)
	return r.name, r.run
}

// comesAfter is when a reader comes that was not there from the beginning: while the history
// still goes on for long.
func (p *play) comesAfter(random *rand.Rand) time.Duration {
	return time.Duration(random.Int64N(int64(min(20*time.Second, historyDuration(p.T)/3))))
}

// wait waits until every reader has the last message.
func (a *audience) wait(t *testing.T) {
	t.Helper()
	left := func() (names []string) {
		a.mu.Lock()
		defer a.mu.Unlock()
		for name := range a.waiting {
			names = append(names, name)
		}
		return names
	}
	defer func() {
		if t.Failed() {
			t.Logf("these have not seen the last message: %v", left())
		}
	}()
	eventually(t, historyPatience, "all readers", func() bool { return len(left()) == 0 })
}

type historyReader struct {
	*play

	name   string
	at     place
	all    bool
	random *rand.Rand
	bus    *historyBus

	delay time.Duration // after each message
	naps  bool          // long ones, now and then
	log   *history.Reader
	sub   *bus.Subscription

	last *bus.Message // with all: what Next returned last in its order; nil: a gap
}

func newHistoryReader(p *play, number int) *historyReader {
	random := rand.New(rand.NewPCG(p.seed, uint64(1000+number)))
	r := &historyReader{play: p, random: random, at: historyPlaces[number%len(historyPlaces)], bus: p.buses[random.IntN(len(p.buses))]}
	r.all = number%8 == 7
	switch random.IntN(5) {
	case 0:
		r.delay = time.Duration(random.IntN(200)) * time.Millisecond
	case 1:
		r.naps = true
	}
	what := r.at.name()
	if r.all {
		what = "all"
	}
	r.name = fmt.Sprintf("reader %d of %s", number, what)
	return r
}

// run reads until the last message.
func (r *historyReader) run(ctx context.Context) error {
	if r.random.IntN(2) == 0 && !pause(ctx, r.comesAfter(r.random)) {
		return ctx.Err()
	}
	if err := r.begin(ctx); err != nil {
		return err
	}
	defer func() { r.sub.Close() }()
	// By their channels: one that comes again, behind a reset, is no other one.
	for last, want := map[string]bool{}, r.channels(); len(last) < want; {
		within, cancel := context.WithTimeout(ctx, r.stay())
		m, err := r.sub.Next(within)
		cancel()
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case errors.Is(err, context.DeadlineExceeded):
			if err := r.move(ctx); err != nil {
				return err
			}
			continue
		}
		if saw := r.log.Saw(m, err); saw.Last {
			last[history.Name(m.Channel, m.Site)] = true
		}
		switch {
		case err != nil:
			r.last = nil
		case !m.Late: // from there a reader would go back
			r.last = &m
		}
		if err := r.rest(ctx); err != nil {
			return err
		}
	}
	return nil
}

// channels is how many last messages there are.
func (r *historyReader) channels() int {
	if r.all {
		return historyNames()
	}
	return 1
}

// stay is how long a reader waits for one message before it subscribes anew.
func (r *historyReader) stay() time.Duration {
	return time.Duration(1000+r.random.IntN(4000)) * time.Millisecond
}

// rest is what the reader does after a message.
func (r *historyReader) rest(ctx context.Context) error {
	select {
	case <-r.over:
		return nil
	default:
	}
	switch {
	case r.random.IntN(100) == 0:
		return r.move(ctx)
	case r.naps && r.random.IntN(50) == 0:
		r.doze(ctx, time.Duration(r.random.IntN(15_000))*time.Millisecond)
	case r.delay > 0:
		r.doze(ctx, r.delay)
	}
	return nil
}

// doze waits, but for no longer than the faults go on.
func (r *historyReader) doze(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-r.over:
	case <-ctx.Done():
	}
}

// begin subscribes for the first time.
func (r *historyReader) begin(ctx context.Context) (err error) {
	start := history.Start{Channel: r.at.name(), Latest: r.random.IntN(3) > 0}
	if r.all {
		start.Channel = ""
	}
	return again(ctx, func() error {
		r.log, err = r.h.Reader(r.name, start, func() error { return r.subscribe(ctx, start.Latest) })
		return err
	})
}

func (r *historyReader) subscribe(ctx context.Context, latest bool) (err error) {
	switch {
	case r.all && latest:
		r.sub, err = r.bus.SubscribeAll(ctx, bus.LatestGlobal())
	case r.all:
		r.sub, err = r.bus.SubscribeAll(ctx, bus.AfterGlobal(0))
	case latest:
		r.sub, err = r.at.on(r.bus).Subscribe(ctx, r.at.channel, bus.Latest())
	default:
		r.sub, err = r.at.on(r.bus).Subscribe(ctx, r.at.channel, bus.After(0))
	}
	return err
}

// move subscribes anew from where the reader is, on another peer where that can be.
func (r *historyReader) move(ctx context.Context) error {
	if r.all && r.last == nil {
		return nil // only a message has a position that a subscription to all can begin from
	}
	from := r.sub.Position()
	if r.random.IntN(2) == 0 {
		from = bus.Resume(from.ID(), from.GlobalID(), from.Epoch())
	}
	if !r.stage.oneLife {
		r.bus = r.buses[r.random.IntN(len(r.buses))]
	}
	r.sub.Close()
	r.h.Note(fmt.Sprintf("%s moves to peer %d, to %d (%d)", r.name, r.bus.number, from.ID(), from.GlobalID()))
	return again(ctx, func() error {
		sub, err := r.resume(ctx, from)
		if err == nil {
			r.sub = sub
		}
		return err
	})
}

func (r *historyReader) resume(ctx context.Context, from bus.Position) (*bus.Subscription, error) {
	if r.all {
		return r.bus.SubscribeAll(ctx, r.last.GlobalPosition())
	}
	return r.at.on(r.bus).Subscribe(ctx, r.at.channel, from)
}

// again tries until it works: the store may be away.
func again(ctx context.Context, try func() error) error {
	for try() != nil {
		if !pause(ctx, 100*time.Millisecond) {
			return ctx.Err()
		}
	}
	return nil
}
