package integration_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/messagebus-go/messagebus/bus/driver"
	"github.com/messagebus-go/messagebus/bus/drivertest"
	"github.com/messagebus-go/messagebus/bus/pgbus"
	"github.com/messagebus-go/messagebus/integration/stores"
)

// What is special about Postgres, and no claim of the suite for all stores.

// A pool in transaction mode gives each transaction another session; the feed
// has a connection that goes around it.
func TestPostgres_ConformsBehindPgBouncer(t *testing.T) {
	t.Parallel()
	server := stores.Postgres(t)
	pooler := stores.PgBouncer(t, server)
	for name, mode := range map[string]pgx.QueryExecMode{
		"exec":           pgx.QueryExecModeExec,
		"simpleProtocol": pgx.QueryExecModeSimpleProtocol,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			drivertest.Run(t, drivertest.Harness{
				Features: postgresFeatures,
				Patience: time.Minute,
				Open: func(tb testing.TB) drivertest.Store {
					tb.Helper()
					direct := server.NewDatabase(tb)
					pooled := strings.Replace(direct, server.Addr(), pooler.Addr(), 1)
					return postgresStore(direct, func(tb testing.TB) driver.Backend {
						return pooledPeer(tb, pooled, direct, mode)
					})
				},
			})
		})
	}
}

func pooledPeer(tb testing.TB, pooled, direct string, mode pgx.QueryExecMode) driver.Backend {
	tb.Helper()
	listen, err := pgx.ParseConfig(direct)
	if err != nil {
		tb.Fatal(err)
	}
	pool := postgresPool(tb, pooled, func(c *pgxpool.Config) { c.ConnConfig.DefaultQueryExecMode = mode })
	b, err := pgbus.New(pool, &pgbus.Options{ListenConfig: listen})
	if err != nil {
		tb.Fatal(err)
	}
	return b
}

// A postgresBundle is an empty database and a peer on it.
type postgresBundle struct {
	*testing.T

	url  string
	peer *pgbus.Backend
}

func setupPostgres(t *testing.T) postgresBundle {
	t.Helper()
	url := stores.PostgresShared(t)
	return postgresBundle{t, url, postgresPeer(t, url, nil)}
}

func (b postgresBundle) publish(channel, data string, l driver.Limits) driver.Message {
	b.Helper()
	p, err := b.peer.Publish(context.Background(), channel, []byte(data), l)
	if err != nil {
		b.Fatal(err)
	}
	return driver.Message{GlobalID: p.GlobalID, ID: p.ID, Channel: channel, Data: []byte(data)}
}

func (b postgresBundle) state() driver.State {
	b.Helper()
	s, err := b.peer.State(context.Background())
	if err != nil {
		b.Fatal(err)
	}
	return s
}

func (b postgresBundle) page(r driver.Range) driver.Page {
	b.Helper()
	s, err := b.peer.Read(context.Background(), []driver.Range{r})
	if err != nil {
		b.Fatal(err)
	}
	return s.Pages[0]
}

func (b postgresBundle) listen() driver.Stream {
	b.Helper()
	s, err := b.peer.Listen(context.Background())
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = s.Close() })
	return s
}

// next returns the next message of a stream, for which it has some seconds.
func (b postgresBundle) next(s driver.Stream) driver.Message {
	b.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	m, err := s.Next(ctx)
	if err != nil {
		b.Fatalf("Next: %v", err)
	}
	return m
}

var postgresLimits = driver.Limits{MaxSize: 1000, MaxGlobalSize: 100_000, MaxAge: 168 * time.Hour, ClearEvery: 1}

