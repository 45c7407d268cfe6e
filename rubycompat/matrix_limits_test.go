package rubycompat_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/messagebus-go/messagebus/bus"
)

// limitSubjects are what one side keeps or throws away, and the other then finds.
func limitSubjects() []subject {
	of := func(name string, only store, ways ...way) subject { return subject{"limits", name, only, ways} }
	return []subject{
		of("max_backlog_size of a publish", "", fromGo(sizeByGo), fromRuby(sizeByRuby)),
		of("size 0 keeps nothing", "", fromGo(nothingKeptByGo), fromRuby(nothingKeptByRuby)),
		of("1000 messages a channel by default", "", fromGo(thousandByGo), fromRuby(thousandByRuby)),
		of("max_global_backlog_size", "", fromGo(globalSizeByGo), fromRuby(globalSizeByRuby)),
		of("clear_every", "", fromGo(clearEveryByGo), fromRuby(clearEveryByRuby)),
		of("max_backlog_age of a publish", onRedis, fromGo(ageByGo), fromRuby(ageByRuby)),
		of("max_backlog_age of a publish", onPostgres, fromGo(rowsByGo), fromRuby(rowsByRuby)),
		of("ids that begin again after an expiry", onRedis, fromGo(beginAgainByGo), fromRuby(beginAgainByRuby)),
	}
}

const trimmed = "/trimmed"

// fill publishes "go 1", "go 2", … from Go.
func fill(t *testing.T, b *bus.Bus, channel string, n int, options ...bus.PublishOption) {
	t.Helper()
	for i := range n {
		made(b.Publish(t.Context(), channel, fmt.Sprint("go ", i+1), options...))(t)
	}
}

// goBacklog is a backlog as Go reads it.
func goBacklog(t *testing.T, b *bus.Bus, channel string) any {
	t.Helper()
	return openedMessages(made(b.Backlog(t.Context(), channel, 0))(t), nil)["returns"]
}

func globalBacklog(t *testing.T, b *bus.Bus) any {
	t.Helper()
	return openedMessages(made(b.GlobalBacklog(t.Context(), 0))(t), nil)["returns"]
}

func sizeByGo(t *testing.T, m meeting) {
	t.Helper()
	b, r := m.goPeer(t), m.rubyPeer(t)
	r.must("publish_many", trimmed, "ruby", 5)
	r.must("publish", "/other", "stays")
	fill(t, b, trimmed, 1, bus.MaxBacklogSize(3))
	wantData(t, "Ruby", r.must("backlog", trimmed, 0), "ruby 4", "ruby 5", "go 1")
	wantData(t, "Ruby, the other channel", r.must("backlog", "/other", 0), "stays")
	before := integer(r.must("last_id", trimmed))
	if after := integer(r.must("publish", trimmed, "next")); after != before+1 {
		t.Errorf("Ruby publishes %d after %d", after, before)
	}
}

func sizeByRuby(t *testing.T, m meeting) {
	t.Helper()
	b, r := m.goPeer(t), m.rubyPeer(t)
	fill(t, b, trimmed, 5)
	fill(t, b, "/other", 1)
	r.mustWith("publish", map[string]any{"max_backlog_size": 3}, trimmed, "ruby")
	wantData(t, "Go", goBacklog(t, b, trimmed), "go 4", "go 5", "ruby")
	wantData(t, "Go, the other channel", goBacklog(t, b, "/other"), "go 1")
	sub := made(b.Subscribe(t.Context(), trimmed, bus.After(1)))(t)
	if reason := nextGap(t, sub); reason != bus.GapTrimmed && reason != bus.GapPossible {
		t.Errorf("from before what Ruby trimmed: a gap by %s", reason)
	}
	for _, want := range []string{"go 4", "go 5", "ruby"} {
		if got := next(t, sub); got["data"] != want {
			t.Errorf("%s, want %s", show(got), want)
		}
	}
}

func nothingKeptByGo(t *testing.T, m meeting) {
	t.Helper()
	b, r := m.goPeer(t), m.rubyPeer(t)
	r.must("subscribe", "live", trimmed)
	r.must("publish_many", trimmed, "ruby", 2)
	fill(t, b, trimmed, 1, bus.MaxBacklogSize(0))
	wantData(t, "Ruby, live", r.received("live", 3), "ruby 1", "ruby 2", "go 1")
	wantData(t, "Ruby", r.must("backlog", trimmed, 0))
}

