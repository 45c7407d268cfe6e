package transport

import (
	"cmp"
	"iter"
	"math"
	"slices"

	"github.com/messagebus-go/messagebus/bus"
)

// A client that knows where it stands by one global id for all of its channels
// gets them in that order. What is read for it is cut where all channels have
// been read to.

// bound prepares d for what a client takes of pages in one go, and returns how many
// bytes of messages that is; 0: cutPage sees to it.
func (h *Handler) bound(d *digest, ordered bool, pages iter.Seq[bus.Page]) int {
	most := h.options.Limits.MaxQueuedBytes
	if !ordered {
		return most
	}
	if end := commonEnd(pages, most); end < math.MaxInt64 {
		d.end = end
	}
	return 0
}

// cutPage leaves out of a page what is beyond the end of d; false: that is all
// of it.
func (d *digest) cutPage(page *bus.Page) bool { return d.end == 0 || cutAfter(page, d.end) }

// commonEnd is the global id up to which pages hold everything, and not much
// more than so many bytes.
func commonEnd(pages iter.Seq[bus.Page], most int) int64 {
	end := int64(math.MaxInt64)
	type message struct {
		gid  int64
		size int
	}
	var all []message
	for page := range pages {
		if page.More {
			end = min(end, page.Position.GlobalID())
		}
		for i := range page.Messages {
			m := &page.Messages[i]
			all = append(all, message{m.GlobalID, len(m.Channel) + len(m.Data)})
		}
	}
	slices.SortFunc(all, func(a, b message) int { return cmp.Compare(a.gid, b.gid) })
	size := 0
	for i, m := range all {
		if m.gid > end {
			break
		}
		if size += m.size; size > most && i > 0 {
			return all[i-1].gid
		}
	}
	return end
}

// cutAfter leaves what is after end for the next read; false: that is all of it.
func cutAfter(page *bus.Page, end int64) bool {
	kept := slices.IndexFunc(page.Messages, func(m bus.Message) bool { return m.GlobalID > end })
	switch {
	case kept < 0:
		return true
	case kept == 0:
		return false
	}
	page.Messages, page.Skipped, page.More = page.Messages[:kept], 0, true
	page.Position = page.Messages[kept-1].Position()
	return true
}

// byGlobalID sorts the messages of several channels.
func (d *digest) byGlobalID() []piece {
	slices.SortStableFunc(d.pieces, func(a, b piece) int { return cmp.Compare(a.gid, b.gid) })
	return d.pieces
}
