package httpclient

import (
	"errors"
	"fmt"
	"net/http"
	"time"
)

// ErrClosed is what a subscription's Next returns once the subscription has ended,
// by Close or Unsubscribe, or its client. It is final.
var ErrClosed = errors.New("httpclient: closed")

// A GapError tells that messages of a channel may be lost for good: those with ids
// in the open interval (After, Next). The subscription goes on behind them. Where
// nothing was lost a gap may be told all the same, and never the other way round.
//
// For the reason GapReset the ids began again: After is the last old one that was
// seen, and Next the first new one. A Ruby server tells of no other gaps, and of
// this only where ids go back.
type GapError struct {
	Channel     string
	After, Next int64
	Reason      GapReason
}

// A GapReason says why something may be lost. Servers may know further ones.
type GapReason string

// The reasons for a gap.
const (
	GapTrimmed  GapReason = "trimmed"  // the backlog no longer holds it
	GapPossible GapReason = "possible" // the store cannot tell whether something was trimmed
	GapReset    GapReason = "reset"    // the ids began again
	GapFailover GapReason = "failover" // another server of the store took over, and may lack what came after
)

func (e *GapError) Error() string {
	return fmt.Sprintf("httpclient: gap on %q between ids %d and %d: %s", e.Channel, e.After, e.Next, e.Reason)
}

// A StatusError is an answer with a status other than 200. The client tries again
// by itself, but for 401 and 403: it stops at these unless Options.Refresh is set.
type StatusError struct {
	URL    string // without credentials
	Status int
	Reason string // the beginning of the answer's first line

	// RetryAfter is how long the server asked to wait; 0: it did not.
	RetryAfter time.Duration
}

func (e *StatusError) Error() string {
	text := fmt.Sprintf("httpclient: %s answered %d %s", e.URL, e.Status, http.StatusText(e.Status))
	if e.Reason != "" {
		text += fmt.Sprintf(": %q", e.Reason)
	}
	return text
}

// final reports whether asking again cannot help.
func (e *StatusError) final() bool {
	return e.Status == http.StatusUnauthorized || e.Status == http.StatusForbidden
}

// An AnswerError is an answer that is not what a message bus sends. The client
// tries again by itself.
type AnswerError struct {
	URL         string // without credentials
	ContentType string
	Problem     string // what was wrong, and the beginning of what came
}

func (e *AnswerError) Error() string {
	return fmt.Sprintf("httpclient: the answer of %s, of type %q: %s", e.URL, e.ContentType, e.Problem)
}

// A RefusedError tells that the server does not let this client have a channel.
// Nothing will come on it until the server changes its mind; other channels go on.
type RefusedError struct{ Channel string }

func (e *RefusedError) Error() string {
	return fmt.Sprintf("httpclient: the server refuses the channel %q", e.Channel)
}

// A CallbackError tells that a function of the application panicked.
type CallbackError struct {
	Channel string // of the message that it was called for; empty: it is a function of Options
	Value   any    // what it panicked with
	Stack   []byte
}

func (e *CallbackError) Error() string {
	if e.Channel == "" {
		return fmt.Sprintf("httpclient: a function of Options panicked: %v", e.Value)
	}
	return fmt.Sprintf("httpclient: the callback of %q panicked: %v", e.Channel, e.Value)
}

// Unwrap returns the value where it is an error.
func (e *CallbackError) Unwrap() error {
	err, _ := e.Value.(error)
	return err
}
