package bus_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/messagebus-go/messagebus/bus"
	"github.com/messagebus-go/messagebus/bus/bustest"
	"github.com/messagebus-go/messagebus/bus/driver"
)

// An emptiedStore holds nothing of what was published, and goes on with its ids, as Postgres
// does after a TRUNCATE.
type emptiedStore struct{ *looseStore }

func (s emptiedStore) GlobalBacklog(ctx context.Context, after int64, most int) (driver.GlobalPage, error) {
	page, err := s.looseStore.GlobalBacklog(ctx, after, most)
	page.Messages, page.Loss, page.State.Settled = nil, driver.LossPossible, 0
	return page, err
}

// A truncatedStore has lost what was published until it was truncated.
type truncatedStore struct{ *looseStore }

func (s truncatedStore) truncate() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.rows = nil
}

func (s truncatedStore) Read(ctx context.Context, ranges []driver.Range) (driver.Snapshot, error) {
	snapshot, err := s.looseStore.Read(ctx, ranges)
	for i := range snapshot.Pages {
		snapshot.Pages[i].Loss = driver.LossPossible
	}
	return snapshot, err
}

// What was stored between a reset and a TRUNCATE is lost to those who come back after both.
func TestSubscribe_AStoreThatWasResetAndEmptiedIsToldAsBoth(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := truncatedStore{newLooseStore()}
		for n := range 5 {
			store.commit(store.begin("/a", fmt.Sprint(n)))
		}
		store.truncate()
		b := bustest.On(t, store, &bus.Options{Keepalive: -1})
		subscribe(t, b, "/other", bus.Latest())
		synctest.Wait()
		before := bus.Resume(9, 9, "the life before")
		sub := subscribe(t, b, "/a", before)
		for _, want := range []bus.GapError{
			{Channel: "/a", After: 9, Next: 1, Reason: bus.GapReset},
			{Channel: "/a", After: 0, Next: 6, Reason: bus.GapPossible},
		} {
			within, cancel := context.WithTimeout(t.Context(), time.Minute)
			_, err := sub.Next(within)
			cancel()
			if gap, ok := errors.AsType[*bus.GapError](err); !ok || *gap != want {
				t.Errorf("got %v, want %v", err, &want)
			}
		}
		page, err := b.Read(t.Context(), map[string]bus.Position{"/a": before})
		if want := (bus.GapError{Channel: "/a", After: 9, Next: 6, Reason: bus.GapReset}); err != nil || page["/a"].Gap == nil || *page["/a"].Gap != want {
			t.Errorf("read %v, %v; want %v", page["/a"].Gap, err, &want)
		}
		synctest.Wait()
		publish(t, b, "/a", 5)
		if got := next(t, sub); got != "5" {
			t.Errorf("got %s, want 5", got)
		}
		quiet(t, sub)
	})
}

func TestSubscribeAll_GapOfAnEmptiedStoreBeginsAtThePositionAndDoesNotGoBack(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := bustest.On(t, emptiedStore{newLooseStore()}, &bus.Options{Keepalive: -1})
		subscribe(t, b, "/other", bus.Latest())
		synctest.Wait() // the feed is there
		for n := range 5 {
			publish(t, b, "/a", n)
		}
		all, err := b.SubscribeAll(t.Context(), bus.AfterGlobal(5))
		if err != nil {
			t.Fatal(err)
		}
		_, err = all.Next(t.Context())
		gap, ok := errors.AsType[*bus.GapError](err)
		if !ok || gap.After != 5 || gap.Next != 6 || gap.Reason != bus.GapPossible {
			t.Errorf("got %v, want a possible gap from 5 to 6", err)
		}
		synctest.Wait()
		publish(t, b, "/a", 5)
		if got := next(t, all); got != "5" {
			t.Errorf("got %s, want 5", got)
		}
		quiet(t, all)
	})
}
