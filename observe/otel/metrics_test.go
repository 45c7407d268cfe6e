package otel_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"go.opentelemetry.io/otel/attribute"
	sdk "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	"go.opentelemetry.io/otel/trace"

	"github.com/messagebus-go/messagebus/bus"
	"github.com/messagebus-go/messagebus/bus/bustest"
	"github.com/messagebus-go/messagebus/bus/leakcheck"
	"github.com/messagebus-go/messagebus/cache"
	"github.com/messagebus-go/messagebus/observe/otel"
	"github.com/messagebus-go/messagebus/transport"
)

func TestMain(m *testing.M) { leakcheck.Main(m, leakcheck.Idle) }

// newMetrics returns what records metrics, and what reads them.
func newMetrics(t *testing.T, opts otel.Options) (*otel.Telemetry, *sdk.ManualReader) {
	t.Helper()
	reader := sdk.NewManualReader()
	opts.MeterProvider = sdk.NewMeterProvider(sdk.WithReader(reader))
	m, err := otel.New(&opts)
	if err != nil {
		t.Fatal(err)
	}
	return m, reader
}

func collect(t *testing.T, reader *sdk.ManualReader) (all []metricdata.Metrics) {
	t.Helper()
	var found metricdata.ResourceMetrics
	if err := reader.Collect(t.Context(), &found); err != nil {
		t.Fatal(err)
	}
	for _, scope := range found.ScopeMetrics {
		if scope.Scope.Name != "github.com/messagebus-go/messagebus/observe/otel" {
			t.Errorf("the scope is %q", scope.Scope.Name)
		}
		all = append(all, scope.Metrics...)
	}
	return all
}

// values are what a reader finds, by names and attributes.
func values(t *testing.T, reader *sdk.ManualReader) map[string]float64 {
	t.Helper()
	all := map[string]float64{}
	for _, m := range collect(t, reader) {
		note := func(set attribute.Set, value float64) {
			key := m.Name
			for _, a := range set.ToSlice() {
				key += " " + string(a.Key) + "=" + a.Value.String()
			}
			all[key] = value
		}
		switch data := m.Data.(type) {
		case metricdata.Sum[int64]:
			for _, p := range data.DataPoints {
				note(p.Attributes, float64(p.Value))
			}
		case metricdata.Gauge[int64]:
			for _, p := range data.DataPoints {
				note(p.Attributes, float64(p.Value))
			}
		case metricdata.Histogram[float64]:
			for _, p := range data.DataPoints {
				note(p.Attributes, float64(p.Count))
			}
		default:
			t.Errorf("%s is a %T", m.Name, m.Data)
		}
	}
	return all
}

func expect(t *testing.T, reader *sdk.ManualReader, want map[string]float64) {
	t.Helper()
	got := values(t, reader)
	for name, value := range want {
		if v, found := got["messagebus."+name]; v != value || !found {
			t.Errorf("%s is %v (%v), want %v", name, v, found, value)
		}
	}
}

