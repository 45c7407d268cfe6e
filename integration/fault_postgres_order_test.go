package integration_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/messagebus-go/messagebus/bus"
	"github.com/messagebus-go/messagebus/bus/pgbus"
	"github.com/messagebus-go/messagebus/integration/faultproxy"
	"github.com/messagebus-go/messagebus/integration/stores"
)

// Publishers that do as the gem does: they take no lock, and announce a row when it is
// stored, so that rows may be committed, and announced, in any order.

// A plainPublisher is one session of such a publisher.
type plainPublisher struct {
	*postgresFault

	conn *pgx.Conn
}

func (f *postgresFault) plainPublisher() *plainPublisher {
	f.Helper()
	return &plainPublisher{f, postgresConn(f.T, f.url)}
}

// insert stores a message, as its own transaction unless one is open, and returns the id.
func (p *plainPublisher) insert(channel, data string) (id int64, err error) {
	envelope := fmt.Sprintf(`{"data":%s,"user_ids":null,"group_ids":null,"client_ids":null}`, data)
	err = p.conn.QueryRow(context.Background(), "INSERT INTO message_bus (channel, value) VALUES ($1, $2) RETURNING id", channel, envelope).Scan(&id)
	return id, err
}

// announce announces a message that is stored, or fails as it is too long.
func (p *plainPublisher) announce(id int64, channel string) error {
	_, err := p.conn.Exec(context.Background(), `SELECT pg_notify('_message_bus_0', id || '|' || id || '|' || replace($2, '|', '$$123$$') || '|' || value)
		FROM message_bus WHERE id = $1`, id, channel)
	return err
}

// publish does both, and keeps it in the ledger.
func (p *plainPublisher) publish(channel string) {
	p.Helper()
	_, err := p.keep(channel, func(number int) (int64, error) {
		id, err := p.insert(channel, fmt.Sprint(number))
		if err == nil {
			err = p.announce(id, channel)
		}
		return id, err
	})
	if err != nil {
		p.Error(err)
	}
}

// begin opens a transaction and stores a message in it. finish commits that, and
// announces the message.
func (p *plainPublisher) begin(channel string) (finish func()) {
	p.Helper()
	var stored, done sync.WaitGroup
	stored.Add(1)
	commit := make(chan struct{})
	done.Go(func() {
		_, err := p.keep(channel, func(number int) (id int64, err error) {
			_, err = p.conn.Exec(context.Background(), "BEGIN")
			if err == nil {
				id, err = p.insert(channel, fmt.Sprint(number))
			}
			stored.Done()
			<-commit
			if err == nil {
				_, err = p.conn.Exec(context.Background(), "COMMIT")
			}
			if err == nil {
				err = p.announce(id, channel)
			}
			return id, err
		})
		if err != nil {
			p.Error(err)
		}
	})
	stored.Wait()
	finish = sync.OnceFunc(func() { close(commit); done.Wait() })
	p.Cleanup(finish)
	return finish
}

// late are the numbers of messages that came late to a subscriber.
func (r *recorder) late() (numbers []int) {
	for _, s := range r.sightings() {
		if s.late {
			numbers = append(numbers, s.number)
		}
	}
	return numbers
}

// seldomCompared leaves it to the feed to bring messages: what it lacks is not found by
// the comparison with the store within the test's patience.
func seldomCompared(o *bus.Options) { o.LivenessBound = 5 * time.Minute }

// patiently is a hole that is waited for longer than any publisher here takes.
var patiently = &pgbus.Options{SettleHole: 20 * time.Second}

func TestFaultPostgres_PlainPublishersAreSeenInOrderWhereTheyAreQuick(t *testing.T) {
	t.Parallel()
	f := newPostgresFaultIn(t, stores.PostgresShared(t), patiently, seldomCompared)
	f.publishAll(1)
	var all sync.WaitGroup
	for range 8 {
		p := f.plainPublisher()
		all.Go(func() {
			for n := range 60 {
				p.publish(faultChannels[n%2])
			}
		})
	}
	load := f.load(4, 5*time.Millisecond)
	all.Wait()
	load.stop()
	f.wantNoLoss(f.verdict())
	f.wantGaps()
	if late := f.reader.Health().Late; late > 0 {
		t.Errorf("%d messages came late; a hole was waited for %v", late, patiently.SettleHole)
	}
}

