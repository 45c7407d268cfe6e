package driver

import "errors"

// What package bus asks of a driver's error with errors.Is.
var (
	// ErrReadOnly: the store refuses writes at the moment; nothing was stored.
	ErrReadOnly = errors.New("the store is read-only")

	// ErrUnknownOutcome: the publish was sent and its answer was lost. The
	// message may have been stored and announced, or not.
	ErrUnknownOutcome = errors.New("the outcome of the publish is unknown")

	// ErrClosed: the Backend or the Stream was closed.
	ErrClosed = errors.New("closed")

	// ErrFeedOverflow: the reader of a Stream was too slow and its buffer was full.
	ErrFeedOverflow = errors.New("the feed's buffer is full")
)
