package bus_test

import (
	"fmt"
	"testing"

	"github.com/messagebus-go/messagebus/bus"
)

func TestPublishInfo_ResultIsThatOfTheError(t *testing.T) {
	t.Parallel()
	for err, want := range map[error]bus.PublishResult{
		nil:                   bus.PublishOK,
		bus.ErrQueued:         bus.PublishQueued,
		bus.ErrInvalidChannel: bus.PublishRefused,
		bus.ErrInvalidTarget:  bus.PublishRefused,
		bus.ErrInvalidData:    bus.PublishRefused,
		bus.ErrInvalidLimit:   bus.PublishRefused,
		bus.ErrTooLarge:       bus.PublishRefused,
		bus.ErrUnknownOutcome: bus.PublishUnknown,
		bus.ErrReadOnly:       bus.PublishFailed,
		bus.ErrClosed:         bus.PublishFailed,
	} {
		if err != nil {
			err = fmt.Errorf("bus: publish /chat: %w", err)
		}
		if got := (bus.PublishInfo{Err: err}).Result(); got != want {
			t.Errorf("%v is %q, want %q", err, got, want)
		}
	}
}
