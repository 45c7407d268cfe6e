// Package prometheus counts for Prometheus what a bus, an HTTP handler and
// caches do, by their trace hooks.
//
//	metrics, err := prometheus.New(registry, nil)
//	b, err := bus.New(store, &bus.Options{Trace: metrics.Bus()})
//	h, err := transport.NewHandler(b, &transport.Options{Trace: metrics.Transport()})
//	err = metrics.Watch(b, h)
//
// All metrics begin with messagebus_. What a label can be is bounded: there are
// no names of channels, users or clients among them, but for the channels that
// Options lists. messagebus_possible_losses_total is the one to watch.
package prometheus
