package main

import (
	"context"
	_ "embed" // for the flood
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/messagebus-go/messagebus/benchmarks/internal/measure"
	"github.com/messagebus-go/messagebus/bus/driver"
	"github.com/messagebus-go/messagebus/bus/pgbus"
	"github.com/messagebus-go/messagebus/integration/stores"
)

//go:embed flood.sql
var floodSQL string

const (
	noticesName = "_message_bus_0"

	cutSQL = "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = current_database() AND query LIKE 'LISTEN%'"
	// One flood is kept beside the next one, for those who cannot keep up with that.
	sweepSQL = "DELETE FROM message_bus WHERE channel LIKE '/flood/%' AND id <= (SELECT max(id) FROM message_bus) - $1::bigint"
)

type postgresStore struct {
	urls  [2]string // of the database of each place: announcements stay within one
	admin [2]*pgxpool.Pool
}

func newPostgres(tb testing.TB) store {
	tb.Helper()
	server := stores.Postgres(tb)
	s := &postgresStore{}
	for p := range s.urls {
		s.urls[p] = server.NewDatabase(tb)
		s.admin[p] = postgresPool(tb, s.urls[p], 1, nil)
		if _, err := s.admin[p].Exec(context.Background(), pgbus.Schema()); err != nil {
			tb.Fatal(err)
		}
	}
	return s
}

func (s *postgresStore) name() string { return "Postgres" }

func postgresPool(tb testing.TB, url string, connections int, adjust func(*pgxpool.Config)) *pgxpool.Pool {
	tb.Helper()
	config, err := pgxpool.ParseConfig(url)
	if err != nil {
		tb.Fatal(err)
	}
	config.MaxConns = int32(connections)
	if adjust != nil {
		adjust(config)
	}
	pool, err := pgxpool.NewWithConfig(context.Background(), config)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(pool.Close)
	return pool
}

func (s *postgresStore) open(tb testing.TB, in place, connections int, t *measure.Turns) driver.Backend {
	tb.Helper()
	return openPostgres(tb, postgresPool(tb, s.urls[in], connections, func(c *pgxpool.Config) {
		if t != nil {
			c.ConnConfig.DialFunc = t.Dial
		}
	}))
}

func openPostgres(tb testing.TB, pool *pgxpool.Pool) driver.Backend {
	tb.Helper()
	backend, err := pgbus.New(pool, nil)
	if err != nil {
		tb.Fatal(err)
	}
	return backend
}

// bare overhears one publish of a backend, so as to send the same.
func (s *postgresStore) bare(tb testing.TB, connections int) bare {
	tb.Helper()
	heard := &overheardBatch{}
	pool := postgresPool(tb, s.urls[second], 1, func(c *pgxpool.Config) { c.ConnConfig.Tracer = heard })
	if _, err := openPostgres(tb, pool).Publish(context.Background(), publishChannel, []byte(envelope(helloJSON)), usual); err != nil {
		tb.Fatal(err)
	}
	if len(heard.statements) != 2 || len(heard.statements[1].Arguments) != counted+len(found{})-1 {
		tb.Fatal("pgbus has not sent two statements, of which the second knows what the one before has found")
	}
	return &barePostgres{pool: postgresPool(tb, s.urls[second], connections, nil), insert: heard.statements[0], trim: heard.statements[1]}
}

// overheardBatch keeps the statements of the last batch.
type overheardBatch struct{ statements []*pgx.QueuedQuery }

func (o *overheardBatch) TraceBatchStart(ctx context.Context, _ *pgx.Conn, data pgx.TraceBatchStartData) context.Context {
	o.statements = data.Batch.QueuedQueries
	return ctx
}

func (o *overheardBatch) TraceBatchQuery(context.Context, *pgx.Conn, pgx.TraceBatchQueryData) {}
func (o *overheardBatch) TraceBatchEnd(context.Context, *pgx.Conn, pgx.TraceBatchEndData)     {}

