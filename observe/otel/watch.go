package otel

import (
	"context"
	"errors"
	"fmt"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/messagebus-go/messagebus/bus"
	"github.com/messagebus-go/messagebus/cache"
	"github.com/messagebus-go/messagebus/transport"
)

// busState are the instruments of what is not counted but asked for.
type busState struct {
	healthy, live, readOnly   metric.Int64ObservableGauge
	queued, queuedBytes, held metric.Int64ObservableUpDownCounter
}

func newBusState(in *instruments) busState {
	return busState{
		healthy:     in.observedState("healthy", "1 where what is published now would be delivered now."),
		live:        in.observedState("feed.live", "1 while the live feed of the store is up."),
		readOnly:    in.observedState("store.read_only", "1 where the store refused writes when it was last asked."),
		queued:      in.observedSum("queued_messages", "{message}", "Messages that wait in memory for the store to take writes."),
		queuedBytes: in.observedSum("queued", "By", "Bytes of the messages that wait in memory for the store to take writes."),
		held:        in.observedSum("held_requests", "{request}", "Requests that are held."),
	}
}

// Watch has the metrics say, whenever they are collected, how b is doing, and how
// many requests h holds. h may be nil. It is called once.
func (t *Telemetry) Watch(b *bus.Bus, h *transport.Handler) error {
	m, s := t.metrics, &t.metrics.busState
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.watched {
		return errors.New("otel: a bus is watched already")
	}
	observed := []metric.Observable{s.healthy, s.live, s.readOnly, s.queued, s.queuedBytes}
	if h != nil {
		observed = append(observed, s.held)
	}
	_, err := m.meter.RegisterCallback(func(_ context.Context, to metric.Observer) error {
		health := b.Health()
		to.ObserveInt64(s.healthy, oneIf(health.OK))
		to.ObserveInt64(s.live, oneIf(health.Live))
		to.ObserveInt64(s.readOnly, oneIf(health.ReadOnly))
		to.ObserveInt64(s.queued, int64(health.Queued))
		to.ObserveInt64(s.queuedBytes, int64(health.QueuedBytes))
		if h != nil {
			to.ObserveInt64(s.held, int64(h.Held()))
		}
		return nil
	}, observed...)
	m.watched = err == nil
	return err
}

func oneIf(b bool) int64 {
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

// cacheState are the instruments of what caches know of themselves.
type cacheState struct {
	entries                                        metric.Int64ObservableUpDownCounter
	doubt                                          metric.Int64ObservableGauge
	lookups, loads, operations, undecodable, stale metric.Int64ObservableCounter
}

func newCacheState(in *instruments) cacheState {
	return cacheState{
		entries:     in.observedSum("cache.entries", "{entry}", "Entries of the cache."),
		doubt:       in.observedState("cache.in_doubt", "1 while the cache says that it may lack changes of peers."),
		lookups:     in.observedCounter("cache.lookups", "{lookup}", "Keys that the cache was asked for, by whether it held them."),
		loads:       in.observedCounter("cache.loads", "{load}", "Loaders that were run."),
		operations:  in.observedCounter("cache.operations", "{operation}", "Operations that were applied, own ones included."),
		undecodable: in.observedCounter("cache.undecodable_operations", "{operation}", "Operations that could not be read; their keys were removed."),
		stale:       in.observedCounter("cache.stale", "{time}", "Times that changes of peers may have been missed."),
	}
}

// WatchCache has the metrics say, whenever they are collected, what a cache knows
// of itself. The name is an attribute, and is used once.
func (t *Telemetry) WatchCache(name string, c Cache) error {
	m, s := t.metrics, &t.metrics.cacheState
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.caches[name] {
		return fmt.Errorf("otel: a cache %q is watched already", name)
	}
	named := attribute.String(keyCache, name)
	by := metric.WithAttributeSet(attribute.NewSet(named))
	hit := metric.WithAttributeSet(attribute.NewSet(named, attribute.String(keyCacheResult, "hit")))
	miss := metric.WithAttributeSet(attribute.NewSet(named, attribute.String(keyCacheResult, "miss")))
	_, err := m.meter.RegisterCallback(func(_ context.Context, to metric.Observer) error {
		stats := c.Stats()
		to.ObserveInt64(s.entries, int64(c.Len()), by)
		to.ObserveInt64(s.doubt, oneIf(c.Err() != nil), by)
		to.ObserveInt64(s.lookups, int64(stats.Hits), hit)
		to.ObserveInt64(s.lookups, int64(stats.Misses), miss)
		to.ObserveInt64(s.loads, int64(stats.Loads), by)
		to.ObserveInt64(s.operations, int64(stats.Applied), by)
		to.ObserveInt64(s.undecodable, int64(stats.Undecodable), by)
		to.ObserveInt64(s.stale, int64(stats.Stale), by)
		return nil
	}, s.entries, s.doubt, s.lookups, s.loads, s.operations, s.undecodable, s.stale)
	m.caches[name] = err == nil
	return err
}
