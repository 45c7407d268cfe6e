package bus

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/messagebus-go/messagebus/bus/driver"
)

// A Reading is what was read of some channels for many readers at once. It is
// not safe for concurrent use, and its messages are shared: nobody may change
// them.
type Reading struct{ channels map[string]*shelf }

// A shelf is what was read of one channel.
type shelf struct {
	source
	from  Position // the earliest of all readers
	after shelved
	all   shelved // for those whose positions say nothing
	anew  bool    // there are such readers: it is read from its beginning as well
	made  map[Position]*Page
}

// shelved is a page and the state of the store at that moment.
type shelved struct {
	page  driver.Page
	state driver.State
	full  bool            // the store may hold more
	items map[int64]*item // by global id; nil: there is one reader only
}

// ReadMany reads each channel once for any number of readers, from the earliest
// of their positions, and all channels in one round trip; one more as for Read. All
// pages are of one moment: where some have to be read from their beginnings, all are
// read again. Of each channel it reads the oldest messages, at most so many; 0: all. A
// position made by Latest or Last has to be the only one of its channel.
func (b *Bus) ReadMany(ctx context.Context, readers map[string][]Position, most int) (*Reading, error) {
	r := &Reading{channels: make(map[string]*shelf, len(readers))}
	shelves := make([]*shelf, 0, len(readers))
	for channel, positions := range readers {
		sh, err := b.shelfFor(channel, positions)
		if err != nil {
			return nil, fmt.Errorf("bus: read: %w", err)
		}
		r.channels[channel] = sh
		shelves = append(shelves, sh)
	}
	for {
		if err := b.fill(ctx, shelves, most); err != nil {
			return nil, fmt.Errorf("bus: read %d channels: %w", len(readers), err)
		}
		complete := true
		for _, sh := range shelves {
			if !sh.anew && sh.mustRestart(readers[sh.channel]) {
				sh.anew, complete = true, false
			}
		}
		if complete {
			return r, nil
		}
	}
}

var errShared = errors.New("a position made by Latest or Last has to be the only one")

func (b *Bus) shelfFor(channel string, positions []Position) (*shelf, error) {
	src, err := b.source(channel)
	if err != nil {
		return nil, err
	}
	src.quiet = true
	sh := &shelf{source: src}
	for i, p := range positions {
		if p.kind != after && len(positions) > 1 {
			return nil, fmt.Errorf("channel %q: %w", channel, errShared)
		}
		if i == 0 || p.after() < sh.from.after() {
			sh.from = p
		}
	}
	if len(positions) > 1 {
		sh.after.items, sh.all.items = make(map[int64]*item), make(map[int64]*item)
		sh.made = make(map[Position]*Page, 1)
	}
	return sh, nil
}

// fill reads all shelves at one moment, those that are read anew from their beginnings
// too.
func (b *Bus) fill(ctx context.Context, shelves []*shelf, most int) error {
	ranges := make([]driver.Range, 0, len(shelves))
	for _, sh := range shelves {
		ranges = append(ranges, sh.asRange(sh.from, most))
		if sh.anew {
			ranges = append(ranges, sh.asRange(Position{}, most))
		}
	}
	snapshot, err := b.snapshot(ctx, ranges)
	if err != nil {
		return err
	}
	pages := snapshot.Pages
	for _, sh := range shelves {
		sh.after.put(pages[0], snapshot.State, fills(pages[0], sh.from, most))
		pages = pages[1:]
		if sh.anew {
			sh.all.put(pages[0], snapshot.State, fills(pages[0], Position{}, most))
			pages = pages[1:]
		}
	}
	return nil
}

func (s *shelved) put(page driver.Page, state driver.State, full bool) {
	s.page, s.state, s.full = page, state, full
}

func (sh *shelf) mustRestart(readers []Position) bool {
	return slices.ContainsFunc(readers, func(p Position) bool {
		return !sh.isBehind(p) && sh.judge(p, sh.pageFor(p), sh.after.state).restart
	})
}

// Page returns what a reader at p, one of those that were named, is handed of a
// channel: what ReadSome would have returned, or the beginning of it. A reader
// that is further on than what was read gets an empty page, with More and its own
// position. One that stands before all that is stored may be told of a gap
// although only an earlier reader of the channel lacks something.
func (r *Reading) Page(channel string, p Position) *Page {
	sh := r.channels[channel]
	page := sh.made[p]
	if page == nil {
		page = sh.make(p)
		if sh.made != nil {
			sh.made[p] = page
		}
	}
	return page
}

func (sh *shelf) make(p Position) *Page {
	if sh.isBehind(p) {
		return &Page{LastID: sh.after.page.LastID, Position: p, More: true}
	}
	page := sh.pageFor(p)
	found := sh.judge(p, page, sh.after.state)
	if found.restart {
		return sh.pageOf(p, found, sh.all.page, &sh.all)
	}
	return sh.pageOf(p, found, page, &sh.after)
}

func (sh *shelf) pageOf(p Position, found judgement, page driver.Page, from *shelved) *Page {
	src := sh.source
	src.items = from.items
	made := src.core.page(src.part(p, found, page, from.state, from.full))
	return &made
}

// isBehind reports whether the page ends before a reader at p, of whom it says
// nothing then.
func (sh *shelf) isBehind(p Position) bool {
	page := &sh.after.page
	return sh.after.full && p.after() > sh.from.after() && page.Messages[len(page.Messages)-1].ID <= p.after()
}

// pageFor is what a read from p itself would have found, or more: what the
// reader has seen is left out later.
func (sh *shelf) pageFor(p Position) driver.Page {
	if p == sh.from {
		return sh.after.page
	}
	page := p.within(sh.after.page)
	if p.seen == 0 { // its id is all that is known of it
		first := slices.IndexFunc(page.Messages, func(m driver.Message) bool { return m.ID > p.after() })
		if first < 0 {
			first = len(page.Messages)
		}
		page.Messages = page.Messages[first:]
	}
	page.Loss = sh.lossAfter(p)
	return page
}

// lossAfter is what was trimmed after p, which is no earlier than what the page
// was read from. A channel loses its oldest messages first.
func (sh *shelf) lossAfter(p Position) driver.Loss {
	page, shared := &sh.after.page, sh.core.traits.SharedIDs
	switch {
	case page.Anchor.GlobalID != 0:
		return driver.LossNone
	case len(page.Messages) > 0:
		if next := page.Messages[0].ID; next <= p.after() || !shared && next == p.after()+1 {
			return driver.LossNone
		}
	case !shared && page.LastID <= p.after():
		return driver.LossNone
	}
	return page.Loss
}
