package main

import (
	"strings"
	"testing"
)

// scrape returns the lines of /metrics that are no comments.
func scrape(t *testing.T, s *running) []string {
	t.Helper()
	got := send(t, "GET", "http://"+s.admin+"/metrics", "", nil)
	if got.status != 200 || !strings.HasPrefix(got.header.Get("Content-Type"), "text/plain") {
		t.Fatalf("metrics: %d %v", got.status, got.header)
	}
	var lines []string
	for line := range strings.Lines(got.body) {
		if !strings.HasPrefix(line, "#") {
			lines = append(lines, strings.TrimSpace(line))
		}
	}
	return lines
}

func TestServe_CountsForPrometheus(t *testing.T) {
	t.Parallel()
	s := serve(t, nil, "--metrics-channel", "/a")
	waitLive(t, s, "")
	publishVia(t, s, `{"channel":"/a","data":1}`)
	publishVia(t, s, `{"channel":"/b","data":1}`)
	text := "\n" + strings.Join(scrape(t, s), "\n") + "\n"
	for _, want := range []string{
		`messagebus_publishes_total{result="ok"} 2`, `messagebus_channel_publishes_total{channel="/a"} 1`,
		`messagebus_possible_losses_total{reason="trimmed"} 0`, `messagebus_healthy 1`, `messagebus_held_requests 0`,
	} {
		if !strings.Contains(text, "\n"+want+"\n") {
			t.Errorf("%s is missing in %s", want, text)
		}
	}
	if strings.Contains(text, `"/b"`) {
		t.Error("a channel that is not listed is a label")
	}
}
