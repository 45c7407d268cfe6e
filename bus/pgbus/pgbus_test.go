package pgbus

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
)

func newPool(tb testing.TB) *pgxpool.Pool {
	tb.Helper()
	pool, err := pgxpool.New(context.Background(), "postgres://127.0.0.1/db") // does not connect
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(pool.Close)
	return pool
}

func TestNew_RefusesWhatCannotWork(t *testing.T) {
	t.Parallel()
	if _, err := New(nil, nil); err == nil {
		t.Error("without a pool: no error")
	}
	pool := newPool(t)
	for _, db := range []string{strings.Repeat("x", 48), "a_id", "a\x00"} {
		if _, err := New(pool, &Options{DB: db}); err == nil {
			t.Errorf("DB %q: no error", db)
		}
	}
	if _, err := New(pool, &Options{DB: strings.Repeat("x", 47)}); err != nil {
		t.Error(err)
	}
}

func TestNew_FillsInDefaults(t *testing.T) {
	t.Parallel()
	pool := newPool(t)
	for _, test := range []struct {
		options *Options
		notices string
		settle  time.Duration
	}{
		{nil, "_message_bus_0", 250 * time.Millisecond},
		{&Options{DB: "Chat"}, "_message_bus_Chat", 250 * time.Millisecond},
		{&Options{SettleHole: time.Second}, "_message_bus_0", time.Second},
		{&Options{SettleHole: -1}, "_message_bus_0", 0},
	} {
		b, err := New(pool, test.options)
		if err != nil {
			t.Fatal(err)
		}
		if b.notices != test.notices || b.Traits().SettleHole != test.settle {
			t.Errorf("%+v: notices %s, settle %v", test.options, b.notices, b.Traits().SettleHole)
		}
	}
}

func TestStatement_LeavesCommentsHere(t *testing.T) {
	t.Parallel()
	for _, sql := range []string{insertSQL, trimSQL, pagesSQL, globalSQL, stateSQL} {
		if strings.Contains(sql, "--") || strings.Contains(sql, "/*") || !strings.Contains(sql, "message_bus") {
			t.Errorf("a statement as it is sent:\n%s", sql)
		}
	}
}

func TestLock_IsTheSameEverywhere(t *testing.T) {
	t.Parallel()
	const lock = "pg_advisory_xact_lock(7882833662140642675)"
	for _, sql := range []string{insertSQL, lockSQL, OrderingTrigger()} {
		if !strings.Contains(sql, lock) {
			t.Errorf("no %s in\n%s", lock, sql)
		}
	}
}
