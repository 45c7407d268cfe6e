package main

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/messagebus-go/messagebus/cmd/messagebus/internal/load"
)

func TestBench_MeasuresAServer(t *testing.T) {
	t.Parallel()
	s := serve(t, nil)
	got := runArgs(t, "bench", "--url", "http://"+s.client, "--server", "http://"+s.admin, "--clients", "5", "--channels", "2", "--rate", "100", "--duration", "1s")
	var report load.Report
	if err := json.Unmarshal([]byte(got.stdout), &report); err != nil || got.code != exitDone || report.Clients != 5 || report.Delivered == 0 || report.Missing != 0 {
		t.Errorf("%v %+v", err, got)
	}
}

func TestBench_ShowsATableToPeople(t *testing.T) {
	t.Parallel()
	var table strings.Builder
	err := loadTable(&table, load.Report{Clients: 2, Channels: 1, Seconds: 2, Published: 20, Delivered: 40, Latency: load.Latency{P50: 1.26, P99: 12}})
	for _, want := range []string{"2 on 1 channels", "20, 10 a second", "40, 20 a second", "1.3 ms", "12.0 ms"} {
		if err != nil || !strings.Contains(table.String(), want) {
			t.Errorf("%v: no %q in\n%s", err, want, table.String())
		}
	}
	for want, p := range map[string]load.Progress{
		"[##########..........] 5 of 10 clients":                      {Connected: 5, Clients: 10},
		"[#####...............] 7 out, 70 in, p50 1.5 ms, p99 3.0 ms": {Connected: 10, Clients: 10, Part: 0.25, Published: 7, Delivered: 70, Latency: load.Latency{P50: 1.5, P99: 3}},
	} {
		if got := loadLine(p); got != want {
			t.Errorf("%q, not %q", got, want)
		}
	}
}
