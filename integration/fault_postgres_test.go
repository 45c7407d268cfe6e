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

	"github.com/messagebus-go/messagebus/bus"
	"github.com/messagebus-go/messagebus/bus/pgbus"
	"github.com/messagebus-go/messagebus/integration/faultproxy"
	"github.com/messagebus-go/messagebus/integration/stores"
)

// Every fault of a Postgres server that the bus is to survive, by the public API: on a
// server of its own where the fault is the server's, otherwise in a database of its
// own. Subscribers reach the server through a proxy, and publishers directly.

// A postgresFault is a scene in one database.
type postgresFault struct {
	*faultPeers

	server *stores.PostgresServer // nil: the shared one
	url    string
	proxy  *faultproxy.Proxy // between reader and server
}

// newPostgresFault makes a scene on a server of its own.
func newPostgresFault(t *testing.T, options stores.PostgresOptions, adjust ...func(*bus.Options)) *postgresFault {
	t.Helper()
	server := stores.PostgresWith(t, options)
	f := newPostgresFaultIn(t, server.NewDatabase(t), nil, adjust...)
	f.server = server
	return f
}

// newPostgresFaultIn makes one in a database that is there.
func newPostgresFaultIn(t *testing.T, url string, options *pgbus.Options, adjust ...func(*bus.Options)) *postgresFault {
	t.Helper()
	proxy := faultproxy.Start(t, hostOf(t, url))
	near, far := postgresPeer(t, url, options), postgresPeer(t, throughProxy(url, proxy), options)
	return &postgresFault{faultPeers: newFaultPeers(t, near, far, adjust...), url: url, proxy: proxy}
}

func hostOf(t *testing.T, url string) string {
	t.Helper()
	config, err := pgx.ParseConfig(url)
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("%s:%d", config.Host, config.Port)
}

func (f *postgresFault) newBus(url string, options *pgbus.Options) *bus.Bus {
	f.Helper()
	return faultBus(f.T, postgresPeer(f.T, url, options))
}

// exec runs SQL, on a read-only server as well.
func (f *postgresFault) exec(sql string) {
	f.Helper()
	execPostgres(f.T, f.url+"&default_transaction_read_only=off", sql)
}

// ask returns one number.
func (f *postgresFault) ask(sql string) (n int64) {
	f.Helper()
	conn := postgresConn(f.T, f.url)
	defer conn.Close(context.Background())
	if err := conn.QueryRow(context.Background(), sql).Scan(&n); err != nil {
		f.Fatalf("%s: %v", sql, err)
	}
	return n
}

// cutReader takes the subscribers away from the server, until the proxy's Restore.
func (f *postgresFault) cutReader() {
	f.proxy.Refuse()
	f.proxy.Cut()
}

// wantPlain checks that a publish failed so that certainly nothing is stored.
func (f *postgresFault) wantPlain(err error) {
	f.Helper()
	if err == nil || errors.Is(err, bus.ErrUnknownOutcome) || errors.Is(err, bus.ErrQueued) {
		f.Errorf("publish: %v; want an error that means that nothing was stored", err)
	}
}

func TestFaultPostgres_FeedThatIsTerminatedIsRepaired(t *testing.T) {
	t.Parallel()
	f := newPostgresFaultIn(t, stores.PostgresShared(t), nil)
	load := f.load(2, 10*time.Millisecond)
	for range 5 { // each time, it is opened again after a longer pause
		f.awaitPublished(5)
		downs := f.feedDowns.Load()
		cutPostgres(t, f.url, feedSessions)
		f.publishAll(2) // before it is back
		eventually(t, faultPatience, "the feed to be missed", func() bool { return f.feedDowns.Load() > downs })
		awaitHealth(t, f.reader, faultPatience, true)
	}
	load.stop()
	f.wantNoLoss(f.verdict())
	f.wantGaps()
	f.wantFailures()
}

// slowInserts make a publisher wait between its id and its commit, so that most of
// those who are cut off are cut off there.
const slowInserts = `CREATE FUNCTION slowly() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM pg_sleep(0.005); RETURN NULL; END';
	CREATE TRIGGER slowly AFTER INSERT ON message_bus FOR EACH ROW EXECUTE FUNCTION slowly()`

