package rubycompat_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/messagebus-go/messagebus/bus"
	"github.com/messagebus-go/messagebus/integration/stores"
)

// differenceSubjects are the differences that are wanted, by the names of their rules:
// what the gem does, and what Go does, side by side.
func differenceSubjects() []subject {
	of := func(rule string, only store, test func(t *testing.T, m meeting)) subject {
		return subject{"differences", rule, only, []way{{sideBySide, met(test)}}}
	}
	return []subject{
		of("name-refused", "", nameRefused),
		of("undecodable-name-refused", "", emptyNameRefused),
		of("unreadable-refused", "", unreadableRefused),
		of("strict-json", "", strictJSON),
		of("both-limits-hold", "", bothLimitsHold),
		of("fraction-rounded-up", onRedis, fractionRoundedUp),
		of("global-backlog-outlives", onRedis, globalBacklogOutlives),
		of("age-of-own-channel", onPostgres, ageOfOwnChannel),
		of("ids-above-backlog", onRedis, idsAboveBacklog),
		of("large-messages-delivered", onPostgres, largeFromGo),
		of("refused-in-whole", onRedis, refusedInWhole),
		of("asked-twice-counts-once", onPostgres, askedTwice),
		of("no-end-marker", "", noEndMarker),
		of("root-hears-no-site", "", rootHearsNoSite),
		of("no-loss", onPostgres, noLoss),
		of("no-repeats", "", noRepeats),
		of("no-notice-without-ids", onPostgres, noNoticeWithoutIDs),
		{"differences", "queued-limits-kept", onRedis, []way{{sideBySide, queuedLimitsKept}}},
		{"differences", "queued-order-kept", onRedis, []way{{sideBySide, queuedOrderKept}}},
		{"differences", "no-probe-left", onRedis, []way{{sideBySide, noProbeLeft}}},
	}
}

const (
	sideBySide = "side by side"

	byRubyChannel = "/of ruby"
	byGoChannel   = "/of go"
)

// wantRefused wants an error of Go's, and that nothing was stored.
func wantRefused(t *testing.T, b *bus.Bus, channel string, data any, want error) {
	t.Helper()
	before := len(globalBacklog(t, b).([]any))
	if _, err := b.Publish(t.Context(), channel, data); !errors.Is(err, want) {
		t.Errorf("Go publishes on %q: %v, want %v", channel, err, want)
	}
	if after := len(made(b.GlobalBacklog(t.Context(), 0))(t)); after != before {
		t.Errorf("Go stored what it refused on %q", channel)
	}
}

func nameRefused(t *testing.T, m meeting) {
	t.Helper()
	b, r := m.goPeer(t), m.rubyPeer(t)
	for _, name := range []string{"/a$$123$$b", "/a$|$b"} {
		wantRefused(t, b, name, 1, bus.ErrInvalidChannel)
		r.must("publish", name, 1)
		// It comes back under another name, or as one of a site.
		if got := r.must("global_backlog", 0).([]any); got[len(got)-1].(object)["channel"] == name && !m.postgres {
			t.Errorf("Ruby reads %s as it was published", name)
		}
	}
}

func emptyNameRefused(t *testing.T, m meeting) {
	t.Helper()
	b, r := m.goPeer(t), m.rubyPeer(t)
	wantRefused(t, b, "", 1, bus.ErrInvalidChannel)
	r.must("publish", "", 1)
	if got := r.must("global_backlog", 0).([]any)[0].(object); got["channel"] != nil {
		t.Errorf("Ruby reads the empty name as %s", show(got["channel"]))
	}
}

func unreadableRefused(t *testing.T, m meeting) {
	t.Helper()
	b, r := m.goPeer(t), m.rubyPeer(t)
	wantRefused(t, b, byGoChannel, math.NaN(), bus.ErrInvalidData)
	r.must("publish_ruby", byRubyChannel, "Float::NAN")
	if _, err := r.call("backlog", nil, byRubyChannel, 0); !isRubyError(err, "JSON::ParserError") {
		t.Errorf("Ruby reads its own NaN: %v", err)
	}
}

func strictJSON(t *testing.T, m meeting) {
	t.Helper()
	b, r := m.goPeer(t), m.rubyPeer(t)
	r.must("publish_stored", byRubyChannel, `{"data":1/* one */,"user_ids":null,"group_ids":null,"client_ids":null}`)
	wantSame(t, "Ruby", number(1), r.must("backlog", byRubyChannel, 0).([]any)[0].(object)["data"])
	_, err := made(b.Subscribe(t.Context(), byRubyChannel, bus.After(0)))(t).Next(t.Context())
	if _, ok := errors.AsType[*bus.DecodeError](err); !ok {
		t.Errorf("Go: %v, want that it cannot be decoded", err)
	}
}

