package bus_test

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/messagebus-go/messagebus/bus"
	"github.com/messagebus-go/messagebus/bus/bustest"
	"github.com/messagebus-go/messagebus/bus/driver"
)

const settle = 250 * time.Millisecond

// A looseStore gives ids, commits messages and announces them in three steps,
// as Postgres does for publishers that do not wait for each other.
type looseStore struct {
	mu    sync.Mutex // guards below
	given int64
	open  map[int64]driver.Message
	rows  []driver.Message // committed, ascending
	feeds map[*looseFeed]struct{}
	reads int // of the global backlog

	timeline string // another one: another server has taken over, with all there was
}

func newLooseStore() *looseStore {
	return &looseStore{open: map[int64]driver.Message{}, feeds: map[*looseFeed]struct{}{}}
}

func (s *looseStore) begin(channel, data string) int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.given++
	s.open[s.given] = driver.Message{
		GlobalID: s.given, ID: s.given, Channel: channel,
		Data: fmt.Appendf(nil, `{"data":%s,"user_ids":null,"group_ids":null,"client_ids":null}`, data),
	}
	return s.given
}

func (s *looseStore) commit(id int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	i, _ := slices.BinarySearchFunc(s.rows, id, func(m driver.Message, id int64) int { return int(m.ID - id) })
	s.rows = slices.Insert(s.rows, i, s.open[id])
}

func (s *looseStore) announce(id int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for f := range s.feeds {
		f.messages <- s.open[id]
	}
}

func (s *looseStore) Publish(_ context.Context, channel string, data []byte, _ driver.Limits) (driver.Position, error) {
	s.mu.Lock()
	s.given++
	id := s.given
	s.open[id] = driver.Message{GlobalID: id, ID: id, Channel: channel, Data: slices.Clone(data)}
	s.mu.Unlock()
	s.commit(id)
	s.announce(id)
	return driver.Position{GlobalID: id, ID: id}, nil
}

// state: mu must be held.
func (s *looseStore) state() driver.State {
	state := driver.State{GlobalID: s.given, Epoch: "one", Timeline: s.timeline}
	if n := len(s.rows); n > 0 {
		state.Settled = s.rows[n-1].ID
	}
	return state
}

func (s *looseStore) State(context.Context) (driver.State, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.state(), nil
}

func (s *looseStore) Read(_ context.Context, ranges []driver.Range) (driver.Snapshot, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	snapshot := driver.Snapshot{State: s.state()}
	for _, r := range ranges {
		var page driver.Page
		for _, m := range s.rows {
			if m.Channel != r.Channel {
				continue
			}
			page.LastID = m.ID
			if m.ID == r.After {
				page.Anchor = m
			}
			if r.Tail > 0 || m.ID > r.After {
				page.Messages = append(page.Messages, m)
			}
		}
		if r.Tail > 0 {
			page.Messages = page.Messages[max(0, len(page.Messages)-r.Tail):]
		} else if r.Max > 0 && len(page.Messages) > r.Max {
			page.Messages = page.Messages[:r.Max]
		}
		snapshot.Pages = append(snapshot.Pages, page)
	}
	return snapshot, nil
}

func (s *looseStore) GlobalBacklog(_ context.Context, after int64, most int) (driver.GlobalPage, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.reads++
	page := driver.GlobalPage{State: s.state()}
	for _, m := range s.rows {
		if m.ID > after && (most == 0 || len(page.Messages) < most) {
			page.Messages = append(page.Messages, m)
		}
	}
	return page, nil
}

func (s *looseStore) Listen(context.Context) (driver.Stream, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f := &looseFeed{store: s, messages: make(chan driver.Message, 1<<16), ended: make(chan struct{})}
	s.feeds[f] = struct{}{}
	return f, nil
}

func (*looseStore) Traits() driver.Traits {
	return driver.Traits{SharedIDs: true, SettleHole: settle}
}

func (*looseStore) Close() error { return nil }

type looseFeed struct {
	store    *looseStore
	messages chan driver.Message
	ended    chan struct{}
}

// cut ends the feeds.
func (s *looseStore) cut() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for f := range s.feeds {
		delete(s.feeds, f)
		close(f.ended)
	}
}

func (f *looseFeed) Next(ctx context.Context) (driver.Message, error) {
	select {
	case m := <-f.messages:
		return m, nil
	case <-f.ended:
		return driver.Message{}, errCut
	case <-ctx.Done():
		return driver.Message{}, ctx.Err()
	}
}

func (*looseFeed) Ping(context.Context) error { return nil }

