package load

import (
	"math"
	"sync/atomic"
	"time"
)

// histogram counts durations in steps of one percent, in memory that does not grow. The zero
// value is ready; it is safe for concurrent use.
type histogram struct {
	counts [steps]atomic.Int64
	max    atomic.Int64
}

// The steps begin at a microsecond and end beyond an hour.
const (
	step  = 1.01
	steps = 2300
)

func (h *histogram) add(d time.Duration) {
	micros := max(1, float64(d)/float64(time.Microsecond))
	h.counts[min(steps-1, int(math.Log(micros)/math.Log(step)))].Add(1)
	for {
		most := h.max.Load()
		if int64(d) <= most || h.max.CompareAndSwap(most, int64(d)) {
			return
		}
	}
}

// quantile returns what a part of the durations is not above, in milliseconds; 0 where there
// is none.
func (h *histogram) quantile(part float64) float64 {
	var total int64
	for i := range h.counts {
		total += h.counts[i].Load()
	}
	rest := int64(math.Ceil(part * float64(total)))
	for i := range h.counts {
		if rest -= h.counts[i].Load(); rest <= 0 && total > 0 {
			return math.Pow(step, float64(i)+0.5) / 1000
		}
	}
	return 0
}

func (h *histogram) latency() Latency {
	return Latency{
		P50: round(h.quantile(0.5)), P90: round(h.quantile(0.9)), P99: round(h.quantile(0.99)),
		Max: round(float64(h.max.Load()) / float64(time.Millisecond)),
	}
}

// round leaves three digits after the point: more are not measured.
func round(x float64) float64 { return math.Round(x*1000) / 1000 }
