// Package membus is the embedded store of package bus: everything is in the
// memory of one process. It is the default store, and the one for tests.
//
// New makes a store and the first peer on it; Backend.Dial makes further
// peers, which see each other's messages as processes on one server would.
// The store is gone when the last peer is no longer referenced; there is
// nothing to shut down, and it has no goroutines.
//
// Ids are those of the gem's memory store: one counter, so that a message's id
// is its global id. Messages are trimmed when they are published and expire
// when somebody looks, so an idle store does no work. What is stored is
// bounded by Limits.MaxGlobalSize of the publishes.
//
// The data of a message is copied once, when it is published. Readers get that
// one copy: they must not modify it.
package membus
