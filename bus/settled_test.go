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

// An earlyStore may answer with the state of the moment before the newest message,
// as Postgres does which reads the two one after the other.
type earlyStore struct {
	*looseStore

	early atomic.Bool
}

func (s *earlyStore) before(state driver.State) driver.State {
	if s.early.Load() {
		state.GlobalID, state.Settled = state.GlobalID-1, state.Settled-1
	}
	return state
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
				store.early.Store(true)
				sub := subscribe(t, b, "/a", from.channel)
				all, err := b.SubscribeAll(t.Context(), from.all)
				if err != nil {
					t.Fatal(err)
				}
				store.early.Store(false)
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
