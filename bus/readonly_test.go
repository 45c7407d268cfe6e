package bus_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/messagebus-go/messagebus/bus"
	"github.com/messagebus-go/messagebus/bus/bustest"
	"github.com/messagebus-go/messagebus/bus/driver"
	"github.com/messagebus-go/messagebus/bus/membus"
)

// readOnlyBus is a bus on a store that refuses writes from now on.
func readOnlyBus(t *testing.T, opts *bus.Options) (*bus.Bus, *membus.Faults) {
	t.Helper()
	store := bustest.NewStore(t)
	store.Faults().SetReadOnly(true)
	return bustest.On(t, store, opts), store.Faults()
}

func wantQueued(t *testing.T, b *bus.Bus, channel string, data any, opts ...bus.PublishOption) {
	t.Helper()
	if id, err := b.Publish(t.Context(), channel, data, opts...); id != 0 || !errors.Is(err, bus.ErrQueued) {
		t.Fatalf("publish on a read-only store: id %d, %v; want 0 and ErrQueued", id, err)
	}
}

func backlog(t *testing.T, b *bus.Bus, channel string) string {
	t.Helper()
	messages, err := b.Backlog(t.Context(), channel, 0)
	if err != nil {
		t.Fatal(err)
	}
	var all strings.Builder
	for _, m := range messages {
		all.Write(m.Data)
	}
	return all.String()
}

func TestReadOnly_QueuedMessagesAreFlushedInOrderWithTheirLimits(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b, faults := readOnlyBus(t, nil)
		for i := range 5 {
			wantQueued(t, b, "/a", i)
		}
		wantQueued(t, b, "/b", 1)
		wantQueued(t, b, "/b", 2, bus.MaxBacklogSize(1))
		if h := b.Health(); h.OK || !h.ReadOnly || h.Queued != 7 || h.QueuedBytes == 0 {
			t.Errorf("health is %+v; want 7 queued, and not well", h)
		}
		faults.SetReadOnly(false)
		wantQueued(t, b, "/a", 5) // must not overtake
		<-time.After(2 * time.Second)
		if got := backlog(t, b, "/a"); got != "012345" {
			t.Errorf("stored %s, want 012345", got)
		}
		if got := backlog(t, b, "/b"); got != "2" {
			t.Errorf("stored %s; the limit of the second keeps it alone", got)
		}
		if id := publish(t, b, "/a", 6); id == 0 {
			t.Error("a publish after the flush gave no id")
		}
		if h := b.Health(); !h.OK || h.ReadOnly || h.Queued != 0 || h.GivenUp != 0 {
			t.Errorf("health is %+v after the flush", h)
		}
	})
}

func TestReadOnly_TheQueueIsBoundedAndGivesUpTheOldest(t *testing.T) {
	t.Parallel()
	for name, limits := range map[string]bus.QueueLimits{
		"messages": {Messages: 3},
		"bytes":    {Bytes: 3 * len(`{"data":0,"user_ids":null,"group_ids":null,"client_ids":null}`)},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				var given atomic.Int64
				b, faults := readOnlyBus(t, &bus.Options{
					ReadOnlyQueue: limits,
					Trace:         &bus.Trace{GivenUp: func(string, string, error) { given.Add(1) }},
				})
				for i := range 8 {
					wantQueued(t, b, "/a", i)
				}
				if h := b.Health(); h.Queued != 3 || h.GivenUp != 5 || given.Load() != 5 {
					t.Errorf("health is %+v, traced %d; want 3 queued and 5 given up", h, given.Load())
				}
				faults.SetReadOnly(false)
				<-time.After(2 * time.Second)
				if got := backlog(t, b, "/a"); got != "567" {
					t.Errorf("stored %s, want the newest, 567", got)
				}
			})
		})
	}
}