func TestFaultPostgres_PublishersThatAreTerminatedPublishOnce(t *testing.T) {
	t.Parallel()
	f := newPostgresFaultIn(t, stores.PostgresShared(t), nil)
	f.exec(slowInserts)
	load := f.load(8, time.Millisecond)
	for range 40 {
		f.awaitPublished(5)
		cutPostgres(t, f.url, "NOT ("+feedSessions+")")
	}
	load.stop()
	v := f.verdict()
	f.wantNoLoss(v)
	f.wantGaps()
	rows := f.ask("SELECT count(*) FROM message_bus")
	if want := int64(v.acknowledged + v.unknownSaved); rows != want {
		t.Errorf("%d rows are stored; %d messages were acknowledged, and %d more are there", rows, v.acknowledged, v.unknownSaved)
	}
	if f.ask("SELECT last_value FROM message_bus_id_seq") == rows {
		t.Error("no id was given in vain: nobody was cut off between id and commit")
	}
	if len(f.failures(bus.ErrUnknownOutcome)) == 0 {
		t.Error("no publish failed for certain, although the server said of most that it ended them before they were stored")
	}
}

// Their commits wait for a standby that nobody is: what is cut off there is stored, and
// its publisher has no answer.
func TestFaultPostgres_PublishersThatAreTerminatedAfterTheirCommitPublishOnce(t *testing.T) {
	t.Parallel()
	f := newPostgresFault(t, stores.PostgresOptions{Config: []string{"synchronous_standby_names=nobody", "synchronous_commit=local"}})
	const waits = "wait_event = 'SyncRep'"
	waiting := func() bool { return f.ask("SELECT count(*) FROM pg_stat_activity WHERE "+waits) > 0 }
	load := f.keepPublishing(t, f.newBus(f.url+"&synchronous_commit=on", nil), faultChannels, 8, time.Millisecond, faultPatience)
	for range 20 {
		eventually(t, faultPatience, "a publisher to wait for the standby", waiting)
		cutPostgres(t, f.url, waits)
	}
	ended := make(chan struct{})
	go func() { load.stop(); close(ended) }()
	eventually(t, faultPatience, "the last publishers to be cut off", func() bool {
		cutPostgres(t, f.url, waits)
		select {
		case <-ended:
			return true
		default:
			return false
		}
	})
	v := f.verdict()
	f.wantNoLoss(v)
	f.wantGaps()
	f.wantFailures(bus.ErrUnknownOutcome)
	if v.unknown < 20 || v.unknownSaved != v.unknown {
		t.Errorf("%d of %d messages with an unknown outcome came, want all, and 20 or more", v.unknownSaved, v.unknown)
	}
}

func TestFaultPostgres_PublishWhoseAnswerIsLostIsNotRepeated(t *testing.T) {
	t.Parallel()
	f := newPostgresFaultIn(t, stores.PostgresShared(t), nil)
	f.publishAll(1)
	proxy := faultproxy.Start(t, hostOf(t, f.url))
	remote := f.newBus(throughProxy(f.url, proxy), nil)
	rows := func() int64 { return f.ask("SELECT count(*) FROM message_bus") }
	for i := range 5 {
		before := rows() + 1
		// Nothing may take time behind this one: the pool asks whether a connection is alive
		// that was idle for a second, and would get no answer.
		if _, err := f.publish(t.Context(), remote, "/a"); err != nil {
			t.Fatal(err)
		}
		proxy.Swallow(faultproxy.ToClient)
		var publishing sync.WaitGroup
		publishing.Go(func() {
			if _, err := f.publish(t.Context(), remote, "/a"); !errors.Is(err, bus.ErrUnknownOutcome) {
				t.Errorf("a publish whose answer was lost: %v, want ErrUnknownOutcome", err)
			}
		})
		eventually(t, faultPatience, "the publish to be carried out", func() bool { return rows() > before })
		proxy.Restore()
		proxy.Cut()
		publishing.Wait()
		if n := rows() - before; n != 1 {
			t.Errorf("publish %d was carried out %d times", i, n)
		}
	}
	v := f.verdict()
	f.wantNoLoss(v)
	f.wantGaps()
	if v.unknown != 5 || v.unknownSaved != 5 {
		t.Errorf("%d of %d messages with an unknown outcome came, want all 5", v.unknownSaved, v.unknown)
	}
}

func TestFaultPostgres_RestartLosesNothing(t *testing.T) {
	t.Parallel()
	f := newPostgresFault(t, stores.PostgresOptions{})
	load := f.load(3, 10*time.Millisecond)
	for _, end := range []func(){f.server.Stop, f.server.Kill, f.server.Stop} {
		f.awaitPublished(30)
		end()
		awaitHealth(t, f.reader, faultBound+slack, false)
		f.server.Start()
		awaitHealth(t, f.reader, faultPatience, true)
	}
	f.awaitPublished(30)
	load.stop()
	f.wantNoLoss(f.verdict())
	f.wantGaps()
}

