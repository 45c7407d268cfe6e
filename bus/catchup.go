package bus

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/messagebus-go/messagebus/bus/driver"
)

// This file is the only place that decides what was lost and what is new: for
// one reader of the backlog, and for all subscriptions at once after the feed
// was interrupted.

// readTimeout bounds one read of the backlog, so that a connection that hangs
// is given up and the read tried again.
const readTimeout = time.Minute

// judgement is what a reader at a position has to be told.
type judgement struct {
	reason  GapReason // empty: nothing was lost
	restart bool      // its id says nothing about this store: it must read from the beginning
	seen    int64     // it has seen the messages with global ids up to this one
}

// judge compares a position with what the store says of itself and, in the
// page after that position, of the channel.
func (src source) judge(p Position, page driver.Page, state driver.State) judgement {
	if p.kind != after {
		return judgement{}
	}
	now, known := markOf(state), p.mark.isKnown()
	last := p.compare(page.Anchor)
	switch {
	case known && p.mark.epoch() == "" && now.epoch() != "" && last == same:
		// It was given its epoch meanwhile, and has what was seen last, or again the like.
		return judgement{reason: reasonOfEpoch(p.mark, now), seen: p.anchor.GlobalID}
	case known && p.mark.epoch() != now.epoch():
		return judgement{reason: GapReset, restart: true}
	case known && p.mark.timeline() != now.timeline() && (last == same || p.sawNothing()):
		// Another server, which has all that was seen. Its global ids may be
		// behind those of the first one.
		return judgement{reason: GapFailover, seen: p.anchor.GlobalID}
	case known && p.mark.timeline() != now.timeline(), p.seen > state.GlobalID, last == replaced:
		// It may have given the ids that were seen to other messages.
		return judgement{reason: GapReset, restart: true}
	case p.id > src.lastKnown(page, state), last == renumbered:
		// The channel's ids began again, while its global ids went on.
		return judgement{reason: GapReset, restart: true, seen: p.seen}
	case page.Loss == driver.LossCertain:
		return judgement{reason: GapTrimmed, seen: p.seen}
	case page.Loss == driver.LossPossible && (p.id > 0 || known):
		// A new reader from 0 asked for what there is.
		return judgement{reason: GapPossible, seen: p.seen}
	}
	return judgement{seen: p.seen}
}

// reasonOfEpoch is what a reader of a store that had no epoch is told when it has one: it
// may be another server's.
func reasonOfEpoch(before, now storeMark) GapReason {
	if before.timeline() != "" && before.timeline() != now.timeline() {
		return GapFailover
	}
	return GapPossible
}

// likeness is how the stored message at a position compares with the one that
// was seen there.
type likeness uint8

const (
	unknown    likeness = iota // it is not stored any more, or was never seen
	same                       // it is the one
	renumbered                 // its id belongs to another global id now
	replaced                   // both ids belong to another message now
)

func (p Position) compare(stored driver.Message) likeness {
	switch {
	case p.anchor.GlobalID == 0 || stored.GlobalID == 0:
		return unknown
	case p.anchor.GlobalID != stored.GlobalID:
		return renumbered
	case p.sum == 0:
		return unknown
	case p.sum != checksum(stored.Data):
		return replaced
	default:
		return same
	}
}

// lastKnown is the highest id that the source can have had.
func (src source) lastKnown(page driver.Page, state driver.State) int64 {
	if src.isGlobal() {
		return state.GlobalID
	}
	return page.LastID
}

// stretch turns a page into what a reader at from is handed.
func (src source) stretch(from Position, found judgement, page driver.Page, state driver.State) stretch {
	mark := markOf(state)
	part := stretch{end: src.end(from, found, page, state), lastID: page.LastID, read: page.Messages, above: src.above(from, found, page)}
	messages := unseen(page.Messages, found.seen)
	if from.kind == latest {
		// What is above the position comes by the feed.
		messages, part.read = nil, upTo(page.Messages, part.end.seen)
	}
	if found.reason != "" && !src.goesOn(from, found, messages) {
		part.items = append(part.items, src.gap(from.id, found.reason, messages, part.end, state))
	}
	for i, stored := range messages {
		if i > 0 && src.lacksBetween(messages[i-1].GlobalID, stored.GlobalID, page) {
			part.items = append(part.items, src.gap(messages[i-1].GlobalID, reasonOf(page.Loss), messages[i:], part.end, state))
		}
		part.items = append(part.items, src.itemOf(stored, mark))
	}
	return part
}

