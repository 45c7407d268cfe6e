package otel

import (
	"context"
	"sync"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/messagebus-go/messagebus/bus"
	"github.com/messagebus-go/messagebus/transport"
)

// The keys of the attributes of metrics.
const (
	keyPublishResult = "messagebus.publish.result"
	keyFeedState     = "messagebus.feed.state"
	keyGapReason     = "messagebus.gap.reason" // of spans too
	keyEndReason     = "messagebus.end.reason"
	keyCache         = "messagebus.cache.name"
	keyCacheResult   = "messagebus.cache.result"
	keyChannel       = "messaging.destination.name" // of spans too
)

// The values of attributes.
var (
	results    = []bus.PublishResult{bus.PublishOK, bus.PublishQueued, bus.PublishRefused, bus.PublishUnknown, bus.PublishFailed}
	gapReasons = []bus.GapReason{bus.GapTrimmed, bus.GapPossible, bus.GapReset, bus.GapFailover}
	endReasons = []transport.Reason{
		transport.Expired, transport.IdentityExpired, transport.Answered, transport.Replaced, transport.Outdated, transport.Left,
		transport.TooSlow, transport.Stopped, transport.Invalid, transport.Failed,
	}
)

type metrics struct {
	meter    metric.Meter
	channels map[string]channelCounts

	publishes        map[bus.PublishResult]counter
	publishDuration  metric.Float64Histogram
	published        counter
	givenUp          counter
	feedUp, feedDown counter
	losses           map[bus.GapReason]counter
	undecodable      counter
	late             counter
	behind           counter
	repairs          counter
	repaired         counter
	started          counter
	ended            map[transport.Reason]counter
	deliveries       counter
	clientLosses     map[bus.GapReason]counter
	refusedChannels  counter
	panics           counter
	slow             counter

	busState   busState
	cacheState cacheState

	mu      sync.Mutex      // guards below
	watched bool            // the bus is
	caches  map[string]bool // that are watched
}

// channelCounts are those of a channel that Options lists.
type channelCounts struct{ publishes, deliveries counter }

func newMetrics(meter metric.Meter, channels []string) (*metrics, error) {
	m := &metrics{meter: meter, channels: map[string]channelCounts{}, caches: map[string]bool{}}
	in := &instruments{meter: meter}
	m.countBus(in)
	m.countTransport(in)
	m.countChannels(in, channels)
	m.busState = newBusState(in)
	m.cacheState = newCacheState(in)
	return m, in.err
}

func (m *metrics) countBus(in *instruments) {
	m.publishes = labelled(in, "publishes", "{publish}", "Publishes of this process, by what became of them. One that was queued counts again when it is stored.",
		keyPublishResult, results)
	m.publishDuration = in.histogram("publish.duration", "s", "How long publishes took that reached the store.",
		// 0.1 ms to 2.4 s, each 2.5 times the one before
		0.0001, 0.00025, 0.000625, 0.0015625, 0.00390625, 0.009765625, 0.0244140625, 0.06103515625, 0.152587890625, 0.3814697265625, 0.95367431640625, 2.384185791015625)
	m.published = in.counter("published", "By", "Bytes of the envelopes that were stored.").with()
	m.givenUp = in.counter("queue.given_up", "{message}", "Queued messages that will not be published.").with()
	feed := in.counter("feed.changes", "{change}", "Times that the live feed came up or went down.")
	m.feedUp, m.feedDown = feed.with(attribute.String(keyFeedState, "up")), feed.with(attribute.String(keyFeedState, "down"))
	m.losses = labelled(in, "possible_losses", "{loss}", "Times that a subscription was told that messages may be lost, by the reason.", keyGapReason, gapReasons)
	m.undecodable = in.counter("undecodable_messages", "{message}", "Stored messages and announcements that could not be read.").with()
	m.late = in.counter("late_messages", "{message}", "Messages that were announced after others with higher ids.").with()
	m.behind = in.counter("subscriptions.behind", "{time}", "Times that a subscription had to read the backlog.").with()
	m.repairs = in.counter("feed.repairs", "{repair}", "Times that the feed was checked against the store.").with()
	m.repaired = in.counter("feed.repaired_messages", "{message}", "Messages that the feed had missed, and the store still had.").with()
}

func (m *metrics) countTransport(in *instruments) {
	m.started = in.counter("held_requests_started", "{request}", "Requests that were held.").with()
	m.ended = labelled(in, "held_requests_ended", "{request}", "Held requests that have ended, by the reason.", keyEndReason, endReasons)
	m.deliveries = in.counter("deliveries", "{delivery}", "Live messages that were queued for held requests: each request counts.").with()
	m.clientLosses = labelled(in, "client.possible_losses", "{loss}", "Times that a client was told that messages may be lost, by the reason.", keyGapReason, gapReasons)
	m.refusedChannels = in.counter("refused_channels", "{channel}", "Channels that clients asked for and may not have.").with()
	m.panics = in.counter("panics", "{panic}", "Panics of the functions that the handler was given.").with()
	m.slow = in.counter("slow_clients", "{time}", "Times that a client read too slowly: what waited for it was dropped, and is read from the backlog.").with()
}

func (m *metrics) countChannels(in *instruments, channels []string) {
	if len(channels) == 0 {
		return
	}
	publishes := in.counter("channel.publishes", "{publish}", "Messages that this process has published, of the channels that are counted one by one.")
	deliveries := in.counter("channel.deliveries", "{delivery}", "Live messages that were queued for held requests, of the channels that are counted one by one.")
	for _, channel := range channels {
		at := attribute.String(keyChannel, channel)
		m.channels[channel] = channelCounts{publishes.with(at), deliveries.with(at)}
	}
}

// publish counts one publish. The context is that of its span.
func (m *metrics) publish(ctx context.Context, p bus.PublishInfo) {
	result := p.Result()
	m.publishes[result].addIn(ctx, 1)
	if result != bus.PublishQueued && result != bus.PublishRefused {
		m.publishDuration.Record(ctx, p.Duration.Seconds())
	}
	if result != bus.PublishOK {
		return
	}
	m.published.addIn(ctx, p.Bytes)
	if counts, listed := m.channels[p.Channel]; listed {
		counts.publishes.addIn(ctx, 1)
	}
}

func (m *metrics) deliver(message *bus.Message, requests int) {
	m.deliveries.add(requests)
	if counts, listed := m.channels[message.Channel]; listed {
		counts.deliveries.add(requests)
	}
}
