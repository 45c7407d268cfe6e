package rubycompat_test

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"testing"
	"time"

	"github.com/messagebus-go/messagebus/bus"
	"github.com/messagebus-go/messagebus/bus/driver"
)

// readingSubjects are the ways in which one side can read what the other publishes.
func readingSubjects() []subject {
	of := func(name string, ways ...way) subject { return subject{group: "reading", name: name, ways: ways} }
	return []subject{
		of("from a position, and on", fromGo(positionInRuby), fromRuby(positionInGo)),
		of("one channel of many", fromGo(oneChannelInRuby), fromRuby(oneChannelInGo)),
		of("the bus of a site", fromGo(siteInRuby), fromRuby(siteInGo)),
		of("an envelope that cannot be read", fromGo(brokenInRuby), fromRuby(brokenInGo)),
		of("a store that the other side resets", fromGo(resetByGo), fromRuby(resetHeardByGo)),
		of("keepalives", fromGo(keepaliveByGo), fromRuby(keepaliveByRuby)),
	}
}

const read = "/read"

func positionInRuby(t *testing.T, m meeting) {
	t.Helper()
	b, r := m.goPeer(t), m.rubyPeer(t)
	fill(t, b, read, 4)
	r.must("subscribe", "third", read, 2)
	r.must("subscribe", "new", read, -1)
	made(b.Publish(t.Context(), read, "live"))(t)
	wantData(t, "Ruby, from the third", r.received("third", 3), "go 3", "go 4", "live")
	wantData(t, "Ruby, from now", r.received("new", 1), "live")
}

func positionInGo(t *testing.T, m meeting) {
	t.Helper()
	b, r := m.goPeer(t), m.rubyPeer(t)
	r.must("publish_many", read, "ruby", 4)
	for name, p := range map[string]struct {
		from bus.Position
		want []string
	}{
		"after the second": {bus.After(2), []string{"ruby 3", "ruby 4", "live"}},
		"the last":         {bus.Last(1), []string{"ruby 4", "live"}},
		"from now":         {bus.Latest(), []string{"live"}},
	} {
		sub := made(b.Subscribe(t.Context(), read, p.from))(t)
		defer func() {
			for _, want := range p.want {
				if got := next(t, sub); got["data"] != want {
					t.Errorf("%s: %s, want %s", name, show(got), want)
				}
			}
		}()
	}
	r.must("publish", read, "live")
}

func oneChannelInRuby(t *testing.T, m meeting) {
	t.Helper()
	b, r := m.goPeer(t), m.rubyPeer(t)
	r.must("subscribe", "one", read)
	for n := range 30 {
		made(b.Publish(t.Context(), fmt.Sprint(read, n%3), n))(t)
		made(b.Publish(t.Context(), read, n))(t)
	}
	for n, message := range r.received("one", 30) {
		if got := message.(object); got["data"] != number(n) || got["channel"] != read {
			t.Errorf("Ruby hears %s, want %d", show(got), n)
		}
	}
}

func oneChannelInGo(t *testing.T, m meeting) {
	t.Helper()
	b, r := m.goPeer(t), m.rubyPeer(t)
	sub := made(b.Subscribe(t.Context(), read, bus.Latest()))(t)
	for n := range 30 {
		r.must("publish", fmt.Sprint(read, n%3), n)
		r.must("publish", read, n)
	}
	for n := range 30 {
		if got := next(t, sub); got["data"] != number(n) || got["channel"] != read {
			t.Errorf("Go hears %s, want %d", show(got), n)
		}
	}
}

// siteRuby is a Ruby process whose bus looks its site up.
func (m meeting) siteRuby(t *testing.T, site string) rubyPeer {
	t.Helper()
	settings := maps.Clone(m.ruby)
	settings["site"] = site
	return startRuby(t, "store.rb", settings)
}

func siteInRuby(t *testing.T, m meeting) {
	t.Helper()
	b, r := m.goPeer(t), m.siteRuby(t, "one")
	r.must("subscribe_site", "live", read)
	fill(t, b.Site("two"), read, 1)
	fill(t, b, read, 1)
	made(b.Site("one").Publish(t.Context(), read, "mine"))(t)
	wantData(t, "Ruby, live", r.received("live", 1), "mine")
	wantData(t, "Ruby", r.must("backlog", read, 0), "mine")
}

func siteInGo(t *testing.T, m meeting) {
	t.Helper()
	b, one, two := m.goPeer(t), m.siteRuby(t, "one"), m.siteRuby(t, "two")
	one.must("last_id", read)
	sub := made(b.Site("one").Subscribe(t.Context(), read, bus.Latest()))(t)
	two.must("publish", read, "of two")
	one.must("publish", read, "of one")
	if got := next(t, sub); got["data"] != "of one" || got["site_id"] != "one" {
		t.Errorf("Go hears %s", show(got))
	}
	wantData(t, "Go, the other site", goBacklog(t, b.Site("two"), read), "of two")
	wantData(t, "Go, no site", goBacklog(t, b, read))
}

