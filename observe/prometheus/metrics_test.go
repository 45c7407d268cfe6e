package prometheus_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	client "github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil/promlint"

	"github.com/messagebus-go/messagebus/bus"
	"github.com/messagebus-go/messagebus/bus/bustest"
	"github.com/messagebus-go/messagebus/bus/leakcheck"
	"github.com/messagebus-go/messagebus/cache"
	"github.com/messagebus-go/messagebus/observe/prometheus"
	"github.com/messagebus-go/messagebus/transport"
)

func TestMain(m *testing.M) { leakcheck.Main(m, leakcheck.Idle) }

// values are what a registry has, by names and labels as they are written.
func values(t *testing.T, registry *client.Registry) map[string]float64 {
	t.Helper()
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]float64{}
	for _, family := range families {
		for _, metric := range family.GetMetric() {
			name := family.GetName()
			for _, label := range metric.GetLabel() {
				name += fmt.Sprintf(" %s=%s", label.GetName(), label.GetValue())
			}
			all[name] = metric.GetCounter().GetValue() + metric.GetGauge().GetValue() + float64(metric.GetHistogram().GetSampleCount())
		}
	}
	return all
}

func expect(t *testing.T, registry *client.Registry, want map[string]float64) {
	t.Helper()
	got := values(t, registry)
	for name, value := range want {
		if v, found := got["messagebus_"+name]; v != value || !found {
			t.Errorf("%s is %v (%v), want %v", name, v, found, value)
		}
	}
}

func newMetrics(t *testing.T, opts *prometheus.Options) (*prometheus.Metrics, *client.Registry) {
	t.Helper()
	registry := client.NewRegistry()
	m, err := prometheus.New(registry, opts)
	if err != nil {
		t.Fatal(err)
	}
	return m, registry
}

func TestBus_CountsWhatItDoes(t *testing.T) {
	t.Parallel()
	m, registry := newMetrics(t, &prometheus.Options{Channels: []string{"/a", "/a"}})
	store := bustest.NewStore(t)
	b := bustest.On(t, store, &bus.Options{MaxBacklogSize: 1, Trace: m.Bus(), Keepalive: -1})
	if err := m.Watch(b, nil); err != nil {
		t.Fatal(err)
	}
	publish := func(channel string, data any) error {
		_, err := b.Publish(t.Context(), channel, data)
		return err
	}
	for i := range 3 {
		if err := publish("/a", i); err != nil {
			t.Fatal(err)
		}
	}
	if err := publish("/b", 1); err != nil {
		t.Fatal(err)
	}
	if err := publish("", 1); err == nil {
		t.Error("no channel is accepted")
	}
	if err := publish("/a", make(chan int)); err == nil {
		t.Error("what is no JSON is accepted")
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
	if _, err := s.Next(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := publish("/a", "live"); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Next(t.Context()); err != nil {
		t.Fatal(err)
	}
	store.Faults().SetReadOnly(true)
	if _, err := b.Publish(t.Context(), "/a", 1, bus.WithoutReadOnlyQueue()); !errors.Is(err, bus.ErrReadOnly) {
		t.Fatalf("read-only: %v", err)
	}
	expect(t, registry, map[string]float64{
		"publishes_total result=ok": 5, "publishes_total result=refused": 2, "publishes_total result=failed": 1, "publishes_total result=queued": 0, "publishes_total result=unknown": 0,
		"publish_duration_seconds": 6, "possible_losses_total reason=" + string(gap.Reason): 1, "possible_losses_total reason=failover": 0,
		"channel_publishes_total channel=/a": 4, "healthy": 1, "feed_live": 1, "queued_messages": 0,
		"feed_changes_total state=up": 1,
	})
	for name := range values(t, registry) {
		if strings.Contains(name, "=/b") {
			t.Errorf("a channel that is not listed is a label: %s", name)
		}
	}
}

func TestTransport_CountsWhatItDoes(t *testing.T) {
	t.Parallel()
	m, registry := newMetrics(t, nil)
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
	expect(t, registry, map[string]float64{"held_requests": 1, "held_requests_started_total": 1, "refused_channels_total": 1})
	// What a client reads from the backlog when it has just come is not live yet.
	reader := bufio.NewReader(answer.Body)
	for i := 0; values(t, registry)["messagebus_deliveries_total"] == 0 && i < 1000; i++ {
		if _, err := b.Publish(t.Context(), "/a", i); err != nil {
			t.Fatal(err)
		}
		for text := ""; !strings.Contains(text, fmt.Sprintf(`"data":%d}`, i)); {
			if text, err = reader.ReadString('|'); err != nil {
				t.Fatal(err)
			}
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := h.Shutdown(ctx); err != nil {
		t.Fatal(err)
	}
	_, _ = io.Copy(io.Discard, answer.Body)
	answer.Body.Close()
	if values(t, registry)["messagebus_deliveries_total"] == 0 {
		t.Error("no delivery is counted")
	}
	expect(t, registry, map[string]float64{"held_requests": 0, "held_requests_ended_total reason=stopped": 1})
}

func TestCache_IsCountedUnderItsName(t *testing.T) {
	t.Parallel()
	m, registry := newMetrics(t, nil)
	c, err := cache.New[string, int](t.Context(), bustest.New(t), "users", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := m.WatchCache("users", c); err != nil {
		t.Fatal(err)
	}
	if err := c.Set(t.Context(), "ann", 1); err != nil {
		t.Fatal(err)
	}
	load := func(context.Context) (int, error) { return 2, nil }
	for _, key := range []string{"ann", "ben", "ann", "ben"} {
		if _, err := c.Load(t.Context(), key, load); err != nil {
			t.Fatal(err)
		}
	}
	c.Get("cid")
	expect(t, registry, map[string]float64{
		"cache_entries cache=users": 2, "cache_in_doubt cache=users": 0, "cache_loads_total cache=users": 1,
		"cache_lookups_total cache=users result=hit": 3, "cache_lookups_total cache=users result=miss": 2,
		"cache_stale_total cache=users": 0, "cache_undecodable_operations_total cache=users": 0,
	})
	if m.WatchCache("users", c) == nil {
		t.Error("a name is used twice")
	}
	c.Close()
	expect(t, registry, map[string]float64{"cache_in_doubt cache=users": 1, "cache_entries cache=users": 0})
}

// The names are as Prometheus wants them, and every hook is used.
func TestMetrics_FollowTheConventions(t *testing.T) {
	t.Parallel()
	m, registry := newMetrics(t, &prometheus.Options{Channels: []string{"/a"}})
	b := bustest.New(t)
	if err := m.Watch(b, nil); err != nil {
		t.Fatal(err)
	}
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	problems, err := promlint.NewWithMetricFamilies(families).Lint()
	if err != nil || len(problems) > 0 {
		t.Errorf("%v, %v", problems, err)
	}
	for _, family := range families {
		if !strings.HasPrefix(family.GetName(), "messagebus_") {
			t.Error(family.GetName())
		}
	}
	if _, err := prometheus.New(registry, nil); err == nil {
		t.Error("a registry has them twice")
	}
	if _, err := prometheus.New(nil, nil); err == nil {
		t.Error("there is no registry")
	}
}
