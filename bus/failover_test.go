package bus_test

import (
	"context"
	"testing"
	"testing/synctest"

	"github.com/messagebus-go/messagebus/bus"
	"github.com/messagebus-go/messagebus/bus/bustest"
	"github.com/messagebus-go/messagebus/bus/driver"
	"github.com/messagebus-go/messagebus/bus/membus"
)

// A server that took over without the newest messages gives their ids again.
// Ids alone then look continuous.
func TestFeed_AfterALossyFailoverIdsThatWereGivenAgainAreDelivered(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := bustest.NewStore(t)
		b := bustest.On(t, store, nil)
		sub := subscribe(t, b, "/a", bus.Latest())
		for i := range 3 {
			publish(t, b, "/a", i)
			next(t, sub)
		}
		synctest.Wait()
		store.Faults().FailOver(2) // 1 and 2 are lost
		for i := range 4 {
			publish(t, b, "/a", 10+i) // the first two with the ids of 1 and 2
		}
		if gap := nextGap(t, sub); gap.Reason != bus.GapReset || gap.After != 3 || gap.Next != 1 {
			t.Errorf("gap is %+v; want a reset after 3, with all that is stored behind it", gap)
		}
		for _, want := range []string{"0", "10", "11", "12", "13"} {
			if got := next(t, sub); got != want {
				t.Errorf("got %s, want %s", got, want)
			}
		}
	})
}

func TestFeed_AfterAFailoverThatKeptTheLastMessageNothingComesAgain(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := bustest.NewStore(t)
		b := bustest.On(t, store, nil)
		publish(t, b, "/a", 0)
		sub := subscribe(t, b, "/a", bus.Latest())
		idle := subscribe(t, b, "/idle", bus.Latest())
		publish(t, b, "/other", "lost")
		synctest.Wait()
		store.Faults().FailOver(1)
		publish(t, b, "/a", 1) // with the global id of what was lost
		for _, s := range []*bus.Subscription{sub, idle} {
			if gap := nextGap(t, s); gap.Reason != bus.GapFailover && s == sub {
				t.Errorf("gap is %+v; want a failover", gap)
			}
		}
		if got := next(t, sub); got != "1" {
			t.Errorf("got %s, want 1", got)
		}
		quiet(t, sub)
		quiet(t, idle)
	})
}

// A position that another process has kept carries no content to compare.
func TestSubscribe_APositionFromBeforeAFailoverBeginsAnew(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := bustest.NewStore(t)
		b := bustest.On(t, store, nil)
		publish(t, b, "/a", 0)
		sub := subscribe(t, b, "/a", bus.After(0))
		next(t, sub)
		p := sub.Position()
		store.Faults().FailOver(1)
		publish(t, b, "/a", 1) // with the same ids
		again := subscribe(t, b, "/a", bus.Resume(p.ID(), p.GlobalID(), p.Epoch()))
		if gap := nextGap(t, again); gap.Reason != bus.GapReset {
			t.Errorf("gap is %+v; want a reset", gap)
		}
		if got := next(t, again); got != "1" {
			t.Errorf("got %s, want what was published after the failover", got)
		}
	})
}

// What a reader has seen goes up to ids that the new server has yet to give. It is
// brought forward while the new server stands behind them, so that only later messages
// could show that.
func TestFeed_WhatANewServerPublishesBelowTheOldIDsIsDelivered(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := bustest.NewStore(t)
		b := bustest.On(t, store, nil)
		publish(t, b, "/a", 0)
		for i := range 3 {
			publish(t, b, "/other", i) // lost
		}
		sub := subscribe(t, b, "/a", bus.Latest())
		idle := subscribe(t, b, "/idle", bus.Latest())
		store.Faults().FailOver(3)
		for _, s := range []*bus.Subscription{sub, idle} {
			if gap := nextGap(t, s); gap.Reason != bus.GapFailover && s == sub || gap.Next > 2 {
				t.Errorf("gap is %+v; want a failover, behind which the second message can come", gap)
			}
		}
		// With the global ids of what was lost.
		publish(t, b, "/a", 1)
		publish(t, b, "/idle", 2)
		if got := next(t, sub); got != "1" {
			t.Errorf("got %s, want 1", got)
		}
		if got := next(t, idle); got != "2" {
			t.Errorf("got %s, want 2", got)
		}
		quiet(t, sub)
		quiet(t, idle)
	})
}

// Such a position is one that another process has kept of a channel on which nothing was published yet.
func TestSubscribe_WhoHasSeenNoMessageMissesNoneAfterAFailover(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := bustest.NewStore(t)
		b := bustest.On(t, store, nil)
		for i := range 4 {
			publish(t, b, "/other", i)
		}
		epoch := subscribe(t, b, "/a", bus.Latest()).Position().Epoch()
		store.Faults().FailOver(3)
		publish(t, b, "/a", 1)
		sub := subscribe(t, b, "/a", bus.Resume(0, 4, epoch))
		if gap := nextGap(t, sub); gap.Reason != bus.GapFailover {
			t.Errorf("gap is %+v; want a failover", gap)
		}
		if got := next(t, sub); got != "1" {
			t.Errorf("got %s, want what was published after the failover", got)
		}
	})
}

// emptyAtZero has a channel without messages stand at 0, as on Redis.
type emptyAtZero struct{ *membus.Backend }

func (s emptyAtZero) Read(ctx context.Context, ranges []driver.Range) (driver.Snapshot, error) {
	snapshot, err := s.Backend.Read(ctx, ranges)
	for i, page := range snapshot.Pages {
		if page.Anchor.ID == 0 && len(page.Messages) == 0 {
			snapshot.Pages[i].LastID = 0
		}
	}
	return snapshot, err
}

func (s emptyAtZero) Traits() driver.Traits { return driver.Traits{DenseGlobalIDs: true} }

// Such a position is one that a browser has kept of all channels of an event stream.
func TestSubscribe_WhoHasSeenMessagesOfUnknownIDsBeginsAnewAfterAFailover(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := emptyAtZero{bustest.NewStore(t)}
		b := bustest.On(t, store, nil)
		publish(t, b, "/a", 1)
		publish(t, b, "/a", 2)
		seen := bus.Resume(0, 0, subscribe(t, b, "/a", bus.Latest()).Position().Epoch()).SeenUpTo(2)
		readTo := func(channel string, most int) bus.Position {
			pages, err := b.ReadSome(t.Context(), map[string]bus.Position{channel: seen}, most)
			if err != nil {
				t.Fatal(err)
			}
			return pages[channel].Position
		}
		cases := map[string]struct {
			channel string
			from    bus.Position
			reason  bus.GapReason
			again   int // messages
		}{
			"before a read":                 {"/a", seen, bus.GapReset, 2},
			"in the middle":                 {"/a", readTo("/a", 1), bus.GapReset, 2},
			"after the last message":        {"/a", readTo("/a", 0), bus.GapFailover, 0},
			"where there are none any more": {"/none", readTo("/none", 0), bus.GapReset, 1},
		}
		store.Faults().FailOver(0)
		publish(t, b, "/none", 3)
		for name, c := range cases {
			sub := subscribe(t, b, c.channel, c.from)
			if gap := nextGap(t, sub); gap.Reason != c.reason {
				t.Errorf("%s: gap is %+v; want a %s", name, gap, c.reason)
			}
			for range c.again {
				next(t, sub)
			}
			quiet(t, sub)
		}
	})
}
