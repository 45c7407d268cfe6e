package operating_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"reflect"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	client "github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"go.opentelemetry.io/otel/attribute"
	sdk "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"

	"github.com/messagebus-go/messagebus/bus"
	"github.com/messagebus-go/messagebus/bus/bustest"
	"github.com/messagebus-go/messagebus/cache"
	"github.com/messagebus-go/messagebus/observe/otel"
	"github.com/messagebus-go/messagebus/observe/prometheus"
	"github.com/messagebus-go/messagebus/transport"
)

// A metric is one of either module as it was found.
type metric struct {
	kind   string // counter, gauge or histogram
	unit   string // of OpenTelemetry
	what   string
	points map[string]point // by the values of labels, in the order of the labels' names
	labels []string
	values map[string]map[string]bool // of each label
}

// A point is what was counted, with the buckets of a histogram.
type point struct {
	value   float64
	buckets string
}

func newMetric(kind, unit, what string) *metric {
	return &metric{kind: kind, unit: unit, what: what, points: map[string]point{}, values: map[string]map[string]bool{}}
}

// add notes one point. Of labels there are always the same.
func (m *metric) add(p point, labels [][2]string) {
	slices.SortFunc(labels, func(a, b [2]string) int { return strings.Compare(a[1], b[1]) })
	key := ""
	m.labels = nil
	for _, label := range labels {
		key += label[1] + ";"
		m.labels = append(m.labels, label[0])
		if m.values[label[0]] == nil {
			m.values[label[0]] = map[string]bool{}
		}
		m.values[label[0]][label[1]] = true
	}
	slices.Sort(m.labels)
	m.points[key] = p
}

// observed runs a bus, a handler and a cache under both modules, and returns what each of them
// says: of the same calls, those of the hooks included that only a fault would make.
func observed(t *testing.T) (byPrometheus, byOTel map[string]*metric) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		registry, reader := client.NewRegistry(), sdk.NewManualReader()
		one, err := prometheus.New(registry, &prometheus.Options{Channels: []string{"/listed"}})
		if err != nil {
			t.Fatal(err)
		}
		two, err := otel.New(&otel.Options{MeterProvider: sdk.NewMeterProvider(sdk.WithReader(reader)), Channels: []string{"/listed"}})
		if err != nil {
			t.Fatal(err)
		}
		hooks, handlerHooks := &bus.Trace{}, &transport.Trace{}
		join(hooks, one.Bus(), two.Bus())
		join(handlerHooks, one.Transport(), two.Transport())
		b := bustest.On(t, bustest.NewStore(t), &bus.Options{Trace: hooks, MaxBacklogSize: 1, Keepalive: -1})
		h, err := transport.NewHandler(b, &transport.Options{Trace: handlerHooks})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = h.Shutdown(context.Background()) })
		users, err := cache.New[string, int](t.Context(), b, "users", nil)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { users.Close() })
		for _, err := range []error{one.Watch(b, h), two.Watch(b, h), one.WatchCache("users", users), two.WatchCache("users", users)} {
			if err != nil {
				t.Fatal(err)
			}
		}
		work(t, b, h, users)
		call(hooks, handlerHooks)
		synctest.Wait() // nothing happens between the two
		byPrometheus, byOTel = fromPrometheus(t, registry), fromOTel(t, reader)
	})
	return byPrometheus, byOTel
}

// join has each hook of a trace call those of two others.
func join(trace, one, two any) {
	for field, hook := range reflect.ValueOf(trace).Elem().Fields() {
		first, second := reflect.ValueOf(one).Elem().FieldByIndex(field.Index), reflect.ValueOf(two).Elem().FieldByIndex(field.Index)
		hook.Set(reflect.MakeFunc(field.Type, func(args []reflect.Value) []reflect.Value {
			first.Call(args)
			second.Call(args)
			return nil
		}))
	}
}

func work(t *testing.T, b *bus.Bus, h http.Handler, users *cache.Cache[string, int]) {
	t.Helper()
	for i := range 5 {
		for _, channel := range []string{"/listed", "/other"} {
			if _, err := b.Publish(t.Context(), channel, i); err != nil {
				t.Fatal(err)
			}
		}
	}
	s, err := b.Subscribe(t.Context(), "/other", bus.After(1))
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	var gap *bus.GapError
	if _, err := s.Next(t.Context()); !errors.As(err, &gap) {
		t.Fatalf("%v, want a gap", err)
	}
	if err := users.Set(t.Context(), "ann", 1); err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{"ann", "ben", "ann"} {
		users.Get(key)
	}
	request := httptest.NewRequest(http.MethodPost, "/message-bus/me/poll?dlp=t", strings.NewReader("/listed=0"))
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	answer := httptest.NewRecorder()
	if h.ServeHTTP(answer, request); answer.Code != http.StatusOK {
		t.Fatalf("%d %s", answer.Code, answer.Body)
	}
}

