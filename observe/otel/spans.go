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
)

// spans records spans; nil records none.
type spans struct {
	tracer trace.Tracer
	common []attribute.KeyValue
}

func newSpans(tracer trace.Tracer, store string) *spans {
	s := &spans{tracer: tracer, common: []attribute.KeyValue{attribute.String("messaging.system", "messagebus")}}
	if store != "" {
		s.common = append(s.common, attribute.String("messagebus.store", store))
	}
	return s
}

// publish returns the context of the span, by which metrics can name it.
func (s *spans) publish(p bus.PublishInfo) context.Context {
	ctx := p.Context
	if ctx == nil { // it was queued, and whoever published has gone on
		ctx = context.Background()
	}
	if s == nil {
		return ctx
	}
	end := time.Now()
	ctx, span := s.tracer.Start(ctx, "publish", trace.WithSpanKind(trace.SpanKindProducer), trace.WithTimestamp(end.Add(-p.Duration)))
	defer span.End(trace.WithTimestamp(end))
	if !span.IsRecording() {
		return ctx
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
	return ctx
}

func (s *spans) deliver(m *bus.Message, requests int) {
	if s == nil {
		return
	}
	attributes := append(operation("deliver", "process"), message(m.Channel, m.Site, m.ID, m.GlobalID)...)
	s.moment(trace.SpanKindConsumer, "deliver", nil, append(attributes, attribute.Int("messagebus.requests", requests))...)
}

func (s *spans) gap(reader string, e *bus.GapError) {
	if s == nil {
		return
	}
	s.moment(trace.SpanKindInternal, "possible loss", e,
		attribute.String("messagebus.reader", reader), attribute.String(keyChannel, e.Channel),
		attribute.String(keyGapReason, string(e.Reason)),
		attribute.Int64("messagebus.gap.after", e.After), attribute.Int64("messagebus.gap.next", e.Next))
}

func (s *spans) feedDown(err error) {
	if s != nil {
		s.moment(trace.SpanKindInternal, "feed down", err)
	}
}

// moment records a span of what takes no time, and has no cause in this process.
func (s *spans) moment(kind trace.SpanKind, what string, err error, attributes ...attribute.KeyValue) {
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
	all := []attribute.KeyValue{attribute.String(keyChannel, channel)}
	if site != "" {
		all = append(all, attribute.String("messagebus.site", site))
	}
	if globalID > 0 {
		all = append(all, attribute.String("messaging.message.id", strconv.FormatInt(globalID, 10)), attribute.Int64("messagebus.channel_message_id", id))
	}
	return all
}
