package transport

import (
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"time"

	"github.com/messagebus-go/messagebus/bus"
)

// Options are the settings of a Handler. Zero fields mean defaults; no duration
// may be longer than 30 days. The functions are called from many goroutines at
// once; a panic in one is logged and goes no further.
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

	// Authorize is asked about each channel of a request. One that it answers
	// with an error is left out, and is named in the header
	// Message-Bus-Refused of the answer. A panic refuses too. Default: every
	// channel is allowed.
	Authorize func(r *http.Request, id Identity, channel string) error

	// ServerOnly are prefixes of channels that no client gets, whatever
	// Authorize says. They are refused in the same way.
	ServerOnly []string

	// Filters decide about single messages, once their targets allow them.
	Filters []Filter

	// Origins are the origins of other pages whose scripts may use the bus with
	// the cookies of this one: "https://example.com", or
	// "https://*.example.com" for all of its sub-domains. Default: none.
	Origins []string

	// Broadcast switches on {base}message-bus/broadcast, by which a request
	// publishes to everybody: it says who may, by its error, which is answered
	// as that of Identify. Default: there is no such route.
	Broadcast func(r *http.Request, channel string) error

	// WebSocket upgrades requests for {base}message-bus/{client id}/ws, by which
	// a client changes its channels while it is connected. Set it to Accept of
	// module transport/ws. most is how long a message of the client may be; on
	// an error the request has been answered. Pages of other origins than the
	// host that is asked and Origins are refused before. Default: there are no
	// WebSockets.
	WebSocket func(w http.ResponseWriter, r *http.Request, most int64) (Socket, error)

	// Header may add to the headers of an answer, and replace them, but for
	// those that frame it. It runs before Identify, and for OPTIONS too.
	Header func(*http.Request, http.Header)

	// OnError may answer a request that fails: with an error of the
	// application or the store, or because the request is refused, which is
	// an error with a method StatusCode() int. true: it did.
	OnError func(http.ResponseWriter, *http.Request, error) bool

	// TrustedProxies are the addresses of proxies that say in X-Forwarded-For
	// for whom they ask. One that connects by a Unix socket is trusted where any
	// is. Without them the limit by address counts those who connect, and leaves
	// out private networks and the machine itself.
	TrustedProxies []netip.Prefix

	LongPoll LongPollOptions
	Limits   LimitOptions

	Logger *slog.Logger // default: silent
	Trace  *Trace       // default: none
}

// LongPollOptions say how requests are held.
type LongPollOptions struct {
	Disabled       bool          // answer every request at once
	Hold           time.Duration // how long a request is held at most; default 25 s
	DisableChunked bool          // the first message ends a held request, unless it is one for events

	// MaxAge is how old any held connection becomes, up to a tenth more or
	// less, so that those who came together do not leave together. Requests for
	// events and WebSockets are held for so long; for others it matters where it
	// is below Hold. Default 1 h.
	MaxAge time.Duration

	// Heartbeat is how often a stream of events or a WebSocket is given a sign
	// of life, so that no proxy takes it for dead. A client that does not answer
	// by WebSocket within that time is given up. Default 15 s.
	Heartbeat time.Duration

	// Drain is how long Shutdown takes to end the requests that are held, but
	// for few of them, and at most half of the time that its context leaves.
	// Default 5 s.
	Drain time.Duration
}

// LimitOptions bound what clients may use.
type LimitOptions struct {
	// MaxHeld is how many requests are held at a time; further ones are
	// answered at once. Default 1000; negative: none.
	MaxHeld int

	// How many requests are held at a time for one user (of one site), and
	// for the anonymous requests of one address (of IPv6: one /64). More are
	// answered 429. Defaults 100 and 500; negative: no limit.
	MaxHeldPerUser, MaxHeldPerAddress int

	MaxRequestBytes  int64 // of a request's body; more is answered 413. Default 1 MiB
	MaxChannels      int   // of one request; more is answered 400. Default 20000
	MaxChannelBytes  int   // of a channel's name; more is answered 400. Default 4096
	MaxClientIDBytes int   // of a client id as it stands in the path; more is answered 400. Default 1024

	// MaxQueuedBytes is what may wait for one held client. What exceeds it is
	// dropped, and read from the backlog when the client has caught up. It bounds
	// the first part of an answer too: the rest follows in further parts or, where
	// there is one only, when the client asks again. One message may be larger.
	// Default 1 MiB.
	MaxQueuedBytes int

	// ReadTimeout is how long a request's body may take to arrive; what takes
	// longer is answered 408. Default 15 s.
	ReadTimeout time.Duration

	// WriteTimeout is how long a client may take for 16 KiB, or for less where
	// there is no more, before it is cut off. Default 10 s.
	WriteTimeout time.Duration
}

