package integration_test

import (
	"context"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/messagebus-go/messagebus/bus/driver"
	"github.com/messagebus-go/messagebus/bus/drivertest"
	"github.com/messagebus-go/messagebus/bus/pgbus"
	"github.com/messagebus-go/messagebus/integration/stores"
)

func postgresHarness() drivertest.Harness {
	return drivertest.Harness{
		Open: func(tb testing.TB) drivertest.Store {
			url := stores.PostgresShared(tb)
			return drivertest.Store{
				Dial:      func(tb testing.TB) driver.Backend { return dialPostgres(tb, url, nil) },
				Interrupt: func(tb testing.TB) { cutPostgres(tb, url, "true") },
				Wipe:      func(tb testing.TB) { execPostgres(tb, url, "DROP TABLE message_bus") },
			}
		},
		Features: drivertest.Features{Text: true, InexactLoss: true},
	}
}

// dialPostgres returns a peer with a pool of its own, which ends with the test.
func dialPostgres(tb testing.TB, url string, opts *pgbus.Options) *pgbus.Backend {
	tb.Helper()
	pool, err := pgxpool.New(context.Background(), url)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(pool.Close)
	b, err := pgbus.New(pool, opts)
	if err != nil {
		tb.Fatal(err)
	}
	return b
}

// execPostgres runs SQL in a database, over a connection of its own.
func execPostgres(tb testing.TB, url, sql string, args ...any) {
	tb.Helper()
	conn, err := pgx.Connect(context.Background(), url)
	if err != nil {
		tb.Fatal(err)
	}
	defer conn.Close(context.Background())
	if _, err := conn.Exec(context.Background(), sql, args...); err != nil {
		tb.Fatalf("%s: %v", sql, err)
	}
}

// cutPostgres ends the sessions in a database that meet a condition on
// pg_stat_activity, but for its own, and returns when they are gone.
func cutPostgres(tb testing.TB, url, which string) {
	tb.Helper()
	// Since Postgres 14, pg_terminate_backend can wait itself.
	execPostgres(tb, url, strings.ReplaceAll(`DO $$
		DECLARE
			cut integer[] := ARRAY(SELECT pid FROM pg_stat_activity
				WHERE datname = current_database() AND pid <> pg_backend_pid() AND (:which));
		BEGIN
			PERFORM pg_terminate_backend(pid) FROM unnest(cut) AS pid;
			WHILE EXISTS (SELECT FROM pg_stat_activity WHERE pid = ANY (cut)) LOOP
				PERFORM pg_sleep(0.005), pg_stat_clear_snapshot();
			END LOOP;
		END $$`, ":which", which))
}

func TestConformance_Postgres(t *testing.T) { drivertest.Run(t, postgresHarness()) }

func BenchmarkPostgres(b *testing.B) { drivertest.Bench(b, postgresHarness()) }
