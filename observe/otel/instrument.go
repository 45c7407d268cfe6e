package otel

import (
	"context"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
)

// instruments makes instruments until there is an error.
type instruments struct {
	meter metric.Meter
	err   error
}

const prefix = "messagebus."

// keep remembers the first error.
func keep[I any](in *instruments, instrument I, err error) I {
	if in.err == nil {
		in.err = err
	}
	return instrument
}

func (in *instruments) counter(name, unit, what string) instrument {
	c, err := in.meter.Int64Counter(prefix+name, metric.WithUnit(unit), metric.WithDescription(what))
	return instrument{keep(in, c, err)}
}

func (in *instruments) histogram(name, unit, what string, bounds ...float64) metric.Float64Histogram {
	h, err := in.meter.Float64Histogram(prefix+name, metric.WithUnit(unit), metric.WithDescription(what), metric.WithExplicitBucketBoundaries(bounds...))
	return keep(in, h, err)
}

// observedCounter is of what only grows.
func (in *instruments) observedCounter(name, unit, what string) metric.Int64ObservableCounter {
	c, err := in.meter.Int64ObservableCounter(prefix+name, metric.WithUnit(unit), metric.WithDescription(what))
	return keep(in, c, err)
}

// observedSum is of what grows and shrinks, and can be added up over processes.
func (in *instruments) observedSum(name, unit, what string) metric.Int64ObservableUpDownCounter {
	c, err := in.meter.Int64ObservableUpDownCounter(prefix+name, metric.WithUnit(unit), metric.WithDescription(what))
	return keep(in, c, err)
}

// observedState is 1 or 0.
func (in *instruments) observedState(name, what string) metric.Int64ObservableGauge {
	g, err := in.meter.Int64ObservableGauge(prefix+name, metric.WithDescription(what))
	return keep(in, g, err)
}

// instrument counts, by attributes.
type instrument struct{ metric.Int64Counter }

// counter is an instrument with the values of its attributes. To add to it
// allocates nothing.
type counter struct {
	instrument metric.Int64Counter
	attributes []metric.AddOption
}

// with returns the counter of these attributes. It exists from the start, so that
// the first event is an increase.
func (i instrument) with(attributes ...attribute.KeyValue) counter {
	c := counter{i.Int64Counter, []metric.AddOption{metric.WithAttributeSet(attribute.NewSet(attributes...))}}
	c.add(0)
	return c
}

func (c counter) add(n int) { c.addIn(context.Background(), n) }

// addIn adds what happened in a span.
func (c counter) addIn(ctx context.Context, n int) {
	if c.instrument != nil { // there is none for a value that is not known
		c.instrument.Add(ctx, int64(n), c.attributes...)
	}
}

// labelled returns a counter for each value that an attribute can have.
func labelled[K ~string](in *instruments, name, unit, what, key string, values []K) map[K]counter {
	i := in.counter(name, unit, what)
	all := map[K]counter{}
	for _, value := range values {
		all[value] = i.with(attribute.String(key, string(value)))
	}
	return all
}
