package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"testing"
	"time"

	"github.com/messagebus-go/messagebus/benchmarks/internal/measure"
	"github.com/messagebus-go/messagebus/integration/command"
)

// A load is what messagebus bench is told.
type load struct {
	clients, channels, rate int
	duration                time.Duration
}

// report is what it says at the end.
type report struct {
	Published int64 `json:"published"`
	Delivered int64 `json:"delivered"`
	Missing   int64 `json:"missing"`
	Latency   struct {
		P50 float64 `json:"p50"`
		P99 float64 `json:"p99"`
		Max float64 `json:"max"`
	} `json:"latency_ms"`
}

// put puts the load on the server at address. It fails when a client does not have each
// message once, or is told of a gap; what is reported is returned then too.
func (l load) put(ctx context.Context, tb testing.TB, address, store string) (report, error) {
	tb.Helper()
	bench := exec.CommandContext(ctx, command.Binary(tb), "bench", "--url", "http://"+address, "--store", store, //nolint:gosec // our own command
		"--clients", strconv.Itoa(l.clients), "--channels", strconv.Itoa(l.channels),
		"--rate", strconv.Itoa(l.rate), "--duration", l.duration.String())
	bench.Cancel = func() error { return bench.Process.Signal(os.Interrupt) }
	output, err := bench.Output()
	if ended, ok := errors.AsType[*exec.ExitError](err); ok {
		err = fmt.Errorf("messagebus bench: %w: %s", err, ended.Stderr)
	}
	var r report
	if bad := json.Unmarshal(output, &r); bad != nil {
		return r, errors.Join(err, fmt.Errorf("messagebus bench said %q: %w", output, bad))
	}
	return r, err
}

// results are the lines about the messages.
func (l load) results(r report) []measure.Result {
	group := fmt.Sprintf("%d clients on %d channels, %d messages a second, %v", l.clients, l.channels, l.rate, l.duration)
	one := func(f measure.Figure, ours, other float64) measure.Result {
		return f.Result(group, []measure.Pair{{Ours: ours, Other: other}})
	}
	return []measure.Result{
		one(measure.Figure{Name: "messages", Unit: ""}, float64(r.Published), 0),
		one(measure.Figure{Name: "deliveries, each once and in order", Beside: "expected", Target: measure.Target{AtLeast: 1}},
			float64(r.Delivered), float64(r.Delivered+r.Missing)),
		one(measure.Figure{Name: "publish to client, p50", Unit: "ms"}, r.Latency.P50, 0),
		one(measure.Figure{Name: "publish to client, p99", Unit: "ms"}, r.Latency.P99, 0),
		one(measure.Figure{Name: "publish to client, longest", Unit: "ms"}, r.Latency.Max, 0),
	}
}
