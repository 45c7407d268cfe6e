package transport_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/messagebus-go/messagebus/bus/bustest"
	"github.com/messagebus-go/messagebus/bus/driver"
	"github.com/messagebus-go/messagebus/transport"
)

// A tallyStore counts reads of channels, and how many there are at a time.
type tallyStore struct {
	driver.Backend

	mu                  sync.Mutex // guards below
	reads, running, top int
	ranges, messages    int
	before              func()
}

func (s *tallyStore) Read(ctx context.Context, ranges []driver.Range) (driver.Snapshot, error) {
	if len(ranges) == 0 {
		return s.Backend.Read(ctx, ranges)
	}
	s.mu.Lock()
	s.reads++
	s.ranges += len(ranges)
	s.running++
	s.top = max(s.top, s.running)
	before := s.before
	s.mu.Unlock()
	if before != nil {
		before()
	}
	snapshot, err := s.Backend.Read(ctx, ranges)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.running--
	for _, page := range snapshot.Pages {
		s.messages = max(s.messages, len(page.Messages))
	}
	return snapshot, err
}

// restart forgets what was counted.
func (s *tallyStore) restart() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.reads, s.top, s.ranges, s.messages = 0, 0, 0, 0
}

// fill holds n requests.
func (r *rig) fill(n int, body string, head func(i int) string) []*peer {
	r.tb.Helper()
	peers := make([]*peer, n)
	for i := range peers {
		line := "X-None: 1"
		if head != nil {
			line = head(i)
		}
		peers[i] = r.poll(fmt.Sprint("c", i), body, line).head()
		peers[i].want(noMessages)
	}
	return peers
}

// After a gap of the feed all clients of a channel are served by one read of it,
// wherever each of them stands.
func TestShared_AGapOfTheFeedCostsOneReadOfAChannel(t *testing.T) {
	n := 10_000
	if testing.Short() {
		n = 1000
	}
	synctest.Test(t, func(t *testing.T) {
		mem := bustest.NewStore(t)
		store := &tallyStore{Backend: mem}
		r := newRigOn(t, store, &transport.Options{Identify: byHeaders, LongPoll: transport.LongPollOptions{Hold: time.Hour}, Limits: transport.LimitOptions{MaxHeld: n, MaxHeldPerUser: -1}})
		r.publish("/a", "first")
		var peers []*peer
		for half := range 2 { // whose positions differ
			for i := range n / 2 {
				p := r.poll(fmt.Sprint("c", half, "-", i), "/a=0").head()
				p.want("[" + message(1, "/a", `"first"`) + "]")
				peers = append(peers, p)
			}
			r.publish("/b", "of no interest")
		}
		store.restart()
		mem.Faults().FailOver(0)
		r.publish("/a", "second")
		for _, p := range peers {
			p.want("[" + message(4, "/a", `"second"`) + "]")
		}
		<-time.After(time.Minute)
		store.mu.Lock()
		defer store.mu.Unlock()
		if store.reads != 1 || store.ranges != 1 {
			t.Errorf("%d reads of %d channels", store.reads, store.ranges)
		}
	})
}

// While the store does not answer, many channels and sites are not asked for
// more than a few at a time.
func TestShared_FewReadsAtATime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		mem := bustest.NewStore(t)
		store := &tallyStore{Backend: mem}
		const sites, each = 30, 3
		r := newRigOn(t, store, &transport.Options{Identify: byHeaders, LongPoll: transport.LongPollOptions{Hold: time.Hour}})
		peers := r.fill(sites*each, "/a=0", func(i int) string { return fmt.Sprint("X-Site: s", i%sites) })
		store.mu.Lock()
		store.before = func() { <-time.After(100 * time.Millisecond) }
		store.mu.Unlock()
		store.restart()
		mem.Faults().FailOver(0)
		for i := range sites {
			if _, err := r.bus.Site(fmt.Sprint("s", i)).Publish(t.Context(), "/a", i); err != nil {
				t.Fatal(err)
			}
		}
		for i, p := range peers {
			p.want("[" + message(1+i%sites, "/a", fmt.Sprint(i%sites)) + "]")
		}
		store.mu.Lock()
		defer store.mu.Unlock()
		if store.top < 2 || store.top > 9 || store.reads > 2*sites {
			t.Errorf("%d reads, %d at a time", store.reads, store.top)
		}
	})
}

// A slow client that lacks much is served piece by piece, and does not keep the
// others from what is new.
func TestShared_OneThatIsFarBehindHoldsUpNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		mem := bustest.NewStore(t)
		store := &tallyStore{Backend: mem}
		opts := slowOptions(2000)
		opts.LongPoll.Hold = 10 * time.Hour
		r := newRigOn(t, store, opts)
		slow := r.poll("slow", "/a=0").head()
		slow.want(noMessages)
		const n = 500
		for i := range n {
			r.publish("/a", strings.Repeat("x", 100)+fmt.Sprint(i))
		}
		quick := r.poll("quick", fmt.Sprint("/a=", n)).head()
		quick.want(noMessages)
		seen := 0
		more := 0
		for seen < n {
			for _, m := range decode(t, slow.part()) {
				if seen++; m.ID != seen+more {
					t.Fatalf("message %d came as number %d", m.ID, seen)
				}
			}
			if seen%50 == 0 {
				mem.Faults().FailOver(0)
				r.publish("/b", 1)
				<-time.After(time.Second)
			}
		}
		r.publish("/a", "new")
		last := func(p *peer) wireMessage {
			messages := decode(t, p.part())
			return messages[len(messages)-1]
		}
		if a, b := last(slow), last(quick); a.ID != b.ID || string(a.Data) != `"new"` {
			t.Errorf("%+v %+v", a, b)
		}
	})
}
