package transport

import (
	"context"
	"errors"
	"fmt"

	"github.com/messagebus-go/messagebus/bus"
)

// A digest is what one client gets of the pages that were read for it.
type digest struct {
	messages []byte  // as they stand between the brackets of an array
	pieces   []piece // of them
	status   status
	gaps     gapReport
	spots    []spot // where the client stands then
	more     bool   // it would have become too long
	loose    bool   // what was read is remembered: the pages may lack what is below their last
}

// A piece is one message of a digest.
type piece struct {
	gid        int64
	start, end int    // in digest.messages
	epoch      string // of the store
}

// A spot is where a client stands on one channel after a read.
type spot struct {
	place     *bus.Position // nil: where it stood before
	delivered bool          // there are messages for the client
	withheld  int64         // the newest message withheld since the last one delivered; 0: none
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
		if limit > 0 && len(d.messages) >= limit {
			d.more = true
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
	at.place = &place
	d.more = d.more || page.More
	return at
}

func (d *digest) append(channel string, m *bus.Message, epoch string) {
	if len(d.messages) > 0 {
		d.messages = append(d.messages, ',')
	}
	start := len(d.messages)
	d.messages = appendMessage(d.messages, m.GlobalID, m.ID, channel, m.Data)
	d.pieces = append(d.pieces, piece{m.GlobalID, start, len(d.messages), epoch})
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
		if at.place == nil || d.more {
			return 0, "", false
		}
		gid, epoch = max(gid, at.place.GlobalID()), at.place.Epoch()
	}
	return gid, epoch, len(d.spots) > 0
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

// firstDigest is the answer to a query, as far as the backlog goes.
func (h *Handler) firstDigest(q *query, pages map[string]bus.Page, to *recipient) *digest {
	d := &digest{spots: make([]spot, 0, len(q.asks)), loose: h.loose}
	for _, a := range q.asks {
		page := pages[a.channel]
		told := !a.fromNow && a.last == announce
		// Ahead of the store: as if it had asked for new ones. Who has said
		// more than an id is told of a gap, and gets what there is.
		ahead := a.mark == nil && !a.fromNow && a.last > page.LastID
		if ahead {
			told, page.Messages, page.Skipped = true, nil, 0
		} else if q.gaps {
			h.tell(d, &page, to)
		}
		at := d.add(a.channel, &page, h.chooser(a.channel, to), 0)
		at.began = a.began(ahead, at)
		if told || at.hidden {
			d.status.add(a.channel, page.LastID)
			at.withheld = 0
		}
		if q.gaps {
			q.header.Set(epochHeader, page.Position.Epoch())
		}
	}
	return d
}

// readFirst reads what a query asks for, in one round trip.
func (h *Handler) readFirst(ctx context.Context, q *query) (map[string]bus.Page, error) {
	from := make(map[string]bus.Position, len(q.asks))
	for _, a := range q.asks {
		from[a.channel] = a.position()
	}
	pages, err := h.view(&q.identity).Read(ctx, from)
	switch {
	case errors.Is(err, bus.ErrInvalidChannel):
		return nil, badRequest("%v", err)
	case err != nil:
		return nil, fmt.Errorf("read the backlog: %w", err)
	}
	if q.resumed != nil && q.gaps {
		if err := h.forgiveTrimmed(ctx, q, pages); err != nil {
			return nil, fmt.Errorf("read the backlog: %w", err)
		}
	}
	return pages, nil
}
