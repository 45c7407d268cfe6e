package bus

import "errors"

// A PublishResult says in a word what became of a publish.
type PublishResult string

// The results.
const (
	PublishOK      PublishResult = "ok"      // it is stored
	PublishQueued  PublishResult = "queued"  // it waits for the store to take writes
	PublishRefused PublishResult = "refused" // what was to be published is wrong
	PublishUnknown PublishResult = "unknown" // it may be stored
	PublishFailed  PublishResult = "failed"  // it is not stored
)

// Result returns what Err comes to.
func (p PublishInfo) Result() PublishResult {
	switch {
	case p.Err == nil:
		return PublishOK
	case errors.Is(p.Err, ErrQueued):
		return PublishQueued
	case errors.Is(p.Err, ErrUnknownOutcome):
		return PublishUnknown
	case errors.Is(p.Err, ErrInvalidChannel), errors.Is(p.Err, ErrInvalidTarget), errors.Is(p.Err, ErrInvalidData),
		errors.Is(p.Err, ErrInvalidLimit), errors.Is(p.Err, ErrTooLarge):
		return PublishRefused
	default:
		return PublishFailed
	}
}
