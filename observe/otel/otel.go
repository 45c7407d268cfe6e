// Package otel records for OpenTelemetry what a bus and an HTTP handler do, as
// spans, by their trace hooks.
//
//	spans, err := otel.New(provider, &otel.Options{Store: "redis-1"})
//	b, err := bus.New(store, &bus.Options{Trace: spans.Bus()})
//	h, err := transport.NewHandler(b, &transport.Options{Trace: spans.Transport()})
//
// A publish is a child of the span in the context of Publish. Between processes
// nothing is handed on, as the stored form of a message has no room for it: the
// spans of one message are those with the same store, channel and global id
// (messagebus.store, messaging.destination.name, messaging.message.id).
package otel

import (
	"context"
	"errors"
	"strconv"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"

	"github.com/messagebus-go/messagebus/bus"
	"github.com/messagebus-go/messagebus/transport"
)

// Options are the settings of Spans. Zero fields mean defaults.
type Options struct {
	// Store names the store, so that spans of several processes can be joined:
	// the same name in all that share it. Default: the attribute is left out.
	Store string
}

// Spans records spans. It is safe for concurrent use.
type Spans struct {
	tracer trace.Tracer
	common []attribute.KeyValue
}

// name is how the tracer is called, which is that of this module.
const name = "github.com/messagebus-go/messagebus/observe/otel"

// New returns what records to a provider. The caller shuts that down.
func New(provider trace.TracerProvider, opts *Options) (*Spans, error) {
	if provider == nil {
		return nil, errors.New("otel: the provider is nil")
	}
	s := &Spans{tracer: provider.Tracer(name), common: []attribute.KeyValue{attribute.String("messaging.system", "messagebus")}}
	if opts != nil && opts.Store != "" {
		s.common = append(s.common, attribute.String("messagebus.store", opts.Store))
	}
	return s, nil
}

// Bus returns the hooks for bus.Options.Trace: a span for each publish, and one
// for each possible loss and each time that the feed was lost.
func (s *Spans) Bus() *bus.Trace {
	return &bus.Trace{
		Publish:  s.publish,
		Gap:      func(e *bus.GapError) { s.gap("subscription", e) },
		FeedDown: func(err error) { s.moment(trace.SpanKindInternal, "feed down", err) },
	}
}

// Transport returns the hooks for transport.Options.Trace: a span for each live
// message that was queued for held requests, and one for each possible loss that
// a client was told of.
func (s *Spans) Transport() *transport.Trace {
	return &transport.Trace{
		Deliver: s.deliver,
		Gap:     func(_ transport.Identity, _ string, e *bus.GapError) { s.gap("client", e) },
	}
}

func (s *Spans) publish(p bus.PublishInfo) {
	ctx := p.Context
	if ctx == nil { // it was queued, and whoever published has gone on
		ctx = context.Background()
	}
	end := time.Now()
	_, span := s.tracer.Start(ctx, "publish", trace.WithSpanKind(trace.SpanKindProducer), trace.WithTimestamp(end.Add(-p.Duration)))
	defer span.End(trace.WithTimestamp(end))
	if !span.IsRecording() {
		return
	}
	span.SetAttributes(s.common...)
	span.SetAttributes(operation("publish", "send")...)
	span.SetAttributes(message(p.Channel, p.Site, p.ID, p.GlobalID)...)
	if p.Bytes > 0 {
		span.SetAttributes(attribute.Int("messaging.message.envelope.size", p.Bytes))
	}
	switch {
	case errors.Is(p.Err, bus.ErrQueued):
		span.SetAttributes(attribute.Bool("messagebus.queued", true))
	case p.Err != nil:
		fail(span, p.Err)
	}
}

func (s *Spans) deliver(m *bus.Message, requests int) {
	attributes := append(operation("deliver", "process"), message(m.Channel, m.Site, m.ID, m.GlobalID)...)
	s.moment(trace.SpanKindConsumer, "deliver", nil, append(attributes, attribute.Int("messagebus.requests", requests))...)
}

func (s *Spans) gap(reader string, e *bus.GapError) {
	s.moment(trace.SpanKindInternal, "possible loss", e,
		attribute.String("messagebus.reader", reader), attribute.String("messaging.destination.name", e.Channel),
		attribute.String("messagebus.gap.reason", string(e.Reason)),
		attribute.Int64("messagebus.gap.after", e.After), attribute.Int64("messagebus.gap.next", e.Next))
}

// moment records a span of what takes no time, and has no cause in this process.
func (s *Spans) moment(kind trace.SpanKind, what string, err error, attributes ...attribute.KeyValue) {
	now := time.Now()
	_, span := s.tracer.Start(context.Background(), what, trace.WithSpanKind(kind), trace.WithTimestamp(now))
	defer span.End(trace.WithTimestamp(now))
	if !span.IsRecording() {
		return
	}
	span.SetAttributes(s.common...)
	span.SetAttributes(attributes...)
	if err != nil {
		fail(span, err)
	}
}

func fail(span trace.Span, err error) {
	span.RecordError(err)
	span.SetStatus(codes.Error, err.Error())
}

// The attributes follow OpenTelemetry's conventions for messaging; what these
// have no name for is below messagebus.

func operation(operation, kind string) []attribute.KeyValue {
	return []attribute.KeyValue{attribute.String("messaging.operation.name", operation), attribute.String("messaging.operation.type", kind)}
}

func message(channel, site string, id, globalID int64) []attribute.KeyValue {
	all := []attribute.KeyValue{attribute.String("messaging.destination.name", channel)}
	if site != "" {
		all = append(all, attribute.String("messagebus.site", site))
	}
	if globalID > 0 {
		all = append(all, attribute.String("messaging.message.id", strconv.FormatInt(globalID, 10)), attribute.Int64("messagebus.channel_message_id", id))
	}
	return all
}