func TestFaultPostgres_RowCommittedOutOfOrderIsWaitedFor(t *testing.T) {
	t.Parallel()
	f := newPostgresFaultIn(t, stores.PostgresShared(t), patiently, seldomCompared)
	f.publishAll(1)
	f.awaitSeen()
	slow, quick := f.plainPublisher(), f.plainPublisher()
	for range 5 {
		finish := slow.begin("/a")
		quick.publish("/a")
		pause(t.Context(), 300*time.Millisecond) // who does not wait has handed it out by now
		finish()
	}
	f.verdict()
	f.wantGaps()
	for _, r := range f.recorders {
		if late := r.late(); len(late) > 0 {
			t.Errorf("%s: %v came late", r.channel, late)
		}
	}
}

func TestFaultPostgres_RowCommittedTooLateHoldsNobodyUpAndComesLateOnce(t *testing.T) {
	t.Parallel()
	f := newPostgresFaultIn(t, stores.PostgresShared(t), nil, seldomCompared)
	f.publishAll(1)
	f.awaitSeen()
	slow := f.plainPublisher()
	finish := slow.begin("/a")
	number := len(f.all("/a")) + len(f.all("/b|c"))
	f.publishAll(5)
	f.awaitSeen() // though there is a hole before all of it
	f.wantSoon(slack)
	finish()
	for _, r := range f.recorders {
		if r.channel != "/a" {
			continue
		}
		r.awaitNumber(number)
		if got := r.late(); len(got) != 1 || got[0] != number {
			t.Errorf("%v came late, want %d alone", got, number)
		}
	}
	f.wantNoLoss(f.verdict())
	f.wantGaps()
	if late := f.reader.Health().Late; late != 1 {
		t.Errorf("Health.Late is %d, want 1", late)
	}
}

func TestFaultPostgres_TheOrderingTriggerMakesPlainPublishersCommitInOrder(t *testing.T) {
	t.Parallel()
	f := newPostgresFaultIn(t, stores.PostgresShared(t), &pgbus.Options{SettleHole: -1})
	f.publishAll(1)
	f.exec(pgbus.OrderingTrigger())
	f.awaitSeen()
	slow, quick := f.plainPublisher(), f.plainPublisher()
	for range 5 {
		finish := slow.begin("/a")
		var waiting sync.WaitGroup
		waiting.Go(func() { quick.publish("/a") }) // it gets its id when the other one is stored
		eventually(t, faultPatience, "the second publisher to wait", func() bool {
			return f.ask("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted") == 1
		})
		// Its announcement may still overtake the other one's: the rows are what is in order.
		finish()
		waiting.Wait()
	}
	entries := f.all("/a")
	for i := 1; i < len(entries); i++ {
		if entries[i].id <= entries[i-1].id {
			t.Errorf("message %d has the id %d, and the one before has %d", entries[i].number, entries[i].id, entries[i-1].id)
		}
	}
	f.wantNoLoss(f.verdict())
	f.wantGaps()
}

