package prometheus

import (
	"github.com/messagebus-go/messagebus/bus"
	"github.com/messagebus-go/messagebus/transport"
)

func (m *Metrics) registerTransport(r *registration) {
	m.connects = r.counter("messagebus_held_requests_started_total", "Requests that were held.")
	m.disconnects = labelled(r, "messagebus_held_requests_ended_total", "Held requests that have ended, by the reason.", "reason", endReasons)
	m.deliveries = r.counter("messagebus_deliveries_total", "Live messages that were queued for held requests: each request counts.")
	m.clientLosses = labelled(r, "messagebus_client_possible_losses_total", "Times that a client was told that messages may be lost, by the reason.", "reason", gapReasons)
	m.refusedChannels = r.counter("messagebus_refused_channels_total", "Channels that clients asked for and may not have.")
	m.panics = r.counter("messagebus_panics_total", "Panics of the functions that the handler was given.")
	m.slow = r.counter("messagebus_slow_clients_total", "Times that a client read too slowly: what waited for it was dropped, and is read from the backlog.")
}

// Transport returns the hooks for transport.Options.Trace.
func (m *Metrics) Transport() *transport.Trace {
	return &transport.Trace{
		Connect:    func(transport.Identity, string) { m.connects.Inc() },
		Disconnect: func(_ transport.Identity, _ string, why transport.Reason) { m.disconnects.add(why) },
		Deliver:    m.deliver,
		Refuse:     func(transport.Identity, string, string, error) { m.refusedChannels.Inc() },
		Gap:        func(_ transport.Identity, _ string, e *bus.GapError) { m.clientLosses.add(e.Reason) },
		Panic:      func(string) { m.panics.Inc() },
		Slow:       func(transport.Identity, string) { m.slow.Inc() },
	}
}

func (m *Metrics) deliver(message *bus.Message, requests int) {
	m.deliveries.Add(float64(requests))
	if counts, listed := m.channels[message.Channel]; listed {
		counts.deliveries.Add(float64(requests))
	}
}
