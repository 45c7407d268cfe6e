// Package history records what publishers, subscribers and faults did to a bus, and
// judges it by the promise of package bus and by nothing else: it knows no store and
// asks none.
//
// A record is honest about time. A publish, and a fault that ends a life of the store,
// are intervals; where two of them overlap it is not known which came first, and the
// judge accepts either.
package history

import (
	"errors"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/messagebus-go/messagebus/bus"
)

// A History is a record in the making. Its methods may be called from any goroutine.
type History struct {
	// MayBeLate is whether messages may come late, as on a store whose publishers need
	// not wait for each other. Set it before anything is recorded.
	MayBeLate bool

	began time.Time

	mu        sync.Mutex // guards below
	publishes []*Publish // by number - 1
	breaks    []*Break
	readers   []*Reader
	notes     []note
}

// New returns an empty history that begins now.
func New() *History { return &History{began: time.Now()} }

func (h *History) now() time.Duration { return time.Since(h.began) }

// An Outcome is what Publish said.
type Outcome string

// The outcomes. Only an accepted message must come, and only a refused one must not.
const (
	Accepted Outcome = "accepted"
	Queued   Outcome = "queued"
	Unknown  Outcome = "unknown"
	Refused  Outcome = "refused"
)

// OutcomeOf reads the error of Publish.
func OutcomeOf(err error) Outcome {
	switch {
	case err == nil:
		return Accepted
	case errors.Is(err, bus.ErrQueued):
		return Queued
	case errors.Is(err, bus.ErrUnknownOutcome):
		return Unknown
	default:
		return Refused
	}
}

// A Payload is what is published. Its number is nobody else's.
type Payload struct {
	Number  int    `json:"number"`
	Last    bool   `json:"last,omitempty"`    // nothing is published on the channel after it
	Padding string `json:"padding,omitempty"` // makes it long
}

// A Publish is one call of Publish.
type Publish struct {
	Number       int
	Channel      string // with its site, as Name makes it
	Began, Ended time.Duration
	Outcome      Outcome
	ID, GlobalID int64 // when accepted; the global id is 0 where it is not known
	Err          error
}

// Publish calls send with the next number, and records what became of it.
func (h *History) Publish(channel string, send func(number int) (id, globalID int64, err error)) error {
	p := &Publish{Channel: channel, Outcome: Unknown}
	h.mu.Lock()
	h.publishes = append(h.publishes, p)
	p.Number, p.Began, p.Ended = len(h.publishes), h.now(), never
	h.mu.Unlock()
	id, globalID, err := send(p.Number)
	h.mu.Lock()
	defer h.mu.Unlock()
	p.ID, p.GlobalID, p.Err, p.Outcome, p.Ended = id, globalID, err, OutcomeOf(err), h.now()
	return err
}

// never is the end of what has not ended.
const never = time.Duration(1<<63 - 1)

// A Kind is what a fault does to what is stored.
type Kind string

// The kinds of faults that end a life of the store.
const (
	Wipe     Kind = "wipe"     // nothing is kept, and ids begin again
	Failover Kind = "failover" // another server takes over, with what it has of it
	Restart  Kind = "restart"  // of one channel nothing is kept, and its ids begin again
)

// A Break is a fault that ended one life of the store and began the next.
type Break struct {
	Kind         Kind
	Began, Ended time.Duration
	Channel      string // of a Restart
}

// Break records a fault that do commits. Two of them must not overlap.
func (h *History) Break(kind Kind, do func()) { h.commit(&Break{Kind: kind}, do) }

// Restart records a fault of one channel, as Break does.
func (h *History) Restart(channel string, do func()) {
	h.commit(&Break{Kind: Restart, Channel: channel}, do)
}

func (h *History) commit(b *Break, do func()) {
	b.Ended = never
	h.mu.Lock()
	b.Began = h.now()
	h.breaks = append(h.breaks, b)
	h.mu.Unlock()
	do()
	h.mu.Lock()
	defer h.mu.Unlock()
	b.Ended = h.now()
}

// Broke records a fault that was seen to have happened. One that overlaps with others
// is taken for one fault with them.
func (h *History) Broke(kind Kind, began, ended time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	b := &Break{Kind: kind, Began: began.Sub(h.began), Ended: ended.Sub(h.began)}
	var apart []*Break
	for _, other := range h.breaks {
		if other.Ended < b.Began || other.Began > b.Ended {
			apart = append(apart, other)
			continue
		}
		b.Began, b.Ended = min(b.Began, other.Began), max(b.Ended, other.Ended)
		if other.Kind == Failover {
			b.Kind = Failover // which may keep something
		}
	}
	apart = append(apart, b)
	h.breaks = apart
	slices.SortFunc(h.breaks, func(a, b *Break) int { return int(a.Began - b.Began) })
}

// A note is for people.
type note struct {
	at   time.Duration
	text string
}

// Note records a line for those who read the history.
func (h *History) Note(text string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.notes = append(h.notes, note{h.now(), text})
}

// A Start is where a reader began.
type Start struct {
	Channel         string // empty: all channels, and ids are global ids
	Latest          bool   // else after ID
	ID              int64
	Began, Returned time.Duration // of the call of Subscribe
}

// A Reader is what one subscriber was handed. It may be recorded over several
// subscriptions, where each goes on from the position of the one before.
type Reader struct {
	Name      string
	Start     Start
	Sightings []Sighting

	h  *History
	mu sync.Mutex // guards Sightings
}

// Reader records a call of Subscribe, and is told then what the subscription brings.
func (h *History) Reader(name string, start Start, subscribe func() error) (*Reader, error) {
	start.Began = h.now()
	err := subscribe()
	start.Returned = h.now()
	if err != nil {
		return nil, err
	}
	r := &Reader{Name: name, Start: start, h: h}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.readers = append(h.readers, r)
	return r, nil
}

// A Sighting is one answer of Next: a message, or a gap.
type Sighting struct {
	At           time.Duration
	Number       int
	Channel      string
	ID, GlobalID int64
	Late         bool
	Gap          *bus.GapError
	Err          error // what cannot be: a message that cannot be read
}

// Saw records an answer of Next, and returns its payload where it has one.
func (r *Reader) Saw(m bus.Message, err error) Payload {
	payload := Payload{}
	s := Sighting{At: r.h.now(), Channel: Name(m.Channel, m.Site), ID: m.ID, GlobalID: m.GlobalID, Late: m.Late}
	if !errors.As(err, &s.Gap) {
		s.Err = err
		if err == nil {
			s.Err = m.Decode(&payload)
		}
	}
	s.Number = payload.Number
	r.mu.Lock()
	defer r.mu.Unlock()
	r.Sightings = append(r.Sightings, s)
	return payload
}

// Name names a channel of a site; without a site, and below /global/, as it is.
func Name(channel, site string) string {
	if site == "" || strings.HasPrefix(channel, "/global/") {
		return channel
	}
	return channel + " of " + site
}
