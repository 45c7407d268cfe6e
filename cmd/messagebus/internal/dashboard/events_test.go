package dashboard

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

func TestEvents_AStormPushesNothingOut(t *testing.T) {
	t.Parallel()
	var l eventLog
	now := time.Unix(0, 0)
	l.add(now, "feed down", "first")
	for i := range 100_000 {
		now = now.Add(time.Millisecond)
		l.add(now, []string{"slow client", "possible loss"}[i%2], fmt.Sprint(i))
	}
	all := l.newestFirst()
	if len(all) != 3 {
		t.Fatalf("%d events", len(all))
	}
	if last := all[len(all)-1]; last.Kind != "feed down" || last.Text != "first" {
		t.Errorf("the oldest is %+v", last)
	}
	if e := all[0]; e.Count != 50_000 || e.Text != "99999" || !e.Last.Equal(now) {
		t.Errorf("the newest is %+v", e)
	}
}

func TestEvents_KeepsTheNewestAndClips(t *testing.T) {
	t.Parallel()
	var l eventLog
	now := time.Unix(0, 0)
	for i := range 10 * maxEvents {
		now = now.Add(2 * oneEvent)
		l.add(now, "possible loss", fmt.Sprint(i, strings.Repeat("é", 1000)))
	}
	all := l.newestFirst()
	if len(all) != maxEvents || cap(l.events) > 4*maxEvents {
		t.Fatalf("%d events, room for %d", len(all), cap(l.events))
	}
	for i, e := range all {
		if want := fmt.Sprint(10*maxEvents - 1 - i); !strings.HasPrefix(e.Text, want) || len(e.Text) > maxText+len("…") || !strings.HasSuffix(e.Text, "é…") {
			t.Errorf("event %d is %q", i, e.Text)
		}
	}
}
