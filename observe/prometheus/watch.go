package prometheus

import (
	client "github.com/prometheus/client_golang/prometheus"

	"github.com/messagebus-go/messagebus/bus"
	"github.com/messagebus-go/messagebus/cache"
	"github.com/messagebus-go/messagebus/transport"
)

// Watch registers what is not counted but asked for when Prometheus does: how b
// is doing, and how many requests h holds. h may be nil.
func (m *Metrics) Watch(b *bus.Bus, h *transport.Handler) error {
	return m.registry.Register(&busState{bus: b, handler: h})
}

// busState asks for the health once for all of its metrics.
type busState struct {
	bus     *bus.Bus
	handler *transport.Handler
}

func gauge(name, help string) *client.Desc { return client.NewDesc(name, help, nil, nil) }

var (
	healthy     = gauge("messagebus_healthy", "1 where what is published now would be delivered now.")
	live        = gauge("messagebus_feed_live", "1 while the live feed of the store is up.")
	readOnly    = gauge("messagebus_store_read_only", "1 where the store refused writes when it was last asked.")
	queued      = gauge("messagebus_queued_messages", "Messages that wait in memory for the store to take writes.")
	queuedBytes = gauge("messagebus_queued_bytes", "Bytes of the messages that wait in memory for the store to take writes.")
	held        = gauge("messagebus_held_requests", "Requests that are held.")
)

// Describe implements the Collector of the client.
func (s *busState) Describe(all chan<- *client.Desc) {
	for _, d := range []*client.Desc{healthy, live, readOnly, queued, queuedBytes} {
		all <- d
	}
	if s.handler != nil {
		all <- held
	}
}

// Collect implements the Collector of the client.
func (s *busState) Collect(all chan<- client.Metric) {
	report := func(d *client.Desc, value float64) { all <- client.MustNewConstMetric(d, client.GaugeValue, value) }
	h := s.bus.Health()
	report(healthy, oneIf(h.OK))
	report(live, oneIf(h.Live))
	report(readOnly, oneIf(h.ReadOnly))
	report(queued, float64(h.Queued))
	report(queuedBytes, float64(h.QueuedBytes))
	if s.handler != nil {
		report(held, float64(s.handler.Held()))
	}
}

func oneIf(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

// A Cache is what WatchCache wants of a cache.Cache.
type Cache interface {
	Len() int
	Stats() cache.Stats
	Err() error
}

// WatchCache registers what a cache knows of itself. The name is a label, and
// is used once.
func (m *Metrics) WatchCache(name string, c Cache) error {
	labels := client.Labels{"cache": name}
	desc := func(name, help string, labelNames ...string) *client.Desc {
		return client.NewDesc("messagebus_cache_"+name, help, labelNames, labels)
	}
	return m.registry.Register(&cacheState{
		cache:       c,
		entries:     desc("entries", "Entries of the cache."),
		doubt:       desc("in_doubt", "1 while the cache says that it may lack changes of peers."),
		lookups:     desc("lookups_total", "Keys that the cache was asked for, by whether it held them.", "result"),
		loads:       desc("loads_total", "Loaders that were run."),
		applied:     desc("operations_total", "Operations that were applied, own ones included."),
		undecodable: desc("undecodable_operations_total", "Operations that could not be read; their keys were removed."),
		stale:       desc("stale_total", "Times that changes of peers may have been missed."),
	})
}

type cacheState struct {
	cache                                                       Cache
	entries, doubt, lookups, loads, applied, undecodable, stale *client.Desc
}

// Describe implements the Collector of the client.
func (s *cacheState) Describe(all chan<- *client.Desc) {
	for _, d := range []*client.Desc{s.entries, s.doubt, s.lookups, s.loads, s.applied, s.undecodable, s.stale} {
		all <- d
	}
}

// Collect implements the Collector of the client.
func (s *cacheState) Collect(all chan<- client.Metric) {
	report := func(d *client.Desc, kind client.ValueType, value float64, labels ...string) {
		all <- client.MustNewConstMetric(d, kind, value, labels...)
	}
	stats := s.cache.Stats()
	report(s.entries, client.GaugeValue, float64(s.cache.Len()))
	report(s.doubt, client.GaugeValue, oneIf(s.cache.Err() != nil))
	report(s.lookups, client.CounterValue, float64(stats.Hits), "hit")
	report(s.lookups, client.CounterValue, float64(stats.Misses), "miss")
	report(s.loads, client.CounterValue, float64(stats.Loads))
	report(s.applied, client.CounterValue, float64(stats.Applied))
	report(s.undecodable, client.CounterValue, float64(stats.Undecodable))
	report(s.stale, client.CounterValue, float64(stats.Stale))
}