// lacksBetween reports whether something may have been trimmed between two
// global ids that follow each other on a page. A channel loses its oldest
// messages first, so that all of them are missing before the first one that is
// there; among all channels they may be missing anywhere.
func (src source) lacksBetween(before, next int64, page driver.Page) bool {
	return src.everything && page.Loss != driver.LossNone && next > before+1
}

// goesOn reports whether the first message follows the reader's position
// without a hole: what is missing comes later.
func (src source) goesOn(from Position, found judgement, messages []driver.Message) bool {
	lost := found.reason == GapTrimmed || found.reason == GapPossible
	return src.everything && lost && len(messages) > 0 && messages[0].GlobalID == from.id+1
}

func reasonOf(loss driver.Loss) GapReason {
	if loss == driver.LossCertain {
		return GapTrimmed
	}
	return GapPossible
}

// above is the id above which a page has all that the channel holds.
func (src source) above(from Position, found judgement, page driver.Page) int64 {
	asked := src.asRange(from, 0)
	switch {
	case found.restart, asked.Tail > len(page.Messages):
		return 0
	case asked.Tail > 0:
		return page.Messages[0].ID
	default:
		return asked.After
	}
}

// end is the position after a page. It passes what is still on its way into the store
// only where the page holds what comes behind that, which comes late then; and it does not
// fall behind from where all after it was trimmed.
func (src source) end(from Position, found judgement, page driver.Page, state driver.State) Position {
	p := Position{id: page.LastID, seen: state.Settled, mark: markOf(state)}
	last := page.Anchor
	if n := len(page.Messages); n > 0 {
		last = page.Messages[n-1]
	}
	if from.kind != latest { // to which what is above the position comes by the feed
		p.seen = max(p.seen, last.GlobalID)
	}
	if src.isGlobal() {
		p.id = p.seen
	}
	if !src.everything && last.GlobalID != 0 && (last.ID == p.id || src.core.traits.SharedIDs) {
		p.anchor, p.sum = driver.Position{GlobalID: last.GlobalID, ID: last.ID}, checksum(last.Data)
	}
	if from.kind == after && !found.restart {
		p.seen = max(p.seen, found.seen)
		if found.seen == from.seen {
			p.id = max(p.id, from.id)
		}
		if p.id == 0 {
			p.anchor = from.anchor
		}
	}
	return p
}

// unseen leaves out the messages with global ids up to seen.
func unseen(messages []driver.Message, seen int64) []driver.Message {
	first := slices.IndexFunc(messages, func(m driver.Message) bool { return m.GlobalID > seen })
	if first < 0 {
		return nil
	}
	return messages[first:]
}

// upTo returns the messages with global ids up to id.
func upTo(messages []driver.Message, id int64) []driver.Message {
	return messages[:len(messages)-len(unseen(messages, id))]
}

// gap is the item that tells a reader at an id of a loss before messages or,
// where there are none, up to the last id given: what is not settled may be trimmed
// already, or still come.
func (src source) gap(after int64, reason GapReason, messages []driver.Message, end Position, state driver.State) *item {
	at := driver.Position{ID: end.id, GlobalID: end.seen}
	if len(messages) > 0 {
		at = driver.Position{ID: messages[0].ID - 1, GlobalID: messages[0].GlobalID - 1}
	}
	e := &GapError{Channel: src.channel, Site: src.site, After: after, Next: at.ID + 1, Reason: reason}
	if src.everything {
		e.Next = at.GlobalID + 1
	}
	if src.isGlobal() && len(messages) == 0 && reason != GapReset {
		e.Next = max(e.Next, state.GlobalID+1)
	}
	if !src.quiet {
		src.core.traceGap(e)
	}
	return &item{err: e, at: at, mark: end.mark}
}