// The gem stores such a message and then fails to announce it.
func TestFaultPostgres_LongMessageThatNobodyAnnouncedIsFound(t *testing.T) {
	t.Parallel()
	f := newPostgresFaultIn(t, stores.PostgresShared(t), nil)
	f.publishAll(1)
	f.awaitSeen()
	p := f.plainPublisher()
	long := func() {
		_, err := f.keep("/a", func(number int) (int64, error) {
			id, err := p.insert("/a", fmt.Sprint(number)+strings.Repeat(" ", 8000))
			if err == nil && p.announce(id, "/a") == nil {
				t.Errorf("a message of 8000 bytes was announced; the test needs one that cannot be")
			}
			return id, err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	long()
	f.publishAll(1) // by what comes next
	f.awaitSeen()
	long()
	f.awaitSeen() // or by itself
	f.wantSoon(faultBound + slack)
	f.wantNoLoss(f.verdict())
	f.wantGaps()
	if late := f.reader.Health().Late; late > 0 {
		t.Errorf("%d messages came late", late)
	}
}

// The figure is the server's own; here it comes from a function that hides that one.
func TestFaultPostgres_FillingNotificationQueueIsToldByHealth(t *testing.T) {
	t.Parallel()
	url := stores.PostgresShared(t)
	execPostgres(t, url, `CREATE SCHEMA figures; CREATE TABLE figures.usage AS SELECT 0.1::float8 AS share;
		CREATE FUNCTION figures.pg_notification_queue_usage() RETURNS float8 LANGUAGE sql AS 'SELECT share FROM figures.usage'`)
	f := newPostgresFaultIn(t, url+"&search_path=figures,pg_catalog,public", nil)
	f.publishAll(1)
	f.testQueue(func() { f.exec("UPDATE figures.usage SET share = 0.5") }, func() { f.exec("UPDATE figures.usage SET share = 0.4") })
}

// testQueue checks that Health tells of a queue that is filling up, and nothing suffers.
func (f *postgresFault) testQueue(fill, empty func()) {
	f.Helper()
	warned := func() bool {
		return strings.Contains(strings.Join(f.reader.Health().Reasons, "; "), "notification queue")
	}
	fill()
	eventually(f.T, faultBound+slack, "the warning", warned)
	if f.reader.Health().OK {
		f.Error("health is well while the queue is filling up")
	}
	f.publishAll(5)
	f.awaitSeen()
	empty()
	awaitHealth(f.T, f.reader, faultBound+slack, true)
	f.wantNoLoss(f.verdict())
	f.wantGaps()
}

// Since version 17 the queue may be small: half of it is 256 KB.
func TestFaultPostgres_QueueThatOneSessionFillsRefusesPublishesForCertain(t *testing.T) {
	t.Parallel()
	versions := stores.PostgresVersions()
	newest := versions[len(versions)-1]
	if len(newest) < 2 || newest < "17" {
		t.Fatalf("Postgres 17 or newer is needed, the newest here is %s; scripts/setup.sh test fetches one", newest)
	}
	f := newPostgresFault(t, stores.PostgresOptions{Version: newest, Config: []string{"max_notify_queue_pages=64"}})
	f.publishAll(1)
	culprit := postgresConn(t, f.url)
	for _, sql := range []string{"LISTEN something", "BEGIN", "SELECT 1"} {
		if _, err := culprit.Exec(t.Context(), sql); err != nil {
			t.Fatal(err)
		}
	}
	fill := func() error {
		_, err := f.publisher.Publish(t.Context(), "/filler", strings.Repeat("x", 7000))
		return err
	}
	f.testQueue(func() {
		eventually(t, faultPatience, "half of the queue to be full", func() bool {
			return fill() != nil || f.ask("SELECT (pg_notification_queue_usage() > 0.55)::int") == 1
		})
	}, func() {
		var err error
		eventually(t, faultPatience, "the queue to be full", func() bool { err = fill(); return err != nil })
		f.wantPlain(err)
		if _, err := culprit.Exec(context.Background(), "COMMIT; UNLISTEN *"); err != nil {
			t.Fatal(err)
		}
		eventually(t, faultPatience, "room in the queue", func() bool {
			_, err := f.publish(t.Context(), f.publisher, "/a")
			return err == nil
		})
	})
}

func TestFaultPostgres_TooManyConnectionsRefusePublishesForCertainAndSpareTheFeed(t *testing.T) {
	t.Parallel()
	f := newPostgresFault(t, stores.PostgresOptions{Config: []string{"max_connections=12", "superuser_reserved_connections=0", "max_wal_senders=0"}})
	f.publishAll(5)
	f.awaitSeen()
	late := f.newBus(f.url, nil)
	var crowd []*pgx.Conn
	for {
		conn, err := pgx.Connect(t.Context(), f.url)
		if err != nil {
			break
		}
		crowd = append(crowd, conn)
	}
	_, err := f.publish(t.Context(), late, "/a")
	f.wantPlain(err)
	f.publishAll(5) // over connections that are there
	f.awaitSeen()

	f.proxy.Cut() // the feed comes back only when there is room
	for _, conn := range crowd[:2] {
		conn.Close(context.Background())
	}
	awaitHealth(t, f.reader, faultPatience, true)
	for _, conn := range crowd[2:] {
		conn.Close(context.Background())
	}
	if _, err := f.publish(t.Context(), late, "/a"); err != nil {
		t.Errorf("with room again: %v", err)
	}
	f.verdict()
	f.wantGaps()
}

func TestFaultPostgres_PoolerThatIsKilledCostsNoMessage(t *testing.T) {
	t.Parallel()
	server := stores.Postgres(t)
	pooler := stores.PgBouncer(t, server)
	direct, err := pgx.ParseConfig(server.URL("postgres"))
	if err != nil {
		t.Fatal(err)
	}
	f := newPostgresFaultIn(t, pooler.URL("postgres")+"&default_query_exec_mode=exec", &pgbus.Options{ListenConfig: direct}, seldomCompared)
	f.publishAll(5)
	f.awaitSeen()
	load := f.load(4, 5*time.Millisecond)
	for range 3 {
		f.awaitPublished(30)
		pooler.Kill()
		pooler.Start()
	}
	f.awaitPublished(30)
	load.stop()
	v := f.verdict()
	f.wantNoLoss(v)
	f.wantGaps()
}

func TestFaultPostgres_SwallowedAnswersAreNoticedWithinTheBound(t *testing.T) {
	testHalfOpenPostgres(t, faultproxy.ToClient, true)
}

func TestFaultPostgres_SwallowedRequestsAreNoticedWithinTheBound(t *testing.T) {
	testHalfOpenPostgres(t, faultproxy.ToServer, true)
}

func TestFaultPostgres_SilentFeedAloneIsNoticedWithinTheBound(t *testing.T) {
	testHalfOpenPostgres(t, faultproxy.ToClient, false)
}

// testHalfOpenPostgres swallows one direction of the subscribers' connections, all or
// that of the feed alone, while nobody publishes.
func testHalfOpenPostgres(t *testing.T, direction faultproxy.Direction, all bool) {
	t.Helper()
	t.Parallel()
	f := newPostgresFaultIn(t, stores.PostgresShared(t), nil)
	if !all {
		f.listenApart()
	}
	f.publishAll(5)
	f.awaitSeen()
	downs := f.feedDowns.Load()
	f.proxy.Swallow(direction)
	eventually(t, faultBound+slack, "the feed to be given up", func() bool { return f.feedDowns.Load() > downs })
	awaitHealth(t, f.reader, faultBound+slack, false)
	f.publishAll(5)
	if f.reader.Health().OK {
		t.Error("health is well while nothing passes")
	}
	f.proxy.Restore()
	f.wantNoLoss(f.verdict())
	f.wantGaps()
	f.wantFailures()
	f.proxy.Cut() // pgx would wait 15 s for the last word of connections that are silent
}

// listenApart leaves nothing to the proxy but the feed, of a new reader.
func (f *postgresFault) listenApart() {
	f.Helper()
	listen, err := pgx.ParseConfig(throughProxy(f.url, f.proxy))
	if err != nil {
		f.Fatal(err)
	}
	near := postgresPeer(f.T, f.url, nil)
	far := postgresPeer(f.T, f.url, &pgbus.Options{ListenConfig: listen})
	f.faultPeers = newFaultPeers(f.T, near, far)
}
