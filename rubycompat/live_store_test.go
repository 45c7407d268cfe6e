package rubycompat_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/messagebus-go/messagebus/bus"
	"github.com/messagebus-go/messagebus/bus/pgbus"
	"github.com/messagebus-go/messagebus/rubycompat"
)

func TestLive_AMegabyteTravelsBothWaysOnRedis(t *testing.T) {
	t.Parallel()
	needGem(t)
	m := onRedis(t)
	b, r := m.goPeer(t), m.rubyPeer(t)
	r.must("subscribe", "live", "/large")
	sub, err := b.Subscribe(t.Context(), "/large", bus.Latest())
	if err != nil {
		t.Fatal(err)
	}
	large := strings.Repeat("é", 1<<19)
	if _, err := b.Publish(t.Context(), "/large", large); err != nil {
		t.Fatal(err)
	}
	r.must("publish", "/large", large)
	for _, m := range append(r.received("live", 2), next(t, sub), next(t, sub)) {
		if data := m.(object)["data"]; data != large {
			t.Errorf("%d bytes, want %d", len(text(data)), len(large))
		}
	}
}

// A message too large for a notice: Ruby peers see the row and hear nothing, whoever
// publishes it. Go peers hear of it, from Ruby once the next message shows the hole.
func TestLive_LargeMessagesOnPostgres(t *testing.T) {
	t.Parallel()
	needGem(t)
	m := onPostgres(t)
	b, r := m.goPeer(t), m.rubyPeer(t)
	r.must("subscribe", "live", "/a")
	sub, err := b.Subscribe(t.Context(), "/a", bus.Latest())
	if err != nil {
		t.Fatal(err)
	}
	large := strings.Repeat("x", 9000)
	if _, err := b.Publish(t.Context(), "/a", large); err != nil {
		t.Fatal(err)
	}
	if got := next(t, sub)["data"]; got != large {
		t.Errorf("Go hears %s of Go's large message", show(got))
	}
	if _, err := r.call("publish", nil, "/a", large); !isRubyError(err, "PG::InvalidParameterValue") {
		t.Errorf("Ruby's large publish: %v, want PG::InvalidParameterValue, as ever", err)
	}
	r.must("publish", "/a", "small")
	for i, want := range []any{large, "small"} {
		if got := next(t, sub); got["data"] != want || got["message_id"] != number(i+2) {
			t.Errorf("Go hears %s, want message %d", show(got), i+2)
		}
	}
	if live := r.received("live", 1); len(live) != 1 || live[0].(object)["data"] != "small" {
		t.Errorf("Ruby hears %s, want the small message alone", show(live))
	}
	if backlog := r.must("backlog", "/a", 0).([]any); len(backlog) != 3 || backlog[0].(object)["data"] != large {
		t.Errorf("Ruby's backlog is %s, want three messages", show(backlog))
	}
}

func isRubyError(err error, class string) bool {
	raised, ok := errors.AsType[*rubycompat.RubyError](err)
	return ok && raised.Class == class
}

func TestLive_EitherSideTrims(t *testing.T) {
	meet(t, func(t *testing.T, m meeting) {
		t.Helper()
		b, r := m.goPeer(t), m.rubyPeer(t)
		r.must("publish_many", "/a", "ruby", 5)
		if _, err := b.Publish(t.Context(), "/a", "go", bus.MaxBacklogSize(3)); err != nil {
			t.Fatal(err)
		}
		wantData(t, "Ruby after Go's trim", r.must("backlog", "/a", 0), "ruby 4", "ruby 5", "go")
		if _, err := r.call("publish", map[string]any{"max_backlog_size": 2}, "/a", "last"); err != nil {
			t.Fatal(err)
		}
		messages, err := b.Backlog(t.Context(), "/a", 0)
		if err != nil {
			t.Fatal(err)
		}
		wantData(t, "Go after Ruby's trim", openedMessages(messages, nil)["returns"], "go", "last")

		sub, err := b.Subscribe(t.Context(), "/a", bus.After(1))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := sub.Next(t.Context()); !isGap(err) {
			t.Errorf("Go, from before what Ruby trimmed: %v, want a gap", err)
		}
	})
}

func isGap(err error) bool {
	_, ok := errors.AsType[*bus.GapError](err)
	return ok
}

func wantData(t *testing.T, who string, messages any, want ...string) {
	t.Helper()
	var got []string
	for _, m := range messages.([]any) {
		got = append(got, text(m.(object)["data"]))
	}
	if !slices.Equal(got, want) {
		t.Errorf("%s: %q, want %q", who, got, want)
	}
}

func TestLive_ResetByRubyIsToldToGo(t *testing.T) {
	meet(t, func(t *testing.T, m meeting) {
		t.Helper()
		b, r := m.goPeer(t), m.rubyPeer(t)
		r.must("publish_many", "/a", "old", 3)
		sub, err := b.Subscribe(t.Context(), "/a", bus.Latest())
		if err != nil {
			t.Fatal(err)
		}
		resetByRuby(t, r)
		r.must("publish", "/a", "new")
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		_, err = sub.Next(ctx)
		if gap, ok := errors.AsType[*bus.GapError](err); !ok || gap.Reason != bus.GapReset {
			t.Errorf("%v, want a gap by a reset", err)
		}
		if got := next(t, sub); got["data"] != "new" {
			t.Errorf("%s, want the new message", show(got))
		}
	})
}