func TestPostgres_FiftyFirstPublishesCreateOneTable(t *testing.T) {
	t.Parallel()
	const peers = 50
	b := setupPostgres(t)
	var all sync.WaitGroup
	for i := range peers {
		peer := postgresPeer(t, b.url, nil)
		all.Go(func() {
			if _, err := peer.Publish(context.Background(), "/a", []byte(fmt.Sprintf(`"%d"`, i)), postgresLimits); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if n := len(b.page(driver.Range{Channel: "/a"}).Messages); n != peers {
		t.Errorf("%d messages are stored, want %d", n, peers)
	}
}

func TestPostgres_ARoleNeedsNoMoreRightsThanDocumented(t *testing.T) {
	t.Parallel()
	s := stores.Postgres(t)
	url := s.NewDatabase(t)
	execPostgres(t, url, `CREATE ROLE writer LOGIN; CREATE ROLE reader LOGIN; REVOKE CREATE ON SCHEMA public FROM PUBLIC`)
	as := func(role string) postgresBundle {
		url := strings.Replace(url, "postgres@", role+"@", 1)
		return postgresBundle{t, url, postgresPeer(t, url, nil)}
	}
	writer, reader := as("writer"), as("reader")

	_, err := writer.peer.Publish(context.Background(), "/a", []byte(`"x"`), postgresLimits)
	if err == nil || !strings.Contains(err.Error(), "permission denied") || errors.Is(err, driver.ErrUnknownOutcome) {
		t.Errorf("publish without a table and the right to create one: %v", err)
	}

	execPostgres(t, url, pgbus.Schema()+pgbus.Schema()+`
		GRANT SELECT, INSERT, DELETE ON message_bus TO writer; GRANT USAGE ON message_bus_id_seq TO writer;
		GRANT SELECT ON message_bus, message_bus_id_seq TO reader`)
	stream := reader.listen()
	want := writer.publish("/a", `"x"`, postgresLimits)
	if got := reader.next(stream); got.GlobalID != want.GlobalID {
		t.Errorf("the reader's stream: %+v, want %+v", got, want)
	}
	for _, peer := range []postgresBundle{writer, reader} {
		if got := peer.state(); got.GlobalID != 1 || got.Settled != 1 {
			t.Errorf("state %+v, want global id 1", got)
		}
		if got := peer.page(driver.Range{Channel: "/a"}).Messages; len(got) != 1 {
			t.Errorf("backlog %+v, want one message", got)
		}
	}
}

// The sizes are around that of the longest notice and far above it, and the
// pipes make the notice longer than the row.
func TestPostgres_LongMessagesComeInTheirPlace(t *testing.T) {
	t.Parallel()
	b := setupPostgres(t)
	stream := b.listen()
	var sent []driver.Message
	for size := 7960; size < 8020; size++ {
		sent = append(sent, b.publish("/a|b", strings.Repeat("x", size), postgresLimits), b.publish("/a", `"small"`, postgresLimits))
	}
	for range 3 {
		sent = append(sent, b.publish("/a", strings.Repeat("日本", 1<<18), postgresLimits), b.publish("/b", `"small"`, postgresLimits))
	}
	for _, want := range sent {
		got := b.next(stream)
		if got.GlobalID != want.GlobalID || got.Channel != want.Channel || string(got.Data) != string(want.Data) {
			t.Fatalf("got %d with %d bytes on %s, want %d with %d bytes on %s",
				got.GlobalID, len(got.Data), got.Channel, want.GlobalID, len(want.Data), want.Channel)
		}
	}
}

// Its listeners have to read the row; the next trim takes it.
func TestPostgres_ALongMessageSurvivesItsOwnPublish(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*driver.Limits){
		"size 0":        func(l *driver.Limits) { l.MaxSize = 0 },
		"age 0":         func(l *driver.Limits) { l.MaxAge = 0 },
		"global size 0": func(l *driver.Limits) { l.MaxGlobalSize = 0 },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := setupPostgres(t)
			stream, limits := b.listen(), postgresLimits
			change(&limits)
			b.publish("/a", `"before"`, postgresLimits)
			long := b.publish("/a", strings.Repeat("x", 9000), limits)
			b.next(stream)
			if got := b.next(stream); got.GlobalID != long.GlobalID {
				t.Errorf("stream: %d, want %d", got.GlobalID, long.GlobalID)
			}
			if got := b.page(driver.Range{Channel: "/a"}).Messages; len(got) != 1 || got[0].ID != long.ID {
				t.Errorf("backlog: %+v, want the long message alone", got)
			}
			b.publish("/a", `"x"`, limits)
			if got := b.page(driver.Range{Channel: "/a"}); len(got.Messages) != 0 || got.Loss == driver.LossNone {
				t.Errorf("after another publish: %+v, want nothing, and a loss", got)
			}
		})
	}
}

