package transport

import (
	"slices"
	"strings"

	"github.com/messagebus-go/messagebus/bus"
)

// A Filter decides which messages of some channels a client gets.
type Filter struct {
	Prefix string // of the channels that it is asked about; empty: all

	// Allow is asked for each message and each client that may have it by its
	// targets, on the goroutine that serves everybody: it must be quick, and
	// must not change the message. Of several filters the one that was given
	// last is asked first, and the first no counts. A panic is a no.
	Allow func(m *bus.Message, to Identity, clientID string) bool
}

// filtersOf returns the filters for a channel, in the order in which they are
// asked.
func (h *Handler) filtersOf(channel string) []Filter {
	var found []Filter
	for _, f := range slices.Backward(h.options.Filters) {
		if strings.HasPrefix(channel, f.Prefix) {
			found = append(found, f)
		}
	}
	return found
}

// pass reports whether all filters let a client have a message.
func (h *Handler) pass(filters []Filter, m *bus.Message, to *recipient) bool {
	for _, f := range filters {
		ok := false
		h.guard("a filter of "+f.Prefix, func() { ok = f.Allow(m, to.identity, to.clientID) })
		if !ok {
			return false
		}
	}
	return true
}

// chooser returns what decides which messages of one channel a client gets.
func (h *Handler) chooser(channel string, to *recipient) func(*bus.Message) bool {
	filters := h.filtersOf(channel)
	return func(m *bus.Message) bool {
		audience := audienceOf(m)
		return audience.allows(to) && h.pass(filters, m, to)
	}
}
