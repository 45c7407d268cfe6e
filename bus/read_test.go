package bus_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"testing"

	"github.com/messagebus-go/messagebus/bus"
	"github.com/messagebus-go/messagebus/bus/bustest"
	"github.com/messagebus-go/messagebus/bus/driver"
)

// countedReads counts the round trips to a store.
type countedReads struct {
	driver.Backend
	n int
}

func (s *countedReads) Read(ctx context.Context, ranges []driver.Range) (driver.Snapshot, error) {
	s.n++
	return s.Backend.Read(ctx, ranges)
}

func TestRead_ChannelsAheadOfTheStoreCostOneMoreRoundTripAndAreNotCounted(t *testing.T) {
	t.Parallel()
	store := &countedReads{Backend: bustest.NewStore(t)}
	b := bustest.On(t, store, nil)
	from := make(map[string]bus.Position)
	for i := range 100 {
		channel := fmt.Sprintf("/%d", i)
		if _, err := b.Publish(t.Context(), channel, i); err != nil {
			t.Fatal(err)
		}
		from[channel] = bus.After(1_000_000)
	}
	pages, err := b.Read(t.Context(), from)
	if err != nil {
		t.Fatal(err)
	}
	for channel, page := range pages {
		if page.Gap == nil || page.Gap.Reason != bus.GapReset || len(page.Messages) != 1 {
			t.Errorf("%s: gap %v, %d messages", channel, page.Gap, len(page.Messages))
		}
	}
	if gaps := b.Health().Gaps; store.n != 2 || len(pages) != len(from) || gaps != 0 {
		t.Errorf("%d round trips, %d pages, %d gaps counted", store.n, len(pages), gaps)
	}
}

func TestCounts_AreWhatIsStoredOfASite(t *testing.T) {
	t.Parallel()
	b := bustest.New(t)
	for range 3 {
		publish(t, b, "/a", 1)
	}
	publish(t, b.Site("eu"), "/a", 1)
	got, err := b.Counts(t.Context(), "/a", "/b")
	if want := map[string]int{"/a": 3, "/b": 0}; err != nil || !maps.Equal(got, want) {
		t.Errorf("%v, %v; want %v", got, err, want)
	}
	if got, err := b.Site("eu").Counts(t.Context(), "/a"); err != nil || got["/a"] != 1 {
		t.Errorf("of a site: %v, %v", got, err)
	}
	if _, err := b.Counts(t.Context(), ""); !errors.Is(err, bus.ErrInvalidChannel) {
		t.Errorf("of no name: %v", err)
	}
	readers := bustest.On(t, struct{ driver.Backend }{bustest.NewStore(t)}, nil)
	if _, err := readers.Counts(t.Context(), "/a"); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("a store that cannot count: %v", err)
	}
}
