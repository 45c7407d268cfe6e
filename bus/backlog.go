package bus

import (
	"context"
	"errors"
	"fmt"
	"math"

	"github.com/messagebus-go/messagebus/bus/driver"
)

// A Page is what Read found of one channel.
type Page struct {
	Messages []Message // ascending
	LastID   int64     // the channel's last id as the store knows it; 0: none, or all were trimmed
	Gap      *GapError // what was lost before Messages; nil: nothing. It is the caller's to report
	Position Position  // the position after Messages, or where the channel stands
	Skipped  int       // messages that could not be decoded; Trace.Undecodable has each
	More     bool      // ReadSome left the rest of the channel for another call, from Position
}

// Read reads many channels, each from a position of its own, in one round
// trip; one more where the ids of channels turn out to have begun again, whose
// pages then hold a gap and everything stored. It does not wait for messages.
//
// The gap of a page is neither logged nor counted, unlike that of a
// subscription, and what cannot be decoded is not logged: the position may come
// from somebody who may write anything into it, such as an HTTP client.
func (b *Bus) Read(ctx context.Context, from map[string]Position) (map[string]Page, error) {
	return b.ReadSome(ctx, from, 0)
}

// ReadSome is Read, but for a reader that cannot take everything at once: of
// each channel it returns the oldest messages, at most so many; 0: all. A
// position made by Last returns all that it asks for.
func (b *Bus) ReadSome(ctx context.Context, from map[string]Position, most int) (map[string]Page, error) {
	readers := make(map[string][]Position, len(from))
	one := make([]Position, 0, len(from))
	for channel, p := range from {
		one = append(one, p)
		readers[channel] = one[len(one)-1:]
	}
	r, err := b.ReadMany(ctx, readers, most)
	if err != nil {
		return nil, err
	}
	pages := make(map[string]Page, len(from))
	for channel, p := range from {
		pages[channel] = *r.channels[channel].make(p)
	}
	return pages, nil
}

func (b *Bus) snapshot(ctx context.Context, ranges []driver.Range) (driver.Snapshot, error) {
	if err := b.checkOpen(); err != nil {
		return driver.Snapshot{}, err
	}
	return b.read(ctx, ranges)
}

// page sorts the items of a stretch. Nothing is logged for a reader that may ask as
// often as it likes.
func (c *core) page(part stretch) Page {
	page := Page{LastID: part.lastID, Position: part.end, More: part.more, Messages: make([]Message, 0, len(part.items))}
	for _, it := range part.items {
		m, err := it.open(c.countUndecodable)
		var gap *GapError
		switch {
		case err == nil:
			page.Messages = append(page.Messages, m)
		case errors.As(err, &gap):
			page.Gap = joined(page.Gap, gap)
		default:
			page.Skipped++
		}
	}
	return page
}

// joined is one gap for two with nothing between them.
func joined(first, second *GapError) *GapError {
	if first != nil {
		first.Next = max(first.Next, second.Next)
		return first
	}
	return second
}

// Backlog returns the stored messages of channel whose ids are above after.
// Messages that cannot be decoded are left out; the error is then a
// *DecodeError for each, joined, and the others are returned beside it.
func (b *Bus) Backlog(ctx context.Context, channel string, after int64) ([]Message, error) {
	return b.stored(ctx, channel, func(stored string) driver.Range {
		return driver.Range{Channel: stored, After: max(after, 0)}
	})
}

// LastMessages returns the newest n stored messages of channel, ascending. Its
// errors are those of Backlog.
func (b *Bus) LastMessages(ctx context.Context, channel string, n int) ([]Message, error) {
	if n <= 0 {
		return nil, nil
	}
	return b.stored(ctx, channel, func(stored string) driver.Range {
		return driver.Range{Channel: stored, Tail: n}
	})
}

