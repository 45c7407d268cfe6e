package transport

import (
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"github.com/messagebus-go/messagebus/bus"
)

// Options are the settings of a Handler. Zero fields mean defaults. The
// functions are called from many goroutines at once; a panic in one is logged
// and goes no further.
type Options struct {
	// BasePath is the path below which message-bus/ lies. Slashes are added
	// and doubled ones dropped: "/foo", "foo/" and "//foo//" are all /foo/.
	// Default "/".
	BasePath string

	// Identify says who sends a request, from its session or token. An error
	// with a method StatusCode() int is answered with that status and its
	// text, any other error, and a panic, with 500. Default: everyone is
	// anonymous, without groups and without a site.
	Identify func(*http.Request) (Identity, error)

	// Header may add to the headers of an answer, and replace them, but for
	// those that frame it. It runs before Identify, and for OPTIONS too.
	Header func(*http.Request, http.Header)

	LongPoll LongPollOptions
	Limits   LimitOptions

	Logger *slog.Logger // default: silent
	Trace  *Trace       // default: none
}

// LongPollOptions say how requests are held.
type LongPollOptions struct {
	Disabled       bool          // answer every request at once
	Hold           time.Duration // how long a request is held at most; default 25 s
	DisableChunked bool          // the first message ends a held request
}

// LimitOptions bound what clients may use.
type LimitOptions struct {
	// MaxHeld is how many requests are held at a time; further ones are
	// answered at once. Default 1000; negative: none.
	MaxHeld int

	MaxRequestBytes int64 // of a request's body; more is answered 413. Default 1 MiB
	MaxChannels     int   // of one request; more is answered 400. Default 20000

	// MaxQueuedBytes is what may wait for one held client. What exceeds it is
	// dropped, and read from the backlog when the client has caught up. One
	// message may be larger. Default 1 MiB.
	MaxQueuedBytes int

	// WriteTimeout is how long a write to a client may make no progress
	// before the client is cut off. Default 10 s.
	WriteTimeout time.Duration
}

// The gem's defaults (message_bus 4.5.2, lib/message_bus.rb), and our own for
// what it does not bound.
const (
	defaultHold            = 25 * time.Second
	defaultMaxHeld         = 1000
	defaultMaxRequestBytes = 1 << 20
	defaultMaxChannels     = 20000
	defaultMaxQueuedBytes  = 1 << 20
	defaultWriteTimeout    = 10 * time.Second
)

// resolve checks the options and fills in the defaults.
func (o *Options) resolve() (Options, error) {
	r := *o
	if r.LongPoll.Hold < 0 || r.Limits.WriteTimeout < 0 {
		return r, fmt.Errorf("transport: LongPoll.Hold is %v and Limits.WriteTimeout %v; both must be 0 (the default) or more",
			r.LongPoll.Hold, r.Limits.WriteTimeout)
	}
	if r.Limits.MaxRequestBytes < 0 || r.Limits.MaxChannels < 0 || r.Limits.MaxQueuedBytes < 0 {
		return r, fmt.Errorf("transport: Limits.MaxRequestBytes is %d, MaxChannels %d, MaxQueuedBytes %d; all must be 0 (the default) or more",
			r.Limits.MaxRequestBytes, r.Limits.MaxChannels, r.Limits.MaxQueuedBytes)
	}
	setDefault(&r.LongPoll.Hold, defaultHold)
	setDefault(&r.Limits.MaxHeld, defaultMaxHeld)
	setDefault(&r.Limits.MaxRequestBytes, defaultMaxRequestBytes)
	setDefault(&r.Limits.MaxChannels, defaultMaxChannels)
	setDefault(&r.Limits.MaxQueuedBytes, defaultMaxQueuedBytes)
	setDefault(&r.Limits.WriteTimeout, defaultWriteTimeout)
	if r.Identify == nil {
		r.Identify = func(*http.Request) (Identity, error) { return Identity{}, nil }
	}
	if r.Header == nil {
		r.Header = func(*http.Request, http.Header) {}
	}
	if r.Logger == nil {
		r.Logger = slog.New(slog.DiscardHandler)
	}
	if r.Trace == nil {
		r.Trace = &Trace{}
	}
	r.BasePath = normalisePath(r.BasePath)
	return r, nil
}

func setDefault[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

// normalisePath returns path with one slash at both ends and between its parts.
func normalisePath(path string) string {
	parts := strings.FieldsFunc(path, func(r rune) bool { return r == '/' })
	if len(parts) == 0 {
		return "/"
	}
	return "/" + strings.Join(parts, "/") + "/"
}

// An Identity is who sends a request, as Options.Identify tells.
type Identity struct {
	// UserID is the user; the zero ID: anonymous. Messages for users reach
	// those whose id is equal: 7 and "7" are two users.
	UserID bus.ID

	GroupIDs []bus.ID

	// Site is the site that the client belongs to; empty: none. Its channels
	// are those of the site, and the ones below /global/.
	Site string
}
