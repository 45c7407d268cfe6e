package transport

import (
	"context"
	"math/rand/v2"
	"net/http"
	"time"
)

// hold answers a query whose request may be held, and has a place.
func (h *Handler) hold(w http.ResponseWriter, r *http.Request, q *query) {
	c := h.newClient(q)
	// Registered before the backlog is read: what is published in between is
	// collected, so that nothing falls between the two.
	h.table.add(c.subs)
	d, goesOn, err := h.readHeld(r.Context(), c, q)
	if err != nil {
		h.failRead(w, r, q, err)
		return
	}
	if !goesOn {
		h.answer(w, q.header, d.array())
		return
	}
	if nc, _, err := http.NewResponseController(w).Hijack(); err == nil {
		c.conn, c.worker = h.newConn(nc), h.nextWorker()
		h.begin(c, q, d)
		return
	}
	h.stream(w, r, c, q, d)
}

// readHeld reads what a client that has a place gets first. Unless it goes on, it
// has been given up.
func (h *Handler) readHeld(ctx context.Context, c *client, q *query) (d *digest, goesOn bool, err error) {
	defer func() {
		if !goesOn { // or the store has panicked
			h.table.remove(c.subs)
			h.clients.release(c.holder)
		}
	}()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(h.ctx, cancel)() // a Shutdown that cannot wait any longer
	pages, err := h.readFirst(ctx, q)
	if err != nil {
		return nil, false, err
	}
	d = h.firstDigest(q, pages, &c.recipient)
	return d, d.empty() || q.streams(), nil
}

// begin makes c a held client. Of the requests that would be held under one
// client id the one with the highest number stays; an outdated one gets its
// backlog all the same.
func (h *Handler) begin(c *client, q *query, d *digest) {
	replaced, end := h.clients.claim(c)
	if replaced != nil {
		h.end(replaced, Replaced)
	}
	h.traceConnect(c)
	if q.events || c.link != nil {
		c.every = h.options.LongPoll.Heartbeat
	}
	h.deadlines.add(c, c.mayLast())
	var lead [][]byte
	c.encoder, lead = encoding(c, q)
	if first := c.encoder.first(d, end != "" || c.link != nil); first != nil {
		lead = append(lead, first)
	}
	c.mu.Lock()
	c.settle(d, c.subs, lead)
	c.mu.Unlock()
	if c.conn != nil {
		c.conn.watch(c)
	}
	wake, gone := c.start(end)
	if wake {
		c.wake()
	}
	if gone || h.ctx.Err() != nil { // or the workers have gone
		h.cut(c, Stopped)
	}
}

// mayLast returns how long c may be held, and notes what ends it then.
func (c *client) mayLast() time.Duration {
	o := c.h.options.LongPoll
	last := jittered(o.MaxAge)
	if c.every == 0 {
		last = min(last, o.Hold)
	}
	c.endsWhy = Expired
	if e := c.identity.Expires; !e.IsZero() && time.Until(e) < last {
		last, c.endsWhy = time.Until(e), IdentityExpired
	}
	return last
}

// jittered returns d, up to a tenth more or less.
func jittered(d time.Duration) time.Duration {
	return d - d/10 + rand.N(d/5+1)
}

// encoding returns how a query is answered, and what comes before the first
// part.
func encoding(c *client, q *query) (enc encoder, lead [][]byte) {
	raw := c.conn != nil // on a connection that was taken over
	switch {
	case c.link != nil:
		return arrays{textMessages{}}, nil
	case q.events && raw:
		return events{chunked: q.chunks, epoch: q.gaps, retry: soon()}, [][]byte{eventHead(q.header, q.chunks)}
	case q.events:
		return events{epoch: q.gaps, retry: soon()}, nil
	case raw && q.chunks:
		return arrays{chunkParts{}}, [][]byte{streamHead(q.header)}
	case raw:
		return arrays{newRawAnswer(q.header)}, nil
	case q.chunks:
		return arrays{plainParts{}}, nil
	default:
		return arrays{plainAnswer{}}, nil
	}
}

// start lets c be written to; end says why it has to end at once, if it has.
// gone: it was cut off before.
func (c *client) start(end Reason) (wake, gone bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.begun = true
	if end != "" {
		c.end(end)
	}
	return c.needsWake(), c.state == over
}

// streams reports whether the answer comes in parts.
func (q *query) streams() bool { return q.chunks || q.events }

// beat gives a held client a sign of life.
func (h *Handler) beat(c *client) {
	if c.link != nil {
		h.loops.Go(func() { h.ping(c) })
		return
	}
	c.mu.Lock()
	c.beat = !c.writing && !c.ending
	wake := c.needsWake()
	c.mu.Unlock()
	if wake {
		c.wake()
	}
}

// end answers a held client with its last part.
func (h *Handler) end(c *client, why Reason) {
	c.mu.Lock()
	if why == IdentityExpired && !c.ending && (c.writing || c.state != upToDate) {
		c.bar()
	}
	c.end(why)
	wake := c.needsWake()
	c.mu.Unlock()
	if wake {
		c.wake()
	}
}

// bar keeps from a client what waits for it, and what comes: its identity has expired
// while it was written to or read for, which may last. c.mu must be held.
func (c *client) bar() {
	c.barred = true
	c.fallBehind()
}

// left is called when the peer has closed the connection.
func (c *client) left() { c.h.cut(c, Left) }

// cut gives up a client without another word. One that has not begun is given
// up by begin.
func (h *Handler) cut(c *client, why Reason) {
	c.mu.Lock()
	if c.state != over {
		c.state, c.why = over, why
	}
	c.queue, c.lead = nil, nil
	begun := c.begun
	c.mu.Unlock()
	if !begun {
		return
	}
	h.retire(c)
	if c.link != nil {
		c.link.cancel()
	}
	if c.conn == nil {
		c.wake() // its goroutine finds it over
		if c.endless {
			h.clients.closed(c) // nobody can end its write: Shutdown does not wait for it
		}
		return
	}
	c.conn.abort()
	h.clients.closed(c)
}

// retire takes c out of every table, once. It must come before the last bytes
// are written: who has read them may ask for the place.
func (h *Handler) retire(c *client) {
	c.mu.Lock()
	retired := c.retired
	c.retired = true
	why := c.why
	c.mu.Unlock()
	if retired {
		return
	}
	h.deadlines.remove(c)
	h.unlist(c)
	h.clients.forget(c)
	h.traceDisconnect(c, why)
}

// unlist takes c out of the table.
func (h *Handler) unlist(c *client) {
	if c.link != nil {
		c.link.mu.Lock()
		defer c.link.mu.Unlock()
		c.link.closed = true
	}
	h.table.remove(c.subs)
}
