package integration_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"regexp"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/messagebus-go/messagebus/bus/driver"
	"github.com/messagebus-go/messagebus/bus/pgbus"
	"github.com/messagebus-go/messagebus/integration/stores"
)

// Postgres itself is most of the time that a publish or a message takes. These
// benchmarks have the same work done by pgx without anything around it, so that
// the two can be compared: publishing should reach 0.9 of it, receiving 0.8.

const postgresData = `{"data":{"text":"a message of an ordinary size, for a chat"},"user_ids":null,"group_ids":null,"client_ids":null}`

var usualLimits = driver.Limits{MaxSize: 1000, MaxGlobalSize: 2000, MaxAge: 168 * time.Hour, MaxGlobalAge: 168 * time.Hour, ClearEvery: 1}

// Each has a database of its own, as a table that was trimmed for long is slower.
func BenchmarkPostgres_PublishBesideBare(b *testing.B) {
	for _, goroutines := range []int{1, 16, 128} {
		for _, name := range []string{"bare", "pgbus"} {
			b.Run(fmt.Sprintf("%s/%d", name, goroutines), func(b *testing.B) {
				url := stores.PostgresShared(b)
				execPostgres(b, url, pgbus.Schema())
				pool := postgresPool(b, url, func(c *pgxpool.Config) { c.MaxConns = 32 })
				peer, err := pgbus.New(pool, nil)
				if err != nil {
					b.Fatal(err)
				}
				publish := func(ctx context.Context) error {
					_, err := peer.Publish(ctx, "/a", []byte(postgresData), usualLimits)
					return err
				}
				if name == "bare" {
					publish = barePublish(b, pool)
				}
				b.ReportAllocs()
				b.ResetTimer()
				runIn(b, goroutines, publish)
			})
		}
	}
}

// barePublish executes the statements of a publish, from where the last trim ended.
func barePublish(b *testing.B, pool *pgxpool.Pool) func(context.Context) error {
	b.Helper()
	insert, trim := publishSQL(b, "insert"), publishSQL(b, "trim")
	var last atomic.Pointer[[6]int64]
	last.Store(new([6]int64))
	return func(ctx context.Context) error {
		l := last.Load()
		batch := &pgx.Batch{}
		batch.Queue(insert, "/a", postgresData, "_message_bus_0")
		batch.Queue(trim, "/a", int64(1), int64(1000), int64(2000), 604800.0, int64(0), l[0], 604800.0, l[1], l[2], l[3], l[4], l[5])
		results := pool.SendBatch(ctx, batch)
		inserted := results.QueryRow().Scan(nil, nil)
		var f [6]int64
		trimmed := results.QueryRow().Scan(&f[0], &f[1], &f[2], &f[3], &f[4], &f[5])
		last.Store(&f)
		return errors.Join(inserted, trimmed, results.Close())
	}
}

func publishSQL(b *testing.B, name string) string {
	b.Helper()
	text, err := os.ReadFile("../bus/pgbus/" + name + ".sql")
	if err != nil {
		b.Fatal(err)
	}
	return regexp.MustCompile(`\s*--.*`).ReplaceAllString(string(text), "")
}

func BenchmarkPostgres_ReceiveBesideBare(b *testing.B) {
	url := stores.PostgresShared(b)
	publisher := postgresConn(b, url)
	b.Run("bare", func(b *testing.B) {
		b.ReportAllocs()
		feed := postgresConn(b, url)
		if _, err := feed.Exec(context.Background(), "LISTEN _message_bus_0"); err != nil {
			b.Fatal(err)
		}
		notifyMany(b, publisher, func() error { _, err := feed.WaitForNotification(b.Context()); return err })
	})
	b.Run("pgbus", func(b *testing.B) {
		b.ReportAllocs()
		feed, err := postgresPeer(b, url, nil).Listen(context.Background())
		if err != nil {
			b.Fatal(err)
		}
		defer feed.Close()
		notifyMany(b, publisher, func() error { _, err := feed.Next(b.Context()); return err })
	})
}

// notifyMany has b.N messages received that the server has ready.
func notifyMany(b *testing.B, publisher *pgx.Conn, receive func() error) {
	b.Helper()
	const each = `SELECT count(pg_notify('_message_bus_0', n || '|' || n || '|/flood|' || $2::text)) FROM generate_series(1, $1::int) AS n`
	for done := 0; done < b.N; {
		n := min(b.N-done, 10_000)
		b.StopTimer()
		if _, err := publisher.Exec(context.Background(), each, n, postgresData); err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
		for range n {
			if err := receive(); err != nil {
				b.Fatal(err)
			}
		}
		done += n
	}
}

// runIn runs f b.N times in so many goroutines.
func runIn(b *testing.B, goroutines int, f func(context.Context) error) {
	b.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	var left atomic.Int64
	left.Store(int64(b.N))
	var all sync.WaitGroup
	for range goroutines {
		all.Go(func() {
			for left.Add(-1) >= 0 {
				if err := f(ctx); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	all.Wait()
}
