package bus_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"reflect"
	"testing"

	"github.com/messagebus-go/messagebus/bus"
	"github.com/messagebus-go/messagebus/bus/bustest"
	"github.com/messagebus-go/messagebus/bus/driver"
	"github.com/messagebus-go/messagebus/bus/membus"
)

// Whatever the other readers of a channel have seen, each is handed what it
// would have read by itself, and somebody goes on in every round.
func TestReadMany_EachReaderGetsWhatItWouldReadAlone(t *testing.T) {
	t.Parallel()
	for seed := range uint64(40) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			random := rand.New(rand.NewPCG(seed, 7))
			mem := bustest.NewStore(t)
			store := &countedReads{Backend: mem}
			b := bustest.On(t, store, &bus.Options{Keepalive: -1})
			positions := []bus.Position{bus.After(0), bus.After(1_000_000)}
			for i := range 1 + random.IntN(60) {
				publish(t, b, []string{"/a", "/b", "/c"}[random.IntN(3)], i, bus.MaxBacklogSize(20))
				page, err := b.Read(t.Context(), map[string]bus.Position{"/a": positions[random.IntN(len(positions))]})
				if err != nil {
					t.Fatal(err)
				}
				positions = append(positions, page["/a"].Position, bus.After(int64(random.IntN(70))))
				for _, m := range page["/a"].Messages {
					positions = append(positions, m.Position())
				}
			}
			random.Shuffle(len(positions), func(i, j int) { positions[i], positions[j] = positions[j], positions[i] })
			positions = positions[:1+random.IntN(len(positions))]
			most := []int{0, 1, 3, 10}[random.IntN(4)]
			if random.IntN(3) == 0 {
				mem.Faults().FailOver(random.IntN(3))
			}
			before := store.n
			many, err := b.ReadMany(t.Context(), map[string][]bus.Position{"/a": positions}, most)
			if err != nil {
				t.Fatal(err)
			}
			if n := store.n - before; n > 2 {
				t.Errorf("%d round trips for %d readers", n, len(positions))
			}
			served := 0
			for _, p := range positions {
				got := many.Page("/a", p)
				if got.More && len(got.Messages) == 0 && got.Position == p {
					continue
				}
				served++
				alone, err := b.ReadSome(t.Context(), map[string]bus.Position{"/a": p}, most)
				if err != nil {
					t.Fatal(err)
				}
				checkPage(t, p, got, alone["/a"])
			}
			if served == 0 {
				t.Errorf("nobody of %d goes on", len(positions))
			}
		})
	}
}

// checkPage compares what was read with others and alone. A page of others may
// end sooner.
func checkPage(t *testing.T, p bus.Position, got *bus.Page, alone bus.Page) {
	t.Helper()
	if n := len(got.Messages); n > 0 && n <= len(alone.Messages) && got.More {
		alone.Messages = alone.Messages[:n]
		alone.Position, alone.More = got.Messages[n-1].Position(), true
	}
	if alone.Gap == nil && got.Gap != nil && got.Gap.Reason != bus.GapReset && len(alone.Messages) > 0 && p.ID() < alone.Messages[0].ID {
		alone.Gap = got.Gap // a false alarm: what was trimmed is what an earlier reader lacks
	}
	if !reflect.DeepEqual(*got, alone) {
		t.Errorf("position %+v: %d messages, %v, %+v, want %d, %v, %+v", p, len(got.Messages), got.Gap, got.Position, len(alone.Messages), alone.Gap, alone.Position)
	}
}

func TestReadMany_OneOfSeveralReadersMayNotAskForTheNewest(t *testing.T) {
	t.Parallel()
	b := bustest.New(t)
	for _, p := range []bus.Position{bus.Latest(), bus.Last(3)} {
		if _, err := b.ReadMany(t.Context(), map[string][]bus.Position{"/a": {bus.After(0), p}}, 0); err == nil {
			t.Errorf("%+v is read with others", p)
		}
		if _, err := b.ReadMany(t.Context(), map[string][]bus.Position{"/a": {p}}, 0); err != nil {
			t.Error(err)
		}
	}
}

// failingOver fails over between the first two reads.
type failingOver struct {
	*membus.Backend
	reads int
}

func (s *failingOver) Read(ctx context.Context, ranges []driver.Range) (driver.Snapshot, error) {
	if s.reads++; s.reads == 2 {
		s.Faults().FailOver(1)
	}
	return s.Backend.Read(ctx, ranges)
}

func TestReadMany_AllPagesAreOfOneLifeOfTheStore(t *testing.T) {
	t.Parallel()
	store := &failingOver{Backend: bustest.NewStore(t)}
	b := bustest.On(t, store, nil)
	publish(t, b, "/a", 1)
	publish(t, b, "/b", 2)
	publish(t, b, "/b", "lost")
	pages, err := b.Read(t.Context(), map[string]bus.Position{"/a": bus.After(1_000_000), "/b": bus.After(0)})
	if err != nil {
		t.Fatal(err)
	}
	if a, b := pages["/a"], pages["/b"]; a.Position.Epoch() != b.Position.Epoch() || len(a.Messages) != 1 || len(b.Messages) != 1 {
		t.Errorf("%d messages of %s, and %d of %s; want one each, of one life", len(a.Messages), a.Position.Epoch(), len(b.Messages), b.Position.Epoch())
	}
}
