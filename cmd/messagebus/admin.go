package main

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/messagebus-go/messagebus/bus"
	"github.com/messagebus-go/messagebus/cmd/messagebus/internal/dashboard"
)

// maxPublishBytes is the largest body of POST /publish: the largest message
// of the bus, and something for the names around it.
const maxPublishBytes = 9 << 20

// adminWriteTimeout is how long one line of an answer may take.
const adminWriteTimeout = 10 * time.Second

// admin is the handler for operators: it publishes for and reads as anybody.
// It must never be reachable by the public.
type admin struct {
	service local
	held    func() int                        // how many requests are held on the public listener
	key     atomic.Pointer[[sha256.Size]byte] // its sum; nil: who reaches the listener is let in, but for browsers
	wrong   penalty
	metrics http.Handler

	sessions  dashboard.Sessions
	dashboard *dashboard.Dashboard
}

func newAdmin(b *bus.Bus, held func() int, key string, metrics http.Handler) *admin {
	a := &admin{service: local{b}, held: held, metrics: metrics}
	a.setKey(key)
	return a
}

// setKey exchanges the key; empty: none.
func (a *admin) setKey(key string) {
	if key == "" {
		a.key.Store(nil)
		return
	}
	sum := sha256.Sum256([]byte(key))
	a.key.Store(&sum)
}

// adminRoute is one path of the admin listener.
type adminRoute struct {
	methods []string
	answer  func(*admin, http.ResponseWriter, *http.Request) error
}

var adminRoutes = map[string]adminRoute{
	"/publish":      {[]string{http.MethodPost}, (*admin).publish},
	"/health":       {[]string{http.MethodGet, http.MethodHead}, (*admin).health},
	"/backlog":      {[]string{http.MethodGet}, (*admin).backlog},
	"/last-id":      {[]string{http.MethodGet}, (*admin).lastIDs},
	"/subscribe":    {[]string{http.MethodGet}, (*admin).subscribe},
	"/metrics":      {[]string{http.MethodGet}, (*admin).measure},
	"/api/overview": {[]string{http.MethodGet}, (*admin).overview},
	"/api/channel":  {[]string{http.MethodGet}, (*admin).look},
}

// refusal is an error with the status that answers it.
type refusal struct {
	status int
	reason string
}

func (e *refusal) Error() string { return e.reason }

// StatusCode is what transport.Options.Identify asks an error for.
func (e *refusal) StatusCode() int { return e.status }

func refuse(status int, format string, args ...any) error {
	return &refusal{status, fmt.Sprintf(format, args...)}
}

// errorLine is the body of every answer that is no success.
type errorLine struct {
	Error string `json:"error"`
}

func (a *admin) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w = &adminWriter{ResponseWriter: w, control: http.NewResponseController(w)}
	dashboard.Guard(w.Header())
	switch {
	case r.URL.Path == "/":
		http.Redirect(w, r, dashboard.Path, http.StatusSeeOther)
		return
	case strings.HasPrefix(r.URL.Path, dashboard.Path):
		a.dashboard.ServeHTTP(w, r)
		return
	}
	if err := a.handle(w, r); err != nil {
		status := statusOf(err)
		if status == http.StatusUnauthorized {
			w.Header().Set("WWW-Authenticate", `Bearer realm="messagebus"`)
		}
		answer(w, status, errorLine{oneLine(err.Error())})
	}
}

// handle answers r, or returns an error and has answered nothing.
func (a *admin) handle(w http.ResponseWriter, r *http.Request) error {
	if err := a.admit(r); err != nil {
		return err
	}
	route, found := adminRoutes[r.URL.Path]
	if !found {
		return refuse(http.StatusNotFound, "there is no %s; there are: %s",
			clip(r.URL.Path), strings.Join(slices.Sorted(maps.Keys(adminRoutes)), ", "))
	}
	if !slices.Contains(route.methods, r.Method) {
		allowed := strings.Join(route.methods, ", ")
		w.Header().Set("Allow", allowed)
		return refuse(http.StatusMethodNotAllowed, "%s does not take %s; it takes %s", r.URL.Path, clip(r.Method), allowed)
	}
	return route.answer(a, w, r)
}

// statusOf returns the status for an error of the admin's own or of the bus.
func statusOf(err error) int {
	var own *refusal
	var long *http.MaxBytesError
	switch {
	case errors.As(err, &own):
		return own.status
	case errors.As(err, &long), errors.Is(err, bus.ErrTooLarge):
		return http.StatusRequestEntityTooLarge
	case refused(err):
		return http.StatusBadRequest
	case errors.Is(err, bus.ErrUnknownOutcome):
		return http.StatusInternalServerError
	default: // read-only, closed, out of reach
		return http.StatusServiceUnavailable
	}
}

func (a *admin) publish(w http.ResponseWriter, r *http.Request) error {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxPublishBytes))
	var long *http.MaxBytesError
	switch {
	case errors.As(err, &long):
		return refuse(http.StatusRequestEntityTooLarge, "the body is longer than %d bytes", long.Limit)
	case err != nil:
		return refuse(http.StatusBadRequest, "the body cannot be read: %v", err)
	}
	p, err := parsePublication(body)
	if err != nil {
		return refuse(http.StatusBadRequest, "%v", err)
	}
	id, err := a.service.publish(r.Context(), p)
	switch {
	case errors.Is(err, bus.ErrQueued):
		answer(w, http.StatusAccepted, published{Queued: true})
	case err != nil:
		return err
	default:
		answer(w, http.StatusOK, published{ID: id})
	}
	return nil
}

