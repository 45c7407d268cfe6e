package transport

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/messagebus-go/messagebus/bus"
)

// query is what a client asks for.
type query struct {
	clientID string
	identity Identity
	holder   holder
	header   http.Header // of the answer
	asks     []ask       // in the order of the body, each channel once
	seq      int64
	refused  []string // channels that it may not have
	events   bool     // the answer is a stream of events
	resumed  *mark    // where the client was, on all channels; nil: it is new
	chunks   bool     // the client takes chunks
	gaps     bool     // the client is told of gaps
}

// ask is one channel of a query.
type ask struct {
	channel string
	last    int64 // as on the wire: -1 and below have meanings of their own
	fromNow bool  // there was no last id
	mark    *mark // what else the client knows; nil: nothing
	event   *mark // the last event that it has, of all channels; nil: there is none
}

// announce is the last id of a client that wants new messages only, and to be
// told where the channel stands.
const announce = -1

// position is from where the channel is read. A last id of -k asks for the
// newest k-1 messages, of which it gets so many at most.
func (a ask) position(most int) bus.Position {
	switch {
	case a.event != nil:
		return a.afterEvent()
	case a.fromNow || a.last == announce:
		return bus.Latest()
	case a.last < announce:
		return bus.Last(int(min(-(a.last + 1), int64(most))))
	case a.mark != nil:
		return bus.Resume(a.last, a.mark.globalID, a.mark.epoch)
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
	path := rawPath(r)
	for _, prefix := range h.prefixes {
		if rest, ours := strings.CutPrefix(path, prefix); ours {
			return rest, true
		}
	}
	return "", false
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

// checkClientID refuses what no client of ours calls itself. NUL cannot stand
// in a path.
func (h *Handler) checkClientID(id string) error {
	switch most := h.options.Limits.MaxClientIDBytes; {
	case len(id) > most:
		return badRequest("the client id is %d bytes long; at most %d are accepted", len(id), most)
	case !utf8.ValidString(id):
		return badRequest("the client id is not valid UTF-8")
	}
	return nil
}

// statusError is an error that is answered with a status of its own.
type statusError struct {
	status int
	text   string
	retry  time.Duration // when the client may try again; 0: that is not said
}

func (e *statusError) Error() string { return e.text }

// StatusCode is how the error is answered.
func (e *statusError) StatusCode() int { return e.status }

func badRequest(format string, args ...any) error {
	return &statusError{status: http.StatusBadRequest, text: fmt.Sprintf(format, args...)}
}

// identify asks the application who sends r.
func (h *Handler) identify(r *http.Request) (id Identity, err error) {
	err = errPanic
	h.guard("Options.Identify", func() { id, err = h.options.Identify(r) })
	switch {
	case err != nil:
		return id, fmt.Errorf("identify: %w", err)
	case id.isOver():
		return id, &statusError{status: http.StatusUnauthorized, text: "the identity has expired"}
	}
	return id, nil
}

var errPanic = errors.New("it panicked")

// read takes what the client asks for out of r.
func (h *Handler) read(w http.ResponseWriter, r *http.Request, q *query) error {
	if q.events {
		return h.readEvents(w, r, q)
	}
	body, err := h.readBody(w, r)
	if err != nil {
		return err
	}
	all, err := parseBody(r.Method, r.Header.Get("Content-Type"), body, &h.options.Limits)
	if err != nil {
		return err
	}
	q.asks, q.seq, q.gaps = all.asks, all.seq, all.positions != ""
	q.chunks = h.takesChunks(r) && flows(w)
	return nil
}

// readBody reads a body within the limits. The time that it may take is bounded
// here, and not by the server alone, which may have no such bound.
func (h *Handler) readBody(w http.ResponseWriter, r *http.Request) ([]byte, error) {
	control := http.NewResponseController(w)
	limited := control.SetReadDeadline(time.Now().Add(h.options.Limits.ReadTimeout)) == nil
	most := h.options.Limits.MaxRequestBytes
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, most))
	if limited {
		_ = control.SetReadDeadline(time.Time{}) // or it would end the hold
	}
	switch {
	case err == nil:
		return body, nil
	case isTooLarge(err):
		return nil, &statusError{status: http.StatusRequestEntityTooLarge, text: fmt.Sprintf("the body is larger than %d bytes", most)}
	case errors.Is(err, os.ErrDeadlineExceeded):
		w.Header().Set("Connection", "close")
		return nil, &statusError{status: http.StatusRequestTimeout, text: fmt.Sprintf("the body took longer than %v", h.options.Limits.ReadTimeout)}
	default: // its text names addresses
		w.Header().Set("Connection", "close")
		return nil, badRequest("the body cannot be read to its end")
	}
}

func isTooLarge(err error) bool {
	_, ok := errors.AsType[*http.MaxBytesError](err)
	return ok
}

// takesChunks reports whether the answer may come in parts. Any value of
// Dont-Chunk counts.
func (h *Handler) takesChunks(r *http.Request) bool {
	_, refused := r.Header["Dont-Chunk"]
	return r.ProtoAtLeast(1, 1) && !refused && !h.options.LongPoll.DisableChunked
}

// flows reports whether parts of an answer reach the client one by one: on a
// connection that can be taken over, or by a writer that can flush.
func flows(w http.ResponseWriter) bool {
	for {
		switch known := w.(type) {
		case http.Hijacker, http.Flusher, interface{ FlushError() error }:
			return true
		case interface{ Unwrap() http.ResponseWriter }:
			w = known.Unwrap()
		default:
			return false
		}
	}
}

// mayHold reports whether r may be held at all. The parameter is looked for
// anywhere in the query, as the gem does.
func (h *Handler) mayHold(r *http.Request) bool {
	return !h.options.LongPoll.Disabled && r.Method != http.MethodHead && !strings.Contains(r.URL.RawQuery, "dlp=t")
}
