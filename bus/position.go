package bus

import (
	"hash/crc32"
	"strings"
	"unique"

	"github.com/messagebus-go/messagebus/bus/driver"
)

// A Position says from where a subscription to one channel starts. Make one
// with Latest, After, Last or Resume, or take a message's own. The zero
// Position is After(0).
type Position struct {
	kind   positionKind
	id     int64           // everything up to it was seen; for tail: how many
	seen   int64           // global id up to which the channel was seen; 0: not known
	anchor driver.Position // the last message that was seen; zero: not known, or none. Its id may be unknown
	sum    uint32          // of that message; 0: not known
	mark   storeMark       // of the store that it was read from; empty: not known
}

type positionKind uint8

const (
	after positionKind = iota
	latest
	tail
)

// storeMark tells one life of a store from the next: its epoch and its timeline,
// joined with a character that no driver's epoch contains. Every position has one,
// so the text is shared by all of them, and not that of an answer of the store.
type storeMark struct{ text unique.Handle[string] }

const markSeparator = "~"

// markOf returns the mark of a store, which is not empty where the store has no epoch
// either: when it is given one it may have been wiped since.
func markOf(s driver.State) storeMark {
	if s.Timeline == "" && s.Epoch != "" {
		return parseMark(s.Epoch)
	}
	return parseMark(s.Epoch + markSeparator + s.Timeline)
}

func parseMark(text string) storeMark {
	if text == "" {
		return storeMark{}
	}
	return storeMark{unique.Make(text)}
}

// isKnown reports whether there is a mark.
func (m storeMark) isKnown() bool { return m != (storeMark{}) }

// String returns the text; empty: there is no mark.
func (m storeMark) String() string {
	if !m.isKnown() {
		return ""
	}
	return m.text.Value()
}

func (m storeMark) epoch() string {
	epoch, _, _ := strings.Cut(m.String(), markSeparator)
	return epoch
}

func (m storeMark) timeline() string {
	_, timeline, _ := strings.Cut(m.String(), markSeparator)
	return timeline
}

// Latest starts with the next message that is published.
func Latest() Position { return Position{kind: latest} }

// After starts with the message after id. After(0) starts with the oldest
// message that is stored.
//
// An id alone shows that the store was reset only where it is ahead of the
// store; Resume shows every reset.
func After(id int64) Position { return Position{id: max(id, 0)} }

// Last starts with the newest n stored messages, n at least 0.
func Last(n int) Position { return Position{kind: tail, id: int64(max(n, 0))} }

// Resume starts after a message that was seen before: its id, its global id
// (0: not known) and the epoch of its store (empty: not known), as
// Position.ID, GlobalID and Epoch return them. After a failover of the store
// such a position begins anew, with a reset: only one that was never taken apart
// knows what it saw.
func Resume(id, globalID int64, epoch string) Position {
	p := Position{id: max(id, 0), seen: max(globalID, 0), mark: parseMark(epoch)}
	if id > 0 && globalID > 0 { // else it saw where the channel stood, and no message
		p.anchor = driver.Position{GlobalID: globalID, ID: p.id}
	}
	return p
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// checksum tells messages with the same ids apart, which two servers give to
// different ones when the second took over without all that the first had.
// It is never 0.
func checksum(envelope []byte) uint32 { return max(crc32.Checksum(envelope, castagnoli), 1) }

// ID returns the id of the last message before the position; 0 when there is none.
func (p Position) ID() int64 {
	if p.kind != after {
		return 0
	}
	return p.id
}

// GlobalID returns the global id up to which the channel was seen; 0: not known.
func (p Position) GlobalID() int64 { return p.seen }

// SeenUpTo is p of a reader that was also handed everything with global ids up to
// globalID, as a browser says with the last event of a stream.
func (p Position) SeenUpTo(globalID int64) Position {
	p.seen = max(p.seen, globalID)
	return p.SawLate(globalID)
}

// SawLate is p of a reader that was also handed a message with a global id, which came
// late. Where that is above the last one that p knows of, p no longer tells all that was
// seen, and so nothing of a server that takes over: then it begins anew, with a reset.
func (p Position) SawLate(globalID int64) Position {
	if globalID > p.anchor.GlobalID {
		p.sum = 0
		if p.id == 0 {
			p.anchor = driver.Position{GlobalID: globalID}
		}
	}
	return p
}

// sawNothing reports whether its reader was handed no message of the channel.
func (p Position) sawNothing() bool { return p.id == 0 && p.anchor.GlobalID == 0 }

// Epoch returns an opaque text that changes when the store is reset or fails
// over; empty: not known.
func (p Position) Epoch() string { return p.mark.String() }

// A GlobalPosition says from where SubscribeAll starts, in global ids. The
// zero GlobalPosition is AfterGlobal(0): all that is stored.
type GlobalPosition struct {
	latest bool
	id     int64
	mark   storeMark
}

// AfterGlobal starts with the message after the global id.
func AfterGlobal(id int64) GlobalPosition { return GlobalPosition{id: max(id, 0)} }

// LatestGlobal starts with the next message that is published.
func LatestGlobal() GlobalPosition { return GlobalPosition{latest: true} }
