package transport

import (
	"context"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/messagebus-go/messagebus/bus"
)

// clients counts the requests that are held and keeps one for each client id.
type clients struct {
	most int

	mu      sync.Mutex // guards below
	stopped bool
	places  int                   // of those that are held, or about to be
	count   int                   // of those that are held
	perWho  map[holder]int        // places, of those that are counted
	byKey   map[clientKey]*client // the one request of a client id
	open    map[*client]struct{}  // those that still have a connection
	idle    chan struct{}         // closed when stopped and nobody is left
}

// A clientKey tells clients apart: nobody can close another user's request by
// guessing a client id.
type clientKey struct {
	site  string
	sited bool
	user  bus.ID
	id    string
}

func (id *Identity) key(clientID string) clientKey {
	return clientKey{site: id.Site, sited: id.sited(), user: id.UserID.User(), id: clientID}
}

func (c *client) key() clientKey { return c.identity.key(c.clientID) }

func newClients(most int) *clients {
	return &clients{
		most: max(most, 0), perWho: make(map[holder]int), byKey: make(map[clientKey]*client),
		open: make(map[*client]struct{}), idle: make(chan struct{}),
	}
}

// reserve takes a place for who, which may have most of them (negative: any
// number); false: there is none, or an error: who has had enough.
func (cs *clients) reserve(who holder, most int) (bool, error) {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	if most >= 0 && cs.perWho[who] >= most {
		return false, &statusError{
			status: http.StatusTooManyRequests, retry: retryHeld,
			text: fmt.Sprintf("%d requests are held for this user or address already", most),
		}
	}
	if cs.stopped || cs.places >= cs.most {
		return false, nil
	}
	cs.places++
	if who != (holder{}) {
		cs.perWho[who]++
	}
	return true, nil
}

// retryHeld is when a client may try again that was refused a place.
const retryHeld = 10 * time.Second

// release gives a place back.
func (cs *clients) release(who holder) {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	cs.vacate(who)
	cs.checkIdle()
}

// vacate frees a place. cs.mu must be held.
func (cs *clients) vacate(who holder) {
	cs.places--
	if who == (holder{}) {
		return
	}
	if cs.perWho[who]--; cs.perWho[who] == 0 {
		delete(cs.perWho, who)
	}
}

// claim makes c the request of its client id, unless a later one is held. It
// returns the one that c replaces, and why c itself has to end at once.
func (cs *clients) claim(c *client) (replaced *client, why Reason) {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	cs.open[c] = struct{}{}
	cs.count++
	if cs.stopped {
		return nil, Stopped
	}
	before := cs.byKey[c.key()]
	if before != nil && before.seq > c.seq {
		return nil, Outdated
	}
	cs.byKey[c.key()] = c
	return before, ""
}

// forget frees what c holds, but for its connection.
func (cs *clients) forget(c *client) {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	if cs.byKey[c.key()] == c {
		delete(cs.byKey, c.key())
	}
	cs.vacate(c.holder)
	cs.count--
	cs.checkIdle() // its connection may have gone before
}

// closed is called when c has no connection any more.
func (cs *clients) closed(c *client) {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	delete(cs.open, c)
	cs.checkIdle()
}

// checkIdle tells stop that nobody is left. cs.mu must be held.
func (cs *clients) checkIdle() {
	if !cs.stopped || cs.places > 0 || len(cs.open) > 0 {
		return
	}
	select {
	case <-cs.idle:
	default:
		close(cs.idle)
	}
}

// stop lets nobody in any more and returns those who are there.
func (cs *clients) stop() []*client {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	cs.stopped = true
	cs.checkIdle()
	return cs.list()
}

// list returns those who have a connection. cs.mu must be held.
func (cs *clients) list() []*client {
	all := make([]*client, 0, len(cs.open))
	for c := range cs.open {
		all = append(all, c)
	}
	return all
}

func (cs *clients) all() []*client {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	return cs.list()
}

func (cs *clients) held() int {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	return cs.count
}

// wait waits until nobody is left.
func (cs *clients) wait(ctx context.Context) error {
	select {
	case <-cs.idle:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
