package prometheus_test

import (
	"reflect"
	"testing"

	client "github.com/prometheus/client_golang/prometheus"

	"github.com/messagebus-go/messagebus/bus"
	"github.com/messagebus-go/messagebus/observe/prometheus"
)

// A hook that is added later must be counted as well, or be left out on purpose.
func TestTraces_UseEveryHook(t *testing.T) {
	t.Parallel()
	m, _ := newMetrics(t, nil)
	for _, trace := range []any{*m.Bus(), *m.Transport()} {
		v := reflect.ValueOf(trace)
		for i := range v.NumField() {
			if v.Field(i).IsNil() {
				t.Errorf("%s.%s is not used", v.Type(), v.Type().Field(i).Name)
			}
		}
	}
}

// The hooks run on the way of every message.
func BenchmarkPublish(b *testing.B) {
	m, err := prometheus.New(client.NewRegistry(), nil)
	if err != nil {
		b.Fatal(err)
	}
	trace := m.Bus()
	b.ReportAllocs()
	for b.Loop() {
		trace.Publish(bus.PublishInfo{Channel: "/a", Bytes: 100, Duration: 1000})
	}
}