func nothingKeptByRuby(t *testing.T, m meeting) {
	t.Helper()
	b, r := m.goPeer(t), m.rubyPeer(t)
	sub := made(b.Subscribe(t.Context(), trimmed, bus.Latest()))(t)
	fill(t, b, trimmed, 1)
	wantSame(t, "live", "go 1", next(t, sub)["data"])
	r.mustWith("publish", map[string]any{"max_backlog_size": 0}, trimmed, "ruby")
	wantSame(t, "live", "ruby", next(t, sub)["data"])
	wantData(t, "Go", goBacklog(t, b, trimmed))
}

func thousandByGo(t *testing.T, m meeting) {
	t.Helper()
	b, r := m.goPeer(t), m.rubyPeer(t)
	fill(t, b, trimmed, 1003)
	found := r.must("backlog", trimmed, 0).([]any)
	if len(found) != 1000 || found[0].(object)["data"] != "go 4" {
		t.Errorf("Ruby finds %d messages, from %s", len(found), show(found[:1]))
	}
}

func thousandByRuby(t *testing.T, m meeting) {
	t.Helper()
	b, r := m.goPeer(t), m.rubyPeer(t)
	r.must("publish_many", trimmed, "ruby", 1003)
	found := goBacklog(t, b, trimmed).([]any)
	if len(found) != 1000 || found[0].(object)["data"] != "ruby 4" {
		t.Errorf("Go finds %d messages, from %s", len(found), show(found[:1]))
	}
}

func globalSizeByGo(t *testing.T, m meeting) {
	t.Helper()
	b := m.goPeer(t, func(o *bus.Options) { o.MaxGlobalBacklogSize = 4 })
	r := m.rubyPeer(t)
	r.must("publish_many", "/other", "ruby", 3)
	fill(t, b, trimmed, 3)
	wantData(t, "Ruby", r.must("global_backlog", 0), "ruby 3", "go 1", "go 2", "go 3")
	wantData(t, "Ruby, the other channel", r.must("backlog", "/other", 0), survivors(m, "ruby 1", "ruby 2", "ruby 3")...)
}

func globalSizeByRuby(t *testing.T, m meeting) {
	t.Helper()
	b, r := m.goPeer(t), m.rubyPeer(t)
	r.must("set", "max_global_backlog_size", 4)
	fill(t, b, "/other", 3)
	r.must("publish_many", trimmed, "ruby", 3)
	wantData(t, "Go", globalBacklog(t, b), "go 3", "ruby 1", "ruby 2", "ruby 3")
	wantData(t, "Go, the other channel", goBacklog(t, b, "/other"), survivors(m, "go 1", "go 2", "go 3")...)
}

// survivors are what is left of a channel of three messages when the global limit has
// taken the oldest two: a pointer each on Redis, a row each on Postgres.
func survivors(m meeting, all ...string) []string {
	if m.postgres {
		return all[2:]
	}
	return all
}

func clearEveryByGo(t *testing.T, m meeting) {
	t.Helper()
	b := m.goPeer(t, func(o *bus.Options) { o.ClearEvery, o.MaxBacklogSize = 4, 2 })
	r := m.rubyPeer(t)
	fill(t, b, trimmed, 7)
	wantData(t, "Ruby, behind the fourth", r.must("backlog", trimmed, 0), "go 3", "go 4", "go 5", "go 6", "go 7")
	fill(t, b, trimmed, 1)
	wantData(t, "Ruby, behind the eighth", r.must("backlog", trimmed, 0), "go 7", "go 1")
}

func clearEveryByRuby(t *testing.T, m meeting) {
	t.Helper()
	b, r := m.goPeer(t), m.rubyPeer(t)
	r.must("set", "clear_every", 4)
	r.must("set", "max_backlog_size", 2)
	r.must("publish_many", trimmed, "ruby", 7)
	wantData(t, "Go, behind the fourth", goBacklog(t, b, trimmed), "ruby 3", "ruby 4", "ruby 5", "ruby 6", "ruby 7")
	r.must("publish", trimmed, "last")
	wantData(t, "Go, behind the eighth", goBacklog(t, b, trimmed), "ruby 7", "last")
}

