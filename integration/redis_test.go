package integration_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/messagebus-go/messagebus/bus/driver"
	"github.com/messagebus-go/messagebus/bus/drivertest"
	"github.com/messagebus-go/messagebus/bus/redisbus"
	"github.com/messagebus-go/messagebus/integration/stores"
)

// What is special about Redis, and no claim of the suite for all stores.

var redisLimits = driver.Limits{MaxSize: 1000, MaxGlobalSize: 2000, MaxAge: 168 * time.Hour, ClearEvery: 1}

// These go through other ways to a server than TestRedis_Conforms. Their claims
// share one: each has a database, or a tag, of its own.
func TestRedis_ConformsHoweverItIsReached(t *testing.T) {
	t.Parallel()
	databases := []string{"databases 200"}
	socket := stores.RedisWith(t, stores.RedisOptions{Config: databases, Socket: true, User: "bus", Password: "p/w%?@:"})
	encrypted := stores.RedisWith(t, stores.RedisOptions{Config: databases, TLS: true})
	group := stores.RedisCluster(t)
	for name, open := range map[string]func(testing.TB, int) driver.Backend{
		"socket": func(tb testing.TB, n int) driver.Backend {
			client := socket.Client(tb, func(o *redis.Options) { o.Network, o.Addr, o.DB = "unix", socket.Socket(), n })
			return redisPeer(tb, client, &redisbus.Options{PubSubDB: fmt.Sprint(n)})
		},
		"TLS": func(tb testing.TB, n int) driver.Backend {
			client := encrypted.Client(tb, func(o *redis.Options) { o.DB = n })
			return redisPeer(tb, client, &redisbus.Options{PubSubDB: fmt.Sprint(n)})
		},
		"cluster": func(tb testing.TB, n int) driver.Backend {
			return redisPeer(tb, group.Client(tb), &redisbus.Options{HashTag: fmt.Sprint(n)})
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var stores atomic.Int64
			drivertest.Run(t, drivertest.Harness{
				Features: drivertest.Features{NoInterrupt: true, NoWipe: true},
				Open: func(testing.TB) drivertest.Store {
					n := int(stores.Add(1))
					return drivertest.Store{Dial: func(tb testing.TB) driver.Backend { return open(tb, n) }}
				},
			})
		})
	}
}

// A redisBundle is a server, a client for looking at it, and a peer.
type redisBundle struct {
	*testing.T

	server *stores.RedisServer
	client *redis.Client
	peer   *redisbus.Backend
}

func setupRedis(t *testing.T) redisBundle {
	t.Helper()
	s := stores.Redis(t)
	return redisBundle{t, s, s.Client(t), redisPeer(t, s.Client(t), nil)}
}

func (b redisBundle) publish(channel string, l driver.Limits) driver.Position {
	b.Helper()
	p, err := b.peer.Publish(b.Context(), channel, []byte(`"x"`), l)
	if err != nil {
		b.Fatal(err)
	}
	return p
}

func (b redisBundle) page(r driver.Range) driver.Page {
	b.Helper()
	s, err := b.peer.Read(b.Context(), []driver.Range{r})
	if err != nil {
		b.Fatal(err)
	}
	return s.Pages[0]
}

func (b redisBundle) wantGlobalIDs(what string, messages []driver.Message, want ...int64) {
	b.Helper()
	var got []int64
	for _, m := range messages {
		got = append(got, m.GlobalID)
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		b.Errorf("%s: global ids %v, want %v", what, got, want)
	}
}

func aged(age time.Duration) driver.Limits {
	l := redisLimits
	l.MaxAge = age
	return l
}

func TestRedis_PublishSurvivesScriptFlush(t *testing.T) {
	t.Parallel()
	b := setupRedis(t)
	for range 3 {
		b.publish("/a", redisLimits)
		b.server.Do(t, "script", "flush")
	}
	b.wantGlobalIDs("backlog", b.page(driver.Range{Channel: "/a"}).Messages, 1, 2, 3)
}

