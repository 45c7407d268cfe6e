package bus

import (
	"encoding/json"
	"fmt"

	"github.com/messagebus-go/messagebus/bus/driver"
)

// A Message is one message as a subscriber sees it. Its slices are shared
// with other subscribers: read them, do not change them.
type Message struct {
	GlobalID int64           // counts all messages of the store
	ID       int64           // counts the messages of the channel, on some stores with holes
	Channel  string          // without its site
	Site     string          // the site it belongs to, if Sited
	Sited    bool            // whether it belongs to a site; the empty site is one too
	Data     json.RawMessage // the payload as it was stored

	// Prev is the id before this one on this channel, as far as the live feed
	// tells: a reader whose position is at least Prev has missed nothing. 0:
	// not known, as in every message that was read from the backlog.
	Prev int64

	// Late: the message comes after others with higher ids, since its publisher
	// committed it after them; only on stores where publishers need not wait
	// for each other. A reader's position does not go back for it.
	Late bool

	// Who may have the message: everyone when all three are empty. See
	// section 5 of docs/protocol.md, "Who gets a message". The bus delivers
	// every message to its in-process subscribers; it is the HTTP side that
	// keeps messages from clients.
	UserIDs   []ID
	GroupIDs  []ID
	ClientIDs []string

	mark storeMark
	sum  uint32 // as in Position
}

// Decode decodes the payload into v, as json.Unmarshal does.
func (m Message) Decode(v any) error {
	if err := json.Unmarshal(m.Data, v); err != nil {
		return fmt.Errorf("bus: decode message %d of %q: %w", m.ID, m.Channel, err)
	}
	return nil
}

// Position returns the position after m, from which a subscription to its
// channel continues and notices every reset of the store.
func (m Message) Position() Position {
	return Position{id: m.ID, seen: m.GlobalID, anchor: driver.Position{GlobalID: m.GlobalID, ID: m.ID}, sum: m.sum, mark: m.mark}
}

// GlobalPosition returns the position after m for SubscribeAll.
func (m Message) GlobalPosition() GlobalPosition {
	return GlobalPosition{id: m.GlobalID, mark: m.mark}
}