func (f *looseFeed) Close() error {
	f.store.mu.Lock()
	defer f.store.mu.Unlock()
	delete(f.store.feeds, f)
	return nil
}

// loose returns a bus on a loose store, its feed up.
func loose(t *testing.T) (*looseStore, *bus.Bus) {
	t.Helper()
	store := newLooseStore()
	return store, looseBus(t, store)
}

func looseBus(t *testing.T, store driver.Backend) *bus.Bus {
	t.Helper()
	b := bustest.On(t, store, &bus.Options{Keepalive: -1})
	subscribe(t, b, "/other", bus.Latest())
	synctest.Wait()
	return b
}

func TestOrder_AHoleThatIsFilledInTimeCostsNoOrder(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store, b := loose(t)
		sub := subscribe(t, b, "/a", bus.Latest())
		first, second := store.begin("/a", "1"), store.begin("/a", "2")
		store.commit(second)
		store.announce(second)
		<-time.After(settle - time.Millisecond)
		quiet(t, sub)
		store.commit(first)
		store.announce(first)
		if got := next(t, sub) + next(t, sub); got != "12" {
			t.Errorf("got %s, want 12", got)
		}
		if h := b.Health(); h.Late != 0 || store.reads > 1 {
			t.Errorf("%d late, %d reads", h.Late, store.reads)
		}
	})
}

func TestOrder_AHoleThatStaysIsGivenUpInTime(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store, b := loose(t)
		sub := subscribe(t, b, "/a", bus.Latest())
		store.begin("/a", `"rolled back"`)
		start := time.Now()
		publish(t, b, "/a", 2)
		if got := next(t, sub); got != "2" || time.Since(start) > settle {
			t.Errorf("got %s after %v, want 2 after %v", got, time.Since(start), settle)
		}
	})
}

func TestOrder_AMessageThatComesAfterAllIsDeliveredLateOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store, b := loose(t)
		sub := subscribe(t, b, "/a", bus.Latest())
		all, err := b.SubscribeAll(t.Context(), bus.LatestGlobal())
		if err != nil {
			t.Fatal(err)
		}
		late := store.begin("/a", "1")
		publish(t, b, "/a", 2)
		next(t, sub)
		before := sub.Position()
		newer := subscribe(t, b, "/a", bus.After(0)) // has read 2, not 1
		store.commit(late)
		latest := subscribe(t, b, "/a", bus.After(0)) // has read both
		store.announce(late)
		m, err := sub.Next(t.Context())
		if err != nil || string(m.Data) != "1" || !m.Late || sub.Position() != before {
			t.Errorf("got %s, late %v, %v, position %v; want 1, late, and the position as it was", m.Data, m.Late, err, sub.Position())
		}
		for name, test := range map[string]struct {
			sub  *bus.Subscription
			want string
		}{"read before the commit": {newer, "21"}, "read after it": {latest, "12"}, "all": {all, "21"}} {
			if got := next(t, test.sub) + next(t, test.sub); got != test.want {
				t.Errorf("%s: got %s, want %s", name, got, test.want)
			}
			quiet(t, test.sub)
		}
		if h := b.Health(); h.Late != 1 {
			t.Errorf("health counts %d late", h.Late)
		}
	})
}

func TestOrder_HolesThatComeTogetherAreGivenUpTogether(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store, b := loose(t)
		sub := subscribe(t, b, "/a", bus.Latest())
		start := time.Now()
		for i := range 10 {
			store.begin("/a", `"rolled back"`)
			publish(t, b, "/a", i)
		}
		for range 10 {
			next(t, sub)
		}
		if took := time.Since(start); took != settle {
			t.Errorf("ten holes took %v, want %v", took, settle)
		}
	})
}

// What is held back has been announced: the watchdog must not take it for missing,
// however often it looks while a hole is waited for.
func TestOrder_AHoleIsWaitedForUnderAnyLivenessBound(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := newLooseStore()
		downs := 0
		b := bustest.On(t, store, &bus.Options{
			Keepalive: -1, LivenessBound: settle / 4,
			Trace: &bus.Trace{FeedDown: func(error) { downs++ }},
		})
		sub := subscribe(t, b, "/a", bus.Latest())
		synctest.Wait()
		first := store.begin("/a", "1")
		publish(t, b, "/a", 2)
		<-time.After(settle - time.Millisecond)
		store.commit(first)
		store.announce(first)
		if got := next(t, sub) + next(t, sub); got != "12" || downs != 0 {
			t.Errorf("got %s, want 12; the feed was given up %d times", got, downs)
		}
	})
}