func TestRedis_PublishOfAWrongTypeChangesNothing(t *testing.T) {
	t.Parallel()
	for name, scene := range map[string][]any{
		"the channel's backlog":       {"set", "__mb_backlog_n_/a", "x"},
		"the global backlog":          {"set", "__mb_global_backlog_n", "x"},
		"the channel's id":            {"rpush", "__mb_backlog_id_n_/a", "x"},
		"the global id":               {"rpush", "__mb_global_id_n", "x"},
		"the channel's id, no number": {"set", "__mb_backlog_id_n_/a", "x"},
		"the global id, no number":    {"set", "__mb_global_id_n", "1.5"},
	} {
		b := setupRedis(t)
		b.client.Do(t.Context(), scene...)
		before := b.client.Keys(t.Context(), "*").Val()
		_, err := b.peer.Publish(t.Context(), "/a", []byte(`"x"`), redisLimits)
		if err == nil || errors.Is(err, driver.ErrUnknownOutcome) {
			t.Errorf("%s: %v, want an error that says nothing was stored", name, err)
		}
		if after := b.client.Keys(t.Context(), "*").Val(); len(after) != len(before) {
			t.Errorf("%s: keys %v, before %v", name, after, before)
		}
	}
}

// A user of Redis 7 has no pub/sub channels unless somebody gives them.
func TestRedis_PublishWithoutTheChannelsPermissionChangesNothing(t *testing.T) {
	t.Parallel()
	b := setupRedis(t)
	b.publish("/a", redisLimits)
	b.server.Do(t, "acl", "setuser", "deaf", "on", ">p", "~__mb_*", "resetchannels", "+@all")
	deaf := redisPeer(t, b.server.Client(t, func(o *redis.Options) { o.Username, o.Password = "deaf", "p" }), nil)
	for _, channel := range []string{"/a", "/new"} {
		_, err := deaf.Publish(t.Context(), channel, []byte(`"x"`), redisLimits)
		if err == nil || errors.Is(err, driver.ErrUnknownOutcome) {
			t.Errorf("%s: %v, want an error that says nothing was stored", channel, err)
		}
	}
	if p := b.publish("/a", redisLimits); p != (driver.Position{GlobalID: 2, ID: 2}) {
		t.Errorf("position %+v, want 2, 2", p)
	}
	if p := b.publish("/new", redisLimits); p != (driver.Position{GlobalID: 3, ID: 1}) {
		t.Errorf("position %+v, want 3, 1", p)
	}
}

func TestRedis_WithoutInfoThereIsNoTimeline(t *testing.T) {
	t.Parallel()
	b := setupRedis(t)
	b.server.Do(t, "acl", "setuser", "plain", "on", ">p", "~*", "&*", "+@all", "-info")
	plain := redisPeer(t, b.server.Client(t, func(o *redis.Options) { o.Username, o.Password = "plain", "p" }), nil)
	b.publish("/a", redisLimits)
	for range 2 {
		page, err := plain.GlobalBacklog(t.Context(), 0, 0)
		if err != nil || len(page.Messages) != 1 {
			t.Fatalf("global backlog: %d messages, %v", len(page.Messages), err)
		}
		s, err := plain.Read(t.Context(), []driver.Range{{Channel: "/a"}})
		if err != nil || len(s.Pages[0].Messages) != 1 {
			t.Fatalf("read: %+v, %v", s, err)
		}
		if state, err := plain.State(t.Context()); err != nil || state.GlobalID != 1 || state.Timeline != "" {
			t.Fatalf("state %+v, %v; want global id 1 and no timeline", state, err)
		}
	}
}

func TestRedis_GlobalBacklogLivesAsLongAsItsLongestMessage(t *testing.T) {
	t.Parallel()
	b := setupRedis(t)
	ttl := func(key string) time.Duration { return b.client.TTL(t.Context(), key).Val() }
	b.publish("/a", aged(time.Hour))
	b.publish("/b", aged(time.Minute))
	b.publish("/c", aged(0))
	if got := ttl("__mb_global_backlog_n"); got < 59*time.Minute {
		t.Errorf("the global backlog lives %v, want 1h", got)
	}
	b.publish("/a", aged(2*time.Hour))
	for _, key := range []string{"__mb_global_backlog_n", "__mb_backlog_n_/a", "__mb_backlog_id_n_/a"} {
		if got := ttl(key); got < 119*time.Minute {
			t.Errorf("%s lives %v, want 2h", key, got)
		}
	}
	for _, key := range []string{"__mb_global_id_n", "__mb_epoch"} {
		if got := ttl(key); got > 0 {
			t.Errorf("%s lives %v, want to last", key, got)
		}
	}
}