// LastMessage returns the newest stored message of channel; false when there
// is none.
func (b *Bus) LastMessage(ctx context.Context, channel string) (Message, bool, error) {
	messages, err := b.LastMessages(ctx, channel, 1)
	if err != nil || len(messages) == 0 {
		return Message{}, false, err
	}
	return messages[0], true, nil
}

func (b *Bus) stored(ctx context.Context, channel string, asRange func(stored string) driver.Range) ([]Message, error) {
	src, err := b.source(channel)
	if err != nil {
		return nil, fmt.Errorf("bus: backlog: %w", err)
	}
	snapshot, err := b.snapshot(ctx, []driver.Range{asRange(src.stored)})
	if err != nil {
		return nil, fmt.Errorf("bus: backlog of %q: %w", channel, err)
	}
	return b.openAll(snapshot.Pages[0].Messages, snapshot.State)
}

// GlobalBacklog returns the stored messages of every channel and site whose
// global ids are above after, ascending by global id. Its errors are those of
// Backlog.
func (b *Bus) GlobalBacklog(ctx context.Context, after int64) ([]Message, error) {
	if err := b.checkOpen(); err != nil {
		return nil, fmt.Errorf("bus: global backlog: %w", err)
	}
	page, err := b.backend.GlobalBacklog(ctx, max(after, 0), 0)
	if err != nil {
		return nil, fmt.Errorf("bus: global backlog: %w", err)
	}
	return b.openAll(page.Messages, page.State)
}

func (c *core) openAll(stored []driver.Message, state driver.State) ([]Message, error) {
	messages := make([]Message, 0, len(stored))
	mark := markOf(state)
	var failures []error
	for _, stored := range stored {
		m, err := newItem(stored, mark).open(c.traceUndecodable)
		if err != nil {
			failures = append(failures, err)
			continue
		}
		messages = append(messages, m)
	}
	return messages, errors.Join(failures...)
}

// Counts returns how many messages are stored on each channel, in one round trip.
// A store that would have to read them for it is an error, for which
// errors.Is(err, errors.ErrUnsupported) holds.
func (b *Bus) Counts(ctx context.Context, channels ...string) (map[string]int, error) {
	names := make([]string, len(channels))
	for i, channel := range channels {
		stored, err := b.storedName(channel)
		if err != nil {
			return nil, fmt.Errorf("bus: counts: %w", err)
		}
		names[i] = stored
	}
	counter, counts := b.backend.(driver.Counter)
	if !counts {
		return nil, fmt.Errorf("bus: counts: a %T does not count: %w", b.backend, errors.ErrUnsupported)
	}
	if err := b.checkOpen(); err != nil {
		return nil, fmt.Errorf("bus: counts: %w", err)
	}
	found, err := counter.Count(ctx, names)
	if err != nil {
		return nil, fmt.Errorf("bus: counts of %d channels: %w", len(channels), err)
	}
	all := make(map[string]int, len(channels))
	for i, channel := range channels {
		all[channel] = found[i]
	}
	return all, nil
}

// LastID returns the id of the last message of channel as the store knows it;
// 0: none, or all were trimmed.
func (b *Bus) LastID(ctx context.Context, channel string) (int64, error) {
	ids, err := b.LastIDs(ctx, channel)
	return ids[channel], err
}

// LastIDs returns LastID of many channels in one round trip.
func (b *Bus) LastIDs(ctx context.Context, channels ...string) (map[string]int64, error) {
	ranges := make([]driver.Range, len(channels))
	for i, channel := range channels {
		stored, err := b.storedName(channel)
		if err != nil {
			return nil, fmt.Errorf("bus: last id: %w", err)
		}
		ranges[i] = driver.Range{Channel: stored, After: math.MaxInt64}
	}
	snapshot, err := b.snapshot(ctx, ranges)
	if err != nil {
		return nil, fmt.Errorf("bus: last ids of %d channels: %w", len(channels), err)
	}
	ids := make(map[string]int64, len(channels))
	for i, channel := range channels {
		ids[channel] = snapshot.Pages[i].LastID
	}
	return ids, nil
}