// call makes each call that a hook can get, by what its label can be.
func call(b *bus.Trace, h *transport.Trace) {
	for i, err := range []error{nil, bus.ErrQueued, bus.ErrTooLarge, bus.ErrUnknownOutcome, bus.ErrReadOnly} {
		b.Publish(bus.PublishInfo{Channel: "/listed", Bytes: 10, Duration: time.Duration(i) * 300 * time.Millisecond, Err: err})
	}
	for i, reason := range []bus.GapReason{bus.GapTrimmed, bus.GapPossible, bus.GapReset, bus.GapFailover} {
		for range i + 1 {
			b.Gap(&bus.GapError{Reason: reason})
			h.Gap(transport.Identity{}, "", &bus.GapError{Reason: reason})
			h.Gap(transport.Identity{}, "", &bus.GapError{Reason: reason})
		}
	}
	for i, reason := range []transport.Reason{
		transport.Expired, transport.IdentityExpired, transport.Answered, transport.Replaced, transport.Outdated, transport.Left,
		transport.TooSlow, transport.Stopped, transport.Invalid, transport.Failed,
	} {
		for range i + 1 {
			h.Disconnect(transport.Identity{}, "", reason)
		}
	}
	h.Deliver(&bus.Message{Channel: "/listed"}, 7)
	h.Deliver(&bus.Message{Channel: "/other"}, 9)
	// Each of these a different number of times, or an exchange of two would not show.
	for n, hook := range []func(){
		func() { b.GivenUp("", "", nil) }, b.FeedUp, func() { b.FeedDown(nil) }, func() { b.Undecodable(nil) },
		func() { b.Late("") }, func() { b.Behind("") }, func() { b.Repair(1, 50) }, func() { h.Connect(transport.Identity{}, "") },
		func() { h.Refuse(transport.Identity{}, "", "", nil) }, func() { h.Panic("") }, func() { h.Slow(transport.Identity{}, "") },
	} {
		for range 2*n + 11 {
			hook()
		}
	}
}

func fromPrometheus(t *testing.T, registry *client.Registry) map[string]*metric {
	t.Helper()
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]*metric{}
	for _, family := range families {
		m := newMetric(strings.ToLower(family.GetType().String()), "", family.GetHelp())
		for _, sample := range family.GetMetric() {
			labels := [][2]string{}
			for _, label := range sample.GetLabel() {
				labels = append(labels, [2]string{label.GetName(), label.GetValue()})
			}
			m.add(pointOf(family.GetType(), sample), labels)
		}
		all[family.GetName()] = m
	}
	return all
}

func pointOf(kind dto.MetricType, sample *dto.Metric) point {
	if kind != dto.MetricType_HISTOGRAM {
		return point{value: sample.GetCounter().GetValue() + sample.GetGauge().GetValue()}
	}
	buckets := ""
	for _, bucket := range sample.GetHistogram().GetBucket() {
		buckets += fmt.Sprintf("%.9g:%d ", bucket.GetUpperBound(), bucket.GetCumulativeCount())
	}
	return point{float64(sample.GetHistogram().GetSampleCount()), buckets}
}

func fromOTel(t *testing.T, reader *sdk.ManualReader) map[string]*metric {
	t.Helper()
	var found metricdata.ResourceMetrics
	if err := reader.Collect(t.Context(), &found); err != nil {
		t.Fatal(err)
	}
	all := map[string]*metric{}
	for _, scope := range found.ScopeMetrics {
		for _, one := range scope.Metrics {
			switch data := one.Data.(type) {
			case metricdata.Sum[int64]:
				m := newMetric("gauge", one.Unit, one.Description)
				if data.IsMonotonic {
					m.kind = "counter"
				}
				m.addAll(data.DataPoints)
				all[one.Name] = m
			case metricdata.Gauge[int64]:
				m := newMetric("gauge", one.Unit, one.Description)
				m.addAll(data.DataPoints)
				all[one.Name] = m
			case metricdata.Histogram[float64]:
				m := newMetric("histogram", one.Unit, one.Description)
				for _, p := range data.DataPoints {
					buckets, sum := "", uint64(0)
					for i, bound := range p.Bounds {
						sum += p.BucketCounts[i]
						buckets += fmt.Sprintf("%.9g:%d ", bound, sum)
					}
					m.add(point{float64(p.Count), buckets}, labelsOf(p.Attributes))
				}
				all[one.Name] = m
			default:
				t.Fatalf("%s is a %T", one.Name, one.Data)
			}
		}
	}
	return all
}

func (m *metric) addAll(points []metricdata.DataPoint[int64]) {
	for _, p := range points {
		m.add(point{value: float64(p.Value)}, labelsOf(p.Attributes))
	}
}

func labelsOf(set attribute.Set) (labels [][2]string) {
	for _, a := range set.ToSlice() {
		labels = append(labels, [2]string{string(a.Key), a.Value.String()})
	}
	return labels
}
