package bus_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/messagebus-go/messagebus/bus"
	"github.com/messagebus-go/messagebus/bus/bustest"
	"github.com/messagebus-go/messagebus/bus/membus"
)

// history is what was published and what each subscriber saw. It is judged by
// the promise of the package and by nothing else.
type history struct {
	mu        sync.Mutex
	life      int // counts the resets of the store
	published map[string][]publication
	payloads  map[int]publication // by the number in the payload
}

type publication struct {
	channel    string
	life       int
	id, number int64
}

// sighting is one answer of Next.
type sighting struct {
	id, number int64
	gap        *bus.GapError
}

// publish publishes the next number; the lock keeps a reset from coming
// between the publish and its record.
func (h *history) publish(ctx context.Context, b *bus.Bus, channel string, opts ...bus.PublishOption) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	number := len(h.payloads) + 1
	id, err := b.Publish(ctx, channel, number, opts...)
	if err != nil {
		return err
	}
	p := publication{channel, h.life, id, int64(number)}
	h.payloads[number] = p
	h.published[channel] = append(h.published[channel], p)
	return nil
}

func (h *history) reset(f *membus.Faults) {
	h.mu.Lock()
	defer h.mu.Unlock()
	f.Reset()
	h.life++
}

// check returns how the sightings of a subscriber to channel, from a position
// in the first life of the store on, break the promise.
func (h *history) check(channel string, from int64, seen []sighting) error {
	life, at := 0, from
	forgiven := func(id int64) bool { return false }
	missing := func(before int64) error {
		for _, p := range h.published[channel] {
			if p.life == life && p.id > at && p.id < before && !forgiven(p.id) {
				return fmt.Errorf("life %d: %d is missing between %d and %d", life, p.id, at, before)
			}
		}
		return nil
	}
	for i, s := range seen {
		if gap := s.gap; gap != nil {
			if gap.After < at {
				return fmt.Errorf("sighting %d: %w begins before the position %d", i, gap, at)
			}
			if gap.Reason == bus.GapReset {
				life, at = -1, 0 // some later life: the next message tells which
				forgiven = func(id int64) bool { return id < gap.Next }
				continue
			}
			last := forgiven
			forgiven = func(id int64) bool { return last(id) || id > gap.After && id < gap.Next }
			continue
		}
		p, ok := h.payloads[int(s.number)]
		switch {
		case !ok || p.channel != channel || p.id != s.id:
			return fmt.Errorf("sighting %d: id %d with payload %d was never published on %s", i, s.id, s.number, channel)
		case life == -1:
			life = p.life
		case p.life != life:
			return fmt.Errorf("sighting %d: id %d of life %d came in life %d, with no gap between", i, s.id, p.life, life)
		}
		if s.id <= at {
			return fmt.Errorf("sighting %d: id %d came after %d", i, s.id, at)
		}
		if err := missing(s.id); err != nil {
			return fmt.Errorf("sighting %d: %w", i, err)
		}
		at = s.id
	}
	if life == -1 || life != h.life {
		life, at = h.life, max(0, -int64(h.life-life)) // told of a reset, and nothing came after it
		if len(h.of(channel, h.life)) > 0 {
			return fmt.Errorf("nothing of life %d came", h.life)
		}
		return nil
	}
	return missing(1 << 62)
}

func (h *history) of(channel string, life int) (all []publication) {
	for _, p := range h.published[channel] {
		if p.life == life {
			all = append(all, p)
		}
	}
	return all
}

// TestSubscribe_KeepsThePromiseUnderFaults runs random histories: publishers,
// quick and slow readers, and a store that loses connections, answers,
// announcements and its data. MESSAGEBUS_HISTORIES asks for more of them.
func TestSubscribe_KeepsThePromiseUnderFaults(t *testing.T) {
	t.Parallel()
	histories := 60
	if more, err := strconv.Atoi(os.Getenv("MESSAGEBUS_HISTORIES")); err == nil {
		histories = more
	}
	for seed := range histories {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) { runHistory(t, uint64(seed)) })
		})
	}
}