// A long message may be gone before a listener asks for it. It must not take
// the stream along, nor be passed over in silence.
func TestPostgres_ALongMessageThatIsGoneIsAnAnnouncementWithoutAnID(t *testing.T) {
	t.Parallel()
	b := setupPostgres(t)
	stream := b.listen()
	limits := postgresLimits
	limits.MaxSize = 0
	b.publish("/a", strings.Repeat("x", 9000), limits)
	last := b.publish("/a", `"x"`, limits)
	if got := b.next(stream); got.GlobalID != 0 {
		t.Errorf("stream: %+v, want the global id 0", got)
	}
	if got := b.next(stream); got.GlobalID != last.GlobalID {
		t.Errorf("stream: %+v, want %+v", got, last)
	}
}

func TestPostgres_TwoHundredPublishersAreHeardInOrder(t *testing.T) {
	t.Parallel()
	const publishers, each = 200, 10
	b := setupPostgres(t)
	pool := postgresPool(t, b.url, func(c *pgxpool.Config) { c.MaxConns = 40 })
	peer, err := pgbus.New(pool, nil)
	if err != nil {
		t.Fatal(err)
	}
	stream := b.listen()
	var all sync.WaitGroup
	for i := range publishers {
		all.Go(func() {
			var last int64
			for n := range each {
				p, err := peer.Publish(context.Background(), "/a", []byte(fmt.Sprintf(`"%d %d"`, i, n)), postgresLimits)
				if err != nil || p.ID <= last {
					t.Errorf("publish: id %d after %d, %v", p.ID, last, err)
					return
				}
				last = p.ID
			}
		})
	}
	var last int64
	for range publishers * each {
		m := b.next(stream)
		if m.GlobalID <= last {
			t.Fatalf("%d came after %d", m.GlobalID, last)
		}
		last = m.GlobalID
	}
	all.Wait()
}

// A transaction elsewhere keeps dead rows from being cleaned up. They must not
// be walked through by every publish, nor may anything wait for the transaction.
func TestPostgres_ALongTransactionElsewhereCostsNothing(t *testing.T) {
	t.Parallel()
	b := setupPostgres(t)
	limits := postgresLimits
	limits.MaxSize, limits.MaxGlobalSize = 20, 50
	b.publish("/a", `"x"`, limits)
	elsewhere, err := postgresConn(t, b.url).BeginTx(context.Background(), pgx.TxOptions{IsoLevel: pgx.RepeatableRead})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := elsewhere.Exec(context.Background(), "UPDATE message_bus SET channel = channel WHERE false; SELECT txid_current()"); err != nil {
		t.Fatal(err)
	}
	const messages = 1500
	pool := postgresPool(t, b.url)
	peer, err := pgbus.New(pool, nil)
	if err != nil {
		t.Fatal(err)
	}
	stream := b.listen()
	for i := range messages {
		p, err := peer.Publish(context.Background(), fmt.Sprint("/", i%5), []byte(`"x"`), limits)
		if err != nil {
			t.Fatal(err)
		}
		if got := b.next(stream); got.GlobalID != p.GlobalID {
			t.Fatalf("stream: %d, want %d", got.GlobalID, p.GlobalID)
		}
	}
	pool.Close() // sessions that end report what they did
	read := func() (inserted, entries int64) {
		err := postgresConn(t, b.url).QueryRow(context.Background(), `SELECT n_tup_ins, (
			SELECT sum(idx_tup_read)::bigint FROM pg_stat_user_indexes WHERE relname = 'message_bus'
		) FROM pg_stat_user_tables WHERE relname = 'message_bus'`).Scan(&inserted, &entries)
		if err != nil {
			t.Fatal(err)
		}
		return inserted, entries
	}
	eventually(t, 20*time.Second, "all publishes are in the statistics", func() bool {
		inserted, _ := read()
		return inserted >= messages
	})
	if _, entries := read(); entries/messages > 100 {
		t.Errorf("a publish read %d index entries; at most 50 messages were ever kept", entries/messages)
	}
	if err := elsewhere.Rollback(context.Background()); err != nil {
		t.Error(err)
	}
}