func bothLimitsHold(t *testing.T, m meeting) {
	t.Helper()
	b, r := m.goPeer(t), m.rubyPeer(t)
	r.must("publish_many", byRubyChannel, "ruby", 3)
	r.mustWith("publish", map[string]any{"max_backlog_size": 1, "max_backlog_age": 3600}, byRubyChannel, "last")
	wantData(t, "Ruby's", goBacklog(t, b, byRubyChannel), "ruby 1", "ruby 2", "ruby 3", "last")
	fill(t, b, byGoChannel, 3)
	made(b.Publish(t.Context(), byGoChannel, "last", bus.MaxBacklogSize(1), bus.MaxBacklogAge(time.Hour)))(t)
	wantData(t, "ours", r.must("backlog", byGoChannel, 0), "last")
}

func fractionRoundedUp(t *testing.T, m meeting) {
	t.Helper()
	b, r := m.goPeer(t), m.rubyPeer(t)
	if _, err := r.call("publish", map[string]any{"max_backlog_age": 59.5}, byRubyChannel, 1); !isRubyError(err, "Redis::CommandError") {
		t.Errorf("Ruby publishes with a fraction: %v", err)
	}
	wantSame(t, "Ruby has stored it", number(1), r.must("last_id", byRubyChannel))
	made(b.Publish(t.Context(), byGoChannel, 1, bus.MaxBacklogAge(59500*time.Millisecond)))(t)
	ttl := m.client(t).TTL(t.Context(), "__mb_backlog_n_"+byGoChannel).Val()
	if ttl != time.Minute && ttl != 59*time.Second { // a second may have begun
		t.Errorf("ours lives for %v", ttl)
	}
}

func globalBacklogOutlives(t *testing.T, m meeting) {
	t.Helper()
	b, r := m.goPeer(t), m.rubyPeer(t)
	client := m.client(t)
	ttl := func() time.Duration { return client.TTL(t.Context(), "__mb_global_backlog_n").Val() }
	made(b.Publish(t.Context(), byGoChannel, 1))(t)
	made(b.Publish(t.Context(), byGoChannel, 2, bus.MaxBacklogAge(time.Minute)))(t)
	if is := ttl(); is <= time.Minute {
		t.Errorf("after ours the global backlog lives for %v", is)
	}
	r.mustWith("publish", map[string]any{"max_backlog_age": 60}, byRubyChannel, 1)
	if is := ttl(); is > time.Minute {
		t.Errorf("after Ruby's the global backlog lives for %v", is)
	}
}

func ageOfOwnChannel(t *testing.T, m meeting) {
	t.Helper()
	b, r := m.goPeer(t), m.rubyPeer(t)
	fill(t, b, byGoChannel, 1)
	fill(t, b, "/other", 1)
	m.age(t)
	made(b.Publish(t.Context(), byGoChannel, "young", bus.MaxBacklogAge(time.Hour)))(t)
	wantData(t, "ours", r.must("backlog", byGoChannel, 0), "young")
	wantData(t, "another channel after ours", r.must("backlog", "/other", 0), "go 1")
	r.mustWith("publish", map[string]any{"max_backlog_age": 3600}, byRubyChannel, "young")
	wantData(t, "another channel after Ruby's", r.must("backlog", "/other", 0))
}

func idsAboveBacklog(t *testing.T, m meeting) {
	t.Helper()
	b, r := m.goPeer(t), m.rubyPeer(t)
	client := m.client(t)
	for _, channel := range []string{byGoChannel, byRubyChannel} {
		r.must("publish_many", channel, "ruby", 3)
		client.Del(t.Context(), "__mb_backlog_id_n_"+channel)
	}
	wantSame(t, "the id of Ruby's next", number(1), r.must("publish", byRubyChannel, "again"))
	wantSame(t, "the id of our next", number(4), number(made(b.Publish(t.Context(), byGoChannel, "next"))(t)))
}

func refusedInWhole(t *testing.T, m meeting) {
	t.Helper()
	b, r := m.goPeer(t), m.rubyPeer(t)
	client := m.client(t)
	client.Set(t.Context(), "__mb_backlog_n_"+byGoChannel, "no backlog", 0)
	client.Set(t.Context(), "__mb_backlog_n_"+byRubyChannel, "no backlog", 0)
	if _, err := b.Publish(t.Context(), byGoChannel, 1); err == nil {
		t.Error("Go publishes into what is no backlog")
	}
	if ids := client.Exists(t.Context(), "__mb_global_id_n", "__mb_backlog_id_n_"+byGoChannel).Val(); ids != 0 {
		t.Errorf("ours used up %d ids", ids)
	}
	if _, err := r.call("publish", nil, byRubyChannel, 1); !isRubyError(err, "Redis::CommandError") {
		t.Errorf("Ruby: %v", err)
	}
	if ids := client.Exists(t.Context(), "__mb_global_id_n", "__mb_backlog_id_n_"+byRubyChannel).Val(); ids != 2 {
		t.Errorf("Ruby's used up %d ids, want 2", ids)
	}
}

