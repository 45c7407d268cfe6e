package bus_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"

	"github.com/messagebus-go/messagebus/bus"
	"github.com/messagebus-go/messagebus/bus/bustest"
	"github.com/messagebus-go/messagebus/bus/driver"
)

// unborn is a store that has no epoch and no feed until it is born, and cannot tell
// whether something was trimmed: a database without its table.
type unborn struct {
	driver.Backend

	born     atomic.Bool
	timeline bool // it has one before it is born, as Redis does
}

func (u *unborn) State(ctx context.Context) (driver.State, error) {
	state, err := u.Backend.State(ctx)
	return u.seen(state), err
}

func (u *unborn) Listen(ctx context.Context) (driver.Stream, error) {
	if !u.born.Load() {
		return nil, errCut
	}
	return u.Backend.Listen(ctx)
}

func (u *unborn) Read(ctx context.Context, ranges []driver.Range) (driver.Snapshot, error) {
	snapshot, err := u.Backend.Read(ctx, ranges)
	snapshot.State = u.seen(snapshot.State)
	for i := range snapshot.Pages {
		snapshot.Pages[i].Loss = min(snapshot.Pages[i].Loss, driver.LossPossible)
	}
	return snapshot, err
}

func (u *unborn) seen(state driver.State) driver.State {
	if !u.born.Load() {
		state.Epoch = ""
		if !u.timeline {
			state.Timeline = ""
		}
	}
	return state
}

func TestSubscribe_WhatIsTrimmedInAStoreThatWasNotThereYetIsTold(t *testing.T) {
	t.Parallel()
	store := bustest.NewStore(t)
	hidden := &unborn{Backend: store.Dial()}
	sub := subscribe(t, bustest.On(t, hidden, nil), "/a", bus.After(0))
	publisher := bustest.On(t, store, &bus.Options{MaxBacklogSize: 1})
	for i := range 5 {
		publish(t, publisher, "/a", i)
	}
	hidden.born.Store(true)
	_, err := sub.Next(t.Context())
	var gap *bus.GapError
	if !errors.As(err, &gap) || gap.After != 0 || gap.Next != 5 || gap.Reason != bus.GapReset {
		t.Errorf("the first answer is %v, want a reset between 0 and 5", err)
	}
	if got := next(t, sub); got != "4" {
		t.Errorf("then came %s, want 4", got)
	}
}

func TestSubscribe_AWipeOfAStoreThatHadNoEpochYetIsTold(t *testing.T) {
	t.Parallel()
	for name, from := range map[string]bus.Position{"from the beginning": bus.After(0), "from now": bus.Latest(), "the last": bus.Last(9)} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			store := bustest.NewStore(t)
			hidden := &unborn{Backend: store.Dial()}
			sub := subscribe(t, bustest.On(t, hidden, nil), "/a", from)
			publisher := bustest.On(t, store, nil)
			for i := range 3 {
				publish(t, publisher, "/a", i)
			}
			store.Faults().Reset()
			for i := range 5 {
				publish(t, publisher, "/a", 10+i)
			}
			hidden.born.Store(true)
			if gap := nextGap(t, sub); gap.After != 0 || gap.Next != 1 || gap.Reason != bus.GapReset {
				t.Errorf("the first answer is %v, want a reset", &gap)
			}
			for _, want := range []string{"10", "11", "12", "13", "14"} {
				if got := next(t, sub); got != want {
					t.Errorf("got %s, want %s", got, want)
				}
			}
		})
	}
}

func TestResume_APositionOfAStoreWithoutAnEpochShowsAWipe(t *testing.T) {
	t.Parallel()
	store := bustest.NewStore(t)
	hidden := &unborn{Backend: store.Dial()}
	reader := bustest.On(t, hidden, nil)
	publisher := bustest.On(t, store, nil)
	publish(t, publisher, "/a", 1)
	read := func(from bus.Position) bus.Page {
		t.Helper()
		pages, err := reader.Read(t.Context(), map[string]bus.Position{"/a": from})
		if err != nil {
			t.Fatal(err)
		}
		return pages["/a"]
	}
	at := read(bus.After(0)).Position
	kept := bus.Resume(at.ID(), at.GlobalID(), at.Epoch())
	if gap := read(kept).Gap; gap != nil {
		t.Errorf("in a store that has no epoch yet: %v", gap)
	}
	store.Faults().Reset()
	publish(t, publisher, "/a", 2)
	publish(t, publisher, "/a", 3)
	hidden.born.Store(true)
	page := read(kept)
	if page.Gap == nil || page.Gap.Reason != bus.GapReset || len(page.Messages) != 2 {
		t.Errorf("gap %v and %d messages, want a reset and both of the new store", page.Gap, len(page.Messages))
	}
}

func TestSubscribe_AStoreThatIsGivenItsEpochAndHasWhatWasSeenGoesOn(t *testing.T) {
	t.Parallel()
	store := bustest.NewStore(t)
	hidden := &unborn{Backend: store.Dial()}
	publisher := bustest.On(t, store, nil)
	publish(t, publisher, "/a", 1)
	publish(t, publisher, "/a", 2)
	sub := subscribe(t, bustest.On(t, hidden, nil), "/a", bus.After(0))
	if got := next(t, sub) + next(t, sub); got != "12" {
		t.Errorf("got %s, want 12", got)
	}
	publish(t, publisher, "/a", 3)
	hidden.born.Store(true)
	if gap := nextGap(t, sub); gap.After != 2 || gap.Next != 3 || gap.Reason != bus.GapPossible {
		t.Errorf("got %v, want a possible gap between 2 and 3", &gap)
	}
	if got := next(t, sub); got != "3" {
		t.Errorf("got %s, want 3", got)
	}
}

func TestSubscribe_AFailoverOfAStoreThatHadNoEpochYetIsTold(t *testing.T) {
	t.Parallel()
	store := bustest.NewStore(t)
	hidden := &unborn{Backend: store.Dial(), timeline: true}
	publisher := bustest.On(t, store, nil)
	publish(t, publisher, "/a", 1)
	sub := subscribe(t, bustest.On(t, hidden, nil), "/a", bus.After(0))
	if got := next(t, sub); got != "1" {
		t.Errorf("got %s, want 1", got)
	}
	publish(t, publisher, "/a", "lost")
	store.Faults().FailOver(1)
	publish(t, publisher, "/a", 2)
	hidden.born.Store(true)
	if gap := nextGap(t, sub); gap.After != 1 || gap.Next != 2 || gap.Reason != bus.GapFailover {
		t.Errorf("got %v, want a failover between 1 and 2", &gap)
	}
	if got := next(t, sub); got != "2" {
		t.Errorf("got %s, want 2", got)
	}
}