// On Redis a channel expires as a whole, and its ids with it.
func ageByGo(t *testing.T, m meeting) {
	t.Helper()
	b, r := m.goPeer(t), m.rubyPeer(t)
	r.must("publish_many", trimmed, "ruby", 2)
	fill(t, b, trimmed, 1, bus.MaxBacklogAge(time.Second))
	until(t, "Ruby finds that the channel has expired", func() bool {
		return len(r.must("backlog", trimmed, 0).([]any)) == 0 && integer(r.must("last_id", trimmed)) == 0
	})
}

func ageByRuby(t *testing.T, m meeting) {
	t.Helper()
	b, r := m.goPeer(t), m.rubyPeer(t)
	fill(t, b, trimmed, 2)
	r.mustWith("publish", map[string]any{"max_backlog_age": 1}, trimmed, "ruby")
	until(t, "Go finds that the channel has expired", func() bool {
		return len(goBacklog(t, b, trimmed).([]any)) == 0 && made(b.LastID(t.Context(), trimmed))(t) == 0
	})
	sub := made(b.Subscribe(t.Context(), trimmed, bus.After(1)))(t)
	fill(t, b, trimmed, 1)
	nextGap(t, sub)
	if got := next(t, sub); got["data"] != "go 1" || got["message_id"] != number(1) {
		t.Errorf("%s, want the first message of the channel's new life", show(got))
	}
}

// On Postgres a publish deletes the rows that are older than its age.
func rowsByGo(t *testing.T, m meeting) {
	t.Helper()
	b, r := m.goPeer(t), m.rubyPeer(t)
	r.must("publish_many", trimmed, "ruby", 2)
	m.age(t)
	r.must("publish", trimmed, "young")
	fill(t, b, trimmed, 1, bus.MaxBacklogAge(time.Hour))
	wantData(t, "Ruby", r.must("backlog", trimmed, 0), "young", "go 1")
}

func rowsByRuby(t *testing.T, m meeting) {
	t.Helper()
	b, r := m.goPeer(t), m.rubyPeer(t)
	fill(t, b, trimmed, 2)
	m.age(t)
	made(b.Publish(t.Context(), trimmed, "young"))(t)
	r.mustWith("publish", map[string]any{"max_backlog_age": 3600}, trimmed, "ruby")
	wantData(t, "Go", goBacklog(t, b, trimmed), "young", "ruby")
}

// age makes every row on Postgres a day old.
func (m meeting) age(t *testing.T) {
	t.Helper()
	m.execute(t, "UPDATE message_bus SET added_at = added_at - interval '1 day'")
}

// A subscriber that lives through an expiry hears what comes afterwards.
func beginAgainByGo(t *testing.T, m meeting) {
	t.Helper()
	b, r := m.goPeer(t), m.rubyPeer(t)
	r.must("subscribe", "live", trimmed)
	fill(t, b, trimmed, 2, bus.MaxBacklogAge(time.Second))
	until(t, "the channel has expired", func() bool { return made(b.LastID(t.Context(), trimmed))(t) == 0 })
	fill(t, b, trimmed, 1)
	live := r.received("live", 3)
	wantData(t, "Ruby", live, "go 1", "go 2", "go 1")
	if id := live[2].(object)["message_id"]; id != number(1) {
		t.Errorf("the id is %v, want 1", id)
	}
}

func beginAgainByRuby(t *testing.T, m meeting) {
	t.Helper()
	b, r := m.goPeer(t), m.rubyPeer(t)
	sub := made(b.Subscribe(t.Context(), trimmed, bus.Latest()))(t)
	for n := range 2 {
		r.mustWith("publish", map[string]any{"max_backlog_age": 1}, trimmed, n+1)
	}
	until(t, "the channel has expired", func() bool { return integer(r.must("last_id", trimmed)) == 0 })
	r.must("publish", trimmed, 3)
	for n, id := range []int{1, 2, 1} {
		if got := next(t, sub); got["data"] != number(n+1) || got["message_id"] != number(id) {
			t.Errorf("Go hears %s, want %d with the id %d", show(got), n+1, id)
		}
	}
}
