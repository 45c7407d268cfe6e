package transport

import (
	"cmp"
	"slices"

	"github.com/messagebus-go/messagebus/bus"
)

// On a store whose publishers need not wait for each other, a message may come
// after others with higher ids. It is delivered all the same, once: to those
// who have not read it from the backlog. So a client remembers what it has read
// there; and what came late is not dropped with the rest of a queue, because
// the backlog is read from beyond it.

const (
	maxRemembered = 128
	maxKept       = 256
)

// A memory is which messages of a channel a client has read from the backlog,
// the newest of them, ascending. nil: none.
type memory struct {
	read []ids
	full bool // there were more before them
}

type ids struct{ id, gid int64 }

// add remembers what a read has found.
func (r *memory) add(read []ids, full bool) *memory {
	if len(read) == 0 {
		return r
	}
	if r == nil || r.newest().gid >= read[0].gid {
		r = &memory{}
	}
	r.read = append(r.read, read...)
	over := len(r.read) - maxRemembered
	if over > 0 {
		r.read = append(r.read[:0], r.read[over:]...)
	}
	r.full = r.full || full || over > 0
	return r
}

// newest is the last message that was read.
func (r *memory) newest() ids {
	if r == nil {
		return ids{}
	}
	return r.read[len(r.read)-1]
}

// has reports whether a message was read, or may have been.
func (r *memory) has(gid int64) bool {
	if r == nil {
		return false
	}
	_, found := slices.BinarySearchFunc(r.read, gid, func(m ids, gid int64) int { return cmp.Compare(m.gid, gid) })
	return found || r.full && gid < r.read[0].gid
}

// unread leaves out what a page brings again: it may hold more than the position
// says that came with it.
func (r *memory) unread(messages []bus.Message) []bus.Message {
	if r == nil {
		return messages
	}
	return slices.DeleteFunc(messages, func(m bus.Message) bool { return r.has(m.GlobalID) })
}

// followLate queues a message that comes after others with higher ids. c.mu must
// be held.
func (c *client) followLate(it queued) bool {
	if !c.mayHave(it) {
		return false
	}
	it.late = true
	if !c.enqueue(it) {
		c.keep(it)
	}
	if c.encoder.single() {
		c.end(Answered)
	}
	return true
}

func (c *client) mayHave(it queued) bool {
	return !it.frame.skip && !it.refused && it.frame.audience.allows(&c.recipient)
}

// keepLate is for a client whose queue is dropped or not in use: true: the
// backlog will not be read from before it. c.mu must be held.
func (c *client) keepLate(it queued) bool {
	s := it.sub
	if !it.late {
		if !it.frame.late || s.sent == nil || it.frame.gid > s.sent.GlobalID() || s.read.has(it.frame.gid) || !c.mayHave(it) {
			return false
		}
		it.late = true
	}
	c.keep(it)
	return true
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
			b.parts = append(b.parts, c.encoder.late(it.frame, it.sub.stands()))
		}
	}
	c.kept = nil
	if c.encoder.single() && len(b.parts) > 0 {
		c.end(Answered)
	}
}

// stands is the id up to which the client has the channel.
func (s *subscription) stands() int64 { return max(s.sent.ID(), s.read.newest().id) }