func TestReadOnly_WhoDoesNotWantTheQueueIsTold(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		for name, publish := range map[string]func() error{
			"option of the publish": func() error {
				b, _ := readOnlyBus(t, nil)
				_, err := b.Publish(t.Context(), "/a", 1, bus.WithoutReadOnlyQueue())
				return err
			},
			"option of the bus": func() error {
				b, _ := readOnlyBus(t, &bus.Options{ReadOnlyQueue: bus.QueueLimits{Messages: -1}})
				_, err := b.Publish(t.Context(), "/a", 1)
				return err
			},
			"larger than the queue": func() error {
				b, _ := readOnlyBus(t, &bus.Options{ReadOnlyQueue: bus.QueueLimits{Bytes: 10}})
				_, err := b.Publish(t.Context(), "/a", 1)
				return err
			},
		} {
			if err := publish(); !errors.Is(err, bus.ErrReadOnly) || errors.Is(err, bus.ErrQueued) {
				t.Errorf("%s: %v, want ErrReadOnly", name, err)
			}
		}
	})
}

func TestReadOnly_CloseTellsWhatIsLost(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := bustest.NewStore(t)
		store.Faults().SetReadOnly(true)
		b, err := bus.New(store, nil)
		if err != nil {
			t.Fatal(err)
		}
		wantQueued(t, b, "/a", 1)
		wantQueued(t, b, "/a", 2)
		if err := b.Close(); err == nil || !strings.Contains(err.Error(), "2 messages") {
			t.Errorf("close: %v; want an error that counts 2 messages", err)
		}
	})
}

// refusingStore refuses one channel while it takes writes on all others.
type refusingStore struct {
	driver.Backend

	tries atomic.Int64
	err   error
}

func (s *refusingStore) Publish(ctx context.Context, channel string, data []byte, limits driver.Limits) (driver.Position, error) {
	at, err := s.Backend.Publish(ctx, channel, data, limits)
	if err == nil && channel == "/bad" {
		s.tries.Add(1)
		return driver.Position{}, s.err
	}
	return at, err
}

func TestReadOnly_AMessageThatCannotBeStoredDoesNotHoldUpTheRest(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		err   error
		tries int64
	}{
		"refused":         {errors.New("wrong type"), 3},
		"unknown outcome": {driver.ErrUnknownOutcome, 1}, // never a second time
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				inner := bustest.NewStore(t)
				store := &refusingStore{Backend: inner, err: test.err}
				b := bustest.On(t, store, nil)
				inner.Faults().SetReadOnly(true)
				wantQueued(t, b, "/bad", 1)
				wantQueued(t, b, "/a", 2)
				inner.Faults().SetReadOnly(false)
				<-time.After(10 * time.Second)
				if got := backlog(t, b, "/a"); got != "2" {
					t.Errorf("stored %q on the other channel, want 2", got)
				}
				if h := b.Health(); store.tries.Load() != test.tries || h.GivenUp != 1 || h.Queued != 0 {
					t.Errorf("%d tries, health %+v; want %d tries and 1 given up", store.tries.Load(), h, test.tries)
				}
			})
		})
	}
}

// Publishers of one goroutine each keep their order through spells in which the
// store refuses writes.
func TestReadOnly_EveryPublisherKeepsItsOrder(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := bustest.NewStore(t)
		b := bustest.On(t, store, nil)
		var publishers sync.WaitGroup
		for p := range 8 {
			publishers.Go(func() {
				for i := range 50 {
					if _, err := b.Publish(t.Context(), fmt.Sprintf("/%d", p), i); err != nil && !errors.Is(err, bus.ErrQueued) {
						t.Error(err)
					}
					<-time.After(37 * time.Millisecond)
				}
			})
		}
		for i := range 6 {
			<-time.After(300 * time.Millisecond)
			store.Faults().SetReadOnly(i%2 == 0)
		}
		publishers.Wait()
		<-time.After(5 * time.Second)
		var want strings.Builder
		for i := range 50 {
			fmt.Fprint(&want, i)
		}
		for p := range 8 {
			if got := backlog(t, b, fmt.Sprintf("/%d", p)); got != want.String() {
				t.Errorf("publisher %d: stored %s", p, got)
			}
		}
	})
}