// The bound is the default one, of 10 s; how exactly it is kept is tested where time is
// not that of a busy machine.
func TestFaultPostgres_HungServerIsNoticedWithinTheBoundAndCaughtUpWith(t *testing.T) {
	t.Parallel()
	const noticed, hang = 30 * time.Second, 40 * time.Second
	f := newPostgresFault(t, stores.PostgresOptions{}, func(o *bus.Options) { o.LivenessBound = 0 })
	load := f.load(3, 10*time.Millisecond)
	f.awaitPublished(50)
	f.server.Pause()
	began := time.Now()
	t.Logf("noticed after %v", awaitHealth(t, f.reader, noticed, false))
	eventually(t, faultPatience, "the hang to end", func() bool {
		took := time.Since(began)
		if noticed < took && took < hang && f.reader.Health().OK {
			t.Fatalf("health is well %v after the server stopped to answer", took)
		}
		return took > hang
	})
	f.server.Continue()
	t.Logf("well again after %v", awaitHealth(t, f.reader, faultPatience, true))
	f.awaitPublished(50)
	load.stop()
	v := f.verdict()
	f.wantNoLoss(v)
	f.wantGaps()
	if v.unknown == 0 {
		t.Error("no publish had an unknown outcome, although the server hung")
	}
}

// Live subscribers have had what is deleted; those who were away are told.
func TestFaultPostgres_TruncatedTableIsNoLossForThoseWhoWereThere(t *testing.T) {
	t.Parallel()
	f := newPostgresFaultIn(t, stores.PostgresShared(t), nil)
	f.publishAll(20)
	f.awaitSeen()
	f.exec("TRUNCATE message_bus")
	f.publishAll(5)
	f.awaitSeen()
	f.wantGaps()
	f.verdict()

	f.cutReader()
	f.publishAll(5)
	f.exec("TRUNCATE message_bus")
	f.publishAll(5)
	f.proxy.Restore()
	f.verdict()
	f.wantGaps(bus.GapPossible)
	f.wantFailures()
}

func TestFaultPostgres_TableThatBeginsAnewIsReportedAndAllThatIsNewComes(t *testing.T) {
	t.Parallel()
	for name, sql := range map[string]string{
		"truncated": "TRUNCATE message_bus RESTART IDENTITY",
		"dropped":   "DROP TABLE message_bus",
		"set back":  "DELETE FROM message_bus WHERE id > 5; SELECT setval('message_bus_id_seq', 5)",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newPostgresFaultIn(t, stores.PostgresShared(t), nil)
			f.publishAll(10)
			f.awaitSeen()
			f.exec(sql) // nobody publishes until the subscribers know
			for _, r := range f.recorders {
				r.await("a reset", func([]sighting) bool { return len(r.gaps(bus.GapReset)) > 0 })
			}
			awaitHealth(t, f.reader, faultBound+slack, true)
			f.publishAll(10)
			f.awaitSeen()
			f.wantGaps(bus.GapReset)

			// More is published after it than before, so that ids alone show nothing.
			f.cutReader()
			f.exec(sql)
			if name != "set back" { // and that no id is of the channel it was of
				if _, err := f.publish(t.Context(), f.publisher, "/other"); err != nil {
					t.Fatal(err)
				}
			}
			f.publishAll(40)
			f.proxy.Restore()
			f.verdict()
			f.wantGaps(bus.GapReset, bus.GapReset)
			f.wantFailures()
		})
	}
}

// The sequence alone is set back: its ids are taken, until it comes to free ones.
func TestFaultPostgres_SequenceBehindTheRowsRefusesPublishesForCertain(t *testing.T) {
	t.Parallel()
	f := newPostgresFaultIn(t, stores.PostgresShared(t), nil)
	f.publishAll(10)
	f.awaitSeen()
	f.exec("SELECT setval('message_bus_id_seq', 10)")
	for range 10 {
		_, err := f.publish(t.Context(), f.publisher, "/a")
		f.wantPlain(err)
	}
	f.publishAll(5)
	f.verdict()
	for _, r := range f.recorders {
		if got := r.gaps(bus.GapTrimmed, bus.GapPossible, bus.GapFailover); len(got) > 0 {
			t.Errorf("gaps %v; want resets alone, if any", got)
		}
	}
}

