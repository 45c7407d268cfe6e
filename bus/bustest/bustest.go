// Package bustest gives tests a bus that needs nothing and cleans up.
package bustest

import (
	"testing"

	"github.com/messagebus-go/messagebus/bus"
	"github.com/messagebus-go/messagebus/bus/driver"
	"github.com/messagebus-go/messagebus/bus/membus"
)

// New returns a bus on a new store in memory, which is closed with the test.
func New(tb testing.TB) *bus.Bus {
	tb.Helper()
	return On(tb, NewStore(tb), nil)
}

// NewStore returns a new store in memory. Its Faults break it, and its Dial
// returns a further peer for another bus.
func NewStore(tb testing.TB) *membus.Backend {
	tb.Helper()
	store, err := membus.New(nil)
	if err != nil {
		tb.Fatalf("bustest: %v", err)
	}
	return store
}

// On returns a bus on a store, which is closed with the test. opts may be nil.
func On(tb testing.TB, store driver.Backend, opts *bus.Options) *bus.Bus {
	tb.Helper()
	b, err := bus.New(store, opts)
	if err != nil {
		tb.Fatalf("bustest: %v", err)
	}
	tb.Cleanup(func() {
		if err := b.Close(); err != nil {
			tb.Errorf("bustest: %v", err)
		}
	})
	return b
}
