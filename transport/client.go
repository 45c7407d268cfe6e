package transport

import (
	"strings"
	"sync"
	"time"

	"github.com/messagebus-go/messagebus/bus"
)

// A client is one held request. It is in one of four states:
//
//   - reading: the backlog is being read for it; live messages are collected
//   - up to date: live messages that continue its positions are queued
//   - behind: live messages are left to the backlog, which is to be read when
//     all that was written before is gone
//   - over: its last bytes are under way, or it was cut off
type client struct {
	recipient
	h       *Handler
	holder  holder
	seq     int64
	gaps    bool // it is told of gaps
	encoder encoder
	subs    []*subscription // with a link they change, and are guarded by mu then
	link    *link           // to the socket; nil: it is a request

	// One of the two ways to write: a connection and the worker that serves
	// it, or a goroutine that waits for wakeup, to net/http or a link.
	conn   conn
	worker *worker
	wakeup chan struct{}

	endless bool // its writer knows no deadlines: a write may last for ever

	due, ends time.Duration // when something is to be done, and when the hold ends; guarded by deadlines.mu, as is its slot
	at        int           // in the heap; -1: not there
	every     time.Duration // between signs of life; 0: there are none
	endsWhy   Reason        // why it ends then; both are set before it is in the heap

	mu      sync.Mutex // guards below, and the positions of subs
	state   clientState
	ending  bool     // take is to write the last part
	why     Reason   // the reason for the end
	writing bool     // bytes are on their way; nobody else may write
	dirty   bool     // somebody was told that there is something to write
	begun   bool     // the first read is over
	again   bool     // reading: what is read now is not enough
	slow    bool     // more came than may wait
	retired bool     // nobody finds it any more
	epoch   string   // of the store, at the last read
	lead    [][]byte // parts that go out before queue and are never dropped
	queue   []queued
	waiting int      // bytes in queue
	kept    []queued // late messages, which are not dropped
	beat    bool     // a sign of life is due
	barred  bool     // it gets nothing more
	newest  int64    // the highest global id that was sent, or read past
	version int      // of subs; counts those that were taken out
	parting parting  // what was wrong with the last command
}

type clientState uint8

const (
	reading clientState = iota
	upToDate
	behind
	over
)

// A subscription is one channel of a client.
type subscription struct {
	client  *client
	channel string
	entry   *entry // set before anybody else knows the client
	slot    int    // guarded by the shard's mu
	offered int64  // the round of the index in which it was found last; the feed's own

	// Guarded by client.mu.
	sent            *bus.Position // up to what was handed to the connection; nil before the first read
	had             int64         // the global id up to which it was read, or handed over; what was withheld does not move it
	seenID, seenGID int64         // up to what was queued or withheld
	withheld        int64         // the newest message offered and withheld since the last one queued, or lost for good; 0: none
	began           int64         // what is up to this id was not asked for
	read            *memory       // what was read from the backlog, on a loose store
	waiting         bool          // skipWithheld's own: messages of it are queued

	// With a link, where channels come and go while others are live.
	fresh  bool // its first read is under way
	missed bool // a message came meanwhile, or may have
	gone   bool // it is not wanted any more
}

// queued is a live message that waits for one client.
type queued struct {
	frame   *frame
	sub     *subscription
	refused bool // by a filter
	late    bool // it was found to come after others with higher ids
}

func (h *Handler) newClient(q *query) *client {
	c := &client{
		recipient: recipientOf(strings.Clone(q.clientID), q.identity), // and not the address that it was part of
		h:         h, holder: q.holder, seq: q.seq, gaps: q.gaps, at: -1,
	}
	c.subs = c.subscriptions(q.asks)
	return c
}

// subscriptions are made in one piece: most clients keep them as they are. Their
// names do not keep the body that they came in.
func (c *client) subscriptions(asks []ask) []*subscription {
	all := make([]subscription, len(asks))
	list := make([]*subscription, len(asks))
	for i, a := range asks {
		all[i] = subscription{client: c, channel: strings.Clone(a.channel)}
		list[i] = &all[i]
	}
	return list
}

// offer hands c a live message of one of its channels, which a filter may have
// refused. It never waits; wake: c has something to write, and must be woken.
//
// A client that is about to end takes it all the same, unless it fell behind: its last
// words are about everything that has passed.
func (c *client) offer(it queued) (wake, taken bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case it.sub.gone || c.state == over || c.barred:
		return false, false
	case it.sub.fresh:
		it.sub.missed = true
		return false, false
	case c.state == upToDate:
		taken = c.follow(it)
	case c.keepLate(it):
		taken = true
	case c.state == reading:
		c.enqueue(it) // judged when the read has ended
		return false, true
	}
	return taken && c.needsWake(), taken
}

// follow queues a live message if it continues where its channel stands and c
// may have it. c.mu must be held.
func (c *client) follow(it queued) bool {
	s, f := it.sub, it.frame
	switch {
	case f.epoch != "" && f.epoch != c.epoch:
		return c.fallBehind() // of another life of the store than the backlog
	case s.read.has(f.gid):
		if f.gid > s.seenGID {
			s.seenID, s.seenGID = f.id, f.gid
		}
		return false
	case f.gid <= s.seenGID && !s.mayLack(f):
		return false // was read from the backlog
	case f.gid <= max(s.seenGID, s.read.newest().gid):
		return c.followLate(it)
	case !f.follows && f.prev > s.seenID:
		return c.fallBehind() // something before it never came
	}
	s.seenID, s.seenGID = f.id, f.gid
	if !c.mayHave(it) {
		s.withheld = f.id
		return false
	}
	s.withheld = 0
	if !c.enqueue(it) {
		return true // behind
	}
	if c.encoder.single() {
		c.end(Answered)
	}
	return true
}

