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

// betweenReads does something between the first two reads.
type betweenReads struct {
	*membus.Backend

	reads int
	do    func()
}

func (s *betweenReads) Read(ctx context.Context, ranges []driver.Range) (driver.Snapshot, error) {
	if s.reads++; s.reads == 2 {
		s.do()
	}
	return s.Backend.Read(ctx, ranges)
}

// readBoth reads /a, whose ids have begun again, and /b, which has two messages.
func readBoth(t *testing.T, between func(*bus.Bus, *membus.Faults)) (a, b bus.Page) {
	t.Helper()
	store := &betweenReads{Backend: bustest.NewStore(t)}
	on := bustest.On(t, store, nil)
	store.do = func() { between(on, store.Faults()) }
	publish(t, on, "/a", 1)
	publish(t, on, "/b", 2)
	publish(t, on, "/b", 3)
	pages, err := on.Read(t.Context(), map[string]bus.Position{"/a": bus.After(1_000_000), "/b": bus.After(0)})
	if err != nil {
		t.Fatal(err)
	}
	return pages["/a"], pages["/b"]
}

func TestReadMany_AllPagesAreOfOneLifeOfTheStore(t *testing.T) {
	t.Parallel()
	a, b := readBoth(t, func(_ *bus.Bus, faults *membus.Faults) { faults.FailOver(1) })
	if a.Position.Epoch() != b.Position.Epoch() || len(a.Messages) != 1 || len(b.Messages) != 1 {
		t.Errorf("%d messages of %s, and %d of %s; want one each, of one life", len(a.Messages), a.Position.Epoch(), len(b.Messages), b.Position.Epoch())
	}
}

// Who has what pages hold up to a global id lacks nothing of any channel up to there.
func TestReadMany_AllPagesAreOfOneMoment(t *testing.T) {
	t.Parallel()
	a, b := readBoth(t, func(on *bus.Bus, _ *membus.Faults) { publish(t, on, "/b", 4) })
	if a.Position.GlobalID() != b.Position.GlobalID() || len(a.Messages) != 1 || len(b.Messages) != 3 {
		t.Errorf("%d messages up to %d, and %d up to %d; want 1 and 3 up to 4", len(a.Messages), a.Position.GlobalID(), len(b.Messages), b.Position.GlobalID())
	}
}
