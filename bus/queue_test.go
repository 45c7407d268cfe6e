package bus

import (
	"math/rand/v2"
	"testing"

	"github.com/messagebus-go/messagebus/bus/driver"
)

func TestQueue_IsInOrderHoweverItIsFilledAndEmptied(t *testing.T) {
	t.Parallel()
	var q queue
	added, taken := int64(0), int64(0)
	for range 100_000 {
		if rand.IntN(2) == 0 && added-taken < 100 {
			added++
			q.add(&item{at: driver.Position{ID: added}, data: make([]byte, 3)})
		} else if q.len() > 0 {
			taken++
			if it := q.take(); it.at.ID != taken {
				t.Fatalf("item %d came as number %d", it.at.ID, taken)
			}
		}
		if n := int(added - taken); q.len() != n || q.bytes != 3*n {
			t.Fatalf("%d items of %d bytes are left, want %d", q.len(), q.bytes, n)
		}
	}
	if cap(q.items) > 1000 {
		t.Errorf("it has grown to %d, for 100 items at the most", cap(q.items))
	}
}

func TestQueue_LetsGoOfWhatWasTaken(t *testing.T) {
	t.Parallel()
	var q queue
	for range 5 * keptItems {
		q.add(&item{})
	}
	for q.len() > 1 {
		q.take()
	}
	for _, it := range q.items[:q.head] {
		if it != nil {
			t.Fatal("a message that was taken is kept")
		}
	}
	if q.take(); cap(q.items) > keptItems {
		t.Errorf("empty it keeps room for %d", cap(q.items))
	}
	q.add(&item{data: make([]byte, 1)})
	if all := q.takeAll(); len(all) != 1 || q.len() != 0 || q.bytes != 0 || q.items != nil {
		t.Errorf("took %d, and %d are left", len(all), q.len())
	}
}

func TestQueue_IsFullByNumberOrBytesButTakesOneLargeMessage(t *testing.T) {
	t.Parallel()
	var q queue
	if q.full(&item{data: make([]byte, 2*maxQueuedBytes)}) {
		t.Error("a large message finds no room in an empty queue")
	}
	q.add(&item{data: make([]byte, maxQueuedBytes)})
	if !q.filling() || !q.full(&item{data: make([]byte, 1)}) {
		t.Error("there is room beyond the bound of bytes")
	}
	q.takeAll()
	for range maxQueued {
		if q.full(&item{}) {
			t.Fatalf("it is full with %d", q.len())
		}
		q.add(&item{})
	}
	if !q.full(&item{}) {
		t.Error("there is room beyond the bound of messages")
	}
}
