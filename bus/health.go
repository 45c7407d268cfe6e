package bus

import (
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/messagebus-go/messagebus/bus/driver"
)

// Health is how a bus is doing at the moment.
type Health struct {
	// OK is whether what is published now would be delivered now: the feed is
	// live, or the bus does not need one as nothing ever subscribed.
	OK bool

	Reasons     []string // why not OK, for people; empty when OK
	Listening   bool     // whether the bus has ever opened the feed
	Live        bool     // whether the feed is live; false as well where it was never opened
	ReadOnly    bool     // whether the store refused writes when it was last asked
	Queued      int      // messages that wait for the store to take writes
	QueuedBytes int      // of their envelopes
	GivenUp     uint64   // queued messages that will not be published, since New
	Gaps        uint64   // possible losses that readers were told of, since New
	Undecodable uint64   // messages that could not be read, since New
	Late        uint64   // messages that came after others with higher ids, since New
}

// healthState is what the loops of a bus report of themselves.
type healthState struct {
	gaps, undecodable, late atomic.Uint64

	mu       sync.Mutex // guards below
	feed     error      // why there is no live feed; nil: there is
	store    error      // why the store did not answer when it was last asked
	readOnly bool
	warning  string // what the store itself wants looked at
}

// Health returns how the bus is doing. It does not ask the store: a listening
// bus asks it all the time, so that what is wrong shows within
// Options.LivenessBound.
func (b *Bus) Health() Health {
	b.mu.Lock()
	listening, closed := b.listening, b.closed
	b.mu.Unlock()
	h := b.health.report()
	h.Listening = listening
	h.Live = h.Live && listening && !closed
	h.Queued, h.QueuedBytes = b.waiting.report()
	h.GivenUp = b.waiting.dropped.Load()
	if h.Queued > 0 {
		h.Reasons = append(h.Reasons, fmt.Sprintf("%d messages wait for the store to take writes", h.Queued))
	}
	if closed {
		h.Reasons = []string{"the bus is closed"}
	}
	h.OK = len(h.Reasons) == 0
	return h
}

func (s *healthState) report() Health {
	s.mu.Lock()
	defer s.mu.Unlock()
	h := Health{Gaps: s.gaps.Load(), Undecodable: s.undecodable.Load(), Late: s.late.Load(), ReadOnly: s.readOnly, Live: s.feed == nil}
	if s.feed != nil {
		h.Reasons = append(h.Reasons, fmt.Sprintf("no live feed: %v", s.feed))
	}
	if s.store != nil {
		h.Reasons = append(h.Reasons, fmt.Sprintf("the store does not answer: %v", s.store))
	}
	if s.readOnly {
		h.Reasons = append(h.Reasons, "the store is read-only")
	}
	if s.warning != "" {
		h.Reasons = append(h.Reasons, s.warning)
	}
	return h
}

func (s *healthState) setFeed(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.feed = err
}

func (s *healthState) setReadOnly(yes bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.readOnly = yes
}

func (s *healthState) setStore(state driver.State, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.store = err
	if err == nil {
		s.readOnly, s.warning = state.ReadOnly, state.Warning
	}
}