// enqueue appends to the queue, or drops all of it when it is full. c.mu must
// be held.
func (c *client) enqueue(it queued) bool {
	size := it.frame.size()
	if len(c.queue) > 0 && c.waiting+size > c.h.options.Limits.MaxQueuedBytes {
		c.slow = true
		c.fallBehind()
		return false
	}
	c.queue = append(c.queue, it)
	c.waiting += size
	return true
}

// fallBehind drops what is queued: the backlog has it. A read that is under way
// is ended first: two at a time would bring the same twice. c.mu must be held.
// It returns true: there is something to do for c.
func (c *client) fallBehind() bool {
	if c.state == reading {
		c.again = true
	} else {
		c.skipWithheld()
		c.state = behind
	}
	live := c.queue
	c.queue, c.waiting = nil, 0
	for _, it := range live {
		c.keepLate(it)
	}
	return true
}

// skipWithheld moves what was sent past messages that were withheld since, so
// that they are not read in vain. c.mu must be held.
func (c *client) skipWithheld() {
	if c.state != upToDate {
		return
	}
	for _, it := range c.queue {
		it.sub.waiting = true
	}
	for _, s := range c.subs {
		if p := s.passed(); p != nil && p.place != nil && !s.waiting && s.sent != nil && p.gid > s.readTo() {
			s.sent = p.place
			if p.gid > s.seenGID {
				s.withheld = p.id
			}
		}
		s.waiting = false
	}
}

// passed is where the channel stands, if that is beyond the last message that s
// was offered: what lies between was withheld. c must be up to date, and c.mu
// held.
func (s *subscription) passed() *passage {
	if p := s.entry.passed.Load(); p != nil && p.epoch == s.client.epoch && p.gid >= s.seenGID {
		return p
	}
	return nil
}

// end makes the next write the last one. c.mu must be held.
func (c *client) end(why Reason) {
	if !c.ending {
		c.ending, c.why = true, why
	}
}

// needsWake reports whether somebody must be told that c has something to
// write; once, until take. c.mu must be held.
func (c *client) needsWake() bool {
	if c.dirty || c.writing || !c.begun || c.state == over || !c.hasWork() {
		return false
	}
	c.dirty = true
	return true
}

// hasWork reports whether there is something to write, or to read. c.mu must
// be held.
func (c *client) hasWork() bool {
	return c.ending || c.beat || len(c.lead) > 0 || len(c.kept) > 0 || c.state == behind || c.state == upToDate && len(c.queue) > 0
}

// interrupt makes the client read the backlog: it may have missed something of a
// channel. One that is about to end gets no more, and comes back for it.
func (s *subscription) interrupt() (wake bool) {
	c := s.client
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case s.fresh:
		s.missed = true
		return false
	case c.state == over || c.state == behind:
		return false
	}
	c.fallBehind()
	return c.needsWake()
}

// settle ends a read for subs: d is what c gets of it, and lead how that is
// written. Live messages that came meanwhile are joined to it. c.mu must be
// held.
func (c *client) settle(d *digest, subs []*subscription, lead [][]byte) {
	if c.state == over {
		return
	}
	c.leadKept()
	c.stand(d, subs)
	c.lead = append(c.lead, lead...)
	live := c.queue
	c.queue, c.waiting = nil, 0
	c.again = c.again || d.more
	for _, it := range live { // still reading: what has passed their channels was not withheld
		if c.again {
			c.keepLate(it)
		} else {
			c.follow(it)
		}
	}
	c.state = upToDate
	if c.again {
		c.state, c.again = behind, false
	}
}

// stand moves the positions to where a read has ended. c.mu must be held.
func (c *client) stand(d *digest, subs []*subscription) {
	for _, p := range d.pieces {
		c.newest = max(c.newest, p.gid)
	}
	if gid, _, known := d.reached(); known {
		c.newest = max(c.newest, gid)
	}
	for i, at := range d.spots {
		s := subs[i]
		switch {
		case s.sent == nil:
			s.began = at.began
		case at.place != nil && s.wentBack(at.place):
			s.began, s.read = 0, nil
			s.withheld = min(s.withheld, at.place.ID()) // the ids beyond belong to the life before
		}
		s.read = s.read.add(at.read, at.full)
		if at.place == nil {
			continue
		}
		s.sent, s.seenID, s.seenGID, s.had = at.place, at.place.ID(), at.place.GlobalID(), at.place.GlobalID()
		if at.delivered || at.withheld != 0 {
			s.withheld = at.withheld
		}
		if epoch := at.place.Epoch(); epoch != "" { // else nothing was read yet
			c.epoch = epoch
		}
	}
}

// wentBack reports whether a read has ended in another life of the store than
// the one before.
func (s *subscription) wentBack(place *bus.Position) bool {
	epoch := s.sent.Epoch() // empty where nothing was read yet
	return epoch != "" && place.Epoch() != epoch || place.GlobalID() < s.sent.GlobalID()
}
