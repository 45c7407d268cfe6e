package transport

import (
	"cmp"
	"math"
	"slices"

	"github.com/messagebus-go/messagebus/bus"
)

// A client that knows where it stands by one global id for all of its channels
// gets them in that order. What is read for it is cut where all channels have
// been read to.

// commonEnd is the global id up to which pages hold everything, and not much
// more than so many bytes.
func commonEnd(pages map[string]bus.Page, most int) int64 {
	end := int64(math.MaxInt64)
	type message struct {
		gid  int64
		size int
	}
	var all []message
	for channel, page := range pages {
		if page.More {
			end = min(end, page.Position.GlobalID())
		}
		for i := range page.Messages {
			all = append(all, message{page.Messages[i].GlobalID, len(channel) + len(page.Messages[i].Data)})
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