func TestFaultPostgres_MessagesForAReadOnlyServerAreKeptInOrderAndWithTheirLimits(t *testing.T) {
	t.Parallel()
	f := newPostgresFault(t, stores.PostgresOptions{})
	f.publishAll(5)
	f.awaitSeen()
	f.setReadOnly(true)
	const queued = 20
	for n := range queued {
		channel := []string{"/a", "/short"}[n%2]
		f.wantQueued(f.publisher, channel, map[string]int{"/a": 1000, "/short": 3}[channel])
	}
	if h := f.publisher.Health(); h.OK || !h.ReadOnly || h.Queued != queued {
		t.Errorf("the publisher's health is %+v, want it read-only, with %d messages queued", h, queued)
	}
	awaitHealth(t, f.reader, faultBound+slack, false)
	if _, err := f.publisher.Publish(t.Context(), "/a", "x", bus.WithoutReadOnlyQueue()); !errors.Is(err, bus.ErrReadOnly) {
		t.Errorf("publish without a queue: %v, want ErrReadOnly", err)
	}
	f.setReadOnly(false)
	for range 5 { // those that come before the queue is empty wait their turn
		if _, err := f.publish(t.Context(), f.publisher, "/a"); err != nil && !errors.Is(err, bus.ErrQueued) {
			t.Error(err)
		}
	}
	f.awaitFlushed()
	backlog, err := f.publisher.Backlog(t.Context(), "/short", 0)
	if err != nil || len(backlog) != 3 {
		t.Errorf("the backlog is %v, %v; want the newest 3 of %d", backlog, err, queued/2)
	}
	f.verdict()
	f.wantGaps()
	f.wantFailures(bus.ErrQueued)
	f.wantInOrder()
	if h := f.publisher.Health(); !h.OK || h.ReadOnly || h.GivenUp != 0 {
		t.Errorf("the publisher's health is %+v after the server took writes again", h)
	}
}

func (f *postgresFault) wantQueued(b *bus.Bus, channel string, keep int) {
	f.Helper()
	if id, err := f.publish(f.Context(), b, channel, bus.MaxBacklogSize(keep)); id != 0 || !errors.Is(err, bus.ErrQueued) {
		f.Errorf("publish to a read-only server: %d, %v; want 0 and ErrQueued", id, err)
	}
}

// setReadOnly changes the default of all sessions, and waits until they have heard.
func (f *postgresFault) setReadOnly(on bool) {
	f.Helper()
	f.exec(fmt.Sprintf("ALTER SYSTEM SET default_transaction_read_only = %v", on))
	f.exec("SELECT pg_reload_conf()")
	probe := postgresPeer(f.T, f.url, nil)
	eventually(f.T, faultPatience, fmt.Sprintf("the server to be read-only: %v", on), func() bool {
		state, err := probe.State(f.Context())
		return err == nil && state.ReadOnly == on
	})
}

func (f *postgresFault) awaitFlushed() {
	f.Helper()
	eventually(f.T, faultPatience, "the queue to be empty", func() bool { return f.publisher.Health().Queued == 0 })
}

// wantInOrder checks that messages came in the order in which they were published.
func (f *postgresFault) wantInOrder() {
	f.Helper()
	for _, r := range f.recorders {
		last := 0
		for _, s := range r.sightings() {
			if s.gap == nil && s.number < last {
				f.Errorf("%s: %d came after %d", r.channel, s.number, last)
			}
			last = max(last, s.number)
		}
	}
}

