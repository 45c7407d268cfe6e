package integration_test

import (
	"context"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/messagebus-go/messagebus/bus/driver"
	"github.com/messagebus-go/messagebus/bus/drivertest"
	"github.com/messagebus-go/messagebus/bus/pgbus"
	"github.com/messagebus-go/messagebus/integration/stores"
)

// postgresHarness gives each claim a database of its own on one server.
func postgresHarness() drivertest.Harness {
	return drivertest.Harness{
		Open: func(tb testing.TB) drivertest.Store {
			tb.Helper()
			url := stores.PostgresShared(tb)
			return postgresStore(url, func(tb testing.TB) driver.Backend { return postgresPeer(tb, url, nil) })
		},
		Features: postgresFeatures,
	}
}

var postgresFeatures = drivertest.Features{Text: true, InexactLoss: true}

func postgresStore(url string, dial func(testing.TB) driver.Backend) drivertest.Store {
	return drivertest.Store{
		Dial:      dial,
		Interrupt: func(tb testing.TB) { cutPostgres(tb, url, "true") },
		Wipe:      func(tb testing.TB) { execPostgres(tb, url, "DROP TABLE IF EXISTS message_bus") }, // the gem's reset!
	}
}

// postgresPeer returns a peer with a pool of its own.
func postgresPeer(tb testing.TB, url string, options *pgbus.Options) *pgbus.Backend {
	tb.Helper()
	b, err := pgbus.New(postgresPool(tb, url), options)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = b.Close() }) // which may have happened
	return b
}

func postgresPool(tb testing.TB, url string, change ...func(*pgxpool.Config)) *pgxpool.Pool {
	tb.Helper()
	config, err := pgxpool.ParseConfig(url)
	if err != nil {
		tb.Fatal(err)
	}
	for _, f := range change {
		f(config)
	}
	pool, err := pgxpool.NewWithConfig(context.Background(), config)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(pool.Close)
	return pool
}

// execPostgres runs SQL in a database, over a connection of its own.
func execPostgres(tb testing.TB, url, sql string) {
	tb.Helper()
	conn := postgresConn(tb, url)
	defer conn.Close(context.Background())
	if _, err := conn.Exec(context.Background(), sql); err != nil {
		tb.Fatalf("%s: %v", sql, err)
	}
}

func postgresConn(tb testing.TB, url string) *pgx.Conn {
	tb.Helper()
	conn, err := pgx.Connect(context.Background(), url)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { conn.Close(context.Background()) })
	return conn
}

// cutPostgres ends the sessions in a database that meet a condition on
// pg_stat_activity, but for its own.
func cutPostgres(tb testing.TB, url, which string) {
	tb.Helper()
	execPostgres(tb, url, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "+
		"WHERE datname = current_database() AND pid <> pg_backend_pid() AND ("+which+")")
}

func TestPostgres_Conforms(t *testing.T) { drivertest.Run(t, postgresHarness()) }

func BenchmarkPostgres(b *testing.B) { drivertest.Bench(b, postgresHarness()) }
