package transport_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/messagebus-go/messagebus/bus/bustest"
	"github.com/messagebus-go/messagebus/bus/driver"
	"github.com/messagebus-go/messagebus/transport"
)

// A lateStore answers a read of a channel when nobody waits for it any more.
type lateStore struct {
	driver.Backend

	reading chan struct{}
}

func (s lateStore) Read(ctx context.Context, ranges []driver.Range) (driver.Snapshot, error) {
	snapshot, err := s.Backend.Read(ctx, ranges)
	if len(ranges) > 0 {
		s.reading <- struct{}{}
		<-ctx.Done()
	}
	return snapshot, err
}

func TestShutdown_CutsOffWhoBeginsWhenItsTimeIsUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := lateStore{bustest.NewStore(t), make(chan struct{})}
		r := newRigOn(t, store, nil)
		p := r.poll("me", "/a=0")
		<-store.reading
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := r.handler.Shutdown(ctx); !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
		p.wantEnd()
		r.held(0)
	})
}

// Who is about to be held when the bus is closed does not wait for messages that
// cannot come.
func TestHold_WhoBeginsWhenTheBusIsClosedIsAnswered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := gateStore{bustest.NewStore(t), make(chan struct{}), make(chan struct{})}
		r := newRigOn(t, store, &transport.Options{LongPoll: transport.LongPollOptions{Hold: time.Hour}})
		p := r.poll("me", "/a=0")
		<-store.reading
		go r.bus.Close()
		synctest.Wait()
		start := time.Now()
		close(store.open)
		p.head().want(noMessages, "")
		if took := time.Since(start); took > time.Second {
			t.Errorf("answered after %v", took)
		}
		r.held(0)
	})
}

// A gateStore answers a read of a channel when it is opened.
type gateStore struct {
	driver.Backend

	reading, open chan struct{}
}

func (s gateStore) Read(ctx context.Context, ranges []driver.Range) (driver.Snapshot, error) {
	snapshot, err := s.Backend.Read(ctx, ranges)
	if len(ranges) > 0 {
		s.reading <- struct{}{}
		<-s.open
	}
	return snapshot, err
}
