package transport

import (
	"context"
	"fmt"
	"math"
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
	t := c.toRead()
	pages, err := h.view(&c.identity).ReadSome(ctx, t.from, readAtOnce)
	if err != nil {
		return fmt.Errorf("read the backlog: %w", err)
	}
	c.resume(h.digestOf(c, &t, pages), t)
	return nil
}

// digestOf is what c gets of the pages of t.
func (h *Handler) digestOf(c *client, t *task, pages map[string]bus.Page) *digest {
	most, end := h.options.Limits.MaxQueuedBytes, int64(math.MaxInt64)
	if c.encoder.ordered() {
		most, end = 0, commonEnd(pages, most)
	}
	d := &digest{spots: make([]spot, 0, len(t.subs)), loose: h.loose}
	for _, s := range t.subs {
		page := pages[s.channel]
		if most > 0 && len(d.messages) >= most || !cutAfter(&page, end) {
			d.leave()
			continue
		}
		page.Messages = s.read.unread(page.Messages)
		if t.gaps {
			h.tell(d, &page, &c.recipient)
		}
		d.add(s.channel, &page, h.chooser(s.channel, &c.recipient), most)
	}
	return d
}

// leave leaves a channel for the next read.
func (d *digest) leave() {
	d.spots = append(d.spots, spot{})
	d.more = true
}

// A task is what a client lacks at a moment.
type task struct {
	subs    []*subscription
	from    map[string]bus.Position // up to where it has been sent messages
	newest  int64                   // the highest global id among them
	gaps    bool
	version int // of the client's subscriptions
}

func (c *client) toRead() task {
	c.mu.Lock()
	defer c.mu.Unlock()
	t := task{
		subs: make([]*subscription, 0, len(c.subs)), from: make(map[string]bus.Position, len(c.subs)),
		newest: c.newest, gaps: c.gaps, version: c.version,
	}
	for _, s := range c.subs {
		if !s.fresh {
			t.subs = append(t.subs, s)
			t.from[s.channel] = *s.sent
		}
	}
	return t
}

// resume gives c what was read for it, unless some of it is not wanted any more.
func (c *client) resume(d *digest, t task) {
	lead := c.encoder.again(d, t.newest)
	c.mu.Lock()
	if c.version != t.version {
		d, t.subs, lead = &digest{more: true}, nil, nil
	}
	c.settle(d, t.subs, lead)
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