func TestPostgres_TruncatedRowsAreLostAndNoReset(t *testing.T) {
	t.Parallel()
	b := setupPostgres(t)
	sent := b.publish("/a", `"x"`, postgresLimits)
	b.publish("/a", `"y"`, postgresLimits)
	before := b.state()
	execPostgres(t, b.url, "TRUNCATE message_bus")
	if got := b.state(); got.Epoch != before.Epoch || got.GlobalID != 2 {
		t.Errorf("state %+v, before %+v", got, before)
	}
	if got := b.page(driver.Range{Channel: "/a", After: sent.ID}); got.Loss == driver.LossNone {
		t.Error("a message after the position was truncated: loss none")
	}
	if got := b.publish("/a", `"z"`, postgresLimits); got.ID != 3 {
		t.Errorf("the next id is %d, want 3", got.ID)
	}
}

func TestPostgres_IDsThatBeginAgainAreAReset(t *testing.T) {
	t.Parallel()
	for sql, shows := range map[string]func(before, after driver.State) bool{
		"TRUNCATE message_bus RESTART IDENTITY":                       func(before, after driver.State) bool { return after.Epoch != before.Epoch },
		"DROP TABLE message_bus":                                      func(before, after driver.State) bool { return after.Epoch != before.Epoch },
		"TRUNCATE message_bus; SELECT setval('message_bus_id_seq',1)": func(before, after driver.State) bool { return after.GlobalID < before.GlobalID },
		"SELECT setval('message_bus_id_seq', 1)":                      func(before, after driver.State) bool { return after.GlobalID < before.GlobalID },
	} {
		t.Run(sql, func(t *testing.T) {
			t.Parallel()
			b := setupPostgres(t)
			stream := b.listen()
			for range 3 {
				b.publish("/a", `"x"`, postgresLimits)
				b.next(stream)
			}
			before := b.state()
			execPostgres(t, b.url, sql)
			if after := b.state(); !shows(before, after) || after.Settled > after.GlobalID {
				t.Errorf("state %+v, before %+v", after, before)
			}
			if strings.Contains(sql, "SELECT") && !strings.Contains(sql, "TRUNCATE") {
				return // its next id is taken
			}
			sent := b.publish("/b", `"x"`, postgresLimits)
			if got := b.next(stream); got.GlobalID != sent.GlobalID || sent.GlobalID > 3 {
				t.Errorf("stream %+v, sent %+v", got, sent)
			}
			if got := b.page(driver.Range{Channel: "/b"}).Messages; len(got) != 1 {
				t.Errorf("backlog %+v", got)
			}
		})
	}
}

