package bus_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"

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
