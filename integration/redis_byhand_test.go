package integration_test

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/messagebus-go/messagebus/bus"
	"github.com/messagebus-go/messagebus/integration/stores"
)

// Ids that somebody sets back by hand, while no reader is there and until they have
// grown past where it was: docs/guarantees.md says what a reader can know of that.
func TestRedis_IDsThatWereSetBackByHand(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		deleted   string // with the global id that is set back
		published int    // from then on; 10 were before
		reset     bool   // the reader is told, and gets everything
	}{
		"are noticed before they have grown past the position": {"", 5, true},
		"are not noticed after that, which is the limit":       {"", 15, false},
		"are a reset where the epoch is deleted as well":       {"__mb_epoch", 15, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := stores.RedisWith(t, stores.RedisOptions{})
			b := faultBus(t, redisPeer(t, server.Client(t), nil))
			publish := func(messages int) {
				for range messages {
					if _, err := b.Publish(t.Context(), "/a", "x"); err != nil {
						t.Fatal(err)
					}
				}
			}
			lastPosition(t, b, 0)
			awaitHealth(t, b, faultPatience, true) // from then on the store has an epoch
			publish(10)
			position := lastPosition(t, b, 10)
			server.Do(t, "set", "__mb_global_id_n", "0")
			if c.deleted != "" {
				server.Do(t, "del", c.deleted)
			}
			publish(c.published)
			sub, err := b.Subscribe(t.Context(), "/a", position)
			if err != nil {
				t.Fatal(err)
			}
			defer sub.Close()
			ctx, cancel := context.WithTimeout(t.Context(), faultPatience)
			defer cancel()
			m, err := sub.Next(ctx)
			gap, told := errors.AsType[*bus.GapError](err)
			if told != c.reset || told && gap.Reason != bus.GapReset {
				t.Errorf("the first that comes is message %d, %v; want that a reset is told: %v", m.ID, err, c.reset)
			}
		})
	}
}

// lastPosition reads so many messages, from the first one.
func lastPosition(t *testing.T, b *bus.Bus, messages int) bus.Position {
	t.Helper()
	sub, err := b.Subscribe(t.Context(), "/a", bus.After(0))
	if err != nil {
		t.Fatal(err)
	}
	defer sub.Close()
	for i := range messages {
		if _, err := sub.Next(t.Context()); err != nil {
			t.Fatal(fmt.Errorf("message %d: %w", i+1, err))
		}
	}
	return sub.Position()
}