func TestPostgres_ReadOnlyDatabaseIsSaidSo(t *testing.T) {
	t.Parallel()
	b := setupPostgres(t)
	b.publish("/a", `"x"`, postgresLimits)
	execPostgres(t, b.url, `DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET default_transaction_read_only = on', current_database()); END $$`)
	peer := postgresPeer(t, b.url, nil)
	if _, err := peer.Publish(context.Background(), "/a", []byte(`"y"`), postgresLimits); !errors.Is(err, driver.ErrReadOnly) {
		t.Errorf("publish: %v, want driver.ErrReadOnly", err)
	}
	if s, err := peer.State(context.Background()); err != nil || !s.ReadOnly {
		t.Errorf("state %+v, %v; want read-only", s, err)
	}
	if got := b.state(); got.GlobalID != 1 {
		t.Errorf("state %+v: an id was used up by a publish that was refused", got)
	}
	execPostgres(t, b.url, "BEGIN READ WRITE; DROP TABLE message_bus; COMMIT")
	if _, err := postgresPeer(t, b.url, nil).Publish(context.Background(), "/a", []byte(`"z"`), postgresLimits); !errors.Is(err, driver.ErrReadOnly) {
		t.Errorf("publish without a table: %v, want driver.ErrReadOnly", err)
	}
}

func TestPostgres_AStandbyIsReadOnlyUntilItsPromotionBeginsATimeline(t *testing.T) {
	t.Parallel()
	primary := stores.Postgres(t)
	b := postgresBundle{t, primary.URL("postgres"), postgresPeer(t, primary.URL("postgres"), nil)}
	b.publish("/a", `"x"`, postgresLimits)
	before := b.state()
	replica := primary.Standby(t)
	primary.AwaitStandby(t, replica)
	standby := postgresBundle{t, replica.URL("postgres"), postgresPeer(t, replica.URL("postgres"), nil)}

	if got := standby.state(); !got.ReadOnly || got.Epoch != before.Epoch || got.Timeline != before.Timeline || got.Settled != 1 {
		t.Errorf("state of the standby %+v, of the primary %+v", got, before)
	}
	if got := standby.page(driver.Range{Channel: "/a"}).Messages; len(got) != 1 {
		t.Errorf("backlog %+v", got)
	}
	if _, err := standby.peer.Publish(context.Background(), "/a", []byte(`"y"`), postgresLimits); !errors.Is(err, driver.ErrReadOnly) {
		t.Errorf("publish: %v, want driver.ErrReadOnly", err)
	}
	if s, err := standby.peer.Listen(context.Background()); err == nil {
		_ = s.Close()
		t.Error("a standby takes LISTEN")
	}

	replica.Promote()
	if got := standby.state(); got.ReadOnly || got.Epoch != before.Epoch || got.Timeline == before.Timeline {
		t.Errorf("state after the promotion %+v, before %+v", got, before)
	}
	if got := standby.publish("/a", `"y"`, postgresLimits); got.ID <= 1 {
		t.Errorf("id %d was given again", got.ID)
	}
}

func TestPostgres_NoConnectionLeftStoresNothingAndHurtsNoFeed(t *testing.T) {
	t.Parallel()
	s := stores.PostgresWith(t, stores.PostgresOptions{Config: []string{"max_connections=8", "superuser_reserved_connections=1", "max_wal_senders=2"}})
	execPostgres(t, s.URL("postgres"), "CREATE ROLE app LOGIN;"+pgbus.Schema()+
		"GRANT SELECT, INSERT, DELETE ON message_bus TO app; GRANT USAGE ON message_bus_id_seq TO app")
	url := strings.Replace(s.URL("postgres"), "postgres@", "app@", 1)
	b := postgresBundle{t, url, postgresPeer(t, url, nil)}
	stream := b.listen()
	b.publish("/a", `"x"`, postgresLimits) // the peer has a connection now
	b.next(stream)
	late := postgresPeer(t, url, nil)
	for {
		conn, err := pgx.Connect(context.Background(), url)
		if err != nil {
			break
		}
		defer conn.Close(context.Background())
	}
	_, err := late.Publish(context.Background(), "/a", []byte(`"y"`), postgresLimits)
	if err == nil || errors.Is(err, driver.ErrUnknownOutcome) {
		t.Errorf("publish without a connection: %v, want an error that means that nothing was stored", err)
	}
	sent := b.publish("/a", `"z"`, postgresLimits)
	if got := b.next(stream); got.GlobalID != sent.GlobalID {
		t.Errorf("stream %+v, want %+v", got, sent)
	}
}