func runHistory(t *testing.T, seed uint64) {
	random := rand.New(rand.NewPCG(seed, 1))
	store := bustest.NewStore(t)
	faults := store.Faults()
	publisher := bustest.On(t, store.Dial(), &bus.Options{MaxBacklogSize: 5 + random.IntN(2000), Keepalive: -1})
	reader := bustest.On(t, store.Dial(), &bus.Options{Keepalive: time.Duration(random.IntN(2)*120-60) * time.Second})
	h := &history{published: map[string][]publication{}, payloads: map[int]publication{}}

	channels := []string{"/a", "/b", "/c|d"}
	for range 1 + random.IntN(20) { // an empty store has nothing to lose
		mustPublish(t, h, publisher, channels[random.IntN(len(channels))])
	}
	var readers []*recorder
	for i := range 8 {
		channel := channels[random.IntN(len(channels))]
		readers = append(readers, record(t, reader, channel, bus.After(0), 0, random.IntN(3)*i))
	}
	for range 60 {
		step(t, random, h, faults, publisher, channels)
		if random.IntN(6) == 0 {
			channel := channels[random.IntN(len(channels))]
			if h.life == 0 {
				last := int64(0)
				if all := h.of(channel, 0); len(all) > 0 {
					last = all[len(all)-1].id
				}
				readers = append(readers, record(t, reader, channel, bus.Latest(), last, random.IntN(20)))
			}
		}
	}
	// All is well again; everybody gets there.
	faults.FailRequests(nil)
	faults.Silence(false)
	faults.DropNext(0)
	for _, channel := range channels {
		mustPublish(t, h, publisher, channel)
	}
	<-time.After(10 * time.Minute)
	if health := reader.Health(); !health.OK {
		t.Errorf("health is %v after everything was repaired", health.Reasons)
	}
	for i, r := range readers {
		seen := r.stop()
		if err := h.check(r.channel, r.from, seen); err != nil {
			t.Errorf("seed %d: reader %d of %s from %d: %v\nsaw %s\npublished %v", seed, i, r.channel, r.from, err, describe(seen), h.of(r.channel, h.life))
		}
	}
}

func mustPublish(t *testing.T, h *history, b *bus.Bus, channel string) {
	t.Helper()
	if err := h.publish(t.Context(), b, channel); err != nil {
		t.Fatal(err)
	}
}

var errCut = errors.New("connection cut by the test")

// step does one random thing.
func step(t *testing.T, random *rand.Rand, h *history, faults *membus.Faults, b *bus.Bus, channels []string) {
	t.Helper()
	channel := channels[random.IntN(len(channels))]
	switch n := random.IntN(100); {
	case n < 4: // not kept, and nothing of before either
		_ = h.publish(t.Context(), b, channel, bus.MaxBacklogSize(0))
	case n < 60:
		for range 1 + random.IntN(5) {
			_ = h.publish(t.Context(), b, channel) // refused during an outage
		}
	case n < 66:
		for range 600 {
			_ = h.publish(t.Context(), b, channel)
		}
	case n < 72:
		faults.CutFeeds(errCut)
	case n < 76:
		faults.Silence(true)
		<-time.After(time.Duration(random.IntN(20)) * time.Second)
		faults.Silence(false)
	case n < 80:
		faults.FailRequests(errCut)
		<-time.After(time.Duration(random.IntN(20)) * time.Second)
		faults.FailRequests(nil)
	case n < 84:
		// A message that was never announced and a reset, both within one check
		// of the feed, cannot be told apart before the next check.
		<-time.After(10 * time.Second)
		faults.DropNext(1 + random.IntN(5))
	case n < 86:
		faults.DropNext(0)
		<-time.After(10 * time.Second)
		h.reset(faults)
	case n < 90:
		faults.Trim(channel, random.IntN(5))
	default:
		<-time.After(time.Duration(random.IntN(3000)) * time.Millisecond)
	}
}

// recorder reads one subscription to its end.
type recorder struct {
	channel string
	from    int64
	sub     *bus.Subscription
	done    chan []sighting
}

// record subscribes and reads, with a pause after each message.
func record(t *testing.T, b *bus.Bus, channel string, at bus.Position, from int64, pauseMillis int) *recorder {
	t.Helper()
	sub, err := b.Subscribe(t.Context(), channel, at)
	if err != nil {
		t.Fatal(err)
	}
	r := &recorder{channel: channel, from: from, sub: sub, done: make(chan []sighting, 1)}
	go func() {
		var seen []sighting
		for m, err := range sub.Messages(context.WithoutCancel(t.Context())) {
			s := sighting{id: m.ID}
			if !errors.As(err, &s.gap) {
				if err := m.Decode(&s.number); err != nil {
					t.Error(err)
				}
			}
			seen = append(seen, s)
			if pauseMillis > 0 {
				<-time.After(time.Duration(pauseMillis) * time.Millisecond)
			}
		}
		r.done <- seen
	}()
	return r
}

func (r *recorder) stop() []sighting {
	_ = r.sub.Close()
	return <-r.done
}

func describe(seen []sighting) string {
	var b strings.Builder
	for _, s := range seen {
		if s.gap != nil {
			fmt.Fprintf(&b, "[gap %d..%d %s] ", s.gap.After, s.gap.Next, s.gap.Reason)
			continue
		}
		fmt.Fprintf(&b, "%d ", s.id)
	}
	return b.String()
}
