package transport

import (
	"fmt"

	"github.com/messagebus-go/messagebus/bus"
)

// Trace is told what a Handler does, for metrics and traces. Every field may
// be nil. The functions run where the event happens, possibly several at once:
// they must be quick and safe for concurrent use. A panic in one is logged and
// goes no further.
type Trace struct {
	// Connect: a request is held from now on.
	Connect func(Identity, string)

	// Disconnect: a held request was answered, or its client has left.
	Disconnect func(Identity, string, Reason)

	// Deliver: a live message was queued for so many held requests. It must not
	// be changed.
	Deliver func(m *bus.Message, requests int)

	// Refuse: a client may not have a channel, for the reason that err says.
	Refuse func(id Identity, clientID, channel string, err error)

	// Gap: a client was told that something may be lost. Whoever makes up a
	// position is told of one, so this says what clients hear, and not what was
	// lost: that is for the trace of the bus.
	Gap func(Identity, string, *bus.GapError)

	// Panic: a function of the application panicked; where says which one. A
	// filter that did has withheld a message.
	Panic func(where string)

	// Slow: more waits for a client than may; it is dropped and read from the
	// backlog later.
	Slow func(Identity, string)
}

// A Reason says why a request is not held any longer.
type Reason string

// The reasons.
const (
	Expired Reason = "expired" // it was held as long as it may be

	IdentityExpired Reason = "identity expired" // its Identity.Expires has come

	Answered Reason = "answered" // the first message ended it
	Replaced Reason = "replaced" // by another request of the same client id
	Outdated Reason = "outdated" // a later request of the same client id is held already
	Left     Reason = "left"     // the client closed the connection, or it broke
	TooSlow  Reason = "too slow" // a write made no progress for Limits.WriteTimeout
	Stopped  Reason = "stopped"  // by Shutdown, or the bus was closed
	Invalid  Reason = "invalid"  // a WebSocket's client sent what is no command, or more than it may
	Failed   Reason = "failed"   // the store did not answer what a WebSocket's client asked for
)

// guard contains a panic of the application's code.
func (h *Handler) guard(what string, f func()) {
	defer func() {
		if p := recover(); p != nil {
			h.options.Logger.Error("panic in "+what, "panic", fmt.Sprint(p))
			h.tracePanic(what)
		}
	}()
	f()
}

func (h *Handler) tracePanic(where string) {
	defer func() { _ = recover() }() // there is nobody left to tell
	if f := h.options.Trace.Panic; f != nil {
		f(where)
	}
}

func (h *Handler) traceRefuse(q *query, channel string, err error) {
	if f := h.options.Trace.Refuse; f != nil {
		h.guard("Trace.Refuse", func() { f(q.identity, q.clientID, channel, err) })
	}
}

func (h *Handler) traceGap(to *recipient, e *bus.GapError) {
	if f := h.options.Trace.Gap; f != nil {
		h.guard("Trace.Gap", func() { f(to.identity, to.clientID, e) })
	}
}

func (h *Handler) traceConnect(c *client) {
	if f := h.options.Trace.Connect; f != nil {
		h.guard("Trace.Connect", func() { f(c.identity, c.clientID) })
	}
}

func (h *Handler) traceDisconnect(c *client, why Reason) {
	if f := h.options.Trace.Disconnect; f != nil {
		h.guard("Trace.Disconnect", func() { f(c.identity, c.clientID, why) })
	}
}

func (h *Handler) traceDeliver(m *bus.Message, requests int) {
	if f := h.options.Trace.Deliver; f != nil && requests > 0 {
		h.guard("Trace.Deliver", func() { f(m, requests) })
	}
}

func (h *Handler) traceSlow(c *client) {
	if f := h.options.Trace.Slow; f != nil {
		h.guard("Trace.Slow", func() { f(c.identity, c.clientID) })
	}
}