// What Publish says is what has happened, whenever its session is ended.
func TestPostgres_PublishersThatAreCutOffTellTheTruth(t *testing.T) {
	t.Parallel()
	const publishers, each = 8, 150
	b := setupPostgres(t)
	b.publish("/first", `"x"`, postgresLimits)
	pool := postgresPool(t, b.url, func(c *pgxpool.Config) { c.MaxConns = publishers })
	peer, err := pgbus.New(pool, nil)
	if err != nil {
		t.Fatal(err)
	}
	limits := postgresLimits
	limits.MaxSize = publishers * each
	var (
		all     sync.WaitGroup
		mu      sync.Mutex
		outcome = make(map[string]error)
		unknown int
	)
	for i := range publishers {
		all.Go(func() {
			for n := range each {
				data := fmt.Sprintf(`"%d %d"`, i, n)
				_, err := peer.Publish(context.Background(), "/a", []byte(data), limits)
				mu.Lock()
				outcome[data] = err
				mu.Unlock()
			}
		})
	}
	stop := make(chan struct{})
	var cutter sync.WaitGroup
	cutter.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
				cutPostgres(t, b.url, "query LIKE '%pg_notify%' OR query LIKE '%swept%'")
			}
		}
	})
	all.Wait()
	close(stop)
	cutter.Wait()
	stored := make(map[string]int)
	for _, m := range b.page(driver.Range{Channel: "/a"}).Messages {
		stored[string(m.Data)]++
	}
	for data, err := range outcome {
		switch n := stored[data]; {
		case n > 1:
			t.Errorf("%s is stored %d times", data, n)
		case err == nil && n == 0:
			t.Errorf("%s was accepted and is not stored", data)
		case err != nil && !errors.Is(err, driver.ErrUnknownOutcome) && n > 0:
			t.Errorf("%s is stored, though Publish said %v", data, err)
		case errors.Is(err, driver.ErrUnknownOutcome):
			unknown++
		}
	}
	failed := 0
	for _, err := range outcome {
		if err != nil {
			failed++
		}
	}
	t.Logf("%d of %d publishes failed, %d with an unknown outcome", failed, len(outcome), unknown)
	if failed == 0 {
		t.Error("no publish was cut off")
	}
}

func TestPostgres_AStoppedServerIsNoticedByPing(t *testing.T) {
	t.Parallel()
	s := stores.Postgres(t)
	url := s.NewDatabase(t)
	b := postgresBundle{t, url, postgresPeer(t, url, nil)}
	stream := b.listen()
	next := make(chan error, 1)
	go func() {
		_, err := stream.Next(context.Background())
		next <- err
	}()
	s.Pause()
	defer s.Continue()
	ctx, cancel := context.WithTimeout(context.Background(), 200*time.Millisecond)
	defer cancel()
	if err := stream.Ping(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Ping: %v, want its context's error", err)
	}
	if err := <-next; err == nil {
		t.Error("Next went on")
	}
}

// A Ping takes the connection from Next in the middle of whatever arrives.
func TestPostgres_PingsDoNotDisturbAFlood(t *testing.T) {
	t.Parallel()
	const messages = 20_000
	b := setupPostgres(t)
	stream := b.listen()
	done := make(chan struct{})
	var others sync.WaitGroup
	others.Go(func() {
		for n := 0; ; n++ {
			select {
			case <-done:
				t.Logf("%d pings", n)
				return
			default:
			}
			if err := stream.Ping(context.Background()); err != nil {
				t.Errorf("Ping: %v", err)
				return
			}
		}
	})
	publisher := postgresConn(t, b.url)
	others.Go(func() {
		for first := 1; first <= messages; first += 500 {
			_, err := publisher.Exec(context.Background(), `SELECT count(pg_notify('_message_bus_0', n || '|' || n || '|/a|' || repeat('x', n % 3000)))
				FROM generate_series($1::int, $1::int + 499) AS n`, first)
			if err != nil {
				t.Error(err)
			}
		}
	})
	for want := int64(1); want <= messages; want++ {
		if m := b.next(stream); m.GlobalID != want || len(m.Data) != int(want%3000) {
			t.Fatalf("message %d with %d bytes, want %d with %d", m.GlobalID, len(m.Data), want, want%3000)
		}
	}
	close(done)
	others.Wait()
}

