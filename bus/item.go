package bus

import (
	"encoding/json"
	"sync"

	"github.com/messagebus-go/messagebus/bus/driver"
)

// An item is one thing to hand out: a stored message, or an error after which
// the reader goes on. Subscriptions share it. The first of them that hands out a
// message decodes it, and not the feed, behind which everybody waits.
type item struct {
	at      driver.Position // the position after it
	mark    storeMark
	prev    int64  // as Message.Prev
	sum     uint32 // of the message, be it decodable or not; 0: it is none
	channel string // stored name
	data    []byte // the envelope

	// place is where the reader of a late message stands when it has it; nil: it is none.
	place *Position

	decoded sync.Once // guards below, of a message
	payload json.RawMessage
	to      targets
	err     error
}

// newItem does not look into the message.
func newItem(m driver.Message, mark storeMark) *item {
	return &item{
		at: driver.Position{GlobalID: m.GlobalID, ID: m.ID}, mark: mark,
		sum: checksum(m.Data), channel: m.Channel, data: m.Data,
	}
}

// isMessage reports whether it is a message, be it decodable or not.
func (it *item) isMessage() bool { return it.sum != 0 }

// size is what counts where memory is bounded: bytes.
func (it *item) size() int { return len(it.data) }

// madeLate returns another item for the same message, which others may have in order: for
// a reader that stands at p before it, where all that is not late is passed.
func (it *item) madeLate(p Position) *item {
	p = p.SawLate(it.at.GlobalID)
	return &item{at: it.at, mark: it.mark, prev: it.prev, sum: it.sum, channel: it.channel, data: it.data, place: &p}
}

// isLate reports whether it comes after others with higher ids.
func (it *item) isLate() bool { return it.place != nil }

// open returns what a reader is handed. The first time that it decodes something
// that cannot be decoded it reports that.
func (it *item) open(report func(*DecodeError)) (Message, error) {
	if it.isMessage() {
		it.decoded.Do(func() { it.decode(report) })
	}
	if it.err != nil {
		return Message{}, it.err
	}
	channel, site, _ := splitStoredName(it.channel) // decode has seen its error
	return Message{
		GlobalID: it.at.GlobalID, ID: it.at.ID, Channel: channel, Site: site, Sited: sited(it.channel),
		Data: it.payload, Prev: it.prev, Late: it.isLate(),
		UserIDs: it.to.users, GroupIDs: it.to.groups, ClientIDs: it.to.clients,
		mark: it.mark, sum: it.sum,
	}, nil
}

func (it *item) decode(report func(*DecodeError)) {
	_, _, err := splitStoredName(it.channel)
	if err == nil {
		it.payload, it.to, err = decodeEnvelope(it.data)
	}
	if err != nil {
		undecodable := &DecodeError{GlobalID: it.at.GlobalID, ID: it.at.ID, Channel: it.channel, Data: it.data, Err: err}
		it.err = undecodable
		report(undecodable)
	}
}
