package bus_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/messagebus-go/messagebus/bus"
	"github.com/messagebus-go/messagebus/bus/bustest"
	"github.com/messagebus-go/messagebus/bus/driver"
)

// Messages that the backlog does not keep can only come live.

func TestSubscribe_HearsWhatIsNotKeptFromItsFirstMessageOn(t *testing.T) {
	t.Parallel()
	for range 100 {
		b := bustest.New(t)
		sub := subscribe(t, b, "/a", bus.Latest())
		publish(t, b, "/a", 1, bus.MaxBacklogSize(0))
		publish(t, b, "/a", 2, bus.MaxBacklogSize(0))
		if got := next(t, sub) + next(t, sub); got != "12" {
			t.Fatalf("got %s, want 12", got)
		}
	}
}

// beforeFeed lets a test act before the feed is opened.
type beforeFeed struct {
	driver.Backend

	act func()
}

func (b *beforeFeed) Listen(ctx context.Context) (driver.Stream, error) {
	b.act()
	return b.Backend.Listen(ctx)
}

func TestFeed_WhatIsNotKeptIsMissedOnlyWhereTheFeedDidNotBringIt(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		before, after int // messages published before the feed is open, and when it is
		gap           bool
	}{
		"before": {before: 2, gap: true},
		"after":  {after: 2},
		"both":   {before: 1, after: 1, gap: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				mem := bustest.NewStore(t)
				publisher := bustest.On(t, mem.Dial(), &bus.Options{Keepalive: -1})
				seam := &seamStore{Backend: mem}
				store := &beforeFeed{Backend: seam, act: func() {}}
				reader := bustest.On(t, store, &bus.Options{Keepalive: -1})
				one := subscribe(t, reader, "/a", bus.Latest())
				all, err := reader.SubscribeAll(t.Context(), bus.LatestGlobal())
				if err != nil {
					t.Fatal(err)
				}
				unkept := func(n int) func() {
					return func() {
						for range n {
							publish(t, publisher, "/a", "unkept", bus.MaxBacklogSize(0))
						}
					}
				}
				store.act = unkept(test.before)
				seam.onNextRead(unkept(test.after), nil)
				mem.Faults().CutFeeds(errCut)
				<-time.After(time.Minute)
				publish(t, publisher, "/a", "kept")
				for _, sub := range []*bus.Subscription{one, all} {
					if test.gap {
						nextGap(t, sub)
					} else {
						for range test.after {
							if got := next(t, sub); got != `"unkept"` {
								t.Errorf("got %s", got)
							}
						}
					}
					if got := next(t, sub); got != `"kept"` {
						t.Errorf("got %s", got)
					}
					quiet(t, sub)
				}
			})
		})
	}
}

func TestFeed_WhatIsNeitherKeptNorAnnouncedIsTold(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := bustest.NewStore(t)
		b := bustest.On(t, store, &bus.Options{Keepalive: -1})
		sub := subscribe(t, b, "/a", bus.Latest())
		store.Faults().DropNext(1)
		publish(t, b, "/a", 1, bus.MaxBacklogSize(0))
		publish(t, b, "/a", 2)
		if gap := nextGap(t, sub); gap.After != 0 || gap.Next != 2 {
			t.Errorf("got %v, want a gap between 0 and 2", &gap)
		}
		if got := next(t, sub); got != "2" {
			t.Errorf("got %s, want 2", got)
		}
	})
}

func TestSubscribe_IsUpToDateThoughTheFeedWasInterruptedMeanwhile(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		mem := bustest.NewStore(t)
		store := &seamStore{Backend: mem}
		b := live(t, store)
		store.onNextRead(nil, func() {
			mem.Faults().CutFeeds(errCut)
			<-time.After(10 * time.Second) // the feed is repaired
			synctest.Wait()
		})
		sub := subscribe(t, b, "/a", bus.Latest())
		publish(t, b, "/a", 1, bus.MaxBacklogSize(0))
		if got := next(t, sub); got != "1" {
			t.Errorf("got %s, want 1", got)
		}
	})
}

// A forgetfulStore keeps what was committed, and what was only begun has been trimmed at
// once: as in Postgres, nothing but the last id given tells of it.
type forgetfulStore struct {
	*looseStore

	closed func() // runs before the feed is opened
}

func (s *forgetfulStore) Read(ctx context.Context, ranges []driver.Range) (driver.Snapshot, error) {
	snapshot, err := s.looseStore.Read(ctx, ranges)
	for i, r := range ranges {
		if page := &snapshot.Pages[i]; r.Tail == 0 && page.Anchor.ID == 0 && r.After < snapshot.State.GlobalID {
			page.Loss = driver.LossPossible
		}
	}
	return snapshot, err
}

func (s *forgetfulStore) Listen(ctx context.Context) (driver.Stream, error) {
	s.closed()
	return s.looseStore.Listen(ctx)
}

func TestFeed_WhatIsNotKeptIsMissedAlsoAboveWhatIsSettled(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := &forgetfulStore{looseStore: newLooseStore(), closed: func() {}}
		b := bustest.On(t, store, &bus.Options{Keepalive: -1})
		publish(t, b, "/b", 1)
		sub := subscribe(t, b, "/a", bus.Latest())
		store.closed = func() {
			store.closed = func() {}
			store.begin("/a", `"unkept"`)
		}
		store.cut()
		<-time.After(time.Second)
		publish(t, b, "/a", 3)
		if gap := nextGap(t, sub); gap.After != 1 || gap.Next != 3 || gap.Reason != bus.GapPossible {
			t.Errorf("got %v, want a possible gap between 1 and 3", &gap)
		}
		if got := next(t, sub); got != "3" {
			t.Errorf("got %s, want 3", got)
		}
	})
}