func TestOrder_EachHoleIsGivenItsTime(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store, b := loose(t)
		sub := subscribe(t, b, "/a", bus.Latest())
		store.begin("/a", `"rolled back"`)
		publish(t, b, "/a", 1)
		<-time.After(settle - time.Millisecond)
		filled := store.begin("/a", "2")
		publish(t, b, "/a", 3)
		<-time.After(settle - time.Millisecond) // the first hole is given up meanwhile
		store.commit(filled)
		store.announce(filled)
		if got := next(t, sub) + next(t, sub) + next(t, sub); got != "123" {
			t.Errorf("got %s, want 123", got)
		}
	})
}

// A reader that is behind is past the late message in what it hands out, but
// not yet in what it reads.
// The last message in order does not tell of a late one behind it, which the new server has
// too.
func TestOrder_WhatCameLateDoesNotComeAgainInSilenceAfterAFailover(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store, b := loose(t)
		publish(t, b, "/a", 1)
		late := store.begin("/a", "2")
		publish(t, b, "/b", 3)
		sub := subscribe(t, b, "/a", bus.After(1))
		store.commit(late)
		store.announce(late)
		m, err := sub.Next(t.Context())
		if err != nil || string(m.Data) != "2" || !m.Late {
			t.Fatalf("got %s, late %v, %v; want 2, late", m.Data, m.Late, err)
		}
		store.mu.Lock()
		store.timeline = "two"
		store.mu.Unlock()
		if gap := nextGap(t, sub); gap.Reason != bus.GapReset {
			t.Errorf("gap is %+v; want a reset, as what follows came before", gap)
		}
		for _, want := range []string{"1", "2"} {
			if got := next(t, sub); got != want {
				t.Errorf("got %s, want %s", got, want)
			}
		}
	})
}

// A position says what was handed out, whatever was read or brought meanwhile.
func TestOrder_WhatCameLateDoesNotComeAgainToAReaderThatMoves(t *testing.T) {
	t.Parallel()
	for name, unread := range map[string]bool{"all was read": false, "others wait": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				store, b := loose(t)
				publish(t, b, "/a", 1)
				sub := subscribe(t, b, "/a", bus.After(0))
				next(t, sub)
				if unread {
					publish(t, b, "/a", 2)
				}
				late := store.begin("/a", "3")
				publish(t, b, "/b", 4)
				<-time.After(settle)
				store.cut()
				<-time.After(time.Second) // there is another feed, and the reader is past the hole
				store.commit(late)
				store.announce(late)
				if unread {
					next(t, sub)
				}
				m, err := sub.Next(t.Context())
				if err != nil || string(m.Data) != "3" || !m.Late {
					t.Fatalf("got %s, late %v, %v; want 3, late", m.Data, m.Late, err)
				}
				quiet(t, subscribe(t, b, "/a", sub.Position()))
			})
		})
	}
}

func TestOrder_AReaderThatIsBehindGetsALateMessage(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store, b := loose(t)
		sub := subscribe(t, b, "/a", bus.Latest())
		late := store.begin("/a", `"late"`)
		publish(t, b, "/a", 0)
		if got := next(t, sub); got != "0" {
			t.Errorf("got %s", got)
		}
		large := strings.Repeat("x", 1<<10)
		for range 2000 { // more than a subscription queues
			publish(t, b, "/a", large)
		}
		synctest.Wait()
		store.commit(late)
		store.announce(late)
		synctest.Wait()
		wantOneLate(t, sub, 2001)
	})
}

// wantOneLate reads n messages, after which there are no more.
func wantOneLate(t *testing.T, sub *bus.Subscription, n int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
	defer cancel()
	lates := 0
	for range n {
		m, err := sub.Next(ctx)
		if err != nil {
			t.Fatal(err)
		}
		if m.Late {
			lates++
		}
	}
	if lates != 1 {
		t.Errorf("%d late messages, want 1", lates)
	}
	quiet(t, sub)
}

// slowStore has one read take a second more than the store does.
type slowStore struct {
	*looseStore
	slow atomic.Bool
}

func (s *slowStore) Read(ctx context.Context, ranges []driver.Range) (driver.Snapshot, error) {
	snapshot, err := s.looseStore.Read(ctx, ranges)
	if s.slow.Swap(false) {
		<-time.After(time.Second)
	}
	return snapshot, err
}

