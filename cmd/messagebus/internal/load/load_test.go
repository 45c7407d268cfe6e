package load

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/messagebus-go/messagebus/bus"
	"github.com/messagebus-go/messagebus/bus/leakcheck"
	"github.com/messagebus-go/messagebus/bus/membus"
	"github.com/messagebus-go/messagebus/httpclient"
	"github.com/messagebus-go/messagebus/transport"
)

func TestMain(m *testing.M) { leakcheck.Main(m) }

// newServer returns the address of a server, and how to publish to it.
func newServer(t *testing.T) (url string, publish func(context.Context, string, json.RawMessage) error) {
	t.Helper()
	store, err := membus.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	b, err := bus.New(store, nil)
	if err != nil {
		t.Fatal(err)
	}
	h, err := transport.NewHandler(b, nil)
	if err != nil {
		t.Fatal(err)
	}
	s := httptest.NewServer(h)
	t.Cleanup(func() {
		if err := errors.Join(h.Shutdown(context.Background()), b.Close()); err != nil {
			t.Error(err)
		}
		s.Close()
	})
	return s.URL, func(ctx context.Context, channel string, data json.RawMessage) error {
		_, err := b.Publish(ctx, channel, data)
		return err
	}
}

func TestRun_CountsWhatEveryClientHas(t *testing.T) {
	t.Parallel()
	url, publish := newServer(t)
	run := New(Options{URL: url, Clients: 7, Channels: 3, Rate: 300, Duration: time.Second, Payload: 10, Publish: publish}, "x")
	report, err := run.Do(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	// Three clients on the first channel, two on each other one.
	want := 3*run.channels[0].last + 2*run.channels[1].last + 2*run.channels[2].last
	switch {
	case report.Published == 0 || report.Delivered != want || report.Missing != 0 || report.Repeated != 0 || report.Refused != 0:
		t.Errorf("%+v, wanted %d deliveries", report, want)
	case report.Latency.P50 <= 0 || report.Latency.P50 > report.Latency.P99 || report.Latency.Max <= 0:
		t.Errorf("%+v", report.Latency)
	}
}

func TestRun_SaysWhyNobodyIsConnected(t *testing.T) {
	t.Parallel()
	s := httptest.NewServer(http.NotFoundHandler())
	defer s.Close()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	asked := 0
	run := New(Options{URL: s.URL, Clients: 1, Channels: 1, Rate: 1, Duration: time.Second, Publish: func(context.Context, string, json.RawMessage) error {
		if asked++; asked > 3 {
			cancel()
		}
		return nil
	}}, "x")
	if _, err := run.Do(ctx); err == nil || !strings.Contains(err.Error(), "0 of 1 clients") || !strings.Contains(err.Error(), "404") {
		t.Errorf("%v", err)
	}
}

func TestRun_EndsWhereNothingCanBePublished(t *testing.T) {
	t.Parallel()
	url, _ := newServer(t)
	refusal := errors.New("no")
	run := New(Options{URL: url, Clients: 1, Channels: 1, Rate: 1, Duration: time.Second, Publish: func(context.Context, string, json.RawMessage) error { return refusal }}, "x")
	if _, err := run.Do(t.Context()); !errors.Is(err, refusal) {
		t.Errorf("%v", err)
	}
}

// What a client is handed is compared with what it says of it.
func TestClient_KnowsWhatIsMissingAndWhatCameAgain(t *testing.T) {
	t.Parallel()
	for range 1000 {
		r := &Run{}
		c := &client{run: r, channel: &channel{name: "/a", last: 20}}
		var missing, repeated, delivered, last int64
		c.hear(message(0))
		for range rand.IntN(15) {
			n := last + rand.Int64N(4) - 1
			if n < 1 || n > 20 {
				continue
			}
			c.hear(message(n))
			if n <= last {
				repeated++
				continue
			}
			delivered, missing, last = delivered+1, missing+n-last-1, n
		}
		missing += 20 - last
		gaps := rand.Int64N(3)
		for range gaps {
			r.fail(fmt.Errorf("told: %w", &httpclient.GapError{}))
		}
		r.fail(errors.New("no gap"))
		if got, all := r.gaps.Load(), r.errors.Load(); got != gaps || all != gaps+1 {
			t.Fatalf("%d gaps and %d errors, want %d and %d", got, all, gaps, gaps+1)
		}
		if got := r.missing.Load() + c.lacks(); got != missing || r.repeated.Load() != repeated || r.delivered.Load() != delivered || r.connected.Load() != 1 {
			t.Fatalf("missing %d of %d, repeated %d of %d, delivered %d of %d", got, missing, r.repeated.Load(), repeated, r.delivered.Load(), delivered)
		}
	}
}

func message(number int64) httpclient.Message {
	return httpclient.Message{Channel: "/a", Data: json.RawMessage(fmt.Sprintf(`{"n":%d,"at":%d}`, number, time.Now().UnixNano()))}
}

// A quantile is compared with that of the durations themselves.
func TestHistogram_IsWithinOnePercent(t *testing.T) {
	t.Parallel()
	for range 50 {
		h, all := &histogram{}, make([]time.Duration, 1+rand.IntN(1000))
		for i := range all {
			all[i] = time.Microsecond + time.Duration(rand.ExpFloat64()*float64(50*time.Millisecond))
			h.add(all[i])
		}
		slices.Sort(all)
		for _, part := range []float64{0.01, 0.5, 0.9, 0.99, 1} {
			want := float64(all[max(0, int(part*float64(len(all))+0.999999)-1)]) / float64(time.Millisecond)
			if got := h.quantile(part); got < want*0.989 || got > want*1.011 {
				t.Fatalf("the %v quantile of %d is %v ms, not %v", part, len(all), got, want)
			}
		}
	}
	if got := (&histogram{}).latency(); got != (Latency{}) {
		t.Errorf("of nothing: %+v", got)
	}
}
