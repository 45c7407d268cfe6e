package dashboard

import (
	"strings"
	"time"

	prom "github.com/prometheus/client_golang/prometheus"
)

// How often is looked, and how far back is remembered.
const (
	sampleEvery = 2 * time.Second
	maxSamples  = 10*int(time.Minute/sampleEvery) + 1
)

// counts are the metrics of a process at one moment, by their names; those with
// labels by the values of these as well.
type counts map[string]float64

// gather reads the metrics.
func gather(from prom.Gatherer) (counts, error) {
	families, err := from.Gather()
	all := counts{}
	for _, family := range families {
		for _, metric := range family.GetMetric() {
			name := nameOfMetric(family.GetName(), metric.GetLabel())
			if h := metric.GetHistogram(); h != nil {
				all[name+"_sum"], all[name+"_count"] = h.GetSampleSum(), float64(h.GetSampleCount())
				continue
			}
			all[name] = metric.GetCounter().GetValue() + metric.GetGauge().GetValue()
		}
	}
	return all, err
}

// nameOfMetric is a metric's name, and the values of its labels.
func nameOfMetric[L interface{ GetValue() string }](name string, labels []L) string {
	for _, label := range labels {
		name = name + " " + label.GetValue()
	}
	return name
}

// of returns a metric, with all the values that its label has.
func (c counts) of(metric string) (sum float64) {
	for name, value := range c {
		if base, _, _ := strings.Cut(name, " "); base == metric {
			sum += value
		}
	}
	return sum
}

// Totals are what was counted since the process has started.
type Totals struct {
	Published            uint64 `json:"published"`
	PublishedBytes       uint64 `json:"published_bytes"`
	Queued               uint64 `json:"queued"`  // publishes that had to wait for the store to take writes
	Refused              uint64 `json:"refused"` // what was to be published was wrong
	Failed               uint64 `json:"failed"`  // publishes that are not stored
	Unknown              uint64 `json:"unknown"` // publishes that may be
	GivenUp              uint64 `json:"given_up"`
	Delivered            uint64 `json:"delivered"`
	Connected            uint64 `json:"connected"` // requests that were held
	PossibleLosses       uint64 `json:"possible_losses"`
	ClientPossibleLosses uint64 `json:"client_possible_losses"`
	Undecodable          uint64 `json:"undecodable"`
	Late                 uint64 `json:"late"`
	Repaired             uint64 `json:"repaired"` // messages that the feed had missed
	SlowClients          uint64 `json:"slow_clients"`
	RefusedChannels      uint64 `json:"refused_channels"`
	Panics               uint64 `json:"panics"`
}

func (c counts) totals() Totals {
	n := func(metric string) uint64 { return uint64(c.of("messagebus_" + metric)) }
	result := func(name string) uint64 { return uint64(c["messagebus_publishes_total "+name]) }
	return Totals{
		Published: result("ok"), PublishedBytes: n("published_bytes_total"), Queued: result("queued"), Refused: result("refused"),
		Failed: result("failed"), Unknown: result("unknown"), GivenUp: n("queue_given_up_total"),
		Delivered: n("deliveries_total"), Connected: n("held_requests_started_total"),
		PossibleLosses: n("possible_losses_total"), ClientPossibleLosses: n("client_possible_losses_total"),
		Undecodable: n("undecodable_messages_total"), Late: n("late_messages_total"), Repaired: n("feed_repaired_messages_total"),
		SlowClients: n("slow_clients_total"), RefusedChannels: n("refused_channels_total"), Panics: n("panics_total"),
	}
}

// A sample is what a process had done at one moment.
type sample struct {
	at             time.Time
	held           int
	totals         Totals
	publishes      float64 // that reached the store
	publishSeconds float64
}

func sampleOf(c counts, at time.Time) sample {
	return sample{
		at: at, held: int(c.of("messagebus_held_requests")), totals: c.totals(),
		publishes:      c.of("messagebus_publish_duration_seconds_count"),
		publishSeconds: c.of("messagebus_publish_duration_seconds_sum"),
	}
}

// history are the newest samples, oldest first. It is not safe for concurrent
// use.
type history struct{ samples []sample }

func (h *history) add(s sample) {
	if len(h.samples) == maxSamples {
		h.samples = append(h.samples[:0], h.samples[1:]...)
	}
	h.samples = append(h.samples, s)
}

// rose returns by how much a count has grown over all samples, and when it began
// to.
func (h *history) rose(count func(*Totals) uint64) (by uint64, since time.Time) {
	if len(h.samples) == 0 {
		return 0, since
	}
	first := count(&h.samples[0].totals)
	for i := range h.samples {
		if count(&h.samples[i].totals) > first {
			since = h.samples[i].at
			break
		}
	}
	return count(&h.samples[len(h.samples)-1].totals) - first, since
}

// Samples are the last ten minutes, for plots; oldest first. All lists are
// equally long.
type Samples struct {
	At        []int64    `json:"at"`         // Unix time in milliseconds
	Held      []int      `json:"held"`       // requests that were held then
	Published []float64  `json:"published"`  // messages a second, since the sample before
	Delivered []float64  `json:"delivered"`  // messages a second, since the sample before; each request counts
	PublishMS []*float64 `json:"publish_ms"` // how long publishes took on average; null: there was none
}

func (h *history) plots() Samples {
	n := max(len(h.samples)-1, 0)
	p := Samples{At: make([]int64, n), Held: make([]int, n), Published: make([]float64, n), Delivered: make([]float64, n), PublishMS: make([]*float64, n)}
	for i := range n {
		a, b := &h.samples[i], &h.samples[i+1]
		seconds := max(b.at.Sub(a.at).Seconds(), 0.001)
		p.At[i], p.Held[i] = b.at.UnixMilli(), b.held
		p.Published[i] = round(float64(b.totals.Published-a.totals.Published) / seconds)
		p.Delivered[i] = round(float64(b.totals.Delivered-a.totals.Delivered) / seconds)
		if publishes := b.publishes - a.publishes; publishes > 0 {
			ms := round((b.publishSeconds - a.publishSeconds) / publishes * 1000)
			p.PublishMS[i] = &ms
		}
	}
	return p
}
