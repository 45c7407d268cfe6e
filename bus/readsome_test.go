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
