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

	born atomic.Bool
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
		state.Epoch, state.Timeline = "", ""
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
	if !errors.As(err, &gap) || gap.After != 0 || gap.Next != 5 || gap.Reason != bus.GapPossible {
		t.Errorf("the first answer is %v, want a possible gap between 0 and 5", err)
	}
	if got := next(t, sub); got != "4" {
		t.Errorf("then came %s, want 4", got)
	}
}
