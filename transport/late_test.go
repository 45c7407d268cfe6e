package transport_test

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/messagebus-go/messagebus/bus/driver"
	"github.com/messagebus-go/messagebus/transport"
)

const settle = 250 * time.Millisecond

// A looseStore gives ids, commits messages and announces them in three steps,
// as Postgres does for publishers that do not wait for each other.
type looseStore struct {
	mu    sync.Mutex // guards below
	given int64
	open  map[int64]driver.Message
	vague bool             // it takes what is below a message that was committed for settled
	rows  []driver.Message // committed, ascending
	feeds map[*looseFeed]struct{}
}

func newLooseStore() *looseStore {
	return &looseStore{open: map[int64]driver.Message{}, feeds: map[*looseFeed]struct{}{}}
}

func (s *looseStore) begin(channel, data, users string) int64 {
	envelope := fmt.Sprintf(`{"data":%s,"user_ids":%s,"group_ids":null,"client_ids":null}`, data, users)
	return s.give(channel, []byte(envelope))
}

func (s *looseStore) give(channel string, envelope []byte) int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.given++
	s.open[s.given] = driver.Message{GlobalID: s.given, ID: s.given, Channel: channel, Data: envelope}
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
	id := s.give(channel, slices.Clone(data))
	s.commit(id)
	s.announce(id)
	return driver.Position{GlobalID: id, ID: id}, nil
}

// state: mu must be held. What is below a message that was committed is not
// settled until it is, where the store knows who is still at work.
func (s *looseStore) state() driver.State {
	state := driver.State{GlobalID: s.given, Epoch: "one"}
	for _, m := range s.rows {
		if s.vague || m.ID == state.Settled+1 {
			state.Settled = m.ID
		}
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
		snapshot.Pages = append(snapshot.Pages, s.page(r))
	}
	return snapshot, nil
}

func (s *looseStore) page(r driver.Range) (page driver.Page) {
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
	return page
}

func (s *looseStore) GlobalBacklog(_ context.Context, after int64, most int) (driver.GlobalPage, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
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
	f := &looseFeed{store: s, messages: make(chan driver.Message, 1<<16)}
	s.feeds[f] = struct{}{}
	return f, nil
}

func (*looseStore) Traits() driver.Traits { return driver.Traits{SharedIDs: true, SettleHole: settle} }

func (*looseStore) Close() error { return nil }

type looseFeed struct {
	store    *looseStore
	messages chan driver.Message
}

func (f *looseFeed) Next(ctx context.Context) (driver.Message, error) {
	select {
	case m := <-f.messages:
		return m, nil
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

// A tally is how many times each message of /a came, by id.
type tally map[int]int

// add reads one part.
func (y tally) add(t *testing.T, p *peer) {
	t.Helper()
	for _, m := range decode(t, p.part()) {
		if m.Channel == "/a" {
			y[m.ID]++
		}
	}
}

func TestLate_ComesWithTheStatusThatPutsThePositionBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newLooseStore()
		r := newRigOn(t, store, &transport.Options{Identify: byHeaders})
		stream := r.poll("stream", "/a=0&/b=0").head()
		stream.want(noMessages)
		late, secret := store.begin("/a", `"late"`, "null"), store.begin("/a", `"secret"`, "[9]")
		r.publish("/a", 3)
		stream.want("[" + message(3, "/a", "3") + "]")
		single := r.poll("single", "/a=3", "Dont-Chunk: 1")
		other := r.poll("other", "/b=0").head()
		other.want(noMessages)
		r.held(3)
		for _, id := range []int64{secret, late} {
			store.commit(id)
			store.announce(id)
		}
		both := "[" + message(1, "/a", `"late"`) + "," + status(`{"/a":3}`) + "]"
		stream.want(both)
		if got := single.head().body(); got != both {
			t.Errorf("the answer is %s", got)
		}
		r.publish("/b", 4)
		other.want("[" + message(4, "/b", "4") + "]")
		stream.want("[" + message(4, "/b", "4") + "]")
	})
}

func TestLate_DoesNotComeToAClientThatHasReadIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newLooseStore()
		r := newRigOn(t, store, nil)
		late := store.begin("/a", `"late"`, "null")
		r.publish("/a", 2)
		<-time.After(settle) // it is given up
		before := r.poll("before", "/a=0").head()
		before.want("[" + message(2, "/a", "2") + "]")
		store.commit(late)
		after := r.poll("after", "/a=0").head()
		after.want("[" + message(1, "/a", `"late"`) + "," + message(2, "/a", "2") + "]")
		store.announce(late)
		before.want("[" + message(1, "/a", `"late"`) + "," + status(`{"/a":2}`) + "]")
		for _, p := range []*peer{before, after} {
			r.publish("/a", 0)
			p.part()
		}
		r.publish("/a", 5)
		before.part()
		after.want("["+message(4, "/a", "0")+"]", "["+message(5, "/a", "5")+"]")
	})
}

// What is read while an older message is under way is announced afterwards.
func TestLate_WhatWasReadAboveTheHoleDoesNotComeAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newLooseStore()
		r := newRigOn(t, store, nil)
		first := store.begin("/a", "1", "null")
		r.publish("/a", 2)
		p := r.poll("me", "/a=0").head()
		p.want("[" + message(2, "/a", "2") + "]")
		store.commit(first)
		store.announce(first)
		p.want("[" + message(1, "/a", "1") + "," + status(`{"/a":2}`) + "]")
		r.publish("/a", 3)
		p.want("[" + message(3, "/a", "3") + "]")
	})
}