// A row of the gem is inserted without the lock; the trigger takes it.
func TestPostgres_OrderingTriggerMakesAnInsertWaitForTheOneBefore(t *testing.T) {
	t.Parallel()
	b := setupPostgres(t)
	b.publish("/a", `"x"`, postgresLimits)
	const insert = "INSERT INTO message_bus (channel, value) VALUES ('/a', '{}') RETURNING id"
	race := func() error {
		first, second := postgresConn(t, b.url), postgresConn(t, b.url)
		tx, err := first.Begin(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		defer tx.Rollback(context.Background())
		if _, err := tx.Exec(context.Background(), insert); err != nil {
			t.Fatal(err)
		}
		_, err = second.Exec(context.Background(), "SET lock_timeout = 100; "+insert)
		return err
	}
	if err := race(); err != nil {
		t.Errorf("without the trigger: %v", err)
	}
	execPostgres(t, b.url, pgbus.OrderingTrigger()+pgbus.OrderingTrigger())
	if err := race(); err == nil || !strings.Contains(err.Error(), "lock timeout") {
		t.Errorf("with the trigger: %v, want that it waits", err)
	}
	if got := b.publish("/a", `"y"`, postgresLimits); got.ID != b.state().GlobalID {
		t.Errorf("publish %+v, state %+v", got, b.state())
	}
}

func TestPostgres_DBSetsAnnouncementsApartAndNotRows(t *testing.T) {
	t.Parallel()
	b := setupPostgres(t)
	chat := postgresBundle{t, b.url, postgresPeer(t, b.url, &pgbus.Options{DB: `Chat "x"`})}
	mine, theirs := b.listen(), chat.listen()
	first, second := b.publish("/a", `"x"`, postgresLimits), chat.publish("/a", strings.Repeat("y", 9000), postgresLimits)
	if got := b.next(mine); got.ID != first.ID {
		t.Errorf("stream %+v", got)
	}
	if got := b.next(theirs); got.ID != second.ID {
		t.Errorf("stream of the other DB %+v", got)
	}
	if got := b.page(driver.Range{Channel: "/a"}).Messages; len(got) != 2 {
		t.Errorf("backlog %+v, want both", got)
	}
}

// A quiet channel of which nothing is left: its reader need not be alarmed as
// long as every id since its position is there.
func TestPostgres_NoLossIsProvedByIDsWithoutAHole(t *testing.T) {
	t.Parallel()
	b := setupPostgres(t)
	for range 3 {
		b.publish("/a", `"x"`, postgresLimits)
	}
	execPostgres(t, b.url, "DELETE FROM message_bus WHERE id = 2")
	for after, want := range map[int64]driver.Loss{0: driver.LossPossible, 1: driver.LossPossible, 2: driver.LossNone, 3: driver.LossNone, 99: driver.LossNone} {
		if got := b.page(driver.Range{Channel: "/quiet", After: after}).Loss; got != want {
			t.Errorf("after %d, of 1 to 3 without 2: loss %d, want %d", after, got, want)
		}
	}
	execPostgres(t, b.url, "DELETE FROM message_bus WHERE id = 3")
	if got := b.page(driver.Range{Channel: "/quiet", After: 2}).Loss; got != driver.LossPossible {
		t.Errorf("the newest is gone: loss %d, want possible", got)
	}
}