// The gem's defaults (message_bus 4.5.2, lib/message_bus.rb), and our own for
// what it does not bound.
const (
	defaultHold              = 25 * time.Second
	defaultMaxAge            = time.Hour
	defaultHeartbeat         = 15 * time.Second
	defaultDrain             = 5 * time.Second
	defaultMaxHeld           = 1000
	defaultMaxHeldPerUser    = 100
	defaultMaxHeldPerAddress = 500
	defaultMaxRequestBytes   = 1 << 20
	defaultMaxChannels       = 20000
	defaultMaxChannelBytes   = 4096
	defaultMaxClientIDBytes  = 1024
	defaultMaxQueuedBytes    = 1 << 20
	defaultReadTimeout       = 15 * time.Second
	defaultWriteTimeout      = 10 * time.Second
)

// resolve checks the options and fills in the defaults.
func (o *Options) resolve() (Options, error) {
	r := *o
	if err := r.checkRanges(); err != nil {
		return r, err
	}
	r.LongPoll.setDefaults()
	r.Limits.setDefaults()
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

// maxDuration is the longest that a setting may be, so that several of them can
// be added up.
const maxDuration = 30 * 24 * time.Hour

func (o *Options) checkRanges() error {
	for name, d := range map[string]time.Duration{
		"LongPoll.Hold": o.LongPoll.Hold, "LongPoll.MaxAge": o.LongPoll.MaxAge, "LongPoll.Heartbeat": o.LongPoll.Heartbeat, "LongPoll.Drain": o.LongPoll.Drain,
		"Limits.ReadTimeout": o.Limits.ReadTimeout, "Limits.WriteTimeout": o.Limits.WriteTimeout,
	} {
		if d < 0 || d > maxDuration {
			return fmt.Errorf("transport: %s is %v; it must be 0 (the default) to %v", name, d, maxDuration)
		}
	}
	for name, n := range map[string]int64{
		"MaxRequestBytes": o.Limits.MaxRequestBytes, "MaxChannels": int64(o.Limits.MaxChannels),
		"MaxChannelBytes": int64(o.Limits.MaxChannelBytes), "MaxClientIDBytes": int64(o.Limits.MaxClientIDBytes),
		"MaxQueuedBytes": int64(o.Limits.MaxQueuedBytes),
	} {
		if n < 0 {
			return fmt.Errorf("transport: Limits.%s is %d; it must be 0 (the default) or more", name, n)
		}
	}
	return nil
}

func (o *LongPollOptions) setDefaults() {
	setDefault(&o.Hold, defaultHold)
	setDefault(&o.MaxAge, defaultMaxAge)
	setDefault(&o.Heartbeat, defaultHeartbeat)
	setDefault(&o.Drain, defaultDrain)
}

func (o *LimitOptions) setDefaults() {
	setDefault(&o.MaxHeld, defaultMaxHeld)
	setDefault(&o.MaxHeldPerUser, defaultMaxHeldPerUser)
	setDefault(&o.MaxHeldPerAddress, defaultMaxHeldPerAddress)
	setDefault(&o.MaxRequestBytes, defaultMaxRequestBytes)
	setDefault(&o.MaxChannels, defaultMaxChannels)
	setDefault(&o.MaxChannelBytes, defaultMaxChannelBytes)
	setDefault(&o.MaxClientIDBytes, defaultMaxClientIDBytes)
	setDefault(&o.MaxQueuedBytes, defaultMaxQueuedBytes)
	setDefault(&o.ReadTimeout, defaultReadTimeout)
	setDefault(&o.WriteTimeout, defaultWriteTimeout)
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

// prefixesOf returns the paths below which requests are ours: as the base was
// written, as browsers send it, and as proxies that escape in lower case do. Any
// other spelling might pass a proxy's rules for these paths.
func prefixesOf(base string) []string {
	const last = "message-bus/"
	prefixes := []string{base + last}
	if escaped := (&url.URL{Path: base}).EscapedPath(); escaped != base {
		prefixes = append(prefixes, escaped+last, lowerEscapes(escaped)+last)
	}
	return prefixes
}

func lowerEscapes(path string) string {
	parts := strings.Split(path, "%")
	for i := 1; i < len(parts); i++ {
		parts[i] = strings.ToLower(parts[i][:2]) + parts[i][2:]
	}
	return strings.Join(parts, "%")
}

// An Identity is who sends a request, as Options.Identify tells.
type Identity struct {
	// UserID is the user; the zero ID: anonymous. Messages for users reach
	// those whose id is equal: 7 and "7" are two users.
	UserID bus.ID

	GroupIDs []bus.ID // they must not be changed afterwards

	// Site is the site that the client belongs to; empty: none, unless Sited.
	// Its channels are those of the site, and the ones below /global/.
	Site string

	// Sited: Site is a site even where it is empty. Where a Ruby peer's look-up
	// of the site answers nil, that is the site which it means.
	Sited bool

	// Expires is when the identity ends, as that of a token does. A request
	// that is held then is answered, and a later one refused with 401. Zero:
	// never.
	Expires time.Time
}

func (id *Identity) sited() bool { return id.Sited || id.Site != "" }
