package transport

import (
	"slices"
	"strings"
	"time"

	"github.com/messagebus-go/messagebus/bus"
)

// The stored form of names (message_bus 4.5.2, lib/message_bus.rb).
const (
	siteSeparator = "$|$"
	pipeEscape    = "$$123$$"
	globalPrefix  = "/global/"
)

// storedName is the name under which a client has a channel. Channels below
// /global/ belong to every site.
func (id *Identity) storedName(channel string) string {
	if !id.sited() || strings.HasPrefix(channel, globalPrefix) {
		return channel
	}
	return channel + siteSeparator + id.Site
}

// isOfSiteOf reports whether both see the same channels.
func (id *Identity) isOfSiteOf(other *Identity) bool {
	return id.Site == other.Site && id.sited() == other.sited()
}

func (id *Identity) isOver() bool { return !id.Expires.IsZero() && !time.Now().Before(id.Expires) }

// view is the bus as a client sees it.
func (h *Handler) view(id *Identity) *bus.Bus {
	if !id.sited() {
		return h.bus
	}
	return h.bus.Site(id.Site)
}

// audience is who may have a message, made ready to be asked for many clients.
type audience struct {
	clients       []string
	users, groups []bus.ID // users as bus.ID.User has them
	many          map[any]struct{}
}

// manyTargets is from where on a list is searched through a map.
const manyTargets = 32

type userTarget bus.ID

type groupTarget bus.ID

func audienceOf(m *bus.Message) audience {
	a := audience{clients: m.ClientIDs, groups: m.GroupIDs}
	if len(m.UserIDs) > 0 {
		a.users = make([]bus.ID, len(m.UserIDs))
		for i, id := range m.UserIDs {
			a.users[i] = id.User()
		}
	}
	if len(a.clients)+len(a.users)+len(a.groups) >= manyTargets {
		a.index()
	}
	return a
}

func (a *audience) index() {
	a.many = make(map[any]struct{}, len(a.clients)+len(a.users)+len(a.groups))
	for _, id := range a.clients {
		a.many[id] = struct{}{}
	}
	for _, id := range a.users {
		a.many[userTarget(id)] = struct{}{}
	}
	for _, id := range a.groups {
		a.many[groupTarget(id)] = struct{}{}
	}
}

// recipient is what decides whether a client may have a message.
type recipient struct {
	clientID string
	user     bus.ID // as bus.ID.User has it; the zero ID matches a null in a list
	identity Identity
}

func recipientOf(clientID string, id Identity) recipient {
	return recipient{clientID: clientID, user: id.UserID.User(), identity: id}
}

// lookUps is how many targets have to be looked up to find everybody; 0: the
// message is for all.
func (a *audience) lookUps() int {
	if len(a.clients) > 0 {
		return len(a.clients)
	}
	return len(a.users) + len(a.groups)
}

// allows reports whether to may have the message: its client, if any clients
// are named, and its user or one of its groups, if any of those are.
func (a *audience) allows(to *recipient) bool {
	if len(a.clients) > 0 && !a.hasClient(to.clientID) {
		return false
	}
	if len(a.users) == 0 && len(a.groups) == 0 {
		return true
	}
	return a.hasUser(to.user) || len(a.groups) > 0 && slices.ContainsFunc(to.identity.GroupIDs, a.hasGroup)
}

func (a *audience) hasClient(id string) bool {
	if a.many != nil {
		_, ok := a.many[id]
		return ok
	}
	return slices.Contains(a.clients, id)
}

func (a *audience) hasUser(id bus.ID) bool {
	if a.many != nil {
		_, ok := a.many[userTarget(id)]
		return ok
	}
	return slices.Contains(a.users, id)
}

func (a *audience) hasGroup(id bus.ID) bool {
	if a.many != nil {
		_, ok := a.many[groupTarget(id)]
		return ok
	}
	return slices.Contains(a.groups, id)
}
