package bus

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/messagebus-go/messagebus/bus/driver"
)

// order holds back live messages behind a hole in the global ids, on a store
// where a hole may still be filled: ids are given before messages are
// committed, and publishers that do not wait for each other commit in any
// order. It is the listener's own.
type order struct {
	settle time.Duration
	held   []heldMessage // ascending by global id
	bytes  int
	since  time.Time // when the first hole was noticed
	found  []int64   // the last ids that were found in a hole; they may be announced yet
}

type heldMessage struct {
	driver.Message

	came time.Time
}

// Bounds of what is held back; with more a hole is not waited for any longer.
const (
	maxHeld      = 4096
	maxHeldBytes = 16 << 20
	maxFound     = 1024
)

// add puts m into its place.
func (o *order) add(m driver.Message, now time.Time) {
	if len(o.held) == 0 {
		o.since = now
	}
	i, known := slices.BinarySearchFunc(o.held, m.GlobalID, func(h heldMessage, id int64) int { return cmp.Compare(h.GlobalID, id) })
	if !known {
		o.held = slices.Insert(o.held, i, heldMessage{m, now})
		o.bytes += len(m.Data)
	}
}

// take removes the first message.
func (o *order) take() driver.Message {
	m := o.held[0].Message
	o.held[0] = heldMessage{}
	o.held = o.held[1:]
	o.bytes -= len(m.Data)
	if len(o.held) == 0 {
		o.held = nil
	}
	return m
}

// nextHole notes when the hole that is first now was noticed.
func (o *order) nextHole() {
	for i, h := range o.held {
		if i == 0 || h.came.Before(o.since) {
			o.since = h.came
		}
	}
}

// due reports whether the first hole has been waited for long enough.
func (o *order) due(now time.Time) bool {
	return now.Sub(o.since) >= o.settle || len(o.held) > maxHeld || o.bytes > maxHeldBytes
}

// note remembers an id that was found without an announcement.
func (o *order) note(id int64) {
	if len(o.found) >= maxFound {
		o.found = append(o.found[:0], o.found[maxFound/2:]...)
	}
	o.found = append(o.found, id)
}

// announced reports whether id was found before; once.
func (o *order) announced(id int64) bool {
	i := slices.Index(o.found, id)
	if i >= 0 {
		o.found = slices.Delete(o.found, i, i+1)
	}
	return i >= 0
}

// next waits for a message, but no longer than a hole is waited for. No
// message: it is time to look after the hole.
func (l *listener) next(ctx context.Context, stream driver.Stream) (driver.Message, bool, error) {
	if len(l.order.held) == 0 {
		m, err := stream.Next(ctx)
		return m, true, err
	}
	wait, cancel := context.WithDeadline(ctx, l.order.since.Add(l.order.settle))
	defer cancel()
	m, err := stream.Next(wait)
	if err != nil && wait.Err() != nil && ctx.Err() == nil {
		return m, false, nil
	}
	return m, true, err
}

// arrange handles one message of a feed that may be out of order.
func (l *listener) arrange(ctx context.Context, m driver.Message) error {
	at := l.progress()
	switch {
	case m.GlobalID == at.seen+1 && len(l.order.held) == 0: // nothing is missing
		l.handOn(m)
		return nil
	case m.GlobalID > at.seen:
		l.order.add(m, time.Now())
		l.hear(m.GlobalID)
		return l.release(ctx)
	case l.order.announced(m.GlobalID): // was handed on already
		return nil
	case m.GlobalID > at.floor: // was read by the repair
		l.handOn(m)
		return nil
	}
	if err := l.sameStore(ctx, at.seen); err != nil {
		return err
	}
	l.core.traceLate(m.Channel)
	l.core.hub.dispatch(m, l.mark, true)
	return nil
}

// sameStore tells a message that comes late from one of a store that was reset.
func (l *listener) sameStore(ctx context.Context, seen int64) error {
	state, err := l.state(ctx, l.core.options.LivenessBound)
	if err == nil && (markOf(state) != l.mark || state.GlobalID < seen) {
		err = errReset
	}
	return err
}

// release hands on what is held back, up to the first hole that may still be
// filled.
func (l *listener) release(ctx context.Context) error {
	for len(l.order.held) > 0 {
		now, seen, next := time.Now(), l.progress().seen, l.order.held[0].GlobalID
		if next > seen+1 {
			if !l.order.due(now) {
				return nil
			}
			if err := l.fill(ctx, seen, next); err != nil {
				return err
			}
		}
		for len(l.order.held) > 0 && l.order.held[0].GlobalID <= l.progress().seen+1 {
			l.handOn(l.order.take())
		}
		l.order.nextHole()
	}
	return nil
}

// fill hands on what the store holds between two ids without having announced
// it: a peer's announcement is still to come, or failed.
func (l *listener) fill(ctx context.Context, after, before int64) error {
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	for after+1 < before {
		most := int(min(before-after-1, maxPage))
		page, err := l.core.backend.GlobalBacklog(ctx, after, most)
		if err != nil {
			return err
		}
		inside := page.Messages
		for i, m := range inside {
			if m.GlobalID >= before {
				inside = inside[:i]
				break
			}
			l.handOn(m)
			l.order.note(m.GlobalID)
			after = m.GlobalID
		}
		if len(inside) < most {
			break
		}
	}
	l.advance(before - 1)
	return nil
}

// handOn gives a message to everyone and notes that the feed has come to it.
func (l *listener) handOn(m driver.Message) {
	l.core.hub.dispatch(m, l.mark, false)
	l.advance(m.GlobalID)
}

// recentIDs are the global ids that a reader has read from the backlog lately,
// on a store where messages with ids below them may still come: so that one
// that comes late is told from one that was read.
type recentIDs struct {
	mark storeMark
	from int64   // every id above it that was read is among ids
	ids  []int64 // ascending
}

const maxRecent = 512

// note adds what a read found.
func (r *recentIDs) note(part stretch) {
	messages, above := part.read, part.above
	if last := len(r.ids) - 1; last < 0 || above > r.ids[last] || above < r.from || r.mark != part.end.mark {
		r.from, r.ids, r.mark = above, r.ids[:0], part.end.mark
	}
	for _, m := range messages {
		// Not always the newest: what was read and dropped is read again with what was committed meanwhile.
		if i, read := slices.BinarySearch(r.ids, m.GlobalID); !read {
			r.ids = slices.Insert(r.ids, i, m.GlobalID)
		}
	}
	if over := len(r.ids) - maxRecent; over > 0 {
		r.from = r.ids[over-1]
		r.ids = append(r.ids[:0], r.ids[over:]...)
	}
}

// lacks reports whether id was asked for and not read.
func (r *recentIDs) lacks(id int64) bool {
	_, read := slices.BinarySearch(r.ids, id)
	return id > r.from && !read
}
