package otel

import (
	"errors"

	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/metric/noop"
	"go.opentelemetry.io/otel/trace"

	"github.com/messagebus-go/messagebus/bus"
	"github.com/messagebus-go/messagebus/transport"
)

// Options are the settings of New. One of the providers must be there; the caller
// shuts them down.
type Options struct {
	TracerProvider trace.TracerProvider // for spans; default nil: there are none
	MeterProvider  metric.MeterProvider // for metrics; default nil: there are none

	// Store names the store in spans, so that those of several processes can be
	// joined: the same name in all that share it. Default: the attribute is left
	// out.
	Store string

	// Channels are counted one by one as well, under their names; each is an
	// attribute of metrics, so they must be few. Default: none.
	Channels []string
}

// Telemetry records what one bus, one HTTP handler and caches do. All methods
// are safe for concurrent use.
type Telemetry struct {
	spans   *spans // nil: none are recorded
	metrics *metrics
}

// name is how the tracer and the meter are called, which is that of this module.
const name = "github.com/messagebus-go/messagebus/observe/otel"

// New returns what records to the providers of the options.
func New(opts *Options) (*Telemetry, error) {
	if opts == nil || opts.TracerProvider == nil && opts.MeterProvider == nil {
		return nil, errors.New("otel: there is neither a TracerProvider nor a MeterProvider")
	}
	t := &Telemetry{}
	if opts.TracerProvider != nil {
		t.spans = newSpans(opts.TracerProvider.Tracer(name), opts.Store)
	}
	provider := opts.MeterProvider
	if provider == nil {
		provider = noop.NewMeterProvider()
	}
	var err error
	t.metrics, err = newMetrics(provider.Meter(name), opts.Channels)
	if err != nil {
		return nil, err
	}
	return t, nil
}

// Bus returns the hooks for bus.Options.Trace. Of spans there is one for each
// publish, for each possible loss and for each time that the feed was lost.
func (t *Telemetry) Bus() *bus.Trace {
	s, m := t.spans, t.metrics
	return &bus.Trace{
		Publish: func(p bus.PublishInfo) {
			m.publish(s.publish(p), p)
		},
		GivenUp: func(_, _ string, _ error) { m.givenUp.add(1) },
		FeedUp:  func() { m.feedUp.add(1) },
		FeedDown: func(err error) {
			m.feedDown.add(1)
			s.feedDown(err)
		},
		Gap: func(e *bus.GapError) {
			m.losses[e.Reason].add(1)
			s.gap("subscription", e)
		},
		Undecodable: func(*bus.DecodeError) { m.undecodable.add(1) },
		Late:        func(string) { m.late.add(1) },
		Behind:      func(string) { m.behind.add(1) },
		Repair: func(_, messages int) {
			m.repairs.add(1)
			m.repaired.add(messages)
		},
	}
}

// Transport returns the hooks for transport.Options.Trace. Of spans there is one
// for each live message that was queued for held requests, and for each possible
// loss that a client was told of.
func (t *Telemetry) Transport() *transport.Trace {
	s, m := t.spans, t.metrics
	return &transport.Trace{
		Connect:    func(transport.Identity, string) { m.started.add(1) },
		Disconnect: func(_ transport.Identity, _ string, why transport.Reason) { m.ended[why].add(1) },
		Deliver: func(message *bus.Message, requests int) {
			m.deliver(message, requests)
			s.deliver(message, requests)
		},
		Refuse: func(transport.Identity, string, string, error) { m.refusedChannels.add(1) },
		Gap: func(_ transport.Identity, _ string, e *bus.GapError) {
			m.clientLosses[e.Reason].add(1)
			s.gap("client", e)
		},
		Panic: func(string) { m.panics.add(1) },
		Slow:  func(transport.Identity, string) { m.slow.add(1) },
	}
}
