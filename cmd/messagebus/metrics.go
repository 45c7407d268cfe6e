package main

import (
	"net/http"

	prom "github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/messagebus-go/messagebus/bus"
	"github.com/messagebus-go/messagebus/cmd/messagebus/internal/dashboard"
	"github.com/messagebus-go/messagebus/observe/prometheus"
	"github.com/messagebus-go/messagebus/transport"
)

// metrics are those of a server, of its process and of Go. Its hooks are for the
// dashboard as well.
type metrics struct {
	*prometheus.Metrics

	own, process *prom.Registry
	recorder     *dashboard.Recorder
}

func newMetrics(channels []string) (*metrics, error) {
	m := &metrics{own: prom.NewRegistry(), process: prom.NewRegistry(), recorder: dashboard.NewRecorder()}
	m.process.MustRegister(
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}), collectors.NewBuildInfoCollector(),
	)
	var err error
	m.Metrics, err = prometheus.New(m.own, &prometheus.Options{Channels: channels})
	return m, err
}

// Bus returns the hooks for bus.Options.Trace.
func (m *metrics) Bus() *bus.Trace { return m.recorder.Bus(m.Metrics.Bus()) }

// Transport returns the hooks for transport.Options.Trace.
func (m *metrics) Transport() *transport.Trace { return m.recorder.Transport(m.Metrics.Transport()) }

func (m *metrics) handler() http.Handler {
	return promhttp.HandlerFor(prom.Gatherers{m.own, m.process}, promhttp.HandlerOpts{})
}
