package transport

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"

	"github.com/messagebus-go/messagebus/bus"
)

// A digest is what one client gets of the pages that were read for it.
type digest struct {
	frames   frames  // that others get as well; nil: it has its messages to itself
	messages []byte  // as they stand between the brackets of an array; none where there are frames
	pieces   []piece // of what there is
	size     int     // bytes, about
	status   status
	gaps     gapReport
	spots    []spot // where the client stands then
	end      int64  // the global id up to which all channels are in it; 0: it was not cut by that
	more     bool   // the store has more for the client
	loose    bool   // what was read is remembered: the pages may lack what is below their last
}

// A piece is one message of a digest.
type piece struct {
	gid        int64
	epoch      string // of the store
	start, end int    // in digest.messages
	frame      *frame // or nil
}

// A spot is where a client stands on one channel after a read.
type spot struct {
	place     *bus.Position // nil: where it stood before
	cut       bool          // the store has more after place
	delivered bool          // there are messages for the client
	withheld  int64         // the newest message withheld since the last one delivered, or lost for good; 0: none
	hidden    bool          // something was withheld, or could not be read
	began     int64         // of a first read: what is up to this id was not asked for
	read      []ids         // on a loose store: the newest messages of the page, ascending
	full      bool          // it held more before them
}

// add takes one page. Past limit bytes (0: none) the rest is left for later.
func (d *digest) add(channel string, page *bus.Page, allows func(*bus.Message) bool, limit int) *spot {
	d.spots = append(d.spots, spot{})
	at := &d.spots[len(d.spots)-1]
	at.full = d.loose && len(page.Messages) > maxRemembered
	newest := int64(0)
	for i := range page.Messages {
		m := &page.Messages[i]
		if d.isFull(limit) {
			d.more, at.cut = true, true
			at.stopBefore(page.Messages, i)
			return at
		}
		if d.loose && len(page.Messages)-i <= maxRemembered {
			at.read = append(at.read, ids{m.ID, m.GlobalID})
		}
		if !allows(m) {
			at.withheld, at.hidden = m.ID, true
			continue
		}
		d.append(channel, m, page.Position.Epoch())
		at.withheld, at.delivered, newest = 0, true, m.ID
	}
	if page.Skipped > 0 {
		at.hidden = true
		if page.LastID > newest {
			at.withheld = page.LastID
		}
	}
	place := page.Position
	at.place, at.cut = &place, page.More
	d.more = d.more || page.More
	return at
}

// leave leaves a channel for the next read, from a place; nil: from where the
// client stood before.
func (d *digest) leave(place *bus.Position) *spot {
	d.spots = append(d.spots, spot{place: place, cut: true})
	d.more = true
	return &d.spots[len(d.spots)-1]
}

// isFull reports whether a digest of at most so many bytes (0: any number) has
// no room.
func (d *digest) isFull(most int) bool { return most > 0 && d.size >= most }

func (d *digest) append(channel string, m *bus.Message, epoch string) {
	if d.frames != nil {
		f := d.frames.of(m, epoch)
		d.pieces = append(d.pieces, piece{gid: m.GlobalID, epoch: epoch, frame: f})
		d.size += f.size()
		return
	}
	if len(d.messages) > 0 {
		d.messages = append(d.messages, ',')
	}
	start := len(d.messages)
	d.messages = appendMessage(d.messages, m.GlobalID, m.ID, channel, m.Data)
	d.pieces = append(d.pieces, piece{gid: m.GlobalID, epoch: epoch, start: start, end: len(d.messages)})
	d.size = len(d.messages)
}

func (at *spot) stopBefore(messages []bus.Message, i int) {
	if i > 0 {
		place := messages[i-1].Position()
		at.place = &place
	}
}

// reached is the global id up to which everything was read; false: nothing was,
// or not all of it.
func (d *digest) reached() (gid int64, epoch string, known bool) {
	for _, at := range d.spots {
		if at.place == nil || at.cut && d.end == 0 {
			return 0, "", false
		}
		gid, epoch = max(gid, at.place.GlobalID()), cmp.Or(at.place.Epoch(), epoch)
	}
	return cmp.Or(d.end, gid), epoch, len(d.spots) > 0
}

