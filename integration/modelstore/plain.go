package modelstore

import (
	"bytes"
	"errors"

	"github.com/messagebus-go/messagebus/bus/driver"
)

// A Plain is one message of a publisher that does as the gem does: it takes no lock, and
// announces its message when that is committed.
type Plain struct {
	id       int64
	store    *Postgres
	message  driver.Message
	locks    int // when it began
	begins   int
	sequence int
}

// Why a plain publisher does not come to its end; nothing is stored then.
var (
	errReadOnly  = errors.New("the server is read-only")
	errMissing   = errors.New("the table is missing")
	errInterrupt = errors.New("the transaction was ended")
)

// Begin opens a transaction with one message in it, which has its id then.
func (p *Postgres) Begin(channel string, data []byte) (*Plain, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.readOnly:
		return nil, errReadOnly
	case p.number == 0:
		return nil, errMissing
	}
	id := p.nextID()
	m := driver.Message{GlobalID: id, ID: id, Channel: channel, Data: bytes.Clone(data)}
	return &Plain{id: id, store: p, message: m, locks: p.locks, begins: p.begins, sequence: p.sequence}, nil
}

// ID is the id that the message has.
func (t *Plain) ID() int64 { return t.id }

// Commit stores the message, and reports whether none with a higher id was stored before.
// One that is not called is a transaction that was rolled back.
func (t *Plain) Commit() (inOrder bool, err error) {
	p := t.store
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.locks != t.locks {
		return false, errInterrupt
	}
	inOrder = t.id > p.highest
	p.insert(t.message)
	p.changed()
	return inOrder, nil
}

// Announce announces the message, unless it is too long or the store is not the same any
// more. It reports whether readers can know of the message from then on: it is announced,
// and still stored.
func (t *Plain) Announce() bool {
	p := t.store
	p.mu.Lock()
	defer p.mu.Unlock()
	if t.begins != p.begins || t.sequence != p.sequence || len(t.message.Encode()) > longestNotice {
		return false
	}
	p.announce(func() driver.Message { return t.message })
	return p.fetch(t.id).GlobalID > 0
}
