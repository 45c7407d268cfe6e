package prometheus

import (
	client "github.com/prometheus/client_golang/prometheus"

	"github.com/messagebus-go/messagebus/bus"
)

func (m *Metrics) registerBus(r *registration) {
	m.publishes = labelled(r, "messagebus_publishes_total", "Publishes of this process, by what became of them. One that was queued counts again when it is stored.",
		"result", results)
	m.publishSeconds = client.NewHistogram(client.HistogramOpts{
		Name: "messagebus_publish_duration_seconds", Help: "How long publishes took that reached the store.",
		Buckets: client.ExponentialBuckets(0.0001, 2.5, 12), // 0.1 ms to 2.4 s
	})
	r.add(m.publishSeconds)
	m.publishedBytes = r.counter("messagebus_published_bytes_total", "Bytes of the envelopes that were stored.")
	m.givenUp = r.counter("messagebus_queue_given_up_total", "Queued messages that will not be published.")
	feed := r.vector("messagebus_feed_changes_total", "Times that the live feed came up or went down.", "state")
	m.feed = counters[bool]{true: feed.WithLabelValues("up"), false: feed.WithLabelValues("down")}
	m.losses = labelled(r, "messagebus_possible_losses_total", "Times that a subscription was told that messages may be lost, by the reason.", "reason", gapReasons)
	m.undecodable = r.counter("messagebus_undecodable_messages_total", "Stored messages and announcements that could not be read.")
	m.late = r.counter("messagebus_late_messages_total", "Messages that were announced after others with higher ids.")
	m.behind = r.counter("messagebus_subscriptions_behind_total", "Times that a subscription had to read the backlog.")
	m.repairs = r.counter("messagebus_feed_repairs_total", "Times that the feed was checked against the store.")
	m.repaired = r.counter("messagebus_feed_repaired_messages_total", "Messages that the feed had missed, and the store still had.")
}

// Bus returns the hooks for bus.Options.Trace.
func (m *Metrics) Bus() *bus.Trace {
	return &bus.Trace{
		Publish:     m.publish,
		GivenUp:     func(_, _ string, _ error) { m.givenUp.Inc() },
		FeedUp:      func() { m.feed.add(true) },
		FeedDown:    func(error) { m.feed.add(false) },
		Gap:         func(e *bus.GapError) { m.losses.add(e.Reason) },
		Undecodable: func(*bus.DecodeError) { m.undecodable.Inc() },
		Late:        func(string) { m.late.Inc() },
		Behind:      func(string) { m.behind.Inc() },
		Repair: func(_, messages int) {
			m.repairs.Inc()
			m.repaired.Add(float64(messages))
		},
	}
}

func (m *Metrics) publish(p bus.PublishInfo) {
	result := p.Result()
	m.publishes.add(result)
	if result != bus.PublishQueued && result != bus.PublishRefused {
		m.publishSeconds.Observe(p.Duration.Seconds())
	}
	if result != bus.PublishOK {
		return
	}
	m.publishedBytes.Add(float64(p.Bytes))
	if counts, listed := m.channels[p.Channel]; listed {
		counts.publishes.Inc()
	}
}
