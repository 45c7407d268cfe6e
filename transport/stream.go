package transport

import (
	"context"
	"errors"
	"net/http"
	"strconv"
	"time"
)

// stream holds a request whose connection cannot be taken over, as with HTTP/2:
// the handler's goroutine waits, and net/http frames what it writes.
func (h *Handler) stream(w http.ResponseWriter, r *http.Request, c *client, q *query, d *digest) {
	out := responseWriter{w: w, control: http.NewResponseController(w), timeout: h.options.Limits.WriteTimeout, given: h.ctx}
	c.wakeup = make(chan struct{}, 1)
	c.endless = !out.liftDeadline() // the server's timeout for answers would end the hold
	defer h.clients.closed(c)
	h.begin(c, q, d)
	defer h.cut(c, Left) // if the writer panics
	out.setHeader(q, r)
	defer out.timeEnd()
	defer out.abortWith(h.ctx)()
	var b batch
	for {
		select {
		case <-c.wakeup:
		case <-r.Context().Done():
			h.cut(c, Left)
			return
		}
		if over := h.send(c, &out, &b); over {
			return
		}
	}
}

// A partWriter writes parts, and waits until they are written.
type partWriter interface{ write(parts [][]byte) error }

// send writes what waits for c; true: that was the last of it.
func (h *Handler) send(c *client, out partWriter, b *batch) (over bool) {
	c.take(b)
	if b.read {
		h.catchUp(c, b.slow)
	}
	if len(b.parts) == 0 {
		return c.isOver()
	}
	if b.last {
		h.retire(c)
	}
	if err := out.write(b.parts); err != nil {
		h.cut(c, whyCut(err))
		return true
	}
	if c.wrote() {
		c.wake()
	}
	return b.last
}

func (c *client) isOver() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.state == over
}

// responseWriter writes parts by way of net/http.
type responseWriter struct {
	w       http.ResponseWriter
	control *http.ResponseController
	timeout time.Duration
	given   context.Context //nolint:containedctx // writes fail once it is done
	whole   bool            // the first part is the answer
	steps   bool            // a part may be written in pieces: it is no HTTP chunk of its own
}

// abortWith ends a write that waits for its peer when ctx is done. The function
// that it returns must be called before the handler returns.
func (out *responseWriter) abortWith(ctx context.Context) func() {
	done := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(done)
		_ = out.control.SetWriteDeadline(time.Unix(1, 0))
	})
	return func() {
		if !stop() {
			<-done
		}
	}
}

// liftDeadline lets writes last again; false: the writer knows no deadlines.
func (out *responseWriter) liftDeadline() bool {
	return !errors.Is(out.control.SetWriteDeadline(time.Time{}), http.ErrNotSupported)
}

// timeEnd gives what net/http writes after the last part its time too.
func (out *responseWriter) timeEnd() {
	_ = out.control.SetWriteDeadline(time.Now().Add(out.timeout))
}

func (out *responseWriter) setHeader(q *query, r *http.Request) {
	replaceHeader(out.w, q.header)
	header := out.w.Header()
	header.Del("Content-Length")
	header.Set("Content-Type", jsonType)
	if out.whole = !q.streams(); !out.whole {
		header.Set("Content-Type", q.streamType())
		header.Set("X-Content-Type-Options", "nosniff")
		header.Set("X-Accel-Buffering", "no")
	}
	if r.ProtoMajor == 1 {
		header.Set("Connection", "close")
	}
	out.steps = out.whole || r.ProtoMajor > 1
}

func (q *query) streamType() string {
	if q.events {
		return eventType
	}
	return streamType
}

// write writes each part in a chunk of its own. net/http sets what is beyond
// the deadline to an error; writers that know none are waited for.
func (out *responseWriter) write(parts [][]byte) error {
	for _, part := range parts {
		if out.whole {
			out.w.Header().Set("Content-Length", strconv.Itoa(len(part)))
		}
		if err := out.writePart(part); err != nil {
			return err
		}
		if err := ignoreUnsupported(out.control.Flush()); err != nil {
			return err
		}
	}
	return ignoreUnsupported(out.control.SetWriteDeadline(time.Time{}))
}

// writePart gives each step of a part a deadline of its own, so that who takes
// a long part slowly gets all of it. One that cannot be written in steps has the
// time of all of them.
func (out *responseWriter) writePart(part []byte) error {
	size, timeout := writeStep, out.timeout
	if !out.steps {
		size, timeout = len(part), time.Duration(1+len(part)/writeStep)*out.timeout
	}
	for len(part) > 0 {
		if err := ignoreUnsupported(out.control.SetWriteDeadline(time.Now().Add(timeout))); err != nil {
			return err
		}
		if out.given.Err() != nil { // or the deadline would be later than the end
			return out.given.Err()
		}
		n, err := out.w.Write(part[:min(len(part), size)])
		if err != nil {
			return err
		}
		part = part[n:]
	}
	return nil
}

func ignoreUnsupported(err error) error {
	if errors.Is(err, http.ErrNotSupported) {
		return nil
	}
	return err
}
