package bus_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/messagebus-go/messagebus/bus"
	"github.com/messagebus-go/messagebus/bus/bustest"
	"github.com/messagebus-go/messagebus/bus/driver"
)

// seamStore lets a test act between the beginning of a read and its end.
type seamStore struct {
	driver.Backend

	mu     sync.Mutex
	before func() // runs once, before a read
	after  func() // runs once, before a read returns what it found
}

func (s *seamStore) Read(ctx context.Context, ranges []driver.Range) (driver.Snapshot, error) {
	s.take(&s.before)()
	snapshot, err := s.Backend.Read(ctx, ranges)
	s.take(&s.after)()
	return snapshot, err
}

// take returns a hook and removes it.
func (s *seamStore) take(hook *func()) func() {
	s.mu.Lock()
	defer s.mu.Unlock()
	f := *hook
	*hook = nil
	if f == nil {
		return func() {}
	}
	return f
}

func (s *seamStore) onNextRead(before, after func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.before, s.after = before, after
}

// live returns a bus whose feed is up and checked.
func live(t *testing.T, store driver.Backend) *bus.Bus {
	t.Helper()
	b := bustest.On(t, store, nil)
	subscribe(t, b, "/other", bus.Latest())
	<-time.After(time.Minute)
	synctest.Wait()
	return b
}

func TestSubscribe_HearsWhatIsPublishedWhileItReads(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := &seamStore{Backend: bustest.NewStore(t)}
		b := live(t, store)
		publish(t, b, "/a", 1)
		store.onNextRead(
			func() { publish(t, b, "/a", 2); synctest.Wait() },
			func() { publish(t, b, "/a", 3); synctest.Wait() },
		)
		sub := subscribe(t, b, "/a", bus.After(0))
		if got := next(t, sub) + next(t, sub) + next(t, sub); got != "123" {
			t.Errorf("got %s; want each once", got)
		}
		quiet(t, sub)
	})
}

func TestSubscribe_AResetDuringTheReadBringsNothingOfTheOldStore(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		mem := bustest.NewStore(t)
		store := &seamStore{Backend: mem}
		b := live(t, store)
		store.onNextRead(func() {
			publish(t, b, "/a", 2) // comes live, and waits for the read
			synctest.Wait()
			mem.Faults().Reset()
		}, nil)
		sub := subscribe(t, b, "/a", bus.After(0))
		quiet(t, sub)
		publish(t, b, "/a", 3)
		if got := next(t, sub); got != "3" {
			t.Errorf("got %s; it is of the old store", got)
		}
	})
}

func TestSubscribe_ARepairDuringTheReadIsNotMissed(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		mem := bustest.NewStore(t)
		store := &seamStore{Backend: mem}
		b := live(t, store)
		publish(t, b, "/a", 1)
		store.onNextRead(nil, func() {
			mem.Faults().DropNext(1)
			publish(t, b, "/a", 2) // neither in this read nor announced
			mem.Faults().CutFeeds(errors.New("cut"))
			<-time.After(10 * time.Second) // the feed is repaired
			synctest.Wait()
		})
		sub := subscribe(t, b, "/a", bus.After(0))
		if got := next(t, sub) + next(t, sub); got != "12" {
			t.Errorf("got %s", got)
		}
	})
}

// staleStore answers one read from before what it has announced, as a replica
// that lags behind does.
type staleStore struct {
	driver.Backend
	stale *driver.Snapshot
}

func (s *staleStore) Read(ctx context.Context, ranges []driver.Range) (driver.Snapshot, error) {
	if stale := s.stale; stale != nil && len(ranges) == 1 && ranges[0].Channel == "/a" {
		s.stale = nil
		return *stale, nil
	}
	return s.Backend.Read(ctx, ranges)
}

func TestSubscribe_ANewMessageRevealsThatTheReadWasStale(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := &staleStore{Backend: bustest.NewStore(t)}
		b := live(t, store)
		publish(t, b, "/a", 1)
		stale, err := store.Backend.Read(t.Context(), []driver.Range{{Channel: "/a"}})
		if err != nil {
			t.Fatal(err)
		}
		publish(t, b, "/a", 2)
		synctest.Wait()
		store.stale = &stale
		sub := subscribe(t, b, "/a", bus.After(0))
		publish(t, b, "/a", 3)
		if got := next(t, sub) + next(t, sub) + next(t, sub); got != "123" {
			t.Errorf("got %s", got)
		}
	})
}
