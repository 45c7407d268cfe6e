// Package otel records for OpenTelemetry what a bus, an HTTP handler and caches
// do, as spans and as metrics, by their trace hooks.
//
//	telemetry, err := otel.New(&otel.Options{TracerProvider: traces, MeterProvider: metrics, Store: "redis-1"})
//	b, err := bus.New(store, &bus.Options{Trace: telemetry.Bus()})
//	h, err := transport.NewHandler(b, &transport.Options{Trace: telemetry.Transport()})
//	err = telemetry.Watch(b, h)
//
// The span of a publish is a child of the one in the context of Publish. Between
// processes nothing is handed on, as the stored form of a message has no room for
// it: the spans of one message are those with the same store, channel and global
// id (messagebus.store, messaging.destination.name, messaging.message.id).
//
// All metrics begin with messagebus., and count what those of module
// observe/prometheus do. What an attribute of theirs can be is bounded: there are
// no names of channels, users or clients among them, but for the channels that
// Options lists. messagebus.possible_losses is the one to watch.
package otel
