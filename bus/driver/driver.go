// Package driver is what a store implements so that bus.Bus can run on it.
//
// Applications use package bus; only the authors of stores need this package.
// A driver is dumb on purpose: it does not retry, has no goroutines of its own
// beyond those that a client library starts, knows no defaults and logs
// nothing. All of that is decided once, in package bus, so that stores cannot
// disagree. Package drivertest is the specification of a driver as a test.
package driver

import (
	"context"
	"time"
)

// A Backend is one store as one process sees it. All methods are safe for
// concurrent use. No method keeps a slice or a map that it was given.
type Backend interface {
	// Publish stores data on channel and announces it to every live Stream,
	// atomically: a message that is stored is announced and the reverse. It
	// never sends the same message twice. data is the envelope, stored as it is.
	//
	// It returns an error for which errors.Is(err, ErrReadOnly) holds when the
	// store refuses writes (nothing was stored), and one for which
	// errors.Is(err, ErrUnknownOutcome) holds when the request may have been
	// carried out but its answer was lost. Any other error: nothing was stored.
	Publish(ctx context.Context, channel string, data []byte, limits Limits) (Position, error)

	// Read answers all ranges in one round trip. Snapshot.Pages is aligned
	// with ranges.
	Read(ctx context.Context, ranges []Range) (Snapshot, error)

	// GlobalBacklog returns the stored messages of all channels whose global
	// id is above after, ascending by global id, the oldest max of them;
	// max 0 means all.
	GlobalBacklog(ctx context.Context, after int64, max int) (GlobalPage, error)

	// State returns what the store is and how far it has come. It asks the
	// store each time: it is the liveness probe as well.
	State(ctx context.Context) (State, error)

	// Listen returns once the feed is live: whatever is published after it
	// returned, by any peer, is seen by Stream.Next. By then the store has an
	// epoch, unless this peer may not give it one.
	Listen(ctx context.Context) (Stream, error)

	// Traits returns what is special about this kind of store. It does not change.
	Traits() Traits

	// Close lets go of what the Backend itself opened. It does not close a
	// client that the caller handed in. Streams end with an error.
	Close() error
}

// A Stream is a live feed of every message of the store. It is complete for
// as long as it lasts: a driver that cannot be sure of that any more, because
// a connection was replaced or a buffer was full, must end it with an error.
type Stream interface {
	// Next waits for the next message. One goroutine calls it. Any error ends
	// the stream, but for ctx being done, after which Next may be called again.
	//
	// Messages come ascending by global id where the store can promise it. An
	// announcement that cannot be decoded comes as a Message with a global id
	// of 0, so that the reader knows that something was announced.
	Next(ctx context.Context) (Message, error)

	// Ping proves that the feed's own connection is alive, while another
	// goroutine may be in Next. An error means that it is not.
	Ping(ctx context.Context) error

	// Close ends the stream and unblocks Next. Any goroutine may call it, and
	// more than once.
	Close() error
}

// Traits are differences between kinds of stores that package bus must know.
type Traits struct {
	// DenseGlobalIDs: global ids have no holes, so that a hole in the feed is
	// a loss (Redis, memory). Where it is false holes are normal (Postgres).
	DenseGlobalIDs bool

	// SharedIDs: a message's id is its global id (Postgres, memory), so that
	// a channel's ids have holes. Where it is false each channel counts for
	// itself (Redis).
	SharedIDs bool

	// SettleHole is how long a fresh hole in the global ids may still be
	// filled by a message that was given its id earlier but is announced
	// later. 0: never.
	SettleHole time.Duration
}

// A Range asks for part of the backlog of one channel.
type Range struct {
	Channel string // stored name
	After   int64  // messages with ids above it
	Tail    int    // above 0: the newest so many, whatever After says
	Max     int    // above 0: the oldest so many of them at most; without effect on Tail
}

// A Snapshot is what the store held at one moment: nothing with a global id of
// at most State.Settled is missing from Pages, unless it was trimmed.
type Snapshot struct {
	Pages []Page
	State State
}

// A Page is the stored part of one Range.
type Page struct {
	Messages []Message // ascending by global id
	LastID   int64     // the channel's last id as the store knows it; 0: none, or all were trimmed
	Anchor   Message   // the stored message whose id is After; GlobalID 0: it is not stored
	Loss     Loss      // whether messages after After were trimmed; LossNone for a Tail
}

// A GlobalPage is a stored part of all channels.
type GlobalPage struct {
	Messages []Message // ascending by global id
	Loss     Loss      // whether messages after the position asked for were trimmed
	State    State     // as in Snapshot
}

// Loss says how sure a store is that something was trimmed.
type Loss uint8

// The kinds of loss.
const (
	LossNone     Loss = iota // nothing was trimmed
	LossPossible             // the store cannot tell
	LossCertain              // something was trimmed
)

// State is what a store is and how far it has come.
type State struct {
	GlobalID int64  // the last global id given; 0: none yet
	Settled  int64  // no message with an id up to it is still on its way into the store; at most GlobalID
	Epoch    string // changes when the store was reset and its ids began again; opaque; empty: it has none yet
	Timeline string // changes when a replica took over, which may have lost messages; opaque, empty where there is no such thing
	ReadOnly bool   // refuses writes at the moment
	Warning  string // what its operator should look at; empty: nothing. The same text for as long as it is the same trouble. Of Backend.State alone
}

// A Position is where a message stands in its store.
type Position struct{ GlobalID, ID int64 }

// Limits say what a publish leaves in the store. They are resolved: zero is a
// limit too, and keeps nothing. A trim happens when the new id is a multiple
// of ClearEvery, which is at least 1.
type Limits struct {
	MaxSize       int           // messages of this channel
	MaxGlobalSize int           // messages of all channels together
	MaxAge        time.Duration // age of this channel's backlog, counted from its newest message; whole seconds
	MaxGlobalAge  time.Duration // age of every channel's messages, on a store whose channels do not expire by themselves; whole seconds
	ClearEvery    int
}
