package httpclient

import (
	"encoding/json"
	"fmt"
)

// A Position says from where on a channel is wanted, or how far it was read. The
// zero value is After(0).
//
// Positions that Client.Positions returns also know the global id and the epoch
// of the store, by which a server of this project notices every reset. Their
// JSON keeps all of it.
type Position struct {
	id       int64 // as on the wire: -1 is the latest, -(n+1) the newest n
	globalID int64 // of the message with that id; 0: not known
	epoch    string
}

// latest is the wire's number for "new messages only".
const latest = -1

// Latest starts with the next message that is published.
func Latest() Position { return Position{id: latest} }

// After starts with the message after id. After(0) starts with the oldest that
// is stored; a negative id counts as 0.
func After(id int64) Position { return Position{id: max(id, 0)} }

// Last starts with the newest n stored messages; n less than 1 is Latest.
func Last(n int) Position { return Position{id: -int64(max(n, 0)) - 1} }

// ID returns the message id after which the channel goes on; false: the position
// is Latest or Last.
func (p Position) ID() (id int64, known bool) { return max(p.id, 0), p.id >= 0 }

type positionJSON struct {
	ID       int64  `json:"id"`
	GlobalID int64  `json:"global_id,omitempty"`
	Epoch    string `json:"epoch,omitempty"`
}

// MarshalJSON implements json.Marshaler. Latest and Last have the ids of the
// protocol, -1 and -(n+1).
func (p Position) MarshalJSON() ([]byte, error) {
	return json.Marshal(positionJSON{p.id, p.globalID, p.epoch})
}

// UnmarshalJSON implements json.Unmarshaler.
func (p *Position) UnmarshalJSON(b []byte) error {
	var read struct {
		positionJSON

		ID *int64 `json:"id"`
	}
	if err := json.Unmarshal(b, &read); err != nil {
		return fmt.Errorf("httpclient: a position: %w", err)
	}
	if read.ID == nil || read.GlobalID < 0 {
		return fmt.Errorf("httpclient: the position %.100s needs an id, and no global_id below 0", b)
	}
	*p = Position{id: *read.ID, globalID: read.GlobalID, epoch: read.Epoch}
	if p.id < 0 {
		p.globalID, p.epoch = 0, ""
	}
	return nil
}
