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
	previous previousIDs // the listener's own

	mu       sync.RWMutex               // guards below
	channels map[string][]*Subscription // by stored name
	all      []*Subscription            // those of SubscribeAll
	closed   bool
}

func newHub() *hub {
	return &hub{channels: make(map[string][]*Subscription)}
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
	list := h.channels[s.stored]
	s.slot = len(list)
	h.channels[s.stored] = append(list, s)
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
	if list := without(h.channels[s.stored], s); len(list) > 0 {
		h.channels[s.stored] = list
	} else {
		delete(h.channels, s.stored)
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
	for _, list := range h.channels {
		for _, s := range list {
			s.end()
		}
	}
	for _, s := range h.all {
		s.end()
	}
}

// dispatch hands one live message to everyone who subscribed to it. It is
// decoded once, and only if there is anyone.
func (c *core) dispatch(stored driver.Message, mark storeMark) {
	c.handOut(stored, mark, c.hub.previous.swap(stored.Channel, stored.ID))
}

// dispatchLate hands one out that comes after others with higher ids: what was
// before it on its channel is not known.
func (c *core) dispatchLate(stored driver.Message, mark storeMark) { c.handOut(stored, mark, 0) }

// handOut lets other goroutines run when a queue is filling: in a flood, and
// with all processors busy, its reader would not have its turn before the
// queue is full. Nobody is waited for.
func (c *core) handOut(stored driver.Message, mark storeMark, previous int64) {
	if c.hub.push(c, stored, mark, previous) {
		runtime.Gosched()
	}
}

// push reports whether a queue is filling.
func (h *hub) push(c *core, stored driver.Message, mark storeMark, previous int64) (filling bool) {
	h.mu.RLock()
	defer h.mu.RUnlock()
	listeners := h.channels[stored.Channel]
	if len(listeners) == 0 && len(h.all) == 0 {
		return false
	}
	it := c.open(stored, mark)
	if it.message != nil {
		it.message.Prev = previous
	}
	for _, s := range listeners {
		filling = s.push(it) || filling
	}
	for _, s := range h.all {
		filling = s.push(it) || filling
	}
	return filling
}

// maxPrevious bounds how many channels the hub remembers a previous id of.
const maxPrevious = 1 << 16

// previousIDs remembers the last id of each channel in the feed. It keeps two
// generations and drops the older one when the newer is full, so that busy
// channels stay and memory is bounded.
type previousIDs struct{ young, old map[string]int64 }

// swap stores id for channel and returns the one before it; 0: not known.
func (p *previousIDs) swap(channel string, id int64) int64 {
	before, ok := p.young[channel]
	if !ok {
		before = p.old[channel]
	}
	if p.young == nil || !ok && len(p.young) >= maxPrevious {
		p.young, p.old = make(map[string]int64), p.young
	}
	p.young[channel] = id
	return before
}

// forget is called when the feed was interrupted.
func (p *previousIDs) forget() { *p = previousIDs{} }
