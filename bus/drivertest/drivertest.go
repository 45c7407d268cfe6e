// Package drivertest is the specification of a store as a test. An
// implementation of driver.Backend that passes Run can be used by package bus,
// and needs no other tests of what all stores have in common.
//
// Every subtest is named for the claim that it checks, and gets a store of its
// own from Harness.Open. Subtests run in parallel; an Open that has only so
// many stores to give waits until one is free (testing.TB.Cleanup).
package drivertest

import (
	"context"
	"crypto/rand"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/messagebus-go/messagebus/bus/driver"
)

// A Harness says how to get at the stores of one kind.
type Harness struct {
	// Open returns a store that is empty and that nobody else uses, of which
	// no id was given yet. Calls come from several goroutines.
	Open func(testing.TB) Store

	// Features says what this kind of store cannot do by its nature.
	Features Features

	// Patience bounds one subtest. 0: 30 s.
	Patience time.Duration
}

// A Store is one store under test.
type Store struct {
	// Dial connects a further peer. The suite closes it.
	Dial func(testing.TB) driver.Backend

	// Interrupt cuts the connections of all peers, as a network does. The
	// store keeps its data and takes new connections.
	Interrupt func(testing.TB)

	// Wipe drops all data, and ids begin again. Peers stay connected or not.
	Wipe func(testing.TB)
}

// Features are differences by nature; all else comes from driver.Traits. The
// zero Features claim the most.
type Features struct {
	// Text: the store holds UTF-8 without NUL only, in data and channel names.
	Text bool

	// InexactLoss: the store may answer LossPossible where another would know.
	// It must still never answer LossNone for a loss, nor LossCertain for none.
	InexactLoss bool

	// NoInterrupt and NoWipe: the Store's functions of that name are nil, and
	// the subtests that need them report that they did not run. A function
	// that is nil without the feature fails them.
	NoInterrupt, NoWipe bool
}

const defaultPatience = 30 * time.Second

// A topic is a group of claims, by their names.
type topic struct {
	name   string
	claims map[string]func(*env)
}

func topics() []topic {
	return []topic{
		{"publish", publishClaims()},
		{"backlog", backlogClaims()},
		{"trim", trimClaims()},
		{"stream", streamClaims()},
		{"recovery", recoveryClaims()},
		{"concurrency", concurrencyClaims()},
	}
}

// Run checks a store. The subtests are named <topic>/<claim>.
func Run(t *testing.T, h Harness) {
	for _, topic := range topics() {
		t.Run(topic.name, func(t *testing.T) {
			for _, name := range slices.Sorted(maps.Keys(topic.claims)) {
				t.Run(name, func(t *testing.T) {
					t.Parallel()
					check(t, h, topic.claims[name])
				})
			}
		})
	}
}

// check runs one claim.
func check(tb testing.TB, h Harness, claim func(*env)) {
	tb.Helper()
	patience := h.Patience
	if patience == 0 {
		patience = defaultPatience
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	tb.Cleanup(cancel)
	claim(newEnv(ctx, tb, h))
}

// An env is what one subtest works with.
type env struct {
	testing.TB
	ctx      context.Context // ends when the suite's patience does
	features Features
	store    Store
	traits   driver.Traits
	peer     driver.Backend // the first peer
	prefix   string
}

func newEnv(ctx context.Context, tb testing.TB, h Harness) *env {
	tb.Helper()
	if h.Open == nil {
		tb.Fatal("drivertest: Harness.Open is nil")
	}
	e := &env{TB: tb, ctx: ctx, features: h.Features, store: h.Open(tb), prefix: "/" + rand.Text()[:8]}
	if e.store.Dial == nil {
		tb.Fatal("drivertest: Store.Dial is nil")
	}
	e.peer = e.dial()
	e.traits = e.peer.Traits()
	return e
}

// dial opens a further peer, which is closed with the subtest.
func (e *env) dial() driver.Backend {
	e.Helper()
	b := e.store.Dial(e.TB)
	e.Cleanup(func() { _ = b.Close() }) // subtests that care close it themselves
	return b
}

// channel returns a name that no other subtest uses.
func (e *env) channel(name string) string { return e.prefix + "/" + name }

// interrupt cuts all connections, or ends the subtest.
func (e *env) interrupt() {
	e.Helper()
	if e.features.NoInterrupt {
		e.Skip("not run: Features.NoInterrupt")
	}
	if e.store.Interrupt == nil {
		e.Fatal("Store.Interrupt is nil: give one, or set Features.NoInterrupt")
	}
	e.store.Interrupt(e.TB)
}

// wipe empties the store, or ends the subtest.
func (e *env) wipe() {
	e.Helper()
	if e.features.NoWipe {
		e.Skip("not run: Features.NoWipe")
	}
	if e.store.Wipe == nil {
		e.Fatal("Store.Wipe is nil: give one, or set Features.NoWipe")
	}
	e.store.Wipe(e.TB)
}
