package transport

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"github.com/messagebus-go/messagebus/bus"
)

// A digest is what one client gets of the pages that were read for it.
type digest struct {
	messages []byte // as they stand between the brackets of an array
	ends     []int  // of each of them
	status   status
	spots    []spot // one for each channel, in order
	more     bool   // it would have become too long
}

// A spot is where a client stands on one channel after a read.
type spot struct {
	place     *bus.Position // nil: where it stood before
	delivered bool          // there are messages for the client
	withheld  int64         // the newest message withheld since the last one delivered; 0: none
	hidden    bool          // something was withheld, or could not be read
}

// add takes one page. Past limit bytes (0: none) the rest is left for later.
func (d *digest) add(channel string, page *bus.Page, to *recipient, limit int) *spot {
	d.spots = append(d.spots, spot{})
	at := &d.spots[len(d.spots)-1]
	newest := int64(0)
	for i := range page.Messages {
		m := &page.Messages[i]
		if limit > 0 && len(d.messages) >= limit {
			d.more = true
			at.stopBefore(page.Messages, i)
			return at
		}
		who := audienceOf(m)
		if !who.allows(to) {
			at.withheld, at.hidden = m.ID, true
			continue
		}
		if len(d.messages) > 0 {
			d.messages = append(d.messages, ',')
		}
		d.messages = appendMessage(d.messages, m.GlobalID, m.ID, channel, m.Data)
		d.ends = append(d.ends, len(d.messages))
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

func (at *spot) stopBefore(messages []bus.Message, i int) {
	if i > 0 {
		place := messages[i-1].Position()
		at.place = &place
	}
}

// apart is the messages in parts of their own, as they would have come live. An
// answer has them all in one.
func (d *digest) apart(enc encoder) []byte {
	if len(d.ends) == 0 {
		return nil
	}
	if enc.single() {
		return enc.part(array(d.messages))
	}
	var b []byte
	start := 0
	for _, end := range d.ends {
		b = append(b, enc.part(array(d.messages[start:end]))...)
		start = end + len(",")
	}
	return b
}

// firstDigest is the answer to a query, as far as the backlog goes.
func firstDigest(q *query, pages map[string]bus.Page, to *recipient) *digest {
	d := &digest{spots: make([]spot, 0, len(q.asks))}
	for _, a := range q.asks {
		page := pages[a.channel]
		told := !a.fromNow && a.last == announce
		if !a.fromNow && a.last > page.LastID { // ahead of the store: as if it had asked for new ones
			told, page.Messages, page.Skipped = true, nil, 0
		}
		at := d.add(a.channel, &page, to, 0)
		if told || at.hidden {
			d.status.add(a.channel, page.LastID)
			at.withheld = 0
		}
	}
	d.messages = d.status.appendTo(d.messages)
	return d
}

// readFirst reads what a query asks for, in one round trip.
func (h *Handler) readFirst(ctx context.Context, q *query) (map[string]bus.Page, error) {
	from := make(map[string]bus.Position, len(q.asks))
	for _, a := range q.asks {
		from[a.channel] = a.position()
	}
	pages, err := h.view(q.identity.Site).Read(ctx, from)
	switch {
	case errors.Is(err, bus.ErrInvalidChannel):
		return nil, &statusError{http.StatusBadRequest, err.Error()}
	case err != nil:
		return nil, fmt.Errorf("read the backlog: %w", err)
	}
	return pages, nil
}