// empty reports whether there is nothing to tell.
func (d *digest) empty() bool { return len(d.pieces) == 0 && d.gaps.empty() && d.status.empty() }

// array is all of it: what was lost, the messages, where the channels stand.
func (d *digest) array() []byte { return array(d.gaps.before(d.status.appendTo(d.messages))) }

// tell notes the gap of a page for a client that is told of gaps.
func (h *Handler) tell(d *digest, page *bus.Page, to *recipient) {
	if page.Gap != nil {
		d.gaps.add(page.Gap, page.Position.Epoch())
		h.traceGap(to, page.Gap)
	}
}

// firstDigest is the answer to a query, as far as the backlog goes and a client
// takes in one piece.
func (h *Handler) firstDigest(q *query, pages map[string]bus.Page, to *recipient) *digest {
	d := &digest{spots: make([]spot, 0, len(q.asks)), loose: h.loose}
	most := h.bound(d, q.events, maps.Values(pages))
	for _, a := range q.asks {
		page := pages[a.channel]
		told := !a.fromNow && a.last == announce && a.event == nil
		// Ahead of the store: as if it had asked for new ones. Who has said
		// more than an id is told of a gap, and gets what there is.
		ahead := a.mark == nil && a.event == nil && !a.fromNow && a.last > page.LastID
		if ahead {
			told, page.Messages, page.Skipped, page.More = true, nil, 0, false
		}
		if q.gaps {
			q.header.Set(epochHeader, page.Position.Epoch())
		}
		gaps := q.gaps && !ahead
		left := len(page.Messages) > 0 && d.isFull(most) || !d.cutPage(&page)
		if gaps && (!left || beginsLife(page.Gap)) {
			h.tell(d, &page, to)
		}
		if left {
			d.leave(a.before(&page)).began = a.beganBefore(&page)
			continue
		}
		at := d.add(a.channel, &page, h.chooser(a.channel, to), most)
		at.began = a.began(ahead, at)
		if gaps {
			at.fallInto(page.Gap)
		}
		if told || at.hidden || at.withheld != 0 && !q.streams() {
			d.status.add(a.channel, at.told(&page))
			at.withheld = 0
		}
	}
	return d
}

// told is the id at which a client is told to stand: no further than what it
// was given.
func (at *spot) told(page *bus.Page) int64 {
	if at.cut {
		return at.place.ID()
	}
	return max(page.LastID, at.withheld)
}

// fallInto notes a gap with nothing behind it, of which a client is told: it goes on from
// its end, or it would be told again, and not be held, each time that it asks.
func (at *spot) fallInto(gap *bus.GapError) {
	if gap != nil && !beginsLife(gap) && !at.delivered && !at.hidden {
		at.withheld = gap.Next - 1
	}
}

// before is where a client stands that has got nothing of a page yet.
func (a ask) before(page *bus.Page) *bus.Position {
	place := a.position(1)
	if a.event == nil && a.last < announce { // the newest ones will be others
		place = bus.Resume(page.Messages[0].ID-1, 0, page.Position.Epoch())
	}
	return &place
}

const (
	// defaultRead is how many messages one read brings, but for requests of so
	// many channels that it would be less than minRead of each.
	defaultRead = 16 << 10
	minRead     = 8
)

// readOf is how many messages of each of so many channels are read at once.
func (h *Handler) readOf(channels int) int { return max(h.atOnce/max(channels, 1), minRead) }

// readFirst reads what a query asks for, in one round trip.
func (h *Handler) readFirst(ctx context.Context, q *query) (map[string]bus.Page, error) {
	most := h.readOf(len(q.asks))
	from := make(map[string]bus.Position, len(q.asks))
	for _, a := range q.asks {
		from[a.channel] = a.position(most)
	}
	view := h.view(&q.identity)
	pages, err := view.ReadSome(ctx, from, most)
	if err == nil && q.resumed != nil {
		pages, err = q.readOn(ctx, view, from, pages, most)
	}
	switch {
	case errors.Is(err, bus.ErrInvalidChannel):
		return nil, badRequest("%v", err)
	case err != nil:
		return nil, fmt.Errorf("read the backlog: %w", err)
	}
	return pages, nil
}