// Ruby cannot read such a message in a backlog, whoever publishes it; live it goes on.
func brokenInRuby(t *testing.T, m meeting) {
	t.Helper()
	b, r := m.goPeer(t), m.rubyPeer(t)
	r.must("subscribe", "live", read)
	limits := driver.Limits{MaxSize: 100, MaxGlobalSize: 100, MaxAge: time.Hour, ClearEvery: 1}
	made(m.backend(t).Publish(t.Context(), read, []byte(`{"data":`), limits))(t)
	fill(t, b, read, 1)
	wantData(t, "Ruby, live", r.received("live", 1), "go 1")
	if _, err := r.call("backlog", nil, read, 0); !isRubyError(err, "JSON::ParserError") {
		t.Errorf("Ruby's backlog: %v, want JSON::ParserError", err)
	}
	wantData(t, "Ruby, behind it", r.must("backlog", read, 1), "go 1")
}

func brokenInGo(t *testing.T, m meeting) {
	t.Helper()
	b, r := m.goPeer(t), m.rubyPeer(t)
	live := made(b.Subscribe(t.Context(), read, bus.Latest()))(t)
	r.must("publish", read, "before")
	r.must("publish_stored", read, `{"data":`)
	r.must("publish", read, "after")
	stored := made(b.Subscribe(t.Context(), read, bus.After(0)))(t)
	for name, sub := range map[string]*bus.Subscription{"live": live, "stored": stored} {
		if got := next(t, sub); got["data"] != "before" {
			t.Errorf("%s: %s", name, show(got))
		}
		_, err := sub.Next(t.Context())
		if broken, ok := errors.AsType[*bus.DecodeError](err); !ok {
			t.Errorf("%s: %v (%v), want that it cannot be decoded", name, err, broken)
		}
		if got := next(t, sub); got["data"] != "after" {
			t.Errorf("%s: %s", name, show(got))
		}
	}
}

func resetByGo(t *testing.T, m meeting) {
	t.Helper()
	b, r := m.goPeer(t), m.rubyPeer(t)
	r.must("subscribe", "live", read)
	r.must("publish_many", read, "ruby", 3)
	r.received("live", 3)
	if err := m.backend(t).(driver.Resetter).Reset(t.Context()); err != nil {
		t.Fatal(err)
	}
	wantData(t, "Ruby", r.must("backlog", read, 0))
	fill(t, b, read, 1)
	wantData(t, "Ruby, live", r.received("live", 1), "go 1")
	if id := integer(r.must("publish", read, "ruby")); id != 2 {
		t.Errorf("Ruby publishes %d, want 2", id)
	}
	wantData(t, "Ruby", r.must("backlog", read, 0), "go 1", "ruby")
}

func resetHeardByGo(t *testing.T, m meeting) {
	t.Helper()
	b, r := m.goPeer(t), m.rubyPeer(t)
	r.must("publish_many", read, "old", 3)
	sub := made(b.Subscribe(t.Context(), read, bus.Latest()))(t)
	resetByRuby(t, r)
	r.must("publish", read, "new")
	if reason := nextGap(t, sub); reason != bus.GapReset {
		t.Errorf("a gap by %s, want by a reset", reason)
	}
	if got := next(t, sub); got["data"] != "new" {
		t.Errorf("%s, want the new message", show(got))
	}
}

// resetByRuby resets the store. On Postgres the gem drops the table and creates it in
// two steps. It raises where somebody else, such as a Go process that reads, created
// the table in between: then the store is reset all the same, and the matrix says so.
func resetByRuby(t *testing.T, r rubyPeer) {
	t.Helper()
	_, err := r.call("reset", nil)
	switch {
	case err == nil:
	case isRubyError(err, "PG::DuplicateTable"), isRubyError(err, "PG::UniqueViolation"):
		notef(t, "Go created the table in the middle of Ruby's reset!, which raised: %v", err)
	default:
		t.Fatal(err)
	}
}

const keepaliveChannel = "/__mb_keepalive__/"

func keepaliveByGo(t *testing.T, m meeting) {
	t.Helper()
	r := m.rubyPeer(t)
	r.must("subscribe", "live", keepaliveChannel)
	b := m.goPeer(t, func(o *bus.Options) { o.Keepalive = 100 * time.Millisecond })
	made(b.Subscribe(t.Context(), read, bus.Latest()))(t)
	got := r.received("live", 1)[0].(object)
	wantSame(t, "Ruby hears", object{"data": number(os.Getpid()), "user_ids": []any{number(-1)}, "site_id": nil},
		object{"data": got["data"], "user_ids": got["user_ids"], "site_id": got["site_id"]})
}

func keepaliveByRuby(t *testing.T, m meeting) {
	t.Helper()
	settings := maps.Clone(m.ruby)
	settings["keepalive_interval"] = 21 // the gem sends none with 20 and less
	r, b := startRuby(t, "store.rb", settings), m.goPeer(t)
	sub := made(b.Subscribe(t.Context(), keepaliveChannel, bus.Latest()))(t)
	r.must("subscribe", "live", read)
	wantSame(t, "Go hears", object{"data": r.must("pid"), "user_ids": []any{number(-1)}}, func() object {
		got := next(t, sub)
		return object{"data": got["data"], "user_ids": got["user_ids"]}
	}())
}
