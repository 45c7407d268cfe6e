// Package bus is a message bus over a shared store: what one process publishes
// on a channel, every process that subscribed to it receives.
//
//	b, err := bus.New(store, nil) // store: membus, or a driver of another module
//	id, err := b.Publish(ctx, "/chat", "hello", bus.ToUsers(bus.IntID(7)))
//	sub, err := b.Subscribe(ctx, "/chat", bus.After(lastSeen))
//	for m, err := range sub.Messages(ctx) { … }
//
// The store gives each message two ids: its message id counts the messages of
// its channel, its global id those of the whole store. It keeps a backlog of
// each channel, from which a subscriber that was away is served.
//
// # What a subscriber may rely on
//
//   - Order: on one channel messages come in the order of their global ids;
//     with SubscribeAll, all of them do.
//   - Once: no message comes twice on one subscription.
//   - Complete: every message after the position asked for comes, for as long
//     as the backlog holds it: over lost connections, restarts and failovers of
//     the store, and slow spells of the reader.
//   - Told: what can no longer be had is announced by a *GapError, which names
//     the ids between which something may be missing, and why. A gap may be
//     reported where nothing was lost; never the reverse.
//   - Reset: a store whose ids began again is a gap too. What follows it are
//     the messages of the new store, from its beginning.
//
// Between channels nothing is promised, but for SubscribeAll.
//
// # What a subscriber costs
//
// A subscription holds at most 16,384 live messages or 1 MiB, and one page of 500
// from the backlog. A reader that is slower than that loses nothing: its live
// messages are dropped, its position is kept, and the backlog is read when it
// comes back. It delays nobody. Message ids may go back when a channel's ids
// expire in the store; order and repetition are judged by global id.
//
// # Ownership
//
// A Bus owns its store's driver.Backend. Close ends every subscription and
// waits for every goroutine that the bus started. A context given to a method
// bounds that call, and nothing longer.
package bus
