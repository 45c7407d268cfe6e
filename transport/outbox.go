package transport

// A batch is what one client is to be sent in one go. Its memory is used again.
type batch struct {
	parts [][]byte
	last  bool // nothing follows
	read  bool // nothing to send: the backlog must be read
	slow  bool // because too much had to wait
}

// take moves everything that waits for c into b. Unless b is empty, the caller
// writes it and calls wrote; meanwhile nobody else gets anything.
func (c *client) take(b *batch) {
	clear(b.parts)
	*b = batch{parts: b.parts[:0]}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.dirty = false
	if c.writing || !c.begun || c.state == over {
		return
	}
	if c.ending && c.why != IdentityExpired && c.identity.isOver() { // its other end has outlasted it
		c.bar()
	}
	if len(c.lead) > 0 {
		b.parts, c.lead = append(b.parts, c.lead...), nil
	}
	c.takeKept(b)
	if c.state == upToDate && (len(b.parts) == 0 || !c.encoder.single()) {
		c.takeQueue(b)
	}
	switch {
	case c.ending:
		c.takeLast(b)
	case c.beat && len(b.parts) == 0:
		b.parts = append(b.parts, c.encoder.beat())
	case len(b.parts) == 0 && c.state == behind:
		c.state, b.read, b.slow, c.slow = reading, true, c.slow, false
	}
	if c.writing = len(b.parts) > 0; c.writing {
		c.beat = false
	}
}

// takeQueue hands over the queue. From here on its messages count as sent. c.mu
// must be held.
func (c *client) takeQueue(b *batch) {
	for _, it := range c.queue {
		c.takeOne(b, it)
		if c.encoder.single() {
			break
		}
	}
	clear(c.queue)
	c.waiting = 0
	if cap(c.queue) > keptQueue {
		c.queue = nil
	}
	c.queue = c.queue[:0]
}

// takeOne hands over one message. c.mu must be held.
func (c *client) takeOne(b *batch, it queued) {
	switch f := it.frame; {
	case it.sub.gone:
	case it.late:
		b.parts = append(b.parts, c.late(it))
	default:
		b.parts = append(b.parts, c.encode(f))
		it.sub.sent, it.sub.had = f.place, f.gid
	}
}

// encode is a message as it goes out in its turn. c.mu must be held.
func (c *client) encode(f *frame) []byte {
	if c.encoder.ordered() && (f.late || f.gid <= c.newest) {
		return c.encoder.late(f, f.id)
	}
	c.newest = max(c.newest, f.gid)
	return c.encoder.live(f)
}

// keptQueue is how large a queue an idle client keeps: one message at a time
// is the common case.
const keptQueue = 4

// takeLast ends the answer. c.mu must be held.
func (c *client) takeLast(b *batch) {
	if !c.encoder.single() || len(b.parts) == 0 {
		if last := c.encoder.last(c.standing()); len(last) > 0 {
			b.parts = append(b.parts, last)
		}
	}
	if tail := c.encoder.tail(); len(tail) > 0 {
		b.parts = append(b.parts, tail)
	}
	c.state, b.last = over, true
}

// standing names the channels on which something was withheld since the last
// message or status, so that the client does not come back with an old
// position. One that is behind is told nothing: it does not have what is
// before. c.mu must be held.
func (c *client) standing() *status {
	var told status
	if c.state != upToDate {
		return &told
	}
	for _, s := range c.subs {
		if s.fresh {
			continue
		}
		id := s.withheld
		if p := s.passed(); p != nil && p.gid > s.seenGID {
			id = p.id
		}
		if id != 0 {
			told.add(s.channel, id)
		}
	}
	return &told
}

// wrote ends a write; true: there is more to do.
func (c *client) wrote() (wake bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.writing = false
	return c.needsWake()
}
