package stores_test

import (
	"context"
	"fmt"
	"os"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/messagebus-go/messagebus/integration/stores"
)

func TestMain(m *testing.M) {
	code := m.Run()
	if err := stores.Close(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

func TestRedis_KeepsItsPortAndWithoutPersistenceNothingElse(t *testing.T) {
	t.Parallel()
	s := stores.Redis(t)
	s.Do(t, "set", "a", 1)
	addr := s.Addr()
	s.Stop()
	s.Start()
	if s.Addr() != addr {
		t.Errorf("the address was %s, is %s", addr, s.Addr())
	}
	if n := s.Do(t, "dbsize"); n != int64(0) {
		t.Errorf("%v keys after a restart without persistence", n)
	}
}

func TestRedis_PersistentSurvivesKill(t *testing.T) {
	t.Parallel()
	s := stores.RedisWith(t, stores.RedisOptions{Persistent: true})
	s.Do(t, "set", "a", 1)
	s.Kill()
	s.Start()
	if n := s.Do(t, "dbsize"); n != int64(1) {
		t.Errorf("%v keys after a crash with persistence, want 1", n)
	}
}

func TestRedisShared(t *testing.T) {
	t.Parallel()
	a, b := stores.RedisShared(t), stores.RedisShared(t)
	if err := a.Client(t).Set(t.Context(), "x", 1, 0).Err(); err != nil {
		t.Fatal(err)
	}
	if n := b.Client(t).DBSize(t.Context()).Val(); n != 0 {
		t.Error(n)
	}
	t.Log(a.URL())
}

func TestPostgres_RestartsWithItsData(t *testing.T) {
	t.Parallel()
	s := stores.Postgres(t)
	url := s.NewDatabase(t)
	exec(t, url, "create table t (n int)")
	s.Stop()
	s.Start()
	exec(t, url, "insert into t values (1)")
	s.Kill()
	s.Start()
	s.Pause()
	s.Continue()
	exec(t, url, "insert into t values (1)")
	exec(t, stores.PostgresShared(t), "select 1")
}

func exec(tb testing.TB, url, sql string) {
	tb.Helper()
	conn, err := pgx.Connect(context.Background(), url)
	if err != nil {
		tb.Fatal(err)
	}
	defer conn.Close(context.Background())
	if _, err := conn.Exec(context.Background(), sql); err != nil {
		tb.Fatal(err)
	}
}
