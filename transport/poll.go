package transport

import (
	"context"
	"errors"
	"net/http"
	"strconv"
)

// poll answers a query at once with what there is.
func (h *Handler) poll(w http.ResponseWriter, r *http.Request, q *query) {
	pages, err := h.readFirst(r.Context(), q)
	if err != nil {
		h.failRead(w, r, q, err)
		return
	}
	to := recipientOf(q.clientID, q.identity)
	h.answerDigest(w, q, h.firstDigest(q, pages, &to))
}

// answerDigest answers a query that is not held.
func (h *Handler) answerDigest(w http.ResponseWriter, q *query, d *digest) {
	if !q.events {
		h.answer(w, q.header, d.array())
		return
	}
	q.header.Set("Content-Type", eventType)
	h.answer(w, q.header, events{epoch: q.gaps, retry: later()}.first(d, true))
}

// failRead answers a query that the store has failed. A page that asks for
// events gives up for good when it gets any other answer than 200: it is told to
// come again.
func (h *Handler) failRead(w http.ResponseWriter, r *http.Request, q *query, err error) {
	if _, refused := isStatus(err); refused || !q.events || r.Context().Err() != nil {
		h.fail(w, r, err)
		return
	}
	h.options.Logger.ErrorContext(r.Context(), "request failed", "path", r.URL.Path, "error", err)
	h.answerDigest(w, q, &digest{})
}

// answer writes a whole answer. For HEAD net/http leaves the body out.
func (h *Handler) answer(w http.ResponseWriter, header http.Header, body []byte) {
	replaceHeader(w, header)
	h.write(w, body)
}

// write writes the body of an answer that is whole.
func (h *Handler) write(w http.ResponseWriter, body []byte) {
	out := responseWriter{
		w: w, control: http.NewResponseController(w), timeout: h.options.Limits.WriteTimeout, given: context.Background(), whole: true, steps: true,
	}
	_ = out.write([][]byte{body}) // the client may have left; there is nobody to tell
	out.liftDeadline()            // or the next request of the connection would have the deadline
}

// statusCoder is an error that says how it is to be answered.
type statusCoder interface {
	error
	StatusCode() int
}

func isStatus(err error) (statusCoder, bool) { return errors.AsType[statusCoder](err) }

// fail answers an error, unless the application does. What went wrong with the
// application or the store is for the log, and not for the client.
func (h *Handler) fail(w http.ResponseWriter, r *http.Request, err error) {
	if f := h.options.OnError; f != nil && r.Context().Err() == nil {
		answered := false
		h.guard("Options.OnError", func() { answered = f(w, r, err) })
		if answered {
			return
		}
	}
	if refused, ok := errors.AsType[*statusError](err); ok && refused.retry > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(int(refused.retry.Seconds())))
	}
	if known, ok := isStatus(err); ok {
		plain(w, known.StatusCode(), known.Error())
		return
	}
	if r.Context().Err() != nil {
		return // the client has left
	}
	h.options.Logger.ErrorContext(r.Context(), "request failed", "path", r.URL.Path, "error", err)
	plain(w, http.StatusInternalServerError, "internal server error")
}

// plain answers one line of text.
func plain(w http.ResponseWriter, code int, text string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.Header().Set("Content-Length", strconv.Itoa(len(text)))
	if code < 200 || code > 999 {
		code = http.StatusInternalServerError
	}
	w.WriteHeader(code)
	_, _ = w.Write([]byte(text)) //nolint:gosec // plain text, which no browser takes for a page
}

// notFound answers as the gem does, without any header of ours.
func notFound(w http.ResponseWriter) {
	w.Header()["Content-Type"] = nil // or net/http would guess one
	w.WriteHeader(http.StatusNotFound)
	_, _ = w.Write([]byte("not found")) // as in answer
}