// resetByRuby resets the store. On Postgres the gem drops the table and creates it in
// two steps. It raises where somebody else, such as a Go process that reads, created
// the table in between: then the store is reset all the same, and the test says so.
func resetByRuby(t *testing.T, r rubyPeer) {
	t.Helper()
	_, err := r.call("reset", nil)
	switch {
	case err == nil:
	case isRubyError(err, "PG::DuplicateTable"), isRubyError(err, "PG::UniqueViolation"):
		t.Logf("known to happen: Go created the table in the middle of Ruby's reset!: %v", err)
	default:
		t.Fatal(err)
	}
}

// interleaved is how many messages each of four processes publishes.
const interleaved = 150

// publishTogether lets two Go and two Ruby processes publish on one channel at once,
// and returns what two Go subscribers and a Ruby one got, as ids.
func publishTogether(t *testing.T, m meeting) (byGo [2][]int64, byRuby []int64) {
	t.Helper()
	peers := [2]*bus.Bus{m.goPeer(t), m.goPeer(t)}
	rubies := [2]rubyPeer{m.rubyPeer(t), m.rubyPeer(t)}
	rubies[0].must("subscribe", "live", "/busy")
	var subs [2]*bus.Subscription
	for i, b := range peers {
		var err error
		if subs[i], err = b.Subscribe(t.Context(), "/busy", bus.Latest()); err != nil {
			t.Fatal(err)
		}
	}
	var publishers sync.WaitGroup
	for i := range 2 {
		publishers.Go(func() {
			for n := range interleaved {
				if _, err := peers[i].Publish(t.Context(), "/busy", fmt.Sprintf("go %d: %d", i, n)); err != nil {
					t.Error(err)
					return
				}
			}
		})
		publishers.Go(func() {
			if _, err := rubies[i].call("publish_many", nil, "/busy", fmt.Sprint("ruby ", i), interleaved); err != nil {
				t.Error(err)
			}
		})
	}
	for i, sub := range subs {
		for range 4 * interleaved {
			byGo[i] = append(byGo[i], int64(integer(next(t, sub)["message_id"])))
		}
	}
	publishers.Wait()
	for _, m := range rubies[0].received("live", 4*interleaved) {
		byRuby = append(byRuby, int64(integer(m.(object)["message_id"])))
	}
	return byGo, byRuby
}

// wantEachOnce wants every id from 1 on, each once, whatever the order.
func wantEachOnce(t *testing.T, who string, ids []int64) {
	t.Helper()
	sorted := slices.Sorted(slices.Values(ids))
	for i, id := range sorted {
		if id != int64(i+1) {
			t.Errorf("%s: %d ids; at %d comes %d", who, len(ids), i+1, id)
			return
		}
	}
}

func wantInOrder(t *testing.T, byGo [2][]int64) {
	t.Helper()
	for i, ids := range byGo {
		if !slices.IsSorted(ids) {
			t.Errorf("Go subscriber %d gets ids out of order", i)
		}
	}
}

func TestLive_FourPublishersInOrder(t *testing.T) {
	meet(t, func(t *testing.T, m meeting) {
		t.Helper()
		if m.postgres {
			orderRubyPublishers(t, m)
		}
		byGo, byRuby := publishTogether(t, m)
		wantEachOnce(t, "Go subscriber 0", byGo[0])
		wantEachOnce(t, "Go subscriber 1", byGo[1])
		wantEachOnce(t, "Ruby subscriber", byRuby)
		wantInOrder(t, byGo)
	})
}

// orderRubyPublishers installs the trigger by which publishers that take no lock
// commit in the order of ids as well.
func orderRubyPublishers(t *testing.T, m meeting) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), m.url)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background())
	for _, statements := range []string{pgbus.Schema(), pgbus.OrderingTrigger()} {
		if _, err := conn.PgConn().Exec(t.Context(), statements).ReadAll(); err != nil {
			t.Fatal(err)
		}
	}
}

// Without the trigger a Ruby process may commit an id after a higher one. That is the
// one exception of the promise: such a message may come late, but it comes, once.
func TestLive_FourPublishersWithoutTheTrigger(t *testing.T) {
	t.Parallel()
	needGem(t)
	m := onPostgres(t)
	m.rubyPeer(t).must("last_id", "/") // the first use creates the table
	byGo, byRuby := publishTogether(t, m)
	wantEachOnce(t, "Go subscriber 0", byGo[0])
	wantEachOnce(t, "Go subscriber 1", byGo[1])
	wantEachOnce(t, "Ruby subscriber", byRuby)
	for i, ids := range byGo {
		late := 0
		for j := 1; j < len(ids); j++ {
			if ids[j] < ids[j-1] {
				late++
			}
		}
		t.Logf("Go subscriber %d: %d of %d messages came late", i, late, len(ids))
	}
}
