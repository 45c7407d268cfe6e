package prometheus

import (
	"errors"
	"slices"

	client "github.com/prometheus/client_golang/prometheus"

	"github.com/messagebus-go/messagebus/bus"
	"github.com/messagebus-go/messagebus/transport"
)

// Options are the settings of Metrics. Zero fields mean defaults.
type Options struct {
	// Channels are counted one by one as well, under their names; each is a
	// label, so they must be few. Default: none.
	Channels []string
}

// Metrics are the metrics of one process. All methods are safe for concurrent
// use.
type Metrics struct {
	registry client.Registerer
	channels map[string]channelCounts

	publishes       counters[bus.PublishResult]
	publishSeconds  client.Histogram
	publishedBytes  client.Counter
	givenUp         client.Counter
	feed            counters[bool] // by whether it came up
	losses          counters[bus.GapReason]
	undecodable     client.Counter
	late            client.Counter
	behind          client.Counter
	repairs         client.Counter
	repaired        client.Counter
	connects        client.Counter
	disconnects     counters[transport.Reason]
	deliveries      client.Counter
	clientLosses    counters[bus.GapReason]
	refusedChannels client.Counter
	panics          client.Counter
	slow            client.Counter
}

// channelCounts are those of a channel that Options lists.
type channelCounts struct{ publishes, deliveries client.Counter }

// counters are the counters of one metric, by the value of its label. All exist
// from the start, so that the first event is an increase.
type counters[K comparable] map[K]client.Counter

func (c counters[K]) add(key K) {
	if one, known := c[key]; known {
		one.Inc()
	}
}

// The values of labels.
var (
	results    = []bus.PublishResult{bus.PublishOK, bus.PublishQueued, bus.PublishRefused, bus.PublishUnknown, bus.PublishFailed}
	gapReasons = []bus.GapReason{bus.GapTrimmed, bus.GapPossible, bus.GapReset, bus.GapFailover}
	endReasons = []transport.Reason{
		transport.Expired, transport.IdentityExpired, transport.Answered, transport.Replaced, transport.Outdated, transport.Left,
		transport.TooSlow, transport.Stopped, transport.Invalid, transport.Failed,
	}
)

// New makes the metrics and registers them. A registry has them once.
func New(registry client.Registerer, opts *Options) (*Metrics, error) {
	if registry == nil {
		return nil, errors.New("prometheus: the registry is nil")
	}
	if opts == nil {
		opts = &Options{}
	}
	m := &Metrics{registry: registry, channels: map[string]channelCounts{}}
	r := &registration{registry: registry}
	m.registerBus(r)
	m.registerTransport(r)
	m.registerChannels(r, opts.Channels)
	if r.err != nil {
		return nil, r.err
	}
	return m, nil
}

// registration registers metrics until there is an error.
type registration struct {
	registry client.Registerer
	err      error
}

func (r *registration) add(c client.Collector) {
	if r.err == nil {
		r.err = r.registry.Register(c)
	}
}

func (r *registration) counter(name, help string) client.Counter {
	c := client.NewCounter(client.CounterOpts{Name: name, Help: help})
	r.add(c)
	return c
}

func (r *registration) vector(name, help string, labels ...string) *client.CounterVec {
	c := client.NewCounterVec(client.CounterOpts{Name: name, Help: help}, labels)
	r.add(c)
	return c
}

// labelled registers a metric whose label has only the values that are given.
func labelled[K ~string](r *registration, name, help, label string, values []K) counters[K] {
	vector := r.vector(name, help, label)
	all := counters[K]{}
	for _, value := range values {
		all[value] = vector.WithLabelValues(string(value))
	}
	return all
}

func (m *Metrics) registerChannels(r *registration, channels []string) {
	if len(channels) == 0 {
		return
	}
	publishes := r.vector("messagebus_channel_publishes_total", "Messages that this process has published, of the channels that are counted one by one.", "channel")
	deliveries := r.vector("messagebus_channel_deliveries_total", "Live messages that were queued for held requests, of the channels that are counted one by one.", "channel")
	for _, channel := range slices.Compact(slices.Sorted(slices.Values(channels))) {
		m.channels[channel] = channelCounts{publishes.WithLabelValues(channel), deliveries.WithLabelValues(channel)}
	}
}