func askedTwice(t *testing.T, m meeting) {
	t.Helper()
	b, r := m.goPeer(t), m.rubyPeer(t)
	fill(t, b, byGoChannel, 2)
	wantSame(t, "Ruby", object{byGoChannel: number(0)}, r.must("last_ids", byGoChannel, byGoChannel))
	wantSame(t, "Go", number(2), number(made(b.LastIDs(t.Context(), byGoChannel, byGoChannel))(t)[byGoChannel]))
}

func noEndMarker(t *testing.T, m meeting) {
	t.Helper()
	leaving, staying, r := m.goPeer(t), m.goPeer(t), m.rubyPeer(t)
	sub := made(staying.Subscribe(t.Context(), byGoChannel, bus.Latest()))(t)
	made(leaving.Subscribe(t.Context(), byGoChannel, bus.Latest()))(t)
	r.must("subscribe", "live", byGoChannel)
	if err := leaving.Close(); err != nil {
		t.Error(err)
	}
	fill(t, staying, byGoChannel, 1)
	wantData(t, "Ruby, after Go has left", r.received("live", 1), "go 1")
	wantSame(t, "Go, after Go has left", "go 1", next(t, sub)["data"])

	m.rubyPeer(t).must("destroy")
	until(t, "Ruby has unsubscribed, since another Ruby process has left", func() bool { return r.must("subscribed") == false })
	fill(t, staying, byGoChannel, 1)
	wantSame(t, "Go, after Ruby has left", "go 1", next(t, sub)["data"])
}

func rootHearsNoSite(t *testing.T, m meeting) {
	t.Helper()
	b, r := m.goPeer(t), m.rubyPeer(t)
	sub := made(b.Subscribe(t.Context(), byGoChannel, bus.Latest()))(t)
	r.must("subscribe", "live", byGoChannel)
	made(b.Site("one").Publish(t.Context(), byGoChannel, "of a site"))(t)
	made(b.Publish(t.Context(), byGoChannel, "of none"))(t)
	wantData(t, "Ruby", r.received("live", 2), "of a site", "of none")
	wantSame(t, "Go", "of none", next(t, sub)["data"])
}

// cut ends the sessions of a database, but for that which does so.
func (m meeting) cut(t *testing.T, which string) {
	t.Helper()
	m.execute(t, "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid() AND "+which)
}

func noLoss(t *testing.T, m meeting) {
	t.Helper()
	b, r, reader := m.goPeer(t), m.rubyPeer(t), m.goPeer(t)
	sub := made(reader.Subscribe(t.Context(), faulty, bus.Latest()))(t)
	r.must("subscribe", "live", faulty)
	m.cut(t, "query LIKE 'LISTEN%'")
	made(b.Publish(t.Context(), faulty, "meanwhile"))(t)
	wantSame(t, "Go", "meanwhile", next(t, sub)["data"])
	untilHeard(t, b, r)
	for _, message := range r.received("live", 1) {
		if message.(object)["data"] == "meanwhile" {
			t.Error("Ruby has heard what was published while its connection was cut: the difference is gone")
		}
	}
}

func noRepeats(t *testing.T, m meeting) {
	t.Helper()
	b, r := m.goPeer(t), m.rubyPeer(t)
	fill(t, b, byGoChannel, 3)
	r.must("subscribe", "live", byGoChannel, 3)
	sub := made(b.Subscribe(t.Context(), byGoChannel, bus.After(3)))(t)
	made(b.Publish(t.Context(), byGoChannel, "new"))(t)
	wantData(t, "Ruby, which has seen three", r.received("live", 4), "go 1", "go 2", "go 3", "new")
	wantSame(t, "Go, which has seen three", "new", next(t, sub)["data"])
}

