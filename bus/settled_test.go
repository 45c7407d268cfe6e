package bus_test

import (
	"context"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/messagebus-go/messagebus/bus"
	"github.com/messagebus-go/messagebus/bus/bustest"
	"github.com/messagebus-go/messagebus/bus/driver"
)

// An earlyStore may say that less is settled than its pages hold, as Postgres does,
// which reads the two one after the other.
type earlyStore struct {
	*looseStore

	early   atomic.Int64 // how many ids before the newest one
	settled atomic.Int64 // which it never takes back
}

func (s *earlyStore) before(state driver.State) driver.State {
	for {
		said := s.settled.Load()
		state.Settled = max(said, state.Settled-s.early.Load())
		if s.settled.CompareAndSwap(said, state.Settled) {
			return state
		}
	}
}

func (s *earlyStore) State(ctx context.Context) (driver.State, error) {
	state, err := s.looseStore.State(ctx)
	return s.before(state), err
}

func (s *earlyStore) Read(ctx context.Context, ranges []driver.Range) (driver.Snapshot, error) {
	snapshot, err := s.looseStore.Read(ctx, ranges)
	snapshot.State = s.before(snapshot.State)
	return snapshot, err
}

func (s *earlyStore) GlobalBacklog(ctx context.Context, after int64, most int) (driver.GlobalPage, error) {
	page, err := s.looseStore.GlobalBacklog(ctx, after, most)
	page.State = s.before(page.State)
	return page, err
}

func TestSubscribe_WhatIsReadAboveTheSettledIdComesOnce(t *testing.T) {
	t.Parallel()
	for name, from := range map[string]struct {
		channel bus.Position
		all     bus.GlobalPosition
	}{
		"from an id": {bus.After(1), bus.AfterGlobal(1)},
		"from now":   {bus.Latest(), bus.LatestGlobal()},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				store := &earlyStore{looseStore: newLooseStore()}
				b := bustest.On(t, store, &bus.Options{Keepalive: -1})
				subscribe(t, b, "/other", bus.Latest())
				publish(t, b, "/a", 1)
				synctest.Wait()

				id := store.begin("/a", "2")
				store.commit(id)
				store.early.Store(1)
				sub := subscribe(t, b, "/a", from.channel)
				all, err := b.SubscribeAll(t.Context(), from.all)
				if err != nil {
					t.Fatal(err)
				}
				store.early.Store(0)
				store.announce(id)
				for _, s := range []*bus.Subscription{sub, all} {
					if got := next(t, s); got != "2" {
						t.Errorf("got %s, want 2", got)
					}
					synctest.Wait()
					quiet(t, s)
				}
			})
		})
	}
}

// What was read above the settled id may be followed by messages with lower ids, which
// come late then.
func TestSubscribe_WhatWasReadAboveTheSettledIdIsOvertakenByNothing(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := &earlyStore{looseStore: newLooseStore()}
		b := bustest.On(t, store, &bus.Options{Keepalive: -1})
		publish(t, b, "/a", 1)
		subscribe(t, b, "/other", bus.Latest())
		synctest.Wait()

		store.begin("/a", "2") // which is never committed
		third, fourth := store.begin("/a", "3"), store.begin("/a", "4")
		store.commit(fourth)
		store.early.Store(2)
		sub := subscribe(t, b, "/a", bus.After(1))
		all, err := b.SubscribeAll(t.Context(), bus.AfterGlobal(1))
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range []*bus.Subscription{sub, all} {
			if got := next(t, s); got != "4" {
				t.Errorf("got %s, want 4", got)
			}
		}
		store.early.Store(0)
		store.commit(third)
		store.announce(third)
		store.announce(fourth)
		publish(t, b, "/a", 5)
		for _, s := range []*bus.Subscription{sub, all} {
			for _, want := range []struct {
				id   int64
				late bool
			}{{3, true}, {5, false}} {
				if m, err := s.Next(t.Context()); err != nil || m.ID != want.id || m.Late != want.late {
					t.Errorf("got %d, late %v, %v; want %d, late %v", m.ID, m.Late, err, want.id, want.late)
				}
			}
			synctest.Wait()
			quiet(t, s)
		}
	})
}
