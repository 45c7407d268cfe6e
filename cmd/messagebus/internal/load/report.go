package load

import "time"

// Progress is how far a run is.
type Progress struct {
	Connected, Clients   int
	Part                 float64 // of the measurement's duration, 0 to 1
	Published, Delivered int64
	Latency              Latency
}

// Latency is the time from before a message is published until a client has it, in
// milliseconds, to within one percent.
type Latency struct {
	P50 float64 `json:"p50"`
	P90 float64 `json:"p90"`
	P99 float64 `json:"p99"`
	Max float64 `json:"max"`
}

// Report is what a run has come to.
type Report struct {
	Clients        int     `json:"clients"`
	Channels       int     `json:"channels"`
	ConnectSeconds float64 `json:"connect_seconds"`
	Seconds        float64 `json:"seconds"` // of publishing
	Published      int64   `json:"published"`
	Refused        int64   `json:"refused"` // publishes that failed
	Delivered      int64   `json:"delivered"`
	Missing        int64   `json:"missing"`
	Repeated       int64   `json:"repeated"` // came again, or after a later one
	Gaps           int64   `json:"gaps"`     // that the server or the client has reported
	Latency        Latency `json:"latency_ms"`
	Errors         int64   `json:"errors"` // of requests and publishes
	FirstError     string  `json:"first_error,omitempty"`
}

// Progress may be called at any time.
func (r *Run) Progress() Progress {
	p := Progress{
		Connected: int(r.connected.Load()), Clients: r.opts.Clients,
		Published: r.published.Load(), Delivered: r.delivered.Load(), Latency: r.latency.latency(),
	}
	if began := r.began.Load(); began != 0 {
		p.Part = min(1, float64(time.Since(time.Unix(0, began)))/float64(r.opts.Duration))
	}
	return p
}

func (r *Run) report(connected time.Duration, seconds float64) Report {
	report := Report{
		Clients: r.opts.Clients, Channels: len(r.channels),
		ConnectSeconds: connected.Round(time.Millisecond).Seconds(), Seconds: round(seconds),
		Published: r.published.Load(), Refused: r.failed.Load(), Delivered: r.delivered.Load(),
		Missing: r.missing.Load(), Repeated: r.repeated.Load(), Gaps: r.gaps.Load(),
		Latency: r.latency.latency(), Errors: r.errors.Load(),
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.first != nil {
		report.FirstError = r.first.Error()
	}
	return report
}
