package otel_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"go.opentelemetry.io/otel/codes"
	sdk "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"

	"github.com/messagebus-go/messagebus/bus"
	"github.com/messagebus-go/messagebus/bus/bustest"
	"github.com/messagebus-go/messagebus/observe/otel"
	"github.com/messagebus-go/messagebus/transport"
)

func newTracerProvider(t *testing.T) (*sdk.TracerProvider, *tracetest.SpanRecorder) {
	t.Helper()
	recorder := tracetest.NewSpanRecorder()
	provider := sdk.NewTracerProvider(sdk.WithSpanProcessor(recorder))
	t.Cleanup(func() {
		if err := provider.Shutdown(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return provider, recorder
}

func newSpans(t *testing.T) (*otel.Telemetry, *tracetest.SpanRecorder, trace.Tracer) {
	t.Helper()
	provider, recorder := newTracerProvider(t)
	s, err := otel.New(&otel.Options{TracerProvider: provider, Store: "one"})
	if err != nil {
		t.Fatal(err)
	}
	return s, recorder, provider.Tracer("test")
}

// find returns the spans of a name.
func find(r *tracetest.SpanRecorder, name string) (found []sdk.ReadOnlySpan) {
	for _, s := range r.Ended() {
		if s.Name() == name {
			found = append(found, s)
		}
	}
	return found
}

func attributes(s sdk.ReadOnlySpan) map[string]string {
	all := map[string]string{}
	for _, a := range s.Attributes() {
		all[string(a.Key)] = a.Value.String()
	}
	return all
}

func TestPublish_IsAChildOfWhoPublishes(t *testing.T) {
	t.Parallel()
	s, recorder, tracer := newSpans(t)
	b := bustest.On(t, bustest.NewStore(t), &bus.Options{Trace: s.Bus(), Keepalive: -1})
	ctx, parent := tracer.Start(t.Context(), "request")
	id, err := b.Site("eu").Publish(ctx, "/a", "secret data")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.Publish(ctx, "", 1); err == nil {
		t.Fatal("no channel is accepted")
	}
	parent.End()
	spans := find(recorder, "publish")
	if len(spans) != 2 {
		t.Fatalf("%d spans", len(spans))
	}
	good, bad := spans[0], spans[1]
	if good.Parent().SpanID() != parent.SpanContext().SpanID() || good.SpanKind() != trace.SpanKindProducer || good.Status().Code != codes.Unset {
		t.Errorf("parent %v, kind %v, status %v", good.Parent(), good.SpanKind(), good.Status())
	}
	if good.StartTime().Before(time.Now().Add(-time.Hour)) || good.EndTime().Before(good.StartTime()) {
		t.Errorf("from %v to %v", good.StartTime(), good.EndTime())
	}
	got := attributes(good)
	for key, want := range map[string]string{
		"messaging.system": "messagebus", "messagebus.store": "one", "messaging.destination.name": "/a", "messagebus.site": "eu",
		"messaging.message.id": "1", "messagebus.channel_message_id": fmt.Sprint(id), "messaging.operation.name": "publish", "messaging.operation.type": "send",
	} {
		if got[key] != want {
			t.Errorf("%s is %q, want %q", key, got[key], want)
		}
	}
	if bad.Status().Code != codes.Error || len(bad.Events()) != 1 {
		t.Errorf("the wrong one: %v", bad.Status())
	}
	if strings.Contains(fmt.Sprint(got), "secret data") {
		t.Error("what was published is recorded")
	}
}

// A message that was queued is stored when its publisher has long gone on.
func TestPublish_OfAQueuedMessageHasNoParent(t *testing.T) {
	t.Parallel()
	s, recorder, tracer := newSpans(t)
	store := bustest.NewStore(t)
	stored := make(chan struct{})
	hooks := s.Bus()
	publish := hooks.Publish
	hooks.Publish = func(p bus.PublishInfo) {
		publish(p)
		if p.Err == nil {
			close(stored)
		}
	}
	b := bustest.On(t, store, &bus.Options{Trace: hooks, Keepalive: -1})
	store.Faults().SetReadOnly(true)
	ctx, parent := tracer.Start(t.Context(), "request")
	defer parent.End()
	if _, err := b.Publish(ctx, "/a", 1); !errors.Is(err, bus.ErrQueued) {
		t.Fatal(err)
	}
	store.Faults().SetReadOnly(false)
	<-stored
	spans := find(recorder, "publish")
	if len(spans) != 2 || attributes(spans[0])["messagebus.queued"] != "true" || spans[0].Status().Code == codes.Error ||
		spans[1].Parent().IsValid() || attributes(spans[1])["messaging.message.id"] != "1" {
		t.Errorf("%v", spans)
	}
}

func TestDeliver_JoinsByStoreChannelAndGlobalID(t *testing.T) {
	t.Parallel()
	s, recorder, _ := newSpans(t)
	b := bustest.On(t, bustest.NewStore(t), &bus.Options{Trace: s.Bus(), Keepalive: -1})
	h, err := transport.NewHandler(b, &transport.Options{Trace: s.Transport()})
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(h)
	defer server.Close()
	answer, err := server.Client().Post(server.URL+"/message-bus/me/poll", "application/x-www-form-urlencoded", strings.NewReader("/a=-1"))
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	readUntilLive(t, b, answer.Body, func() bool { return len(find(recorder, "deliver")) > 0 })
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := h.Shutdown(ctx); err != nil {
		t.Fatal(err)
	}
	spans := find(recorder, "deliver")
	if len(spans) == 0 {
		t.Fatal("no delivery is recorded")
	}
	got := attributes(spans[0])
	published := 0
	for _, span := range find(recorder, "publish") {
		p := attributes(span)
		same := true
		for _, key := range []string{"messagebus.store", "messaging.destination.name", "messaging.message.id"} {
			same = same && p[key] == got[key] && p[key] != ""
		}
		if same {
			published++
		}
	}
	if published != 1 || got["messagebus.requests"] != "1" || spans[0].SpanKind() != trace.SpanKindConsumer {
		t.Errorf("%d publishes join with %v", published, got)
	}
}

// readUntilLive publishes on /a, and reads what a client is answered, until it is
// live: what it reads from the backlog, when it has just come, is not.
func readUntilLive(t *testing.T, b *bus.Bus, answer io.Reader, live func() bool) {
	t.Helper()
	reader := bufio.NewReader(answer)
	for i := 0; !live() && i < 1000; i++ {
		if _, err := b.Publish(t.Context(), "/a", i); err != nil {
			t.Fatal(err)
		}
		for text := ""; !strings.Contains(text, fmt.Sprintf(`"data":%d}`, i)); {
			var err error
			if text, err = reader.ReadString('|'); err != nil {
				t.Fatal(err)
			}
		}
	}
}

func TestGap_IsRecordedAsAnError(t *testing.T) {
	t.Parallel()
	s, recorder, _ := newSpans(t)
	b := bustest.On(t, bustest.NewStore(t), &bus.Options{Trace: s.Bus(), Keepalive: -1, MaxBacklogSize: 1})
	for i := range 3 {
		if _, err := b.Publish(t.Context(), "/a", i); err != nil {
			t.Fatal(err)
		}
	}
	reader, err := b.Subscribe(t.Context(), "/a", bus.After(1))
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Close()
	var gap *bus.GapError
	if _, err := reader.Next(t.Context()); !errors.As(err, &gap) {
		t.Fatal(err)
	}
	spans := find(recorder, "possible loss")
	if len(spans) != 1 || spans[0].Status().Code != codes.Error || attributes(spans[0])["messagebus.gap.reason"] != string(gap.Reason) {
		t.Errorf("%v", spans)
	}
}
