package bus

import (
	"context"
	"fmt"
	"math"

	"github.com/messagebus-go/messagebus/bus/driver"
)

// maxPage is how many messages are read from the backlog at once, for a reader
// that comes back for more.
const maxPage = 500

// A source is what a reader reads: one channel, or all of them.
type source struct {
	core       *core
	channel    string // as the reader named it; empty: all
	site       string
	stored     string
	everything bool            // ids are global ids
	quiet      bool            // its gaps are the caller's to report
	items      map[int64]*item // of what was read before, by global id; nil: they are not kept
}

// source returns the source of one channel of this view.
func (b *Bus) source(channel string) (source, error) {
	stored, err := b.storedName(channel)
	return source{core: b.core, channel: channel, site: b.site, stored: stored}, err
}

// isGlobal reports whether the ids of what is read are global ids.
func (src source) isGlobal() bool { return src.everything || src.core.traits.SharedIDs }

// itemOf returns the item of a message that was read.
func (src source) itemOf(stored driver.Message, mark storeMark) *item {
	if it, ok := src.items[stored.GlobalID]; ok {
		return it
	}
	it := newItem(stored, mark)
	if src.items != nil {
		src.items[stored.GlobalID] = it
	}
	return it
}

// after is the position after an item.
func (src source) after(it *item) Position {
	if it.isLate() {
		return *it.place
	}
	p := Position{id: it.at.ID, seen: it.at.GlobalID, mark: it.mark}
	switch {
	case src.everything:
		p.id = it.at.GlobalID
	case it.isMessage():
		p.anchor, p.sum = it.at, it.sum
	}
	return p
}

// stretch is a continuous part of a source's history: what a reader is to be
// handed, a gap first if there is one, and the position at its end.
type stretch struct {
	items  []*item
	end    Position
	lastID int64
	more   bool             // the store holds more after it
	read   []driver.Message // what the page held, be it handed out or not
	above  int64            // the id above which that is all there was
}

// read reads one page after from, of at most max messages (0: all), and
// decides what it means.
func (src source) read(ctx context.Context, from Position, most int) (stretch, error) {
	page, state, err := src.readPage(ctx, from, most)
	if err != nil {
		return stretch{}, fmt.Errorf("read backlog: %w", err)
	}
	found := src.judge(from, page, state)
	if found.restart {
		if page, state, err = src.readPage(ctx, Position{}, most); err != nil {
			return stretch{}, fmt.Errorf("read backlog: %w", err)
		}
	}
	return src.part(from, found, page, state, fills(page, from, most)), nil
}

// part is what a page means, which is all there is or, where it is full, ends with its
// last message.
func (src source) part(from Position, found judgement, page driver.Page, state driver.State, full bool) stretch {
	part := src.cut(src.stretch(from, found, page, state), full, found, page, state)
	if last, lacks := src.lacksAtEnd(from, found, part, page, state); lacks {
		part.items = append(part.items, src.gap(last, reasonOf(page.Loss), nil, part.end, state))
	}
	return part
}

// lacksAtEnd reports whether something may have been trimmed behind the last message of a
// page and, where a reader begins anew and finds nothing, behind the beginning.
func (src source) lacksAtEnd(from Position, found judgement, part stretch, page driver.Page, state driver.State) (last int64, lacks bool) {
	given := max(part.end.seen, state.GlobalID)
	switch n := len(page.Messages); {
	case from.kind != after || part.more:
		return 0, false
	case n > 0:
		last = page.Messages[n-1].GlobalID
		return last, src.lacksBetween(last, given+1, page)
	default:
		return 0, found.restart && src.isGlobal() && page.Loss != driver.LossNone && given > 0
	}
}

// fills reports whether a page after from has as many messages as were asked for
// (0: all), so that the store may hold more.
func fills(page driver.Page, from Position, most int) bool {
	return from.kind == after && most > 0 && len(page.Messages) >= most
}

// cut ends a stretch at the last message of a page that is full.
func (src source) cut(part stretch, full bool, found judgement, page driver.Page, state driver.State) stretch {
	if full {
		last := page.Messages[len(page.Messages)-1]
		// What comes after it may be among what was seen.
		part.end, part.more = src.after(newItem(last, markOf(state))).SeenUpTo(found.seen), true
	}
	return part
}

// readPage asks the store.
func (src source) readPage(ctx context.Context, from Position, most int) (driver.Page, driver.State, error) {
	switch {
	case src.everything && from.kind == latest:
		return src.readStanding(ctx)
	case src.everything:
		all, err := src.core.backend.GlobalBacklog(ctx, from.id, most)
		return driver.Page{Messages: all.Messages, LastID: all.State.Settled, Loss: all.Loss}, all.State, err
	}
	snapshot, err := src.core.backend.Read(ctx, []driver.Range{src.asRange(from, most)})
	if err != nil {
		return driver.Page{}, driver.State{}, err
	}
	return snapshot.Pages[0], snapshot.State, nil
}

// readStanding asks where all channels stand and, where messages may come below
// that, which ones are there.
func (src source) readStanding(ctx context.Context) (driver.Page, driver.State, error) {
	state, err := src.core.backend.State(ctx)
	page := driver.Page{LastID: state.Settled}
	if err != nil || src.core.traits.DenseGlobalIDs {
		return page, state, err
	}
	all, err := src.core.backend.GlobalBacklog(ctx, max(0, state.Settled-maxRecent), 0)
	page.Messages = all.Messages
	return page, state, err
}

// asRange is the part of the backlog that a reader at p needs.
func (src source) asRange(p Position, most int) driver.Range {
	switch {
	case p.kind == after:
		return driver.Range{Channel: src.stored, After: p.after(), Max: most}
	case p.kind == tail && p.id > 0:
		return driver.Range{Channel: src.stored, Tail: int(p.id)}
	case p.kind == latest && src.core.traits.DenseGlobalIDs: // the last message, to know it again
		return driver.Range{Channel: src.stored, Tail: 1}
	case p.kind == latest: // and those around which others may still come
		return driver.Range{Channel: src.stored, Tail: maxRecent}
	default: // nothing but where the channel stands
		return driver.Range{Channel: src.stored, After: math.MaxInt64}
	}
}

// after is the id of the last message before p, or where that is not known one
// that cannot be above it.
func (p Position) after() int64 {
	if p.anchor.GlobalID != 0 {
		return p.anchor.ID
	}
	return p.id
}