func (o *overheardBatch) TraceQueryStart(ctx context.Context, _ *pgx.Conn, _ pgx.TraceQueryStartData) context.Context {
	return ctx
}
func (o *overheardBatch) TraceQueryEnd(context.Context, *pgx.Conn, pgx.TraceQueryEndData) {}

// The arguments of the second statement that differ from publish to publish: where the
// one before found the oldest message, and, from counted on, what else it found.
const (
	swept   = 6
	counted = 8
)

// found is what the second statement finds, in its order.
type found [6]int64

// barePostgres is pgx.
type barePostgres struct {
	pool         *pgxpool.Pool
	insert, trim *pgx.QueuedQuery
	last         atomic.Pointer[found]
}

func (b *barePostgres) publish(ctx context.Context, envelope string) error {
	insert, trim := slices.Clone(b.insert.Arguments), slices.Clone(b.trim.Arguments)
	insert[1] = envelope
	if last := b.last.Load(); last != nil {
		trim[swept] = last[0]
		for i, value := range last[1:] {
			trim[counted+i] = value
		}
	}
	batch := &pgx.Batch{}
	batch.Queue(b.insert.SQL, insert...)
	batch.Queue(b.trim.SQL, trim...)
	results := b.pool.SendBatch(ctx, batch)
	defer results.Close()
	if err := results.QueryRow().Scan(nil, nil); err != nil {
		return err
	}
	var f found
	err := results.QueryRow().Scan(&f[0], &f[1], &f[2], &f[3], &f[4], &f[5])
	b.last.Store(&f)
	return err
}

func (b *barePostgres) announce(ctx context.Context, encoded string) error {
	_, err := b.pool.Exec(ctx, "SELECT pg_notify($1, $2)", noticesName, encoded)
	return err
}

func (b *barePostgres) listen(ctx context.Context) (feed, error) { return listenPostgres(ctx, b.pool) }

func listenPostgres(ctx context.Context, pool *pgxpool.Pool) (feed, error) {
	pooled, err := pool.Acquire(ctx)
	if err != nil {
		return nil, err
	}
	f := &postgresFeed{conn: pooled.Hijack()}
	if _, err := f.conn.Exec(ctx, "LISTEN "+noticesName); err != nil {
		f.close()
		return nil, err
	}
	return f, nil
}

type postgresFeed struct {
	conn *pgx.Conn
	once sync.Once
}

func (f *postgresFeed) next(ctx context.Context) (string, error) {
	notice, err := f.conn.WaitForNotification(ctx)
	if err != nil {
		return "", err
	}
	return notice.Payload, nil
}

func (f *postgresFeed) close() {
	f.once.Do(func() { _ = f.conn.Close(context.Background()) }) // whatever it says, it is not used again
}

func (s *postgresStore) flood(ctx context.Context, in place, messages, channels int) error {
	batch := &pgx.Batch{}
	batch.Queue(sweepSQL, messages)
	batch.Queue(floodSQL, messages, channels, envelope(helloJSON), noticesName)
	return s.admin[in].SendBatch(ctx, batch).Close()
}

// cutFeeds may be overtaken by a feed, which then hears some of the messages.
func (s *postgresStore) cutFeeds(ctx context.Context, in place, channels int) error {
	if _, err := s.admin[in].Exec(ctx, cutSQL); err != nil {
		return fmt.Errorf("end the feeds: %w", err)
	}
	_, err := s.admin[in].Exec(ctx, floodSQL, channels, channels, envelope(helloJSON), noticesName)
	return err
}

// settle does what the server does by itself within minutes, and then plans anew.
func (s *postgresStore) settle(ctx context.Context) error {
	for _, pool := range s.admin {
		if _, err := pool.Exec(ctx, "VACUUM ANALYZE message_bus"); err != nil {
			return err
		}
	}
	return nil
}

func (s *postgresStore) where() address {
	return address{Store: s.name(), First: s.urls[first], Second: s.urls[second]}
}
