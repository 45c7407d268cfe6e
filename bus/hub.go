package bus

import (
	"runtime"
	"sync"

	"github.com/messagebus-go/messagebus/bus/driver"
)

// hub is the table of subscriptions and hands them the live messages. Only
// the listener's goroutine calls dispatch, and it never waits for a reader.
//
// Lock order: hub.mu before Subscription.mu.
type hub struct {
	mu       sync.RWMutex         // guards below
	channels map[string]*audience // by stored name; none is empty
	all      []*Subscription      // those of SubscribeAll
	previous previousIDs          // of the other channels
	closed   bool
}

// An audience is the subscriptions to one channel.
type audience struct {
	subscriptions []*Subscription
	lastID        int64 // that the feed has brought; the listener's own; 0: not known
}

func newHub() *hub {
	return &hub{channels: make(map[string]*audience)}
}

// add puts s into the table; false when the hub is closed.
func (h *hub) add(s *Subscription) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return false
	}
	if s.everything {
		s.slot, h.all = len(h.all), append(h.all, s)
		return true
	}
	a := h.channels[s.stored]
	if a == nil {
		a = &audience{lastID: h.previous.take(s.stored)}
		h.channels[s.stored] = a
	}
	s.slot, a.subscriptions = len(a.subscriptions), append(a.subscriptions, s)
	return true
}

// remove takes s out of the table; once.
func (h *hub) remove(s *Subscription) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if s.everything {
		h.all = without(h.all, s)
		return
	}
	a := h.channels[s.stored]
	if a.subscriptions = without(a.subscriptions, s); len(a.subscriptions) == 0 {
		delete(h.channels, s.stored)
		h.previous.swap(s.stored, a.lastID)
	}
}

// without removes s by putting the last one in its place.
func without(list []*Subscription, s *Subscription) []*Subscription {
	last := len(list) - 1
	list[s.slot] = list[last]
	list[s.slot].slot = s.slot
	list[last] = nil
	return list[:last]
}

// closeAll ends every subscription and takes no more.
func (h *hub) closeAll() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.closed = true
	for _, a := range h.channels {
		for _, s := range a.subscriptions {
			s.end()
		}
	}
	for _, s := range h.all {
		s.end()
	}
}

// dispatch hands one live message to everyone who subscribed to it. late: it
// comes after others with higher ids.
//
// It lets other goroutines run when a queue is filling: in a flood, and with all
// processors busy, its reader would not have its turn before the queue is full.
// Nobody is waited for.
func (h *hub) dispatch(m driver.Message, mark storeMark, late bool) {
	if h.push(m, mark, late) {
		runtime.Gosched()
	}
}

// push reports whether a queue is filling.
func (h *hub) push(m driver.Message, mark storeMark, late bool) (filling bool) {
	h.mu.RLock()
	defer h.mu.RUnlock()
	a := h.channels[m.Channel]
	previous := int64(0) // what was before a late one is not known
	if !late {
		previous = h.follow(a, m)
	}
	if a == nil && len(h.all) == 0 {
		return false
	}
	it := newItem(m, mark)
	it.prev = previous
	if a != nil {
		filling = pushTo(a.subscriptions, it)
	}
	return pushTo(h.all, it) || filling
}

func pushTo(list []*Subscription, it *item) (filling bool) {
	for _, s := range list {
		filling = s.push(it) || filling
	}
	return filling
}

// follow notes that m has come, and returns the id before it on its channel; 0:
// not known. h.mu must be held.
func (h *hub) follow(a *audience, m driver.Message) (before int64) {
	if a == nil {
		return h.previous.swap(m.Channel, m.ID)
	}
	before, a.lastID = a.lastID, m.ID
	return before
}

// interrupted is called when the feed was: what was before the next message of a
// channel is not known.
func (h *hub) interrupted() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.previous = previousIDs{}
	for _, a := range h.channels {
		a.lastID = 0
	}
}

// maxPrevious bounds how many channels the hub remembers a previous id of, beside
// those that are subscribed to.
const maxPrevious = 1 << 16

// previousIDs remembers the last id of each channel in the feed. It keeps two
// generations and drops the older one when the newer is full, so that busy
// channels stay and memory is bounded.
type previousIDs struct{ young, old map[string]int64 }

// swap stores id for channel and returns the one before it; 0: not known.
func (p *previousIDs) swap(channel string, id int64) int64 {
	before, ok := p.last(channel)
	if p.young == nil || !ok && len(p.young) >= maxPrevious {
		p.young, p.old = make(map[string]int64), p.young
	}
	p.young[channel] = id
	return before
}

// last returns the last id, and whether it is among the young.
func (p *previousIDs) last(channel string) (id int64, young bool) {
	id, young = p.young[channel]
	if !young {
		id = p.old[channel]
	}
	return id, young
}

// take forgets a channel, and returns its last id.
func (p *previousIDs) take(channel string) int64 {
	id, _ := p.last(channel)
	delete(p.young, channel)
	delete(p.old, channel)
	return id
}
