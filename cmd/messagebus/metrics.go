package main

import (
	"net/http"

	prom "github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/messagebus-go/messagebus/observe/prometheus"
)

// metrics are those of a server, of its process and of Go.
type metrics struct {
	*prometheus.Metrics

	registry *prom.Registry
}

func newMetrics(channels []string) (*metrics, error) {
	registry := prom.NewRegistry()
	registry.MustRegister(
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}), collectors.NewBuildInfoCollector(),
	)
	m, err := prometheus.New(registry, &prometheus.Options{Channels: channels})
	return &metrics{m, registry}, err
}

func (m *metrics) handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{})
}