func TestRedis_IDsGoOnAboveABacklogWhoseIDKeyIsGone(t *testing.T) {
	t.Parallel()
	b := setupRedis(t)
	for range 3 {
		b.publish("/a", redisLimits)
	}
	b.client.Del(t.Context(), "__mb_backlog_id_n_/a")
	for _, r := range []driver.Range{{Channel: "/a"}, {Channel: "/a", After: math.MaxInt64}, {Channel: "/a", Tail: 1}, {Channel: "/a", After: 1}} {
		if p := b.page(r); p.LastID != 3 || p.Loss != driver.LossNone {
			t.Errorf("%+v: last id %d, loss %d; want 3, none", r, p.LastID, p.Loss)
		}
	}
	if p := b.publish("/a", redisLimits); p != (driver.Position{GlobalID: 4, ID: 4}) {
		t.Errorf("position %+v, want 4, 4", p)
	}
}

// As the gem leaves it: its ids begin again at 1 while older messages survive.
func TestRedis_ReadsAChannelWhoseIDsBeganAgain(t *testing.T) {
	t.Parallel()
	b := setupRedis(t)
	for range 3 {
		b.publish("/a", redisLimits)
	}
	ctx := t.Context()
	b.client.Set(ctx, "__mb_backlog_id_n_/a", 1, 0)
	b.client.Set(ctx, "__mb_global_id_n", 4, 0)
	b.client.ZAdd(ctx, "__mb_backlog_n_/a", redis.Z{Score: 1, Member: `4|1|/a|"again"`})
	b.client.ZAdd(ctx, "__mb_global_backlog_n", redis.Z{Score: 4, Member: "1|/a"})

	p := b.page(driver.Range{Channel: "/a"})
	b.wantGlobalIDs("backlog", p.Messages, 1, 2, 3, 4)
	if p.LastID != 1 {
		t.Errorf("last id %d, want 1, which tells a reader at 3 that ids began again", p.LastID)
	}
	if p := b.page(driver.Range{Channel: "/a", After: 1}); p.Anchor.GlobalID != 4 {
		t.Errorf("the anchor at id 1 has the global id %d, want that of the newer message, 4", p.Anchor.GlobalID)
	}
	global, err := b.peer.GlobalBacklog(ctx, 0, 0)
	if err != nil || global.Loss == driver.LossNone {
		t.Errorf("global backlog: loss %d, %v; the pointer to message 1 has moved: want a loss", global.Loss, err)
	}
	b.wantGlobalIDs("global backlog", global.Messages, 2, 3, 4)
}

func TestRedis_AMemberThatIsNoMessageIsHandedOut(t *testing.T) {
	t.Parallel()
	b := setupRedis(t)
	for range 3 {
		b.publish("/a", redisLimits)
	}
	ctx := t.Context()
	b.client.ZRemRangeByScore(ctx, "__mb_backlog_n_/a", "2", "2")
	b.client.ZAdd(ctx, "__mb_backlog_n_/a", redis.Z{Score: 2, Member: "garbage"})
	p := b.page(driver.Range{Channel: "/a"})
	b.wantGlobalIDs("backlog", p.Messages, 1, 2, 3)
	if m := p.Messages[1]; m.ID != 2 || m.Channel != "/a" || string(m.Data) != "garbage" {
		t.Errorf("%+v, want id 2 of /a and garbage as its data", m)
	}
	global, err := b.peer.GlobalBacklog(ctx, 0, 0)
	if err != nil || global.Loss == driver.LossNone {
		t.Errorf("global backlog: loss %d, %v; want one", global.Loss, err)
	}
	b.wantGlobalIDs("global backlog", global.Messages, 1, 3)
}

func TestRedis_GlobalBacklogReadsOnWhereMostPointersLeadNowhere(t *testing.T) {
	t.Parallel()
	b := setupRedis(t)
	l := driver.Limits{MaxSize: 1, MaxGlobalSize: 1_000_000, MaxAge: time.Hour, ClearEvery: 1}
	for range 4500 {
		b.publish("/a", l)
	}
	b.publish("/b", l)
	p, err := b.peer.GlobalBacklog(t.Context(), 0, 2)
	if err != nil || p.Loss != driver.LossCertain {
		t.Errorf("loss %d, %v; want a loss", p.Loss, err)
	}
	b.wantGlobalIDs("the oldest 2", p.Messages, 4500, 4501)
}

func TestRedis_FeedEndsWithItsConnectionOnly(t *testing.T) {
	t.Parallel()
	b := setupRedis(t)
	feed, err := b.peer.Listen(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer feed.Close()
	b.server.Do(t, "client", "kill", "type", "normal")
	b.server.Do(t, "flushall")
	b.server.Do(t, "publish", "_message_bus_0", "$$UNSUBSCRIBE")
	b.server.Do(t, "publish", "_message_bus_0", "garbage")
	b.server.Do(t, "publish", "_message_bus_1", "1|1|/other|x")
	if m, err := feed.Next(t.Context()); err != nil || m.GlobalID != 0 || string(m.Data) != "garbage" {
		t.Errorf("%+v, %v; want what cannot be decoded, without a global id", m, err)
	}
	b.server.Do(t, "client", "kill", "type", "pubsub")
	if m, err := feed.Next(t.Context()); err == nil {
		t.Errorf("%+v, want the end of the feed", m)
	}
}

func TestRedis_FeedOfASlowReaderIsCutByTheServer(t *testing.T) {
	t.Parallel()
	b := setupRedis(t)
	b.server.Do(t, "config", "set", "client-output-buffer-limit", "pubsub 1mb 0 0")
	feed, err := b.peer.Listen(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer feed.Close()
	data := make([]byte, 1<<20)
	published := int64(0)
	for b.client.PubSubNumSub(t.Context(), "_message_bus_0").Val()["_message_bus_0"] > 0 {
		p, err := b.peer.Publish(t.Context(), "/a", data, driver.Limits{ClearEvery: 1})
		if err != nil {
			t.Fatal(err)
		}
		published = p.GlobalID
	}
	for want := int64(1); ; want++ {
		m, err := feed.Next(t.Context())
		if err != nil {
			return
		}
		if m.GlobalID != want || want > published {
			t.Fatalf("global id %d, want %d or the end", m.GlobalID, want)
		}
	}
}

func TestRedis_HungServerIsNoticedByDeadlines(t *testing.T) {
	t.Parallel()
	b := setupRedis(t)
	feed, err := b.peer.Listen(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer feed.Close()
	b.publish("/a", redisLimits)
	b.server.Pause()
	defer b.server.Continue()
	for name, call := range map[string]func(context.Context) error{
		"Ping":    feed.Ping,
		"State":   func(ctx context.Context) error { _, err := b.peer.State(ctx); return err },
		"Listen":  func(ctx context.Context) error { _, err := b.peer.Listen(ctx); return err },
		"Publish": func(ctx context.Context) error { _, err := b.peer.Publish(ctx, "/a", nil, redisLimits); return err },
	} {
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		began := time.Now()
		err := call(ctx)
		if !errors.Is(err, context.DeadlineExceeded) || time.Since(began) > time.Second {
			t.Errorf("%s: %v after %v, want the deadline's error after 100ms", name, err, time.Since(began))
		}
		if name == "Publish" && !errors.Is(err, driver.ErrUnknownOutcome) {
			t.Errorf("Publish: %v, want ErrUnknownOutcome", err)
		}
		cancel()
	}
}

func TestRedis_ReplicaIsReadOnlyAndOnTheSameTimeline(t *testing.T) {
	t.Parallel()
	b := setupRedis(t)
	replica := stores.RedisWith(t, stores.RedisOptions{ReplicaOf: b.server})
	waiting := redisPeer(t, b.server.Client(t), &redisbus.Options{WaitReplicas: 1})
	if _, err := waiting.Publish(t.Context(), "/a", []byte(`"x"`), redisLimits); err != nil {
		t.Fatalf("publish to a server with a replica: %v", err)
	}
	peer := redisPeer(t, replica.Client(t), nil)
	feed, err := peer.Listen(t.Context())
	if err != nil {
		t.Fatalf("listen on a replica: %v", err)
	}
	defer feed.Close()
	if _, err := peer.Publish(t.Context(), "/a", []byte(`"x"`), redisLimits); !errors.Is(err, driver.ErrReadOnly) {
		t.Errorf("publish to a replica: %v, want driver.ErrReadOnly", err)
	}
	want, _ := b.peer.State(t.Context())
	got, err := peer.State(t.Context())
	if err != nil || !got.ReadOnly || got.Timeline != want.Timeline || want.ReadOnly {
		t.Errorf("the replica is %+v, %v; its master %+v", got, err, want)
	}
	replica.Do(t, "replicaof", "no", "one")
	if now, err := peer.State(t.Context()); err != nil || now.ReadOnly || now.Timeline == got.Timeline {
		t.Errorf("after its promotion the replica is %+v, %v; before %+v", now, err, got)
	}
	short := &redisbus.Options{WaitReplicas: 2, WaitTimeout: 20 * time.Millisecond}
	_, err = redisPeer(t, b.server.Client(t), short).Publish(t.Context(), "/a", []byte(`"x"`), redisLimits)
	if !errors.Is(err, driver.ErrUnknownOutcome) {
		t.Errorf("publish for two replicas: %v, want driver.ErrUnknownOutcome", err)
	}
}

func TestRedis_ResetLeavesOtherKeysAlone(t *testing.T) {
	t.Parallel()
	b := setupRedis(t)
	before, err := b.peer.State(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for i := range 50 {
		b.publish(fmt.Sprint("/", i), redisLimits)
	}
	b.client.Set(t.Context(), "mine", "x", 0)
	if err := b.peer.Reset(t.Context()); err != nil {
		t.Fatal(err)
	}
	if keys := b.client.Keys(t.Context(), "*").Val(); fmt.Sprint(keys) != "[mine]" {
		t.Errorf("keys %v, want what is not the store's", keys)
	}
	if after, err := b.peer.State(t.Context()); err != nil || after.GlobalID != 0 || after.Epoch == before.Epoch {
		t.Errorf("state %+v, %v; before %+v", after, err, before)
	}
}

func TestRedis_FailoverEndsTheFeedAndChangesTheTimeline(t *testing.T) {
	t.Parallel()
	group := stores.Sentinel(t)
	peer := redisPeer(t, group.Client(t), &redisbus.Options{WaitReplicas: 2})
	feed, err := peer.Listen(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer feed.Close()
	stored, err := peer.Publish(t.Context(), "/a", []byte(`"before"`), redisLimits)
	if err != nil {
		t.Fatal(err)
	}
	before, err := peer.State(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	group.Failover()
	for err == nil {
		_, err = feed.Next(t.Context())
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	after := awaitMaster(ctx, t, peer)
	if after.Timeline == before.Timeline || after.Epoch != before.Epoch || after.GlobalID != stored.GlobalID {
		t.Errorf("state %+v after the failover, %+v before: want another timeline, and what was replicated", after, before)
	}
}

// awaitMaster waits until the client has found a server that takes writes.
func awaitMaster(ctx context.Context, t *testing.T, peer *redisbus.Backend) driver.State {
	t.Helper()
	retry := time.NewTicker(50 * time.Millisecond)
	defer retry.Stop()
	for {
		state, err := peer.State(ctx)
		if err == nil && !state.ReadOnly {
			return state
		}
		select {
		case <-retry.C:
		case <-ctx.Done():
			t.Fatalf("no master was found: %+v, %v", state, err)
		}
	}
}
