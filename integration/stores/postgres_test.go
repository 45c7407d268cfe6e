package stores_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/messagebus-go/messagebus/integration/stores"
)

func TestPostgres_KeepsItsDataOverStopAndCrash(t *testing.T) {
	t.Parallel()
	s := stores.Postgres(t)
	url := s.NewDatabase(t)
	conn := connect(t, url)
	if _, err := conn.Exec(t.Context(), "create table t as select 1 as n"); err != nil {
		t.Fatal(err)
	}
	s.Stop()
	s.Start()
	if _, err := connect(t, url).Exec(t.Context(), "insert into t values (2)"); err != nil {
		t.Fatal(err)
	}
	s.Kill()
	s.Start()
	var rows int
	if err := connect(t, url).QueryRow(t.Context(), "select count(*) from t").Scan(&rows); err != nil || rows != 2 {
		t.Errorf("%d rows, want 2: %v", rows, err)
	}
}

func TestPostgres_PausedAnswersNothingOnOpenConnectionsEither(t *testing.T) {
	t.Parallel()
	s := stores.Postgres(t)
	conn := connect(t, s.URL("postgres"))
	s.Pause()
	answer := make(chan error, 1)
	go func() { answer <- conn.Ping(context.Background()) }()
	select {
	case err := <-answer:
		t.Errorf("a paused server answered: %v", err)
	case <-time.After(300 * time.Millisecond):
		s.Continue()
		if err := <-answer; err != nil {
			t.Error(err)
		}
	}
}

func TestPostgres_TakesSettings(t *testing.T) {
	t.Parallel()
	s := stores.PostgresWith(t, stores.PostgresOptions{Config: []string{"max_connections=20", "application_name=it's me"}})
	if n := s.Exec(t, "postgres", "show max_connections"); n != "20" {
		t.Errorf("max_connections is %s", n)
	}
}

func TestPostgres_StandbyFollowsAndIsPromoted(t *testing.T) {
	t.Parallel()
	s := stores.Postgres(t)
	standby := s.Standby(t)
	s.Exec(t, "postgres", "create table t as select 1 as n")
	s.AwaitStandby(t, standby)
	if rows := standby.Exec(t, "postgres", "select count(*) from t"); rows != "1" {
		t.Errorf("the standby has %s rows", rows)
	}
	s.Kill()
	standby.Promote()
	standby.Exec(t, "postgres", "insert into t values (2)")
}

func TestPostgresShared_GivesEachTestADatabase(t *testing.T) {
	t.Parallel()
	a, b := stores.PostgresShared(t), stores.PostgresShared(t)
	if _, err := connect(t, a).Exec(t.Context(), "create table t (n int)"); err != nil {
		t.Fatal(err)
	}
	if _, err := connect(t, b).Exec(t.Context(), "create table t (n int)"); err != nil {
		t.Error(err)
	}
}

func TestPostgres_RunsEveryVersionThatIsHere(t *testing.T) {
	t.Parallel()
	versions := stores.PostgresVersions()
	if len(versions) == 0 {
		t.Error("no version of Postgres is here; scripts/setup.sh servers installs one")
	}
	for _, version := range versions {
		s := stores.PostgresWith(t, stores.PostgresOptions{Version: version})
		if is := s.Exec(t, "postgres", "show server_version"); !strings.HasPrefix(is, version) {
			t.Errorf("asked for version %s, got %s", version, is)
		}
		s.Stop()
	}
}

func TestPgBouncer_PoolsTransactions(t *testing.T) {
	t.Parallel()
	pool := stores.PgBouncer(t, stores.Postgres(t))
	conn := connect(t, pool.URL("postgres")+"&default_query_exec_mode=simple_protocol")
	if _, err := conn.Exec(t.Context(), "listen x"); err != nil {
		t.Error(err)
	}
	admin := connect(t, pool.URL("pgbouncer")+"&default_query_exec_mode=simple_protocol")
	if mode := settingOf(t, admin, "pool_mode"); mode != "transaction" {
		t.Errorf("the pool's mode is %s", mode)
	}
}

func settingOf(tb testing.TB, admin *pgx.Conn, name string) string {
	tb.Helper()
	results, err := admin.PgConn().Exec(context.Background(), "show config").ReadAll()
	if err != nil {
		tb.Fatal(err)
	}
	for _, row := range results[0].Rows {
		if string(row[0]) == name {
			return string(row[1])
		}
	}
	return ""
}

func connect(tb testing.TB, url string) *pgx.Conn {
	tb.Helper()
	conn, err := pgx.Connect(context.Background(), url)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { conn.Close(context.Background()) })
	return conn
}
