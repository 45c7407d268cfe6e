package transport_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"

	"github.com/messagebus-go/messagebus/bus/bustest"
	"github.com/messagebus-go/messagebus/bus/driver"
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
