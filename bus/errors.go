package bus

import (
	"errors"
	"fmt"

	"github.com/messagebus-go/messagebus/bus/driver"
)

// What callers branch on with errors.Is.
var (
	// ErrClosed: the bus or the subscription was closed. It is final.
	ErrClosed = errors.New("bus: closed")

	// ErrInvalidChannel: a channel or a site that cannot be stored.
	ErrInvalidChannel = errors.New("invalid channel")

	// ErrInvalidTarget: a list of users, groups or clients that cannot be published.
	ErrInvalidTarget = errors.New("invalid target")

	// ErrInvalidData: a payload that has no JSON form every reader can read.
	ErrInvalidData = errors.New("invalid data")

	// ErrInvalidLimit: a retention limit below 0.
	ErrInvalidLimit = errors.New("invalid limit")

	// ErrTooLarge: an encoded message above Options.MaxMessageBytes.
	ErrTooLarge = errors.New("message too large")

	// ErrReadOnly: the store refuses writes at the moment; nothing was stored.
	ErrReadOnly = driver.ErrReadOnly

	// ErrQueued: the store refuses writes at the moment; the message waits in
	// memory and is published, in order, when it takes writes again.
	ErrQueued = errors.New("the store is read-only: the message is queued")

	// ErrUnknownOutcome: a publish was sent and its answer was lost, so that
	// the message may have been stored or not. The bus never sends it again.
	ErrUnknownOutcome = driver.ErrUnknownOutcome
)

// A GapError tells a subscriber that something may be lost for good. The
// subscription goes on after it.
//
// For the reasons trimmed, possible and failover something in the open interval
// (After, Next) may be lost. For the reason reset After is the last id that the
// reader saw of the old store, and everything that is stored follows. Next is
// the first id that comes, or the least that can come where nothing is stored
// yet, and after a failover may be below After: the new server gives ids again that
// were never seen on the channel. On Postgres a possible gap, or that of a failover, goes
// up to the last id given where nothing is stored after it, and what was on its way
// may come all the same.
//
// On a subscription to all channels Channel is empty and the ids are global.
type GapError struct {
	Channel     string
	Site        string
	After, Next int64
	Reason      GapReason
}

// A GapReason says why something may be lost.
type GapReason string

// The reasons for a gap.
const (
	GapTrimmed  GapReason = "trimmed"  // the backlog no longer holds it
	GapPossible GapReason = "possible" // the store cannot tell whether something was trimmed
	GapReset    GapReason = "reset"    // ids began again: of the store or of the channel, or of a server that took over
	GapFailover GapReason = "failover" // another server took over: it has what the reader saw, and may lack what came after
)

func (e *GapError) Error() string {
	where := "all channels"
	if e.Channel != "" {
		where = fmt.Sprintf("%q", e.Channel)
	}
	if e.Site != "" {
		where += fmt.Sprintf(" of site %q", e.Site)
	}
	return fmt.Sprintf("bus: gap on %s between ids %d and %d: %s", where, e.After, e.Next, e.Reason)
}

// A DecodeError tells a subscriber of a stored message that cannot be read:
// its publisher was broken or used another codec. The message is passed over
// and the subscription goes on.
type DecodeError struct {
	GlobalID, ID int64
	Channel      string // stored name, with its site
	Data         []byte // the envelope as it is stored; shared: read it, do not change it
	Err          error
}

func (e *DecodeError) Error() string {
	return fmt.Sprintf("bus: undecodable message %d (global id %d) on %q: %v", e.ID, e.GlobalID, e.Channel, e.Err)
}

// Unwrap returns the cause.
func (e *DecodeError) Unwrap() error { return e.Err }