func TestMetrics_OfABus(t *testing.T) {
	t.Parallel()
	m, reader := newMetrics(t, otel.Options{Channels: []string{"/a", "/a"}})
	store := bustest.NewStore(t)
	b := bustest.On(t, store, &bus.Options{MaxBacklogSize: 1, Trace: m.Bus(), Keepalive: -1})
	if err := m.Watch(b, nil); err != nil {
		t.Fatal(err)
	}
	for _, channel := range []string{"/a", "/a", "/a", "/b"} {
		if _, err := b.Publish(t.Context(), channel, 1); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := b.Publish(t.Context(), "", 1); err == nil {
		t.Error("no channel is accepted")
	}
	s, err := b.Subscribe(t.Context(), "/a", bus.After(1))
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	var gap *bus.GapError
	if _, err := s.Next(t.Context()); !errors.As(err, &gap) {
		t.Fatalf("the first is %v, want a gap", err)
	}
	if _, err := b.Publish(t.Context(), "/a", "live"); err != nil {
		t.Fatal(err)
	}
	for range 2 { // by then the feed is up
		if _, err := s.Next(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	store.Faults().SetReadOnly(true)
	if _, err := b.Publish(t.Context(), "/a", 1, bus.WithoutReadOnlyQueue()); !errors.Is(err, bus.ErrReadOnly) {
		t.Fatalf("read-only: %v", err)
	}
	expect(t, reader, map[string]float64{
		"publishes messagebus.publish.result=ok": 5, "publishes messagebus.publish.result=refused": 1, "publishes messagebus.publish.result=failed": 1,
		"publishes messagebus.publish.result=queued": 0, "publishes messagebus.publish.result=unknown": 0,
		"publish.duration": 6, "possible_losses messagebus.gap.reason=" + string(gap.Reason): 1, "possible_losses messagebus.gap.reason=failover": 0,
		"channel.publishes messaging.destination.name=/a": 4, "healthy": 1, "feed.live": 1, "queued_messages": 0, "feed.changes messagebus.feed.state=up": 1,
	})
	for name := range values(t, reader) {
		if strings.Contains(name, "=/b") {
			t.Errorf("a channel that is not listed is an attribute: %s", name)
		}
	}
	if m.Watch(b, nil) == nil {
		t.Error("a second bus is watched")
	}
}

func TestMetrics_OfAHandler(t *testing.T) {
	t.Parallel()
	m, reader := newMetrics(t, otel.Options{Channels: []string{"/a"}})
	b := bustest.On(t, bustest.NewStore(t), &bus.Options{Trace: m.Bus(), Keepalive: -1})
	h, err := transport.NewHandler(b, &transport.Options{Trace: m.Transport(), ServerOnly: []string{"/secret"}})
	if err != nil {
		t.Fatal(err)
	}
	if err := m.Watch(b, h); err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(h)
	defer server.Close()
	answer, err := http.Post(server.URL+"/message-bus/me/poll", "application/x-www-form-urlencoded", strings.NewReader("/a=-1&/secret=0"))
	if err != nil {
		t.Fatal(err)
	}
	expect(t, reader, map[string]float64{"held_requests": 1, "held_requests_started": 1, "refused_channels": 1})
	readUntilLive(t, b, answer.Body, func() bool { return values(t, reader)["messagebus.deliveries"] > 0 })
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := h.Shutdown(ctx); err != nil {
		t.Fatal(err)
	}
	_, _ = io.Copy(io.Discard, answer.Body)
	answer.Body.Close()
	got := values(t, reader)
	if n := got["messagebus.deliveries"]; n == 0 || got["messagebus.channel.deliveries messaging.destination.name=/a"] != n {
		t.Errorf("deliveries: %v", got)
	}
	expect(t, reader, map[string]float64{"held_requests": 0, "held_requests_ended messagebus.end.reason=stopped": 1})
}

func TestMetrics_OfACache(t *testing.T) {
	t.Parallel()
	m, reader := newMetrics(t, otel.Options{})
	c, err := cache.New[string, int](t.Context(), bustest.New(t), "users", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for _, name := range []string{"users", "same"} {
		if err := m.WatchCache(name, c); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.Set(t.Context(), "ann", 1); err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{"ann", "ben", "ann", "cid", "ann"} {
		c.Get(key)
	}
	for _, name := range []string{"users", "same"} {
		by := " messagebus.cache.name=" + name
		expect(t, reader, map[string]float64{
			"cache.entries" + by: 1, "cache.in_doubt" + by: 0, "cache.stale" + by: 0,
			"cache.lookups" + by + " messagebus.cache.result=hit": 3, "cache.lookups" + by + " messagebus.cache.result=miss": 2,
		})
	}
	if m.WatchCache("users", c) == nil {
		t.Error("a name is used twice")
	}
	c.Close()
	expect(t, reader, map[string]float64{"cache.in_doubt messagebus.cache.name=users": 1, "cache.entries messagebus.cache.name=users": 0})
}

// An exemplar is how one comes from a slow publish in a plot to its span.
func TestMetrics_NameTheSpanOfAPublish(t *testing.T) {
	t.Parallel()
	reader := sdk.NewManualReader()
	provider, recorder := newTracerProvider(t)
	m, err := otel.New(&otel.Options{TracerProvider: provider, MeterProvider: sdk.NewMeterProvider(sdk.WithReader(reader))})
	if err != nil {
		t.Fatal(err)
	}
	b := bustest.On(t, bustest.NewStore(t), &bus.Options{Trace: m.Bus(), Keepalive: -1})
	if _, err := b.Publish(t.Context(), "/a", 1); err != nil {
		t.Fatal(err)
	}
	span := find(recorder, "publish")[0].SpanContext().SpanID()
	for _, found := range collect(t, reader) {
		if data, ok := found.Data.(metricdata.Histogram[float64]); ok {
			exemplars := data.DataPoints[0].Exemplars
			if len(exemplars) != 1 || trace.SpanID(exemplars[0].SpanID) != span {
				t.Errorf("exemplars %v, want the span %v", exemplars, span)
			}
			return
		}
	}
	t.Error("there is no histogram")
}

// A hook that is added later must be used as well, or be left out on purpose.
func TestTraces_UseEveryHook(t *testing.T) {
	t.Parallel()
	m, _ := newMetrics(t, otel.Options{})
	for _, hooks := range []any{*m.Bus(), *m.Transport()} {
		for field, hook := range reflect.ValueOf(hooks).Fields() {
			if hook.IsNil() {
				t.Errorf("%T.%s is not used", hooks, field.Name)
			}
		}
	}
}

// Metrics alone, and spans alone, take every call.
func TestTraces_WorkWithOneProvider(t *testing.T) {
	t.Parallel()
	provider, recorder := newTracerProvider(t)
	spans, err := otel.New(&otel.Options{TracerProvider: provider})
	if err != nil {
		t.Fatal(err)
	}
	metrics, reader := newMetrics(t, otel.Options{})
	before := values(t, reader)
	for _, telemetry := range []*otel.Telemetry{spans, metrics} {
		for _, hooks := range []any{*telemetry.Bus(), *telemetry.Transport()} {
			for _, hook := range reflect.ValueOf(hooks).Fields() {
				hook.Call(arguments(hook.Type()))
			}
		}
	}
	names := []string{}
	for _, span := range recorder.Ended() {
		names = append(names, span.Name())
	}
	slices.Sort(names)
	if want := []string{"deliver", "feed down", "possible loss", "possible loss", "publish"}; !slices.Equal(names, want) {
		t.Errorf("spans %v, want %v", names, want)
	}
	// Whatever is counted has moved by one call of each hook.
	after := values(t, reader)
	for _, name := range []string{
		"queue.given_up", "feed.changes messagebus.feed.state=up", "feed.changes messagebus.feed.state=down", "undecodable_messages", "late_messages",
		"subscriptions.behind", "feed.repairs", "held_requests_started", "refused_channels", "panics", "slow_clients",
	} {
		if after["messagebus."+name] != before["messagebus."+name]+1 {
			t.Errorf("%s is %v", name, after["messagebus."+name])
		}
	}
}

// arguments are what a hook can be called with.
func arguments(hook reflect.Type) (all []reflect.Value) {
	for in := range hook.Ins() {
		if in.Kind() == reflect.Pointer {
			all = append(all, reflect.New(in.Elem()))
		} else {
			all = append(all, reflect.Zero(in))
		}
	}
	return all
}

func TestNew_WantsAProvider(t *testing.T) {
	t.Parallel()
	for _, opts := range []*otel.Options{nil, {Store: "one"}} {
		if _, err := otel.New(opts); err == nil {
			t.Errorf("%+v is accepted", opts)
		}
	}
}

// The hooks run on the way of every message.
func BenchmarkPublish(b *testing.B) {
	m, err := otel.New(&otel.Options{MeterProvider: sdk.NewMeterProvider(sdk.WithReader(sdk.NewManualReader()))})
	if err != nil {
		b.Fatal(err)
	}
	hooks := m.Bus()
	info := bus.PublishInfo{Context: b.Context(), Channel: "/a", Bytes: 100, Duration: 1000}
	b.ReportAllocs()
	for b.Loop() {
		hooks.Publish(info)
	}
}
