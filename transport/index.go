package transport

import "github.com/messagebus-go/messagebus/bus"

// A targetIndex finds the subscriptions of one channel by what messages are
// aimed at. It is guarded by the shard of its entry.
type targetIndex struct {
	users, groups map[bus.ID]subscriptions // users as bus.ID.User has them
	clients       map[string]subscriptions
	round         int64 // counts what was looked up; the feed's own
}

type subscriptions map[*subscription]struct{}

func newTargetIndex() *targetIndex {
	return &targetIndex{
		users: make(map[bus.ID]subscriptions), groups: make(map[bus.ID]subscriptions),
		clients: make(map[string]subscriptions),
	}
}

func (x *targetIndex) add(s *subscription) {
	c := s.client
	addTo(x.users, c.user, s)
	addTo(x.clients, c.clientID, s)
	for _, group := range c.identity.GroupIDs {
		addTo(x.groups, group, s)
	}
}

func (x *targetIndex) remove(s *subscription) {
	c := s.client
	removeFrom(x.users, c.user, s)
	removeFrom(x.clients, c.clientID, s)
	for _, group := range c.identity.GroupIDs {
		removeFrom(x.groups, group, s)
	}
}

func addTo[K comparable](lists map[K]subscriptions, key K, s *subscription) {
	list := lists[key]
	if list == nil {
		list = make(subscriptions, 1)
		lists[key] = list
	}
	list[s] = struct{}{}
}

func removeFrom[K comparable](lists map[K]subscriptions, key K, s *subscription) {
	delete(lists[key], s)
	if len(lists[key]) == 0 {
		delete(lists, key)
	}
}

// find calls take once for each subscription that a may be for: those of its
// clients or, where it names none, of its users and groups. Whether it really
// is, the caller finds out.
func (x *targetIndex) find(a *audience, take func(*subscription)) {
	x.round++
	each := func(list subscriptions) {
		for s := range list {
			if s.offered != x.round { // it may be found by several targets
				s.offered = x.round
				take(s)
			}
		}
	}
	for _, id := range a.clients {
		each(x.clients[id])
	}
	if len(a.clients) > 0 {
		return
	}
	for _, id := range a.users {
		each(x.users[id])
	}
	for _, id := range a.groups {
		each(x.groups[id])
	}
}
