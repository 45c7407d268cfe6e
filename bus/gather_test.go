package bus_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/messagebus-go/messagebus/bus"
	"github.com/messagebus-go/messagebus/bus/bustest"
	"github.com/messagebus-go/messagebus/bus/driver"
)

// gatedStore answers reads when its gate is opened.
type gatedStore struct {
	driver.Backend

	gate chan struct{}
	open int                               // reads after so many need no gate; 0: all do
	fail func(ranges []driver.Range) error // nil: nothing fails

	mu    sync.Mutex // guards below
	reads [][]driver.Range
}

func (s *gatedStore) Read(ctx context.Context, ranges []driver.Range) (driver.Snapshot, error) {
	s.mu.Lock()
	s.reads = append(s.reads, ranges)
	number := len(s.reads)
	s.mu.Unlock()
	if s.open > 0 && number > s.open {
		return s.Backend.Read(ctx, ranges)
	}
	select {
	case <-s.gate:
	case <-ctx.Done():
		return driver.Snapshot{}, ctx.Err()
	}
	if s.fail != nil {
		if err := s.fail(ranges); err != nil {
			return driver.Snapshot{}, err
		}
	}
	return s.Backend.Read(ctx, ranges)
}

func (s *gatedStore) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.reads)
}

const enoughReads = 4 // after which more are gathered

// A reader asks for a channel, and keeps what it got.
type gatheredReader struct {
	channel  string
	messages []bus.Message
	err      error
}

// readMany starts a reader for each channel, one after the other, and returns when
// all of them wait.
func readMany(ctx context.Context, b *bus.Bus, all *sync.WaitGroup, channels ...string) []*gatheredReader {
	readers := make([]*gatheredReader, len(channels))
	for i, channel := range channels {
		r := &gatheredReader{channel: channel}
		readers[i] = r
		all.Go(func() {
			pages, err := b.Read(ctx, map[string]bus.Position{channel: bus.After(0)})
			r.messages, r.err = pages[channel].Messages, err
		})
		synctest.Wait()
	}
	return readers
}

func channelsOf(n int) []string {
	channels := make([]string, n)
	for i := range channels {
		channels[i] = fmt.Sprint("/gathered/", i%10)
	}
	return channels
}

func gatedBus(t *testing.T) (*bus.Bus, *gatedStore) {
	t.Helper()
	s := &gatedStore{Backend: bustest.NewStore(t), gate: make(chan struct{})}
	return bustest.On(t, s, nil), s
}

func TestRead_SharesARoundTripWithThoseThatWait(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b, s := gatedBus(t)
		var all sync.WaitGroup
		readers := readMany(t.Context(), b, &all, channelsOf(200)...)
		if n := s.count(); n != enoughReads {
			t.Fatalf("%d reads have gone to the store, want %d", n, enoughReads)
		}
		for i := range 10 { // after the questions: no answer may be older than these
			if _, err := b.Publish(t.Context(), fmt.Sprint("/gathered/", i), i); err != nil {
				t.Fatal(err)
			}
		}
		close(s.gate)
		all.Wait()
		if n := s.count(); n != enoughReads+1 {
			t.Errorf("%d reads have gone to the store, want one for all who waited", n-enoughReads)
		}
		if n := len(s.reads[enoughReads]); n != 10 {
			t.Errorf("it asked for %d ranges, want each of the 10 once", n)
		}
		for i, r := range readers {
			if r.err != nil || len(r.messages) != 1 || string(r.messages[0].Data) != fmt.Sprint(i%10) {
				t.Errorf("reader %d of %s got %v, %v", i, r.channel, r.messages, r.err)
			}
		}
	})
}

func TestRead_OfOtherCallersThatFailsIsTriedAlone(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b, s := gatedBus(t)
		poisoned := errors.New("poisoned")
		s.fail = func(ranges []driver.Range) error {
			for _, r := range ranges {
				if r.Channel == "/gathered/7" {
					return poisoned
				}
			}
			return nil
		}
		var all sync.WaitGroup
		readMany(t.Context(), b, &all, channelsOf(enoughReads)...)
		readers := readMany(t.Context(), b, &all, channelsOf(30)...)
		close(s.gate)
		all.Wait()
		for _, r := range readers {
			if failed := errors.Is(r.err, poisoned); failed != (r.channel == "/gathered/7") {
				t.Errorf("%s: %v", r.channel, r.err)
			}
		}
	})
}

func TestRead_ThatWaitsEndsWithItsContextAndNobodyElses(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b, s := gatedBus(t)
		var all, given sync.WaitGroup
		ctx, cancel := context.WithCancel(t.Context())
		first := readMany(ctx, b, &given, channelsOf(enoughReads)...)
		gone := readMany(ctx, b, &given, channelsOf(5)...)
		left := readMany(t.Context(), b, &all, channelsOf(5)...)
		cancel()
		given.Wait()
		for _, r := range append(first, gone...) {
			if !errors.Is(r.err, context.Canceled) {
				t.Errorf("%s: %v", r.channel, r.err)
			}
		}
		close(s.gate)
		all.Wait()
		for _, r := range left {
			if r.err != nil {
				t.Errorf("%s: %v", r.channel, r.err)
			}
		}
	})
}

func TestRead_DoesNotWaitLongForOnesThatHang(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b, s := gatedBus(t)
		s.open = enoughReads
		hang, cancel := context.WithCancel(t.Context())
		var all sync.WaitGroup
		readMany(hang, b, &all, channelsOf(enoughReads)...)
		start := time.Now()
		if _, err := b.Read(t.Context(), map[string]bus.Position{"/gathered/1": bus.After(0)}); err != nil {
			t.Error(err)
		}
		if took := time.Since(start); took > 2*time.Second {
			t.Errorf("it has waited %v", took)
		}
		cancel()
		all.Wait()
	})
}

func TestRead_ThatWaitsEndsWithTheBus(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b, s := gatedBus(t)
		var all sync.WaitGroup
		readers := readMany(t.Context(), b, &all, channelsOf(enoughReads+20)...)
		closed := make(chan error, 1)
		go func() { closed <- b.Close() }()
		synctest.Wait()
		close(s.gate) // the store of the test does not end by itself
		all.Wait()
		if err := <-closed; err != nil {
			t.Error(err)
		}
		for _, r := range readers[enoughReads:] {
			if r.err == nil {
				t.Errorf("%s was read of a bus that is closed", r.channel)
			}
		}
	})
}

func TestRead_OfManyCallersOutlivesAStoreThatPanics(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b, s := gatedBus(t)
		s.fail = func(ranges []driver.Range) error {
			if len(ranges) > 1 {
				panic("many")
			}
			return nil
		}
		var all sync.WaitGroup
		readers := readMany(t.Context(), b, &all, channelsOf(enoughReads+20)...)
		close(s.gate)
		all.Wait()
		for _, r := range readers {
			if r.err != nil {
				t.Errorf("%s: %v", r.channel, r.err)
			}
		}
	})
}
