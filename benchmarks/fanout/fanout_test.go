package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/messagebus-go/messagebus/benchmarks/internal/measure"
	"github.com/messagebus-go/messagebus/integration/stores"
)

// TestMain makes the test binary one of the processes as well, as main does.
func TestMain(m *testing.M) {
	code := 0
	err := runRoleOr(context.Background(), func() error {
		code = m.Run()
		return stores.Close()
	})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

// BenchmarkFanout does a little of everything that this program measures, so that it
// keeps working. Its figures mean nothing.
func BenchmarkFanout(b *testing.B) {
	r := &rig{redis: newRedis(b), size: little}
	for _, w := range rows(little) {
		b.Run(w.name, func(b *testing.B) {
			for b.Loop() {
				results, err := w.measure(b.Context(), b, r, func(string) {})
				if errors.Is(err, measure.ErrNotRun) {
					b.Skip(err)
				}
				if err != nil {
					b.Fatal(err)
				}
				for i, result := range results {
					b.ReportMetric(result.Ours, fmt.Sprintf("ours/%d", i))
				}
			}
		})
	}
}

func TestBareLoop_WritesTheBytesOfTheHandler(t *testing.T) {
	t.Parallel()
	r := &rig{redis: newRedis(t)}
	text := [2]string{}
	for i, open := range []opening{openOurs, openBare} {
		r.places++
		in := newPlace(r.redis, r.places)
		s, err := open(t.Context(), in, &measure.Turns{})
		if err != nil {
			t.Fatal(err)
		}
		server := httptest.NewServer(s.handler)
		t.Cleanup(server.Close)
		l := &listener{crowd: &crowd{ctx: t.Context()}, address: strings.TrimPrefix(server.URL, "http://"), channel: joint}
		if err := l.hold(); err != nil {
			t.Fatal(err)
		}
		publisher, err := newPublisher(t, in)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := publisher.Publish(t.Context(), joint, payload{At: 1, Text: "<é>"}); err != nil {
			t.Fatal(err)
		}
		text[i] = readChunk(t, l.in)
		l.conn.Close()
		if err := s.close(); err != nil {
			t.Fatal(err)
		}
	}
	if text[0] != text[1] || !strings.Contains(text[0], "é") {
		t.Errorf("the handler writes %q, the bare loop %q", text[0], text[1])
	}
}

// readChunk reads the rest of the first chunk and the next one.
func readChunk(t *testing.T, in *bufio.Reader) string {
	t.Helper()
	var read strings.Builder
	for range 6 {
		line, err := in.ReadString('\n')
		if err != nil {
			t.Fatal(err)
		}
		read.WriteString(line)
	}
	return read.String()
}

func TestDeliveries_AreThoseThatAreTimed(t *testing.T) {
	t.Parallel()
	line := `[{"global_id":8,"message_id":5,"channel":"/a","data":{"at":70,"text":"x"}},` +
		`{"global_id":-1,"message_id":-1,"channel":"/__status","data":{"/a":4}},` +
		`{"global_id":9,"message_id":6,"channel":"/a","data":{"text":"\"data\":{\"at\":1"}},` +
		`{"global_id":10,"message_id":7,"channel":"/a","data":{"at":80,"text":"y"}}]`
	var got []delivery
	deliveries([]byte(line), func(d delivery) { got = append(got, d) })
	if !slices.Equal(got, []delivery{{5, 70}, {7, 80}}) {
		t.Errorf("got %v", got)
	}
}

func TestPercentile_IsWhatSoManyDoNotExceed(t *testing.T) {
	t.Parallel()
	var all latencies
	for i := range 200 {
		all = append(all, time.Duration(200-i))
	}
	if p50, p99 := all.percentile(50), all.percentile(99); p50 != 100 || p99 != 198 {
		t.Errorf("got %d and %d, want 100 and 198", p50, p99)
	}
	if none := (latencies{}).percentile(99); none != 0 {
		t.Errorf("got %d of no deliveries", none)
	}
}