// Both peers know both servers and use the one that takes writes, as an application
// does that is to survive a failover.
func TestFaultPostgres_PromotedStandbyIsAPossibleFailoverAndTakesWhatWasQueued(t *testing.T) {
	t.Parallel()
	primary := stores.Postgres(t)
	f := newPostgresFaultIn(t, primary.URL("postgres"), nil)
	f.publishAll(10)
	f.awaitSeen()
	standby := primary.Standby(t)
	f.publishAll(10)
	f.awaitSeen()
	primary.AwaitStandby(t, standby)

	either := strings.Replace(primary.URL("postgres"), primary.Addr(), primary.Addr()+","+standby.Addr(), 1)
	follower := f.newBus(either+"&target_session_attrs=prefer-standby", nil) // as if the primary were gone for it
	f.publisher = follower
	both := f.newBus(strings.Replace(either, "?", "?target_session_attrs=read-write&", 1), nil)
	var followers []*recorder
	for _, channel := range faultChannels {
		followers = append(followers, record(t, both, channel))
	}
	awaitHealth(t, both, faultPatience, true)
	for range 5 { // what they have seen is how they know the new server's data
		for _, channel := range faultChannels {
			if _, err := f.publish(t.Context(), both, channel); err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, r := range followers {
		entries := f.all(r.channel)
		r.awaitNumber(entries[len(entries)-1].number)
	}
	primary.AwaitStandby(t, standby)

	for n := range 20 {
		f.wantQueued(f.publisher, faultChannels[n%2], 1000)
	}
	primary.Kill()
	awaitHealth(t, both, faultBound+slack, false)
	standby.Promote()
	f.awaitFlushed()
	awaitHealth(t, both, faultPatience, true)
	f.recorders = followers // those of the primary alone have lost their server
	f.judge(t, both, followers...)
	f.wantGaps(bus.GapFailover)
	f.wantInOrder()
	f.wantFailures(bus.ErrQueued)
}

// A limit on the size of a file is a disk that is full for the table alone: the server
// cannot extend it, as on a full disk, and its log goes on.
func TestFaultPostgres_TableThatCannotGrowRefusesPublishesAndNothingElse(t *testing.T) {
	t.Parallel()
	f := newPostgresFault(t, stores.PostgresOptions{MaxFileBytes: 4 << 20})
	f.publishAll(5)
	f.awaitSeen()
	f.exec("ALTER TABLE message_bus ALTER value SET STORAGE PLAIN") // not compressed
	f.exec("INSERT INTO message_bus (channel, value) SELECT '/filler', repeat('x', 7000) FROM generate_series(1, 450)")
	eventually(t, faultPatience, "the table to be full", func() bool {
		_, err := f.publisher.Publish(t.Context(), "/filler", strings.Repeat("x", 7000))
		if err != nil {
			f.wantPlain(err)
		}
		return err != nil
	})
	awaitHealth(t, f.reader, faultPatience, true) // at once, but for a busy machine
	f.exec("DELETE FROM message_bus WHERE channel = '/filler'")
	f.exec("VACUUM message_bus")
	f.publishAll(5) // which is accepted
	f.verdict()
	f.wantGaps()
}

// Its snapshot and its write are older than everything that is published.
func TestFaultPostgres_LongTransactionElsewhereDelaysNothing(t *testing.T) {
	t.Parallel()
	f := newPostgresFaultIn(t, stores.PostgresShared(t), nil)
	f.exec("CREATE TABLE elsewhere (n int)")
	f.publishAll(1)
	elsewhere, err := postgresConn(t, f.url).BeginTx(t.Context(), pgx.TxOptions{IsoLevel: pgx.RepeatableRead})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = elsewhere.Rollback(context.Background()) }()
	if _, err := elsewhere.Exec(t.Context(), "INSERT INTO elsewhere SELECT count(*) FROM message_bus"); err != nil {
		t.Fatal(err)
	}
	f.publishAll(100)
	f.awaitSeen()
	f.wantSoon(slack)
	f.cutReader()
	f.publishAll(20)
	f.proxy.Restore()
	f.awaitSeen()
	f.wantNoLoss(f.verdict())
	f.wantGaps()
	f.wantFailures()
}

// wantSoon checks how long messages took from publisher to subscriber.
func (f *postgresFault) wantSoon(most time.Duration) {
	f.Helper()
	for _, r := range f.recorders {
		ended := map[int]time.Time{}
		for _, e := range f.all(r.channel) {
			ended[e.number] = e.ended
		}
		for _, s := range r.sightings() {
			if took := s.at.Sub(ended[s.number]); s.gap == nil && took > most {
				f.Errorf("%s: message %d took %v", r.channel, s.number, took)
			}
		}
	}
}

// Nothing is waited for behind a hole: it is the publishers' own order that is seen.
func TestFaultPostgres_TwoHundredPublishersOnOneChannelAreSeenInOrder(t *testing.T) {
	t.Parallel()
	f := newPostgresFaultIn(t, stores.PostgresShared(t), &pgbus.Options{SettleHole: -1})
	f.publishAll(1)
	const publishers, each = 200, 10
	pool := postgresPool(t, f.url, func(c *pgxpool.Config) { c.MaxConns = 40 })
	peer, err := pgbus.New(pool, nil)
	if err != nil {
		t.Fatal(err)
	}
	crowd := faultBus(t, peer)
	var all sync.WaitGroup
	for range publishers {
		all.Go(func() {
			for range each {
				_, _ = f.publish(context.Background(), crowd, "/a") // kept in the ledger
			}
		})
	}
	all.Wait()
	v := f.verdict()
	f.wantNoLoss(v)
	f.wantGaps()
	f.wantFailures()
	if late := f.reader.Health().Late; late > 0 {
		t.Errorf("%d messages came late", late)
	}
	if v.acknowledged < publishers*each {
		t.Errorf("%d messages were acknowledged, want %d", v.acknowledged, publishers*each)
	}
}
