package cache_test

import (
	"context"
	"sync/atomic"

	"github.com/messagebus-go/messagebus/bus/driver"
)

// refusing is a store that does not answer some of the requests for a backlog.
type refusing struct {
	driver.Backend

	reads atomic.Int32 // of the whole backlog of a channel, that are refused
}

func (r *refusing) Read(ctx context.Context, ranges []driver.Range) (driver.Snapshot, error) {
	if len(ranges) == 1 && ranges[0].Tail > 1 && r.reads.Add(-1) >= 0 {
		return driver.Snapshot{}, errDown
	}
	return r.Backend.Read(ctx, ranges)
}

// holding is a store whose answers to publishes are held back.
type holding struct {
	driver.Backend

	answers chan struct{} // each lets one answer through; nil: none is held back
}

func (h *holding) Publish(ctx context.Context, channel string, data []byte, limits driver.Limits) (driver.Position, error) {
	at, err := h.Backend.Publish(ctx, channel, data, limits)
	if h.answers != nil {
		<-h.answers
	}
	return at, err
}