func noNoticeWithoutIDs(t *testing.T, m meeting) {
	t.Helper()
	b, r := m.goPeer(t), m.rubyPeer(t)
	conn := made(pgx.Connect(t.Context(), m.url))(t)
	defer conn.Close(context.Background())
	_, err := conn.Exec(t.Context(), "LISTEN _message_bus_0")
	if err != nil {
		t.Fatal(err)
	}
	notice := func() string { return made(conn.WaitForNotification(t.Context()))(t).Payload }
	r.must("publish", byRubyChannel, "first")
	notice()
	m.cut(t, "query NOT LIKE 'LISTEN%'")
	wantSame(t, "Ruby's publish over a connection that was cut", nil, r.must("publish", byRubyChannel, "second"))
	if got := notice(); !strings.HasPrefix(got, "||"+byRubyChannel) {
		t.Errorf("Ruby announces %q", got)
	}
	wantData(t, "Ruby's, stored", r.must("backlog", byRubyChannel, 0), "first")
	fill(t, b, byGoChannel, 1)
	notice()
	m.cut(t, "query NOT LIKE 'LISTEN%'")
	if id, err := b.Publish(t.Context(), byGoChannel, "second"); (err == nil) != (id > 0) {
		t.Errorf("byGoChannel: %d, %v", id, err)
	}
	made(b.Publish(t.Context(), byGoChannel, "third"))(t)
	for got := ""; !strings.Contains(got, "third"); {
		if got = notice(); !strings.Contains(got, "|"+byGoChannel+"|") || strings.HasPrefix(got, "|") {
			t.Errorf("Go announces %q", got)
		}
	}
}

// A readOnlySpell is a Redis of its own that refuses writes until over is called.
func readOnlySpell(t *testing.T) (m meeting, begin, over func()) {
	t.Helper()
	server := stores.Redis(t)
	return redisMeeting(server.Options()),
		func() { server.Do(t, "replicaof", "127.0.0.1", "1") },
		func() { server.Do(t, "replicaof", "no", "one") }
}

func wantQueued(t *testing.T, b *bus.Bus, data any, options ...bus.PublishOption) {
	t.Helper()
	if _, err := b.Publish(t.Context(), byGoChannel, data, options...); !errors.Is(err, bus.ErrQueued) {
		t.Errorf("Go publishes to a read-only server: %v, want ErrQueued", err)
	}
}

// goLastID is read by Go: the gem's thread that waits for the server closes the connection
// by which Ruby reads.
func goLastID(t *testing.T, b *bus.Bus, channel string) int64 {
	t.Helper()
	return made(b.LastID(t.Context(), channel))(t)
}

func queuedLimitsKept(t *testing.T, _ store) {
	t.Helper()
	m, begin, over := readOnlySpell(t)
	b, r := m.goPeer(t), m.rubyPeer(t)
	begin()
	for n := range 3 {
		wantQueued(t, b, fmt.Sprint("go ", n+1), bus.MaxBacklogSize(1))
	}
	r.mustWith("publish_queued", map[string]any{"max_backlog_size": 1}, byRubyChannel, "ruby", 3)
	over()
	until(t, "all is flushed", func() bool {
		return goLastID(t, b, byGoChannel) == 3 && goLastID(t, b, byRubyChannel) == 3
	})
	wantData(t, "ours", goBacklog(t, b, byGoChannel), "go 3")
	wantData(t, "Ruby's", goBacklog(t, b, byRubyChannel), "ruby 1", "ruby 2", "ruby 3")
}

func queuedOrderKept(t *testing.T, _ store) {
	t.Helper()
	m, begin, over := readOnlySpell(t)
	b, r := m.goPeer(t), m.rubyPeer(t)
	const queued = 300
	begin()
	for n := range queued {
		wantQueued(t, b, n)
	}
	r.must("publish_queued", byRubyChannel, "queued", queued)
	over()
	if _, err := b.Publish(t.Context(), byGoChannel, "last"); err != nil && !errors.Is(err, bus.ErrQueued) {
		t.Error(err)
	}
	r.must("publish_queued", byRubyChannel, "last", 1)
	until(t, "Ruby's last has been overtaken", func() bool {
		found := goBacklog(t, b, byRubyChannel).([]any)
		at := slices.IndexFunc(found, func(m any) bool { return m.(object)["data"] == "last 1" })
		return at >= 0 && at < len(found)-1
	})
	until(t, "ours are flushed", func() bool { return goLastID(t, b, byGoChannel) == queued+1 })
	found := goBacklog(t, b, byGoChannel).([]any)
	wantSame(t, "the last of ours", "last", found[len(found)-1].(object)["data"])
}

func noProbeLeft(t *testing.T, _ store) {
	t.Helper()
	m, begin, over := readOnlySpell(t)
	b, r := m.goPeer(t), m.rubyPeer(t)
	client := m.client(t)
	probe := func() bool { return client.Exists(t.Context(), "__mb_is_readonly").Val() > 0 }
	begin()
	wantQueued(t, b, 1)
	over()
	until(t, "ours is flushed", func() bool { return goLastID(t, b, byGoChannel) == 1 })
	if probe() {
		t.Error("Go has left a probe")
	}
	begin()
	r.must("publish_queued", byRubyChannel, "ruby", 1)
	over()
	until(t, "Ruby's is flushed", func() bool { return goLastID(t, b, byRubyChannel) == 1 })
	if !probe() {
		t.Error("Ruby has left no probe: the difference is gone")
	}
}