// healthAnswer is the body of GET /health.
type healthAnswer struct {
	OK          bool     `json:"ok"`
	Reasons     []string `json:"reasons"`
	Listening   bool     `json:"listening"`
	ReadOnly    bool     `json:"read_only"`
	Held        int      `json:"held"`
	Queued      int      `json:"queued"`
	GivenUp     uint64   `json:"given_up"`
	Gaps        uint64   `json:"gaps"`
	Undecodable uint64   `json:"undecodable"`
	Late        uint64   `json:"late"`
}

func (a *admin) health(w http.ResponseWriter, _ *http.Request) error {
	h := a.service.bus.Health()
	status := http.StatusOK
	if !h.OK {
		status = http.StatusServiceUnavailable
	}
	answer(w, status, healthAnswer{
		OK: h.OK, Reasons: append([]string{}, h.Reasons...), Listening: h.Listening,
		ReadOnly: h.ReadOnly, Held: a.held(), Queued: h.Queued, GivenUp: h.GivenUp,
		Gaps: h.Gaps, Undecodable: h.Undecodable, Late: h.Late,
	})
	return nil
}

// measure answers with the metrics, as Prometheus reads them.
func (a *admin) measure(w http.ResponseWriter, r *http.Request) error {
	a.metrics.ServeHTTP(w, r)
	return nil
}

func (a *admin) backlog(w http.ResponseWriter, r *http.Request) error {
	p, err := parameters(r, "channel", "site", "after", "last")
	if err != nil {
		return err
	}
	q := backlogQuery{channel: p.one("channel"), site: p.site()}
	if p.has("after") {
		q.after, err = parameter(p, "after", parseID)
	}
	if p.has("last") && err == nil {
		q.last, err = parameter(p, "last", optional(count(0)))
	}
	switch {
	case err != nil:
		return err
	case q.last != nil && p.has("after"):
		return refuse(http.StatusBadRequest, "after and last exclude each other")
	case len(p["channel"]) != 1:
		return refuse(http.StatusBadRequest, "the parameter channel must be there once")
	}
	return read(w, func(out *lines) error { return a.service.backlog(r.Context(), q, out) })
}

func (a *admin) lastIDs(w http.ResponseWriter, r *http.Request) error {
	p, err := parameters(r, "channel", "site")
	if err != nil {
		return err
	}
	q := lastIDQuery{channels: p["channel"], site: p.site()}
	return read(w, func(out *lines) error { return a.service.lastIDs(r.Context(), q, out) })
}

func (a *admin) subscribe(w http.ResponseWriter, r *http.Request) error {
	p, err := parameters(r, "channel", "site", "from")
	if err != nil {
		return err
	}
	q := subscribeQuery{channels: p["channel"], site: p.site(), from: fromLatest}
	if p.has("from") {
		if q.from, err = parameter(p, "from", parseStart); err != nil {
			return err
		}
	}
	return read(w, func(out *lines) error { return a.service.subscribe(r.Context(), q, out) })
}

// read answers with lines. An error of a write needs no answer: whoever should
// read it has gone, or does not read.
func read(w http.ResponseWriter, answer func(*lines) error) error {
	w.Header().Set("Content-Type", "application/x-ndjson")
	err := answer(&lines{w: w, flush: http.NewResponseController(w).Flush})
	var output *outputError
	if errors.As(err, &output) || errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}

// answer answers with one line.
func answer(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.WriteHeader(status)
	_ = encode(w, body) // the status is out; a client that has gone reads neither
}

// query is what stands behind the question mark.
type query url.Values

// parameters reads the query: only what is known, and at least one channel.
func parameters(r *http.Request, known ...string) (query, error) {
	values, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return nil, refuse(http.StatusBadRequest, "the query cannot be read: %v", err)
	}
	for name, all := range values {
		if !slices.Contains(known, name) {
			return nil, refuse(http.StatusBadRequest, "unknown parameter %q; accepted are: %s", clip(name), strings.Join(known, ", "))
		}
		if len(all) > 1 && name != "channel" {
			return nil, refuse(http.StatusBadRequest, "the parameter %s is there twice", name)
		}
	}
	if len(values["channel"]) == 0 {
		return nil, refuse(http.StatusBadRequest, "the parameter channel is missing")
	}
	return query(values), nil
}

func (q query) has(name string) bool   { return len(q[name]) > 0 }
func (q query) one(name string) string { return url.Values(q).Get(name) }

func (q query) site() *string {
	if !q.has("site") {
		return nil
	}
	site := q.one("site")
	return &site
}

// parameter reads one parameter as the flag of that name is read.
func parameter[T any](q query, name string, parse func(string) (T, error)) (T, error) {
	value, err := parse(q.one(name))
	if err != nil {
		return value, refuse(http.StatusBadRequest, "%s is %q: %v", name, clip(q.one(name)), err)
	}
	return value, nil
}

// adminWriter gives each write a deadline of its own.
type adminWriter struct {
	http.ResponseWriter

	control *http.ResponseController
}

func (w *adminWriter) Write(b []byte) (int, error) {
	if err := w.control.SetWriteDeadline(time.Now().Add(adminWriteTimeout)); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return 0, err
	}
	return w.ResponseWriter.Write(b)
}

// Unwrap is for http.ResponseController.
func (w *adminWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }
