package integration_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/messagebus-go/messagebus/bus/driver"
	"github.com/messagebus-go/messagebus/bus/pgbus"
)

// A trim begins where others have ended, and whatever anybody did in between, it has
// to leave what one leaves that looks at everything.
func TestPostgres_TrimsLeaveWhatTheLimitsSay(t *testing.T) {
	t.Parallel()
	const steps = 2500
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	b := setupPostgres(t)
	execPostgres(t, b.url, pgbus.Schema())
	s := &trimStory{
		postgresBundle: b,
		random:         rand.New(rand.NewPCG(seed, 0)),
		ruby:           postgresConn(t, b.url),
		peers:          []*pgbus.Backend{b.peer, postgresPeer(t, b.url, nil), postgresPeer(t, b.url, nil)},
	}
	for step := range steps {
		what := s.step()
		if got := s.stored(); !slices.Equal(got, s.want) {
			t.Fatalf("step %d, %s: stored are\n%v\nwant\n%v", step, what, got, s.want)
		}
	}
}

// A trimStory is what happens to a table, and what has to be in it.
type trimStory struct {
	postgresBundle

	random *rand.Rand
	ruby   *pgx.Conn
	peers  []*pgbus.Backend
	want   []row
}

type row struct {
	id      int64
	channel string
}

func (s *trimStory) step() string {
	switch n := s.random.IntN(1000); {
	case n < 2:
		return s.truncate()
	case n < 10:
		return s.deleteOldest()
	case n < 100:
		return s.insert()
	default:
		return s.publishOne()
	}
}

func (s *trimStory) channel() string {
	if s.random.IntN(3) > 0 {
		return "/busy"
	}
	return fmt.Sprint("/", s.random.IntN(5))
}

func (s *trimStory) publishOne() string {
	pick := func(of ...int) int { return of[s.random.IntN(len(of))] }
	channel, limits := s.channel(), postgresLimits
	limits.MaxSize = pick(90, 90, 90, 90, 90, 90, 90, 100, 20)
	if s.random.IntN(100) == 0 {
		limits.MaxSize = pick(0, 1, 2, 1<<62)
	}
	limits.MaxGlobalSize = pick(150, 150, 150, 1000)
	limits.ClearEvery = pick(1, 1, 1, 3)
	if s.random.IntN(200) == 0 {
		limits.MaxAge = 0
	}
	p, err := s.peers[s.random.IntN(len(s.peers))].Publish(context.Background(), channel, []byte(`"x"`), limits)
	if err != nil {
		s.Fatal(err)
	}
	s.want = append(s.want, row{p.ID, channel})
	if p.ID%int64(limits.ClearEvery) == 0 {
		s.trim(p.ID, channel, limits)
	}
	return fmt.Sprintf("publish %d on %s with %+v", p.ID, channel, limits)
}

// trim does to want what is written in the gem's documentation.
func (s *trimStory) trim(id int64, channel string, limits driver.Limits) {
	newer := 0
	for _, r := range s.want {
		if r.channel == channel {
			newer++
		}
	}
	s.want = slices.DeleteFunc(s.want, func(r row) bool {
		if r.channel == channel {
			newer--
			return newer >= limits.MaxSize || limits.MaxAge == 0 || r.id <= id-int64(limits.MaxGlobalSize)
		}
		return r.id <= id-int64(limits.MaxGlobalSize)
	})
}

// insert is what a Ruby peer does whose limits are far away.
func (s *trimStory) insert() string {
	channel := s.channel()
	var id int64
	err := s.ruby.QueryRow(context.Background(), "INSERT INTO message_bus (channel, value) VALUES ($1, '{}') RETURNING id", channel).Scan(&id)
	if err != nil {
		s.Fatal(err)
	}
	s.want = append(s.want, row{id, channel})
	return fmt.Sprintf("insert %d on %s", id, channel)
}

// deleteOldest is a trim of a Ruby peer whose limits are near.
func (s *trimStory) deleteOldest() string {
	if len(s.want) == 0 {
		return "nothing"
	}
	last := s.want[s.random.IntN(len(s.want))]
	gone := func(r row) bool { return r.id <= last.id }
	sql := "DELETE FROM message_bus WHERE id <= $1 OR channel = $2"
	arguments := []any{last.id, ""}
	if s.random.IntN(2) == 0 {
		sql, arguments[1] = "DELETE FROM message_bus WHERE id <= $1 AND channel = $2", last.channel
		gone = func(r row) bool { return r.id <= last.id && r.channel == last.channel }
	}
	if _, err := s.ruby.Exec(context.Background(), sql, arguments...); err != nil {
		s.Fatal(err)
	}
	s.want = slices.DeleteFunc(s.want, gone)
	return fmt.Sprint(sql, arguments)
}

func (s *trimStory) truncate() string {
	const sql = "TRUNCATE message_bus RESTART IDENTITY"
	if _, err := s.ruby.Exec(context.Background(), sql); err != nil {
		s.Fatal(err)
	}
	s.want = nil
	return sql
}

func (s *trimStory) stored() []row {
	rows, err := s.ruby.Query(context.Background(), "SELECT id, channel FROM message_bus ORDER BY id")
	if err != nil {
		s.Fatal(err)
	}
	var all []row
	var r row
	_, err = pgx.ForEachRow(rows, []any{&r.id, &r.channel}, func() error {
		all = append(all, r)
		return nil
	})
	if err != nil {
		s.Fatal(err)
	}
	return all
}

// What a peer remembers of a channel is no more true when ids have begun again, also
// where they have grown past it since.
func TestPostgres_TrimsForgetWhatWasBeforeAReset(t *testing.T) {
	t.Parallel()
	const size = 100
	b := setupPostgres(t)
	other := postgresBundle{t, b.url, postgresPeer(t, b.url, nil)}
	limits := postgresLimits
	limits.MaxSize = size
	for range 2 * size {
		b.publish("/a", `"x"`, limits)
	}
	execPostgres(t, b.url, "TRUNCATE message_bus RESTART IDENTITY")
	for range size { // up to where the oldest message was
		other.publish("/b", `"y"`, postgresLimits)
	}
	for range size / 2 {
		other.publish("/a", `"y"`, limits)
	}
	for range size {
		other.publish("/b", `"y"`, postgresLimits)
	}
	b.publish("/a", `"z"`, limits)
	if got := len(b.page(driver.Range{Channel: "/a"}).Messages); got != size/2+1 {
		t.Errorf("%d messages are stored, want %d, of which none is too many", got, size/2+1)
	}
}

// A publish on a channel that is full looks at a few of its messages, of whatever size
// the backlog is, and whoever else publishes there.
func TestPostgres_TrimsDoNotLookThroughTheBacklog(t *testing.T) {
	t.Parallel()
	const size, messages = 2000, 600
	b := setupPostgres(t)
	execPostgres(t, b.url, pgbus.Schema()+fmt.Sprintf(`
		INSERT INTO message_bus (channel, value) SELECT '/a', '{}' FROM generate_series(1, %d); ANALYZE message_bus`, size))
	limits := postgresLimits
	limits.MaxSize, limits.MaxGlobalSize = size, 3*size
	read := func() (entries int64) {
		err := postgresConn(t, b.url).QueryRow(context.Background(), `SELECT
			(SELECT sum(idx_tup_read) FROM pg_stat_user_indexes WHERE relname = 'message_bus')::bigint
			+ (SELECT seq_tup_read FROM pg_stat_user_tables WHERE relname = 'message_bus')`).Scan(&entries)
		if err != nil {
			t.Fatal(err)
		}
		return entries
	}
	before := read()
	var pools [2]*pgxpool.Pool
	var peers [2]*pgbus.Backend
	for i := range peers {
		pools[i] = postgresPool(t, b.url)
		var err error
		if peers[i], err = pgbus.New(pools[i], nil); err != nil {
			t.Fatal(err)
		}
	}
	for i := range messages {
		if _, err := peers[i%len(peers)].Publish(context.Background(), "/a", []byte(`"x"`), limits); err != nil {
			t.Fatal(err)
		}
	}
	for _, pool := range pools {
		pool.Close() // sessions that end report what they did
	}
	eventually(t, 20*time.Second, "all publishes are in the statistics", func() bool {
		var deleted int64
		err := postgresConn(t, b.url).QueryRow(context.Background(),
			"SELECT n_tup_del FROM pg_stat_user_tables WHERE relname = 'message_bus'").Scan(&deleted)
		return err == nil && deleted >= messages
	})
	if each := (read() - before) / messages; each > size/5 {
		t.Errorf("a publish read %d entries of tables and indexes, with a backlog of %d", each, size)
	} else {
		t.Logf("a publish read %d entries", each)
	}
}

// Publishes that wait for each other are sent together, and each leaves what its own
// limits say.
func TestPostgres_PublishesAtOnceTrimAsThoseOneByOne(t *testing.T) {
	t.Parallel()
	const publishers, each = 24, 40
	b := setupPostgres(t)
	sizes := map[string]int{"/a": 30, "/b": 5, "/c": 0}
	channels := []string{"/a", "/b", "/c"}
	var all sync.WaitGroup
	for i := range publishers {
		all.Go(func() {
			channel, limits := channels[i%len(channels)], postgresLimits
			limits.MaxSize = sizes[channel]
			for n := range each {
				if _, err := b.peer.Publish(context.Background(), channel, []byte(fmt.Sprintf(`"%d %d"`, i, n)), limits); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	all.Wait()
	for channel, want := range sizes {
		if got := len(b.page(driver.Range{Channel: channel}).Messages); got != want {
			t.Errorf("%s: %d messages are stored, want the newest %d", channel, got, want)
		}
	}
	if got := b.state().GlobalID; got != publishers*each {
		t.Errorf("%d ids were given, want %d", got, publishers*each)
	}
}
