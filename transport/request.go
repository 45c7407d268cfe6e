package transport

import (
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/url"
	"strings"

	"github.com/messagebus-go/messagebus/bus"
)

// query is what a client asks for.
type query struct {
	clientID string
	identity Identity
	header   http.Header // of the answer
	asks     []ask       // in the order of the body, each channel once
	seq      int64
	chunks   bool // the client takes chunks
}

// ask is one channel of a query.
type ask struct {
	channel string
	last    int64 // as on the wire: -1 and below have meanings of their own
	fromNow bool  // there was no last id
}

// announce is the last id of a client that wants new messages only, and to be
// told where the channel stands.
const announce = -1

// position is from where the channel is read. A last id of -k asks for the
// newest k-1 messages.
func (a ask) position() bus.Position {
	switch {
	case a.fromNow || a.last == announce:
		return bus.Latest()
	case a.last < announce:
		return bus.Last(int(min(-(a.last + 1), math.MaxInt32)))
	default:
		return bus.After(a.last)
	}
}

// rawPath is the path as the client sent it, less what a prefix that was
// stripped before has taken.
func rawPath(r *http.Request) string {
	if raw := r.URL.RawPath; raw != "" {
		if path, err := url.PathUnescape(raw); err == nil && path == r.URL.Path {
			return raw
		}
	}
	return r.URL.EscapedPath()
}

// below returns what follows the base path, undecoded; false: the request is
// not ours.
func (h *Handler) below(r *http.Request) (string, bool) {
	return strings.CutPrefix(rawPath(r), h.prefix)
}

// clientID is the first segment of rest, which may be empty if another one
// follows.
func clientID(rest string) (string, bool) {
	if strings.Trim(rest, "/") == "" {
		return "", false
	}
	id, _, _ := strings.Cut(rest, "/")
	return id, true
}

// statusError is an error that is answered with a status of its own.
type statusError struct {
	status int
	text   string
}

func (e *statusError) Error() string { return e.text }

// StatusCode is how the error is answered.
func (e *statusError) StatusCode() int { return e.status }

func badRequest(format string, args ...any) error {
	return &statusError{http.StatusBadRequest, fmt.Sprintf(format, args...)}
}

// identify asks the application who sends r.
func (h *Handler) identify(r *http.Request) (id Identity, err error) {
	err = errPanic
	h.guard("Options.Identify", func() { id, err = h.options.Identify(r) })
	if err != nil {
		return id, fmt.Errorf("identify: %w", err)
	}
	return id, nil
}

var errPanic = errors.New("it panicked")

// read takes what the client asks for out of r.
func (h *Handler) read(w http.ResponseWriter, r *http.Request, q *query) error {
	limit := h.options.Limits.MaxRequestBytes
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, limit))
	if tooLarge := (*http.MaxBytesError)(nil); errors.As(err, &tooLarge) {
		return &statusError{http.StatusRequestEntityTooLarge, fmt.Sprintf("the body is larger than %d bytes", limit)}
	}
	if err != nil {
		return badRequest("the body cannot be read: %v", err)
	}
	q.asks, q.seq, err = parseBody(r.Method, r.Header.Get("Content-Type"), body, h.options.Limits.MaxChannels)
	q.chunks = h.takesChunks(r)
	return err
}

// takesChunks reports whether the answer may come in parts. Any value of
// Dont-Chunk counts.
func (h *Handler) takesChunks(r *http.Request) bool {
	_, refused := r.Header["Dont-Chunk"]
	return r.ProtoAtLeast(1, 1) && !refused && !h.options.LongPoll.DisableChunked
}

// mayHold reports whether r may be held at all. The parameter is looked for
// anywhere in the query, as the gem does.
func (h *Handler) mayHold(r *http.Request) bool {
	return !h.options.LongPoll.Disabled && r.Method != http.MethodHead && !strings.Contains(r.URL.RawQuery, "dlp=t")
}