func TestOrder_AReaderThatFallsBehindWhileItReadsGetsALateMessage(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := &slowStore{looseStore: newLooseStore()}
		b := looseBus(t, store)
		flood := func() {
			large := strings.Repeat("x", 300<<10)
			for range 5 { // more than a subscription queues
				publish(t, b, "/a", large)
			}
			synctest.Wait()
		}
		sub := subscribe(t, b, "/a", bus.Latest())
		late := store.begin("/a", `"late"`)
		publish(t, b, "/a", 0)
		next(t, sub)
		flood()
		store.slow.Store(true)
		go func() {
			<-time.After(time.Millisecond) // it is read
			flood()
			store.commit(late)
			store.announce(late)
		}()
		wantOneLate(t, sub, 11)
	})
}

// What a reader has seen of an old life of the store says nothing of what comes live
// while it reads the new one.
func TestOrder_WhatComesLiveToAReaderOfAnOldLifeComesOnceInOrder(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		_, b := loose(t)
		const stored = 600 // more than is read at once
		for i := range stored {
			publish(t, b, "/a", i)
		}
		sub := subscribe(t, b, "/a", bus.Resume(10_000, 10_000, "before"))
		publish(t, b, "/a", stored)
		synctest.Wait()
		if gap := nextGap(t, sub); gap.Reason != bus.GapReset {
			t.Errorf("gap is %+v, want a reset", gap)
		}
		for i := range stored + 1 {
			if got := next(t, sub); got != fmt.Sprint(i) {
				t.Fatalf("got %s, want %d", got, i)
			}
		}
		quiet(t, sub)
	})
}

// A reader that falls behind is told of a gap anew, when it reads.
func TestOrder_AGapIsNoLateMessage(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := &forgetfulStore{looseStore: newLooseStore(), closed: func() {}}
		b := looseBus(t, store)
		publish(t, b, "/a", 0)
		publish(t, b, "/b", 0)
		sub := subscribe(t, b, "/a", bus.Latest())
		store.closed = func() {
			store.closed = func() {}
			store.rows = store.rows[1:]
			store.begin("/a", `"unkept"`)
		}
		store.cut()
		<-time.After(time.Minute) // the gap is queued
		big := strings.Repeat("x", 600_000)
		publish(t, b, "/a", big)
		publish(t, b, "/a", big) // more than a subscription queues
		<-time.After(time.Minute)
		if gap := nextGap(t, sub); gap.Reason != bus.GapPossible {
			t.Errorf("gap is %+v, want a possible one", gap)
		}
		for range 2 {
			if got := next(t, sub); got != strconv.Quote(big) {
				t.Errorf("got %.10s", got)
			}
		}
	})
}

// A peer stores a message that is too large to be announced to it.
func TestOrder_AMessageThatIsNeverAnnouncedIsFoundByTheNext(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store, b := loose(t)
		sub := subscribe(t, b, "/a", bus.Latest())
		store.commit(store.begin("/a", "1"))
		publish(t, b, "/b", 0)
		if got := next(t, sub); got != "1" {
			t.Errorf("got %s, want what was not announced", got)
		}
		store.announce(1) // after all
		quiet(t, sub)
	})
}

func TestOrder_WhatWasFoundIsKnownAgainByTheNextFeed(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store, b := loose(t)
		sub := subscribe(t, b, "/a", bus.Latest())
		store.commit(store.begin("/a", "1"))
		publish(t, b, "/a", 2)
		if got := next(t, sub) + next(t, sub); got != "12" {
			t.Errorf("got %s, want 12", got)
		}
		store.cut()
		<-time.After(time.Minute)
		store.announce(1)
		quiet(t, sub)
	})
}

// What is queued is dropped where the reader falls behind, and read again with what was
// committed meanwhile.
func TestOrder_WhatIsReadBelowWhatWasReadBeforeIsKnownAgain(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store, b := loose(t)
		sub := subscribe(t, b, "/a", bus.Latest())
		late, second := store.begin("/a", "1"), store.begin("/a", "2")
		store.commit(second)
		store.cut()
		<-time.After(time.Minute) // the next feed's repair has found the second
		store.commit(late)
		publish(t, b, "/a", strings.Repeat("x", 1<<20)) // for which the queue has no room
		synctest.Wait()
		if got := next(t, sub) + next(t, sub); got != "12" {
			t.Errorf("got %.5s, want 12", got)
		}
		next(t, sub)
		store.announce(late)
		quiet(t, sub)
	})
}

func TestOrder_WhatIsHeldBackIsBounded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store, b := loose(t)
		sub := subscribe(t, b, "/a", bus.Latest())
		store.begin("/a", `"never"`)
		start := time.Now()
		for i := range 5000 {
			publish(t, b, "/a", i)
		}
		for i := range 5000 {
			if got := next(t, sub); got != fmt.Sprint(i) {
				t.Fatalf("got %s, want %d", got, i)
			}
		}
		if took := time.Since(start); took != 0 {
			t.Errorf("took %v; a hole is not waited for behind so many messages", took)
		}
	})
}

