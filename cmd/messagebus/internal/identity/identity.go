// Package identity says who sends a request, and which channels it may have: by
// a header of a proxy, by a token, or by asking the application.
//
// No error that reaches a client, and no line of the log, repeats a token, a
// cookie or a key.
package identity

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/messagebus-go/messagebus/cmd/messagebus/internal/strictjson"
	"github.com/messagebus-go/messagebus/transport"
)

// An Identity is who sends a request.
type Identity struct {
	transport.Identity

	// Channels are those that it may have, beside what the server's own rules
	// say; nil: no restriction.
	Channels Patterns
}

// A Source finds out who sends a request. It is safe for concurrent use. Its
// errors are *Error, or those of the request's context.
type Source interface {
	Identify(r *http.Request) (Identity, error)

	// Close ends what goes on; later requests may be refused.
	Close()
}

// An Error is why a request has no identity.
type Error struct {
	Status     int           // that answers the request
	Reason     string        // for the client: nothing that helps to guess
	Challenge  string        // the value of WWW-Authenticate; empty: none
	RetryAfter time.Duration // whole seconds; 0: not said

	// Cause is for the log, and may be nil.
	Cause error
}

func (e *Error) Error() string { return e.Reason }

func (e *Error) Unwrap() error { return e.Cause }

// StatusCode is what transport.Options.Identify asks an error for.
func (e *Error) StatusCode() int { return e.Status }

// retryAfter is when a client comes again whose identity could not be found out.
const retryAfter = 5 * time.Second

// unavailable is the error where nobody can say who sends a request: nobody is
// let in.
func unavailable(cause error) *Error {
	return &Error{
		Status: http.StatusServiceUnavailable, RetryAfter: retryAfter, Cause: cause,
		Reason: "who sends this request cannot be found out at the moment",
	}
}

// Parse reads an identity as an application writes it:
// {"user":5,"groups":[1,"staff"],"site":"a","channels":["/a/*"],"expires":1767225600}.
// Null members are as good as absent ones, but for channels, whose absence
// allows all of them: an empty list allows none. An empty site is a site.
func Parse(value []byte) (Identity, error) {
	var id Identity
	err := strictjson.Members{
		"user":     orNull(strictjson.Into(&id.UserID, strictjson.ID)),
		"groups":   strictjson.Into(&id.GroupIDs, strictjson.IDs),
		"site":     siteOf(&id),
		"channels": strictjson.Into(&id.Channels, decodePatterns),
		"expires":  orNull(strictjson.Into(&id.Expires, decodeTime)),
	}.Decode(value)
	if err != nil {
		return Identity{}, err
	}
	return id, nil
}

// orNull returns a reader to which null is as good as an absent value.
func orNull(read func(json.RawMessage) error) func(json.RawMessage) error {
	return func(raw json.RawMessage) error {
		if strictjson.IsNull(raw) {
			return nil
		}
		return read(raw)
	}
}

// siteOf returns a reader of the site. The one with the empty name is where the
// gem is when its look-up answers nil.
func siteOf(id *Identity) func(json.RawMessage) error {
	return orNull(func(raw json.RawMessage) (err error) {
		id.Site, err = decodeSite(raw)
		id.Sited = err == nil
		return err
	})
}

// decodeSite refuses a name that no site can have: what stands in stored names
// would be read as something else.
func decodeSite(raw json.RawMessage) (string, error) {
	site, err := strictjson.String(raw)
	for _, bad := range []string{"$|$", "$$123$$", "\x00"} {
		if err == nil && strings.Contains(site, bad) {
			err = fmt.Errorf("%q is no site: it contains %q", strictjson.Clip(site, 60), bad)
		}
	}
	return site, err
}

// decodePatterns refuses null: whoever writes it may mean none, or all.
func decodePatterns(raw json.RawMessage) (Patterns, error) {
	texts, err := strictjson.Strings(raw)
	if err != nil {
		return nil, err
	}
	if texts == nil {
		return nil, errors.New(`null is no list; leave it out to allow all channels, or name some, such as ["/news","/user/5/*"]`)
	}
	if len(texts) > maxPatterns {
		return nil, fmt.Errorf("%d patterns; at most %d are accepted", len(texts), maxPatterns)
	}
	all := make(Patterns, len(texts))
	for i, text := range texts {
		if all[i], err = ParsePattern(text); err != nil {
			return nil, err
		}
	}
	return all, nil
}

// lastTime is the end of the year 9999, the last that RFC 3339 can write.
const lastTime = 253402300799

// decodeTime takes the seconds since 1970, of which a fraction is cut off.
func decodeTime(raw json.RawMessage) (time.Time, error) {
	var seconds *float64
	if err := json.Unmarshal(raw, &seconds); err != nil || seconds == nil || *seconds < 0 || *seconds > lastTime {
		return time.Time{}, fmt.Errorf("%s is no time; it is the seconds since 1970", strictjson.Clip(string(raw), 60))
	}
	return time.Unix(int64(*seconds), 0), nil
}
