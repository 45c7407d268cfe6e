package transport

import (
	"cmp"
	"slices"
)

// A HeldRequest is one that is held, as Handler.Largest found it.
type HeldRequest struct {
	Identity Identity
	ClientID string
	Channels int
	Queued   int  // bytes of live messages that wait until it has read those before
	Behind   bool // what would have waited was too much, and is read from the backlog
}

// Largest returns the n held requests for which most waits to be read; where as
// much waits for several, those with more channels, and those in the order
// of their client ids. It looks at every held request, so it is for people who ask
// now and then.
func (h *Handler) Largest(n int) []HeldRequest {
	var largest []HeldRequest
	if n <= 0 {
		return largest
	}
	for _, c := range h.clients.all() {
		r, held := c.describe()
		if !held || len(largest) == n && !r.largerThan(largest[n-1]) {
			continue
		}
		if len(largest) == n {
			largest = largest[:n-1]
		}
		at, _ := slices.BinarySearchFunc(largest, r, func(a, b HeldRequest) int {
			if b.largerThan(a) {
				return 1
			}
			return -1
		})
		largest = slices.Insert(largest, at, r)
	}
	return largest
}

func (r HeldRequest) largerThan(o HeldRequest) bool {
	return cmp.Or(cmp.Compare(r.Queued, o.Queued), cmp.Compare(r.Channels, o.Channels), cmp.Compare(o.ClientID, r.ClientID)) > 0
}

func (c *client) describe() (r HeldRequest, held bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	r = HeldRequest{Identity: c.identity, ClientID: c.clientID, Channels: len(c.subs), Queued: c.waiting, Behind: c.state == behind || c.slow}
	return r, c.state != over
}
