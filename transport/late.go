package transport

import (
	"cmp"
	"slices"

	"github.com/messagebus-go/messagebus/bus"
)

// On a loose store, whose publishers need not wait for each other, a message may
// come after others with higher ids, and after a read that has found those. It is
// delivered all the same, once: to those who have not read it from the backlog. So
// a client remembers what it has read there; and what came late is not dropped with
// the rest of a queue where the backlog is read from beyond it.

const (
	maxRemembered = 512
	maxKept       = 256
)

// A memory is which messages of a channel a client has, beyond what its position
// says: the newest that it has read from the backlog, and those that came late.
// Ascending; nil: none.
type memory struct {
	read []ids
	full bool // there were more before them
}

type ids struct{ id, gid int64 }

func byGlobalID(a, b ids) int { return cmp.Compare(a.gid, b.gid) }

// add remembers more of them. What was read may lie below what is remembered:
// a hole that has been filled.
func (r *memory) add(read []ids, full bool) *memory {
	if len(read) == 0 {
		return r
	}
	if r == nil {
		r = &memory{}
	}
	ascending := r.newest().gid < read[0].gid
	r.read = append(r.read, read...)
	if !ascending {
		slices.SortFunc(r.read, byGlobalID)
		r.read = slices.Compact(r.read)
	}
	over := len(r.read) - maxRemembered
	if over > 0 {
		r.read = append(r.read[:0], r.read[over:]...)
	}
	r.full = r.full || full || over > 0
	return r
}

// newest is the last message that is remembered.
func (r *memory) newest() ids {
	if r == nil || len(r.read) == 0 {
		return ids{}
	}
	return r.read[len(r.read)-1]
}

// has reports whether the client has a message, or may have it.
func (r *memory) has(gid int64) bool {
	if r == nil {
		return false
	}
	_, found := slices.BinarySearchFunc(r.read, ids{gid: gid}, byGlobalID)
	return found || r.full && gid < r.read[0].gid
}

// unread leaves out what a page brings again: it may hold more than the position
// says that came with it. Others have the same page.
func (r *memory) unread(messages []bus.Message) []bus.Message {
	if r == nil {
		return messages
	}
	return slices.DeleteFunc(slices.Clone(messages), func(m bus.Message) bool { return r.has(m.GlobalID) })
}

// followLate queues a message that comes after others with higher ids. c.mu must
// be held.
func (c *client) followLate(it queued) bool {
	if !c.mayHave(it) {
		return false
	}
	it.late = true
	if !c.enqueue(it) {
		c.keepLate(it)
	}
	if c.encoder.single() {
		c.end(Answered)
	}
	return true
}

func (c *client) mayHave(it queued) bool {
	return !it.frame.skip && !it.refused && it.frame.audience.allows(&c.recipient)
}

// keepLate is for a client whose queue is dropped or not in use; true: it is
// kept, because the backlog will not be read from before it. c.mu must be held.
func (c *client) keepLate(it queued) bool {
	s, f := it.sub, it.frame
	if s.sent == nil || f.gid > s.readTo() || f.epoch != "" && f.epoch != s.sent.Epoch() {
		return false
	}
	if !it.late && !c.lacks(it) {
		return false
	}
	it.late = true
	c.keep(it)
	return true
}

// lacks reports whether a message that the backlog will not be read from before
// never came. c.mu must be held.
func (c *client) lacks(it queued) bool {
	return it.sub.mayLack(it.frame) && !it.sub.read.has(it.frame.gid) && c.mayHave(it)
}

// mayLack reports whether a read that went past a message may have missed it.
// Where messages may come late, ids of a channel are global ids.
func (s *subscription) mayLack(f *frame) bool {
	return f.late || s.client.h.loose && f.gid > s.began
}

// keep has a late message written before anything else. More than so many are
// lost, as they are to a client that is not there. c.mu must be held.
func (c *client) keep(it queued) {
	if len(c.kept) < maxKept {
		c.kept = append(c.kept, it)
	}
}

// takeKept hands over what came late. c.mu must be held.
func (c *client) takeKept(b *batch) {
	for _, it := range c.kept {
		if c.encoder.single() && len(b.parts) > 0 {
			break
		}
		if !it.sub.gone {
			b.parts = append(b.parts, c.late(it))
		}
	}
	c.kept = nil
	if c.encoder.single() && len(b.parts) > 0 {
		c.end(Answered)
	}
}

// leadKept has what came late written before what was read: that may be of another life
// of the store, whose ids say nothing of it. c.mu must be held.
func (c *client) leadKept() {
	if c.encoder.single() {
		return
	}
	for _, it := range c.kept {
		if !it.sub.gone {
			c.lead = append(c.lead, c.late(it))
		}
	}
	c.kept = nil
}

// late is a late message as it goes out. The backlog may yet be read from before it. c.mu
// must be held.
func (c *client) late(it queued) []byte {
	s, f := it.sub, it.frame
	part := c.encoder.late(f, s.stands())
	if f.gid > s.readTo() {
		s.read = s.read.add([]ids{{f.id, f.gid}}, false)
	}
	at := s.sent.SawLate(f.gid)
	s.sent, s.had = &at, max(s.had, f.gid)
	return part
}

// stands is the id up to which the client has the channel.
func (s *subscription) stands() int64 { return max(s.sent.ID(), s.read.newest().id) }

// readTo is the global id after which the backlog will be read. The position
// itself stands at what was settled; what was read above that is not read again.
func (s *subscription) readTo() int64 { return max(s.sent.GlobalID(), s.read.newest().gid) }

// beganBefore is began for a channel whose page is left for later.
func (a ask) beganBefore(page *bus.Page) int64 {
	switch {
	case a.event != nil:
		return a.event.upTo(page.Position.Epoch())
	case a.last < announce:
		return page.Messages[0].GlobalID - 1
	default:
		return max(a.last, 0)
	}
}

// upTo is the global id up to which who comes back after an event has all channels, in a
// life of the store. What comes late all the same is told apart by the feed.
func (m *mark) upTo(epoch string) int64 {
	if m.epoch != "" && m.epoch != epoch {
		return 0
	}
	return m.globalID
}

// began is up to where a client that asks for a channel wants nothing of it.
func (a ask) began(ahead bool, at *spot) int64 {
	switch {
	case a.event != nil:
		return a.event.upTo(at.place.Epoch())
	case ahead, a.fromNow, a.last == announce, a.last < announce && len(at.read) == 0:
		return at.place.GlobalID()
	case a.last < announce:
		return at.read[0].gid - 1
	default:
		return a.last
	}
}