// TestOrder_EachOnceWhateverTheCommitsDo runs random publishers that commit and
// announce when they like, and quick and slow readers. Some go on with another
// subscription; with the last seeds there is another channel, and the feed may be cut: then
// what comes late may be missed.
func TestOrder_EachOnceWhateverTheCommitsDo(t *testing.T) {
	t.Parallel()
	for seed := range uint64(2 * plainSeeds) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) { runLoose(t, seed) })
		})
	}
}

// plainSeeds are those with one channel and one feed.
const plainSeeds = 60

func runLoose(t *testing.T, seed uint64) {
	random := rand.New(rand.NewPCG(seed, 2))
	early := &earlyStore{looseStore: newLooseStore()}
	store, b := early.looseStore, looseBus(t, early)
	var publishers, readers sync.WaitGroup
	var committed atomic.Int64
	wait := func(most time.Duration) { <-time.After(rand.N(most)) }
	cuts, channels := false, []string{"/a"}
	if seed >= plainSeeds {
		cuts, channels = seed%2 == 0, []string{"/a", "/b"} // what comes late on /a may be late among both
	}
	type reader struct {
		seen  []int64
		moves bool
	}
	all := make([]*reader, 0, 14)
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	start := func(from bus.Position, pause time.Duration, moves bool) {
		r := &reader{moves: moves}
		all = append(all, r)
		sub := subscribe(t, b, "/a", from)
		readers.Go(func() {
			defer func() { _ = sub.Close() }()
			highest := int64(0)
			for {
				m, err := sub.Next(ctx)
				if ctx.Err() != nil {
					return
				}
				if err != nil {
					t.Error(err)
				}
				if late := m.ID < highest; late != m.Late && (late || len(channels) == 1) {
					t.Errorf("seed %d: %d came after %d, late: %v", seed, m.ID, highest, m.Late)
				}
				highest = max(highest, m.ID)
				r.seen = append(r.seen, m.ID)
				if pause > 0 {
					<-time.After(pause)
				}
				if moves && rand.IntN(10) == 0 {
					_ = sub.Close()
					sub = subscribe(t, b, "/a", sub.Position())
				}
			}
		})
	}
	start(bus.After(0), 0, false)
	start(bus.After(0), 9*time.Millisecond, false)
	start(bus.After(0), 40*time.Millisecond, false) // is behind all the time
	start(bus.After(0), 0, true)
	start(bus.After(0), 9*time.Millisecond, true)
	messages := 150
	if seed%4 == 0 {
		messages = 700
	}
	for range 4 {
		slow := time.Duration(1+random.IntN(20)) * 100 * time.Millisecond
		publishers.Go(func() {
			for range messages {
				wait(20 * time.Millisecond)
				id := store.begin(channels[rand.IntN(len(channels))], "0")
				if rand.IntN(10) > 0 {
					wait(5 * time.Millisecond)
				} else {
					wait(slow)
				}
				store.commit(id)
				committed.Add(1)
				if seed%2 == 0 {
					early.early.Store(rand.Int64N(5))
				}
				wait(3 * time.Millisecond)
				store.announce(id)
			}
		})
	}
	for range 10 {
		wait(100 * time.Millisecond)
		start(bus.After(0), time.Duration(random.IntN(3))*5*time.Millisecond, false)
		if cuts {
			store.cut()
		}
	}
	publishers.Wait()
	<-time.After(5 * time.Minute)
	want := make([]int64, 0, len(store.rows))
	for _, m := range store.rows {
		if m.Channel == "/a" {
			want = append(want, m.ID)
		}
	}
	stop()
	readers.Wait()
	for i, r := range all {
		slices.Sort(r.seen)
		if r.moves || cuts {
			if n := len(r.seen); n != len(slices.Compact(r.seen)) || n == 0 {
				t.Errorf("seed %d: reader %d: got %d ids; want some, and none twice", seed, i, n)
			}
			continue
		}
		if !slices.Equal(r.seen, want) {
			t.Errorf("seed %d: reader %d: got %d ids, want %d: %s", seed, i, len(r.seen), len(want), firstDifference(r.seen, want))
		}
	}
}

func firstDifference(got, want []int64) string {
	got, want = append(slices.Clone(got), math.MaxInt64), append(slices.Clone(want), math.MaxInt64)
	for i := range want {
		if i >= len(got) || got[i] != want[i] {
			return fmt.Sprintf("at %d: %v, want %v", i, got[min(i, len(got)-1)], want[i])
		}
	}
	return "more than wanted"
}
