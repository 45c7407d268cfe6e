package bus_test

import (
	"testing"

	"github.com/messagebus-go/messagebus/bus"
	"github.com/messagebus-go/messagebus/bus/bustest"
)

func TestReadSome_PageAfterPageIsWhatReadReturnsAtOnce(t *testing.T) {
	t.Parallel()
	b := bustest.New(t)
	const n, most = 10, 3
	for i := range n {
		publish(t, b, "/a", i)
		publish(t, b, "/b", i)
	}
	from := map[string]bus.Position{"/a": bus.After(0), "/b": bus.Last(most + 1)}
	var ids []int64
	for more := true; more; {
		pages, err := b.ReadSome(t.Context(), from, most)
		if err != nil {
			t.Fatal(err)
		}
		page := pages["/a"]
		if len(page.Messages) > most || len(pages["/b"].Messages) != most+1 || pages["/b"].More {
			t.Fatalf("%d messages of /a, %d of /b", len(page.Messages), len(pages["/b"].Messages))
		}
		for _, m := range page.Messages {
			ids = append(ids, m.ID)
		}
		from["/a"], more = page.Position, page.More
	}
	if len(ids) != n {
		t.Fatalf("%d messages: %v", len(ids), ids)
	}
	for i, id := range ids {
		if id != int64(2*i+1) {
			t.Errorf("message %d of %v", i, ids)
		}
	}
}

// A reader that knows only a global id comes to it page by page, and gets
// nothing up to it again.
func TestReadSome_WhatAReaderHasSeenDoesNotComeWithALaterPage(t *testing.T) {
	t.Parallel()
	b := bustest.New(t)
	const n, seen = 20, 15
	for i := range n {
		publish(t, b, "/a", i)
	}
	for _, p := range []bus.Position{bus.Resume(0, seen, ""), bus.After(3).SeenUpTo(seen)} {
		readTo(t, b, p, seen, n)
	}
	readTo(t, b, bus.After(seen).SeenUpTo(3), seen, n)
}

func readTo(t *testing.T, b *bus.Bus, p bus.Position, seen, n int64) {
	t.Helper()
	next := seen + 1
	for more := true; more; {
		pages, err := b.ReadSome(t.Context(), map[string]bus.Position{"/a": p}, 4)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range pages["/a"].Messages {
			if m.GlobalID != next {
				t.Fatalf("message %d, want %d", m.GlobalID, next)
			}
			next++
		}
		p, more = pages["/a"].Position, pages["/a"].More
	}
	if next != n+1 {
		t.Errorf("it ends before %d", next)
	}
}
