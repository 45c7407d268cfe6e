package transport

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/messagebus-go/messagebus/bus"
)

// readers read the backlog for clients that are behind, a few at a time.
type readers struct {
	mu      sync.Mutex // guards below
	waiting []*client
	running int
}

const (
	maxReaders  = 8
	readAtOnce  = 64 // messages of a channel: what does not fit is read and decoded in vain
	readTimeout = time.Minute
	retryAfter  = 250 * time.Millisecond
)

// catchUp reads the backlog for c, which take has set to reading. The caller is
// one that Shutdown waits for.
func (h *Handler) catchUp(c *client, slow bool) {
	if slow {
		h.traceSlow(c)
	}
	rs := &h.readers
	rs.mu.Lock()
	defer rs.mu.Unlock()
	rs.waiting = append(rs.waiting, c)
	if rs.running < maxReaders {
		rs.running++
		h.loops.Go(h.readAll)
	}
}

// readAll reads for those who wait, until there is nobody.
func (h *Handler) readAll() {
	for {
		c := h.readers.next()
		if c == nil {
			return
		}
		h.readUntilDone(c)
	}
}

// readUntilDone reads what c lacks, and tries again while the store does not
// answer.
func (h *Handler) readUntilDone(c *client) {
	for tries := 0; !c.isOver(); tries++ {
		err := errPanic
		h.guard("the store", func() { err = h.readFor(c) })
		if err == nil {
			return
		}
		if tries == 0 {
			h.options.Logger.Warn("cannot read the backlog for a held request", "client", c.clientID, "error", err)
		}
		if !pause(h.ctx, retryAfter) {
			return
		}
	}
}

// next returns who is served next; nil: the caller may go.
func (rs *readers) next() *client {
	rs.mu.Lock()
	defer rs.mu.Unlock()
	if len(rs.waiting) == 0 {
		rs.running--
		return nil
	}
	c := rs.waiting[0]
	rs.waiting[0] = nil
	rs.waiting = rs.waiting[1:]
	return c
}

func (h *Handler) readFor(c *client) error {
	ctx, cancel := context.WithTimeout(h.ctx, readTimeout)
	defer cancel()
	pages, err := h.view(&c.identity).ReadSome(ctx, c.positions(), readAtOnce)
	if err != nil {
		return fmt.Errorf("read the backlog: %w", err)
	}
	d := &digest{spots: make([]spot, 0, len(c.subs))}
	for i := range c.subs {
		if len(d.messages) >= h.options.Limits.MaxQueuedBytes {
			d.more = true
			break
		}
		channel := c.subs[i].channel
		page := pages[channel]
		if c.gaps {
			h.tell(d, &page, &c.recipient)
		}
		d.add(channel, &page, h.chooser(channel, &c.recipient), h.options.Limits.MaxQueuedBytes)
	}
	c.resume(d)
	return nil
}

// positions are up to where c has been sent messages.
func (c *client) positions() map[string]bus.Position {
	c.mu.Lock()
	defer c.mu.Unlock()
	from := make(map[string]bus.Position, len(c.subs))
	for i := range c.subs {
		from[c.subs[i].channel] = *c.subs[i].sent
	}
	return from
}

// resume gives c what was read for it.
func (c *client) resume(d *digest) {
	lead := d.apart(c.encoder)
	c.settle(d, lead)
	c.mu.Lock()
	if len(lead) > 0 && c.encoder.single() {
		c.end(Answered)
	}
	wake := c.needsWake()
	c.mu.Unlock()
	if wake {
		c.wake()
	}
}

// pause waits for d; false: ctx is done.
func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
