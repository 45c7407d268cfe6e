package driver

import "context"

// A Resetter is a Backend that can empty its store.
type Resetter interface {
	// Reset drops all messages and ids of the store, for all peers: ids begin
	// again, in a new epoch. It is not atomic; nobody should publish meanwhile.
	Reset(ctx context.Context) error
}

// A Counter is a Backend that knows how much it stores without reading it.
type Counter interface {
	// Count returns how many messages are stored on each channel, in one round
	// trip. The result is aligned with channels, which are stored names.
	Count(ctx context.Context, channels []string) ([]int, error)
}
