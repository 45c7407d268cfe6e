package transport

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/messagebus-go/messagebus/bus"
)

// readers read the backlog for clients that are behind: for all who wait at once,
// a few times at once.
type readers struct {
	mu      sync.Mutex // guards below
	waiting []*client
	running int
}

const (
	maxReaders = 8
	maxShared  = 1 << 16 // channels of clients that one read is for
	readAtOnce = 64      // messages of a channel: what does not fit is read and decoded in vain

	// gatherTime is what those who fell behind together may take to say so.
	gatherTime = 5 * time.Millisecond

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
	if len(rs.waiting) == 1 { // else somebody comes for all of them
		h.startReader()
	}
}

// startReader adds a goroutine that reads, unless there are enough. readers.mu
// must be held.
func (h *Handler) startReader() {
	if h.readers.running < maxReaders {
		h.readers.running++
		h.loops.Go(h.readAll)
	}
}

// readAll reads for those who wait, until there is nobody.
func (h *Handler) readAll() {
	pause(h.ctx, gatherTime)
	for clients := h.nextToRead(); len(clients) > 0; clients = h.nextToRead() {
		h.readUntilDone(clients)
	}
}

// nextToRead returns for whom the caller is to read, all of one site; nobody: it
// may go.
func (h *Handler) nextToRead() []*client {
	rs := &h.readers
	rs.mu.Lock()
	defer rs.mu.Unlock()
	if len(rs.waiting) == 0 {
		rs.running--
		return nil
	}
	var clients, others []*client
	room := maxShared
	for _, c := range rs.waiting {
		if room > 0 && c.identity.isOfSiteOf(&rs.waiting[0].identity) {
			clients = append(clients, c)
			room -= c.channels()
		} else {
			others = append(others, c)
		}
	}
	if rs.waiting = others; len(others) > 0 {
		h.startReader()
	}
	return clients
}

// readUntilDone reads what clients lack, and tries again while the store does
// not answer.
func (h *Handler) readUntilDone(clients []*client) {
	for tries := 0; ; tries++ {
		clients = slices.DeleteFunc(clients, (*client).isOver)
		if len(clients) == 0 {
			return
		}
		err := errPanic
		h.guard("the store", func() { err = h.readFor(clients) })
		if err == nil {
			return
		}
		if tries == 0 {
			h.options.Logger.Warn("cannot read the backlog for held requests", "requests", len(clients), "error", err)
		}
		if !pause(h.ctx, retryAfter) {
			return
		}
	}
}

// readFor reads each channel once for all clients, who are of one site.
func (h *Handler) readFor(clients []*client) error {
	ctx, cancel := context.WithTimeout(h.ctx, readTimeout)
	defer cancel()
	tasks := make([]task, len(clients))
	from := make(map[string][]bus.Position)
	for i, c := range clients {
		tasks[i] = c.toRead()
		for j, s := range tasks[i].subs {
			from[s.channel] = append(from[s.channel], tasks[i].from[j])
		}
	}
	read, err := h.view(&clients[0].identity).ReadMany(ctx, from, min(readAtOnce, h.readOf(len(from))))
	if err != nil {
		return fmt.Errorf("read the backlog: %w", err)
	}
	made := make(frames)
	for i, c := range clients {
		d := h.digestOf(c, &tasks[i], read, made)
		c.resume(d, tasks[i])
	}
	return nil
}

// frames are the messages that were read at once, by channel, epoch and global id,
// so that each is encoded once for all who get it. The store may have failed over
// meanwhile.
type frames map[frameKey]*frame

type frameKey struct {
	channel, epoch string
	gid            int64
}

func (fs frames) of(m *bus.Message, epoch string) *frame {
	key := frameKey{m.Channel, epoch, m.GlobalID}
	f := fs[key]
	if f == nil {
		f = newFrame(m)
		fs[key] = f
	}
	return f
}

// digestOf is what c gets of what was read for t.
func (h *Handler) digestOf(c *client, t *task, read *bus.Reading, made frames) *digest {
	d := &digest{spots: make([]spot, 0, len(t.subs)), frames: made, loose: h.loose}
	pages := t.pages(read)
	t.enter(pages)
	most := h.bound(d, c.encoder.ordered(), slices.Values(pages))
	for i, s := range t.subs {
		page := pages[i]
		left := d.isFull(most) || !d.cutPage(&page)
		if t.gaps && (!left || beginsLife(page.Gap)) {
			h.tell(d, &page, &c.recipient)
		}
		if left {
			d.leave(nil)
			continue
		}
		page.Messages = c.unread(s, &page)
		at := d.add(s.channel, &page, h.chooser(s.channel, &c.recipient), most)
		if t.gaps {
			at.fallInto(page.Gap)
		}
	}
	return d
}

// unread is the messages of a page but for those that it brings again. In another life
// of the store none are.
func (c *client) unread(s *subscription, page *bus.Page) []bus.Message {
	c.mu.Lock()
	defer c.mu.Unlock()
	if s.wentBack(&page.Position) {
		return page.Messages
	}
	return s.read.unread(page.Messages)
}

// A task is what a client lacks at a moment.
type task struct {
	subs    []*subscription
	from    []bus.Position // up to where it has been sent messages
	had     []int64        // the global ids that belong to them, or lower ones
	newest  int64          // the highest global id among them
	gaps    bool
	version int // of the client's subscriptions
}

func (c *client) toRead() task {
	c.mu.Lock()
	defer c.mu.Unlock()
	t := task{
		subs: make([]*subscription, 0, len(c.subs)), from: make([]bus.Position, 0, len(c.subs)),
		had: make([]int64, 0, len(c.subs)), newest: c.newest, gaps: c.gaps, version: c.version,
	}
	for _, s := range c.subs {
		if !s.fresh {
			t.subs = append(t.subs, s)
			t.from = append(t.from, *s.sent)
			t.had = append(t.had, s.had)
		}
	}
	return t
}

func (c *client) channels() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.subs)
}

// pages are those of the channels of t, which may be changed.
func (t *task) pages(read *bus.Reading) []bus.Page {
	pages := make([]bus.Page, len(t.subs))
	for i, s := range t.subs {
		pages[i] = *read.Page(s.channel, t.from[i])
	}
	return pages
}

// enter has newest count in the life of the store that begins behind the gaps of pages:
// there the client has what it had of the channels that go on, and nothing of those that
// begin anew.
func (t *task) enter(pages []bus.Page) {
	newest, entered, stays := int64(0), false, false
	for i := range pages {
		switch gap := pages[i].Gap; {
		case isReset(gap):
			entered = true
		case beginsLife(gap):
			entered, newest = true, max(newest, t.had[i])
		default: // it was in that life before
			stays = true
		}
	}
	switch {
	case entered && stays:
		t.newest = max(t.newest, newest)
	case entered:
		t.newest = newest
	}
}

// resume gives c what was read for it, unless some of it is not wanted any more.
func (c *client) resume(d *digest, t task) {
	lead := c.encoder.again(d, t.newest)
	c.mu.Lock()
	if c.version != t.version || c.barred {
		d, t.subs, lead = &digest{more: true}, nil, nil
	} else {
		c.newest = t.newest
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