// repair brings every subscription forward to where the store stands: all
// channels in one round trip. The listener's goroutine calls it with the feed
// live, so that what is published meanwhile comes by the feed, which brings all
// that is above the global id since. It returns the state of the store at the
// moment of the read.
func (c *core) repair(ctx context.Context, since int64) (driver.State, error) {
	c.hub.interrupted()
	channels := c.hub.current()
	ranges := make([]driver.Range, len(channels))
	for i, l := range channels {
		ranges[i] = l.subscriptions[0].asRange(l.from, maxPage)
	}
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	snapshot, err := c.backend.Read(ctx, ranges)
	if err != nil {
		return driver.State{}, fmt.Errorf("read %d channels: %w", len(ranges), err)
	}
	missed := 0
	for i, l := range channels {
		for _, s := range l.subscriptions {
			s.takeOver(snapshot.Pages[i], snapshot.State, since)
		}
		missed += len(snapshot.Pages[i].Messages)
	}
	c.hub.interruptAll(snapshot.State, since)
	c.traceRepair(len(channels), missed)
	return snapshot.State, nil
}

// takeOver hands s what it lacks of a page that begins at or before its tail.
// Where that is not enough s reads the backlog by itself. One that has seen what there
// was before the feed lacks nothing: what is trimmed already comes by the feed.
func (s *Subscription) takeOver(page driver.Page, state driver.State, since int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended || s.behind || s.reading {
		return
	}
	full := len(page.Messages) >= maxPage
	page = s.tail.within(page)
	found := s.judge(s.tail, page, state)
	switch {
	case found.restart:
		s.fallBehind()
		return
	case s.hasSeen(state, since):
		return
	case full:
		s.fallBehind()
		return
	}
	part := s.stretch(s.tail, found, page, state)
	s.remember(part)
	for _, it := range part.items {
		if !s.behind {
			s.enqueue(it)
		}
	}
	s.tail = part.end
}

// within cuts a page that begins before p down to what a read from p finds.
func (p Position) within(page driver.Page) driver.Page {
	from := p.after()
	for i, m := range page.Messages {
		if m.ID == from {
			page.Anchor, page.Messages = m, page.Messages[i+1:]
			break
		}
	}
	if page.Anchor.ID != from {
		page.Anchor = driver.Message{}
	}
	return page
}

// listening is the subscriptions to one channel that are up to date with the
// feed, and the earliest position of any.
type listening struct {
	from          Position
	subscriptions []*Subscription
}

// current returns those of all channels. The other subscriptions, and those to
// everything, will read by themselves.
func (h *hub) current() []listening {
	h.mu.RLock()
	defer h.mu.RUnlock()
	all := make([]listening, 0, len(h.channels))
	for _, a := range h.channels {
		if l := a.current(); len(l.subscriptions) > 0 {
			all = append(all, l)
		}
	}
	return all
}

func (a *audience) current() (l listening) {
	for _, s := range a.subscriptions {
		at, ok := s.upToDate()
		if !ok {
			continue
		}
		if len(l.subscriptions) == 0 || at.after() < l.from.after() {
			l.from = at
		}
		l.subscriptions = append(l.subscriptions, s)
	}
	return l
}

// upToDate returns where the queue ends. A read that is under way counts as
// none: the feed was interrupted in its middle.
func (s *Subscription) upToDate() (Position, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.reading && !s.behind {
		s.fallBehind()
	}
	return s.tail, !s.ended && !s.behind && !s.reading
}

// interruptAll makes those who subscribed to everything read the backlog, where they
// may lack something of a store in that state.
func (h *hub) interruptAll(state driver.State, since int64) {
	h.mu.RLock()
	defer h.mu.RUnlock()
	for _, s := range h.all {
		s.interrupt(state, since)
	}
}

func (s *Subscription) interrupt(state driver.State, since int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.ended && !s.behind && (s.reading || !s.hasSeen(state, since)) {
		s.fallBehind()
	}
}

// hasSeen reports whether s, which is up to date with the feed before, has all with
// global ids up to since of a store in that state. s.mu must be held.
func (s *Subscription) hasSeen(state driver.State, since int64) bool {
	return s.tail.mark == markOf(state) && since <= s.tail.seen && s.tail.seen <= state.GlobalID
}
