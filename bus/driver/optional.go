package driver

import "context"

// A Resetter is a Backend that can empty its store.
type Resetter interface {
	// Reset drops all messages and ids of the store, for all peers: ids begin
	// again, in a new epoch. It is not atomic; nobody should publish meanwhile.
	Reset(ctx context.Context) error
}