func TestLate_IsNotDroppedWithTheQueueOfASlowReader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newLooseStore()
		r := newRigOn(t, store, slowOptions(1000))
		p := r.poll("me", "/a=0").head()
		p.want(noMessages)
		late := store.begin("/a", `"late"`, "null")
		r.publish("/a", 2)
		p.want("[" + message(2, "/a", "2") + "]")
		const n = 60
		for i := 3; i <= n; i++ {
			r.publish("/a", i)
			if i == n/2 {
				store.commit(late)
				store.announce(late)
			}
		}
		seen := tally{}
		for len(seen) < n-1 {
			seen.add(t, p)
		}
		for id, times := range seen {
			if times != 1 {
				t.Errorf("message %d came %d times", id, times)
			}
		}
	})
}

// The queue is full with what the backlog has, the late message too.
func TestLate_ComesOnceWhereTheQueueIsDropped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newLooseStore()
		r := newRigOn(t, store, slowOptions(1000))
		p := r.poll("me", "/a=0").head()
		p.want(noMessages)
		r.publish("/a", 1)
		late := store.begin("/a", `"late"`, "null")
		const n = 60
		for i := 3; i <= n; i++ {
			r.publish("/a", i)
			if i == 5 {
				store.commit(late)
				store.announce(late)
			}
		}
		seen := tally{}
		for len(seen) < n {
			seen.add(t, p)
		}
		if seen[2] != 1 {
			t.Errorf("it came %d times", seen[2])
		}
	})
}

// Holes are filled one by one while all around them is read again and again.
func TestLate_WhatFillsAHoleComesOnceWhateverIsReadAgain(t *testing.T) {
	for _, vague := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) { fillHoles(t, vague) })
	}
}

func fillHoles(t *testing.T, vague bool) {
	store := newLooseStore()
	store.vague = vague
	r := newRigOn(t, store, nil)
	var holes []int64
	for i := range 3 {
		holes = append(holes, store.begin("/a", fmt.Sprint(2*i+1), "null"))
		r.publish("/a", 2*i+2)
	}
	p := r.poll("me", "/a=0").head()
	p.want("[" + message(2, "/a", "2") + "," + message(4, "/a", "4") + "," + message(6, "/a", "6") + "]")
	for _, hole := range []int64{holes[1], holes[2], holes[0]} {
		store.commit(hole)
		r.handler.Interrupt()
		synctest.Wait()
		store.announce(hole)
		r.handler.Interrupt()
		synctest.Wait()
	}
	r.publish("/a", 7)
	seen := tally{}
	for seen[7] == 0 {
		seen.add(t, p)
	}
	if want := (tally{3: 1, 5: 1, 1: 1, 7: 1}); !maps.Equal(seen, want) {
		t.Errorf("vague: %t: messages came so many times: %v, want %v", vague, seen, want)
	}
}

// Random publishers commit and announce when they like, and the feed has gaps;
// clients that stay, at any speed, get each message once.
func TestLate_EachOnceWhateverTheCommitsDo(t *testing.T) {
	for seed := range uint64(30) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { playLoose(t, seed) })
		})
	}
}

func playLoose(t *testing.T, seed uint64) {
	random := rand.New(rand.NewPCG(seed, 1))
	store := newLooseStore()
	store.vague = seed%2 == 0
	r := newRigOn(t, store, &transport.Options{
		LongPoll: transport.LongPollOptions{Hold: time.Hour},
		Limits:   transport.LimitOptions{MaxQueuedBytes: 1000 + random.IntN(20_000), WriteTimeout: time.Hour},
	})
	const each, publishers = 60, 3
	gaps := time.NewTicker(time.Duration(1+random.IntN(500)) * time.Millisecond)
	defer gaps.Stop()
	over := make(chan struct{})
	defer close(over)
	go func() {
		for {
			select {
			case <-gaps.C:
				r.handler.Interrupt()
			case <-over:
				return
			}
		}
	}()
	var work sync.WaitGroup
	for i, pause := range []time.Duration{0, time.Millisecond, 30 * time.Millisecond} {
		p := r.poll(fmt.Sprint("client", i), "/a=0").head()
		work.Go(func() {
			seen := tally{}
			for len(seen) < each*publishers {
				seen.add(t, p)
				if pause > 0 {
					<-time.After(pause)
				}
			}
			for id, times := range seen {
				if times != 1 {
					t.Errorf("seed %d, client %d: message %d came %d times", seed, i, id, times)
				}
			}
		})
	}
	for range publishers {
		slow := time.Duration(1+random.IntN(20)) * 100 * time.Millisecond
		work.Go(func() {
			for range each {
				<-time.After(rand.N(20 * time.Millisecond))
				id := store.begin("/a", "0", "null")
				<-time.After(rand.N([]time.Duration{5 * time.Millisecond, slow}[rand.IntN(2)]))
				store.commit(id)
				store.announce(id)
			}
		})
	}
	work.Wait()
}
