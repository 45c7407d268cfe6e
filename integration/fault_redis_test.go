package integration_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/messagebus-go/messagebus/bus"
	"github.com/messagebus-go/messagebus/integration/faultproxy"
	"github.com/messagebus-go/messagebus/integration/stores"
)

// Every fault of a Redis server that the bus is to survive, each on a server of its
// own, by the public API. Subscribers reach the server through a proxy, and publishers
// directly.

// A redisFault is a scene on one server.
type redisFault struct {
	*faultPeers

	server *stores.RedisServer
	proxy  *faultproxy.Proxy // between reader and server
}

func newRedisFault(t *testing.T, options stores.RedisOptions, adjust ...func(*bus.Options)) *redisFault {
	t.Helper()
	server := stores.RedisWith(t, options)
	proxy := faultproxy.Start(t, server.Addr())
	near := redisPeer(t, server.Client(t), nil)
	far := redisPeer(t, server.Client(t, func(o *redis.Options) { o.Addr = proxy.Address() }), nil)
	return &redisFault{newFaultPeers(t, near, far, adjust...), server, proxy}
}

// cutReader takes the subscribers away from the server, until the proxy's Restore.
func (f *redisFault) cutReader() {
	f.proxy.Refuse()
	f.proxy.Cut()
}

// executed is how many publishes the server has carried out since it was empty.
func (f *redisFault) executed() int64 {
	f.Helper()
	n, err := f.server.Client(f.T).Get(f.Context(), "__mb_global_id_n").Int64()
	if err != nil {
		f.Fatal(err)
	}
	return n
}

// After the restart more is published than before, so that ids alone show nothing.
func TestFaultRedis_RestartWithoutDataIsReportedAndAllThatIsNewComes(t *testing.T) {
	t.Parallel()
	f := newRedisFault(t, stores.RedisOptions{})
	f.publishAll(10)
	f.awaitSeen()
	f.cutReader()
	f.server.Stop()
	awaitHealth(t, f.reader, faultBound+slack, false)
	f.server.Start()
	f.publishAll(20)
	f.proxy.Restore()
	f.verdict()
	f.wantGaps(bus.GapReset)
	for _, r := range f.recorders {
		if gap := r.gaps(); len(gap) == 1 && (gap[0].After != 10 || gap[0].Next != 1) {
			t.Errorf("%s: %v, want it between the last old id, 10, and the first new one, 1", r.channel, gap[0])
		}
	}
}

func TestFaultRedis_RestartWithDataLosesNothing(t *testing.T) {
	t.Parallel()
	f := newRedisFault(t, stores.RedisOptions{Persistent: true})
	load := f.load(3, 5*time.Millisecond)
	f.awaitPublished(50)
	f.cutReader()
	f.server.Stop()
	awaitHealth(t, f.reader, faultBound+slack, false)
	f.server.Start()
	f.awaitPublished(50)
	f.proxy.Restore()
	f.awaitPublished(50)
	load.stop()
	f.wantNoLoss(f.verdict())
	for _, r := range f.recorders {
		if gaps := r.gaps(bus.GapReset, bus.GapTrimmed, bus.GapPossible); len(gaps) > 0 {
			t.Errorf("%s: %v; the server has all that was seen", r.channel, gaps)
		}
	}
}

func TestFaultRedis_CrashLosesNothingThatIsOnDisk(t *testing.T) {
	t.Parallel()
	f := newRedisFault(t, stores.RedisOptions{Persistent: true})
	load := f.load(3, 2*time.Millisecond)
	for range 3 {
		f.awaitPublished(50)
		f.server.Kill()
		awaitHealth(t, f.reader, faultBound+slack, false)
		f.proxy.Refuse()
		f.server.Start()
		f.awaitPublished(20)
		f.proxy.Restore()
	}
	load.stop()
	f.wantNoLoss(f.verdict())
}

// The bound is the default one.
func TestFaultRedis_HungServerIsNoticedWithinTheBoundAndCaughtUpWith(t *testing.T) {
	t.Parallel()
	const bound, hang = 10 * time.Second, 30 * time.Second
	f := newRedisFault(t, stores.RedisOptions{}, func(o *bus.Options) { o.LivenessBound = 0 })
	load := f.load(3, 10*time.Millisecond)
	f.awaitPublished(50)
	f.server.Pause()
	began := time.Now()
	awaitHealth(t, f.reader, bound+slack, false)
	eventually(t, hang+slack, "the hang to end", func() bool {
		if f.reader.Health().OK && time.Since(began) < hang {
			t.Fatalf("health is well %v after the server stopped to answer", time.Since(began))
		}
		return time.Since(began) > hang
	})
	f.server.Continue()
	awaitHealth(t, f.reader, bound+slack, true)
	f.awaitPublished(50)
	load.stop()
	v := f.verdict()
	f.wantNoLoss(v)
	f.wantGaps()
	if v.unknown == 0 {
		t.Error("no publish had an unknown outcome, although the server hung")
	}
	for _, channel := range faultChannels {
		for _, e := range f.all(channel) {
			if took := e.ended.Sub(e.began); took > 2*time.Second+slack {
				t.Errorf("publish %d took %v, its deadline was 2s: %v", e.number, took, e.err)
			}
		}
	}
}

func TestFaultRedis_FeedThatIsKilledIsRepaired(t *testing.T) {
	t.Parallel()
	f := newRedisFault(t, stores.RedisOptions{})
	load := f.load(2, 10*time.Millisecond)
	for range 10 {
		f.awaitPublished(5)
		downs := f.feedDowns.Load()
		f.server.Do(t, "client", "kill", "type", "pubsub")
		f.publishAll(2) // before it is back
		eventually(t, faultPatience, "the feed to be missed", func() bool { return f.feedDowns.Load() > downs })
		awaitHealth(t, f.reader, faultPatience, true)
	}
	load.stop()
	f.wantNoLoss(f.verdict())
	f.wantGaps()
	f.wantFailures()
}

func TestFaultRedis_PublisherThatIsKilledPublishesOnce(t *testing.T) {
	t.Parallel()
	f := newRedisFault(t, stores.RedisOptions{})
	load := f.load(8, time.Millisecond)
	for range 40 {
		f.awaitPublished(5)
		f.server.Do(t, "client", "kill", "type", "normal")
	}
	load.stop()
	v := f.verdict()
	f.wantNoLoss(v)
	f.wantGaps()
	if got, want := f.executed(), int64(v.acknowledged+v.unknownSaved); got != want {
		t.Errorf("%d publishes were carried out; %d messages were acknowledged, and %d more are there", got, v.acknowledged, v.unknownSaved)
	}
}

func TestFaultRedis_PublishWhoseAnswerIsLostIsNotRepeated(t *testing.T) {
	t.Parallel()
	f := newRedisFault(t, stores.RedisOptions{})
	f.publishAll(1)
	proxy := faultproxy.Start(t, f.server.Addr())
	remote := faultBus(t, redisPeer(t, f.server.Client(t, func(o *redis.Options) { o.Addr = proxy.Address() }), nil))
	for i := range 5 {
		if _, err := f.publish(t.Context(), remote, "/a"); err != nil {
			t.Fatal(err)
		}
		before := f.executed()
		proxy.Swallow(faultproxy.ToClient)
		var publishing sync.WaitGroup
		publishing.Go(func() {
			if _, err := f.publish(t.Context(), remote, "/a"); !errors.Is(err, bus.ErrUnknownOutcome) {
				t.Errorf("a publish whose answer was lost: %v, want ErrUnknownOutcome", err)
			}
		})
		eventually(t, faultPatience, "the publish to be carried out", func() bool { return f.executed() > before })
		proxy.Restore()
		proxy.Cut()
		publishing.Wait()
		if n := f.executed() - before; n != 1 {
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

// Nobody publishes until the subscribers know.
func TestFaultRedis_FlushedStoreIsNoticedWithinTheBound(t *testing.T) {
	t.Parallel()
	f := newRedisFault(t, stores.RedisOptions{})
	f.publishAll(10)
	f.awaitSeen()
	f.server.Do(t, "flushall")
	for _, r := range f.recorders {
		r.await("the gap", func(seen []sighting) bool { return seen[len(seen)-1].gap != nil })
	}
	f.publishAll(20)
	f.verdict()
	f.wantGaps(bus.GapReset)
	f.wantFailures()
}

func TestFaultRedis_StoreThatIsFlushedUnderLoadIsReported(t *testing.T) {
	t.Parallel()
	f := newRedisFault(t, stores.RedisOptions{})
	load := f.load(3, 2*time.Millisecond)
	for life := range 3 {
		f.awaitPublished(100)
		f.server.Do(t, "flushall")
		for _, r := range f.recorders {
			r.await("the reset", func([]sighting) bool { return len(r.gaps(bus.GapReset)) > life })
		}
	}
	f.awaitPublished(100)
	load.stop()
	f.verdict()
	f.wantFailures()
}

func TestFaultRedis_FlushedScriptsAreLoadedAgain(t *testing.T) {
	t.Parallel()
	f := newRedisFault(t, stores.RedisOptions{})
	load := f.load(4, time.Millisecond)
	for range 50 {
		f.awaitPublished(5)
		f.server.Do(t, "script", "flush")
	}
	load.stop()
	v := f.verdict()
	f.wantNoLoss(v)
	f.wantGaps()
	f.wantFailures()
	if got := f.executed(); got != int64(v.acknowledged) {
		t.Errorf("%d publishes were carried out, %d were acknowledged", got, v.acknowledged)
	}
}

// forgetID is what happens when the key that counts a channel's messages expires.
func (f *redisFault) forgetID(channel string) {
	f.Helper()
	f.server.Do(f.T, "del", "__mb_backlog_id_n_"+channel)
}

// publishAsRuby publishes as a Ruby peer does: it counts on from whatever the id key
// holds.
func (f *redisFault) publishAsRuby(channel string) int64 {
	f.Helper()
	id, err := f.keep(channel, func(number int) (int64, error) {
		client, ctx := f.server.Client(f.T), f.Context()
		globalID, id := client.Incr(ctx, "__mb_global_id_n").Val(), client.Incr(ctx, "__mb_backlog_id_n_"+channel).Val()
		message := fmt.Sprintf("%d|%d|%s|{\"data\":%d,\"user_ids\":null,\"group_ids\":null,\"client_ids\":null}",
			globalID, id, strings.ReplaceAll(channel, "|", "$$123$$"), number)
		pipe := client.TxPipeline()
		pipe.ZAdd(ctx, "__mb_backlog_n_"+channel, redis.Z{Score: float64(id), Member: message})
		pipe.ZAdd(ctx, "__mb_global_backlog_n", redis.Z{Score: float64(globalID), Member: fmt.Sprintf("%d|%s", id, channel)})
		pipe.Publish(ctx, "_message_bus_0", message)
		_, err := pipe.Exec(ctx)
		return id, err
	})
	if err != nil {
		f.Fatal(err)
	}
	return id
}

func TestFaultRedis_IDsGoOnWhereTheirKeyHasExpired(t *testing.T) {
	t.Parallel()
	f := newRedisFault(t, stores.RedisOptions{})
	f.publishAll(5)
	f.awaitSeen()
	f.forgetID("/a")
	f.publishAll(5)
	f.awaitSeen()

	f.cutReader()
	f.forgetID("/a")
	f.publishAll(5)
	f.proxy.Restore()
	f.awaitSeen()

	f.cutReader()
	f.forgetID("/a")
	awaitHealth(t, f.reader, faultPatience, false)
	f.proxy.Restore()
	awaitHealth(t, f.reader, faultPatience, true) // it has caught up, without the key
	f.publishAll(5)
	f.wantNoLoss(f.verdict())
	f.wantGaps()
	if last, err := f.publisher.LastID(t.Context(), "/a"); err != nil || last != 21 {
		t.Errorf("the last id is %d, %v; want 21, for 21 messages", last, err)
	}
}

func TestFaultRedis_IDsThatBeginAgainAreHandedOutLiveAndReportedAfterACut(t *testing.T) {
	t.Parallel()
	f := newRedisFault(t, stores.RedisOptions{})
	f.publishAll(5)
	f.awaitSeen()

	f.forgetID("/a")
	for want := range 3 {
		if id := f.publishAsRuby("/a"); id != int64(want+1) {
			t.Fatalf("id %d, want %d", id, want+1)
		}
	}
	f.publishAll(1)
	f.awaitSeen()
	f.wantGaps()

	for _, fresh := range []int{8, 2} { // more than before: the last id alone shows nothing; and fewer
		f.cutReader()
		f.forgetID("/a")
		for range fresh {
			f.publishAsRuby("/a")
		}
		f.proxy.Restore()
		f.awaitSeen()
	}
	f.wantNoLoss(f.verdict())
	for _, r := range f.recorders {
		if want := map[string]int{"/a": 2}[r.channel]; len(r.gaps()) != want || len(r.gaps(bus.GapReset)) != want {
			t.Errorf("%s: gaps %v, want %d resets; ids began again twice, on /a alone", r.channel, r.gaps(), want)
		}
	}
}

func TestFaultRedis_MessagesForAReadOnlyServerAreKeptInOrderAndWithTheirLimits(t *testing.T) {
	t.Parallel()
	f := newRedisFault(t, stores.RedisOptions{})
	f.publishAll(5)
	f.awaitSeen()
	f.server.Do(t, "replicaof", "127.0.0.1", "1") // nobody is there
	const queued = 20
	for n := range queued {
		channel := []string{"/a", "/short"}[n%2]
		f.wantQueued(channel, map[string]int{"/a": 1000, "/short": 3}[channel])
	}
	if h := f.publisher.Health(); h.OK || !h.ReadOnly || h.Queued != queued {
		t.Errorf("the publisher's health is %+v, want it read-only, with %d messages queued", h, queued)
	}
	awaitHealth(t, f.reader, faultBound+slack, false)
	if _, err := f.publisher.Publish(t.Context(), "/a", "x", bus.WithoutReadOnlyQueue()); !errors.Is(err, bus.ErrReadOnly) {
		t.Errorf("publish without a queue: %v, want ErrReadOnly", err)
	}
	f.server.Do(t, "replicaof", "no", "one")
	// It waits its turn, unless the queue is empty already.
	if _, err := f.publish(t.Context(), f.publisher, "/a"); err != nil && !errors.Is(err, bus.ErrQueued) {
		t.Error(err)
	}
	eventually(t, faultPatience, "the queue to be empty", func() bool { return f.publisher.Health().Queued == 0 })
	backlog, err := f.publisher.Backlog(t.Context(), "/short", 0)
	if err != nil || len(backlog) != 3 || backlog[2].ID != queued/2 {
		t.Errorf("the backlog is %v, %v; want the newest 3 of %d", backlog, err, queued/2)
	}
	f.verdict()
	f.wantGaps(bus.GapFailover)
	f.wantFailures(bus.ErrQueued)
	for _, r := range f.recorders {
		last, all := 0, f.all(r.channel)
		seen := slices.DeleteFunc(r.sightings(), func(s sighting) bool { return s.gap != nil })
		for _, s := range seen {
			if s.number < last {
				t.Errorf("%s: %d came after %d", r.channel, s.number, last)
			}
			last = s.number
		}
		if len(seen) != len(all) {
			t.Errorf("%s: %d messages came, %d were published", r.channel, len(seen), len(all))
		}
	}
	if h := f.publisher.Health(); !h.OK || h.ReadOnly || h.GivenUp != 0 {
		t.Errorf("the publisher's health is %+v after the promotion", h)
	}
}

func (f *redisFault) wantQueued(channel string, keep int) {
	f.Helper()
	if id, err := f.publish(f.Context(), f.publisher, channel, bus.MaxBacklogSize(keep)); id != 0 || !errors.Is(err, bus.ErrQueued) {
		f.Errorf("publish to a read-only server: %d, %v; want 0 and ErrQueued", id, err)
	}
}

// testHalfOpen swallows one direction of every connection of the subscribers, while
// nobody publishes.
func testHalfOpen(t *testing.T, direction faultproxy.Direction) {
	t.Helper()
	t.Parallel()
	f := newRedisFault(t, stores.RedisOptions{})
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
}

func TestFaultRedis_SwallowedAnswersAreNoticedWithinTheBound(t *testing.T) {
	testHalfOpen(t, faultproxy.ToClient)
}

func TestFaultRedis_SwallowedRequestsAreNoticedWithinTheBound(t *testing.T) {
	testHalfOpen(t, faultproxy.ToServer)
}

// refusal is a server that takes no writes for a reason of its own.
type refusal struct {
	begin, end func(f *redisFault)
	code       string
}

// testRefusal checks that publishes fail for certain, that health says so to those who
// do not publish, and that subscribers go on, even one whose feed is cut meanwhile.
func testRefusal(t *testing.T, options stores.RedisOptions, r refusal) {
	t.Helper()
	t.Parallel()
	f := newRedisFault(t, options)
	f.publishAll(5)
	f.awaitSeen()
	before := f.executed()
	r.begin(f)
	for _, channel := range faultChannels {
		_, err := f.publish(t.Context(), f.publisher, channel)
		if err == nil || !strings.Contains(err.Error(), r.code) || errors.Is(err, bus.ErrUnknownOutcome) || errors.Is(err, bus.ErrQueued) {
			t.Errorf("publish: %v, want %s and that nothing was stored", err, r.code)
		}
	}
	downs := f.feedDowns.Load()
	f.server.Do(t, "client", "kill", "type", "pubsub")
	eventually(t, faultPatience, "the feed to be missed", func() bool { return f.feedDowns.Load() > downs })
	eventually(t, faultPatience, "the feed to be live and the refusal in its health", func() bool {
		h := f.reader.Health()
		return h.Live && !h.OK && strings.Contains(fmt.Sprint(h.Reasons), r.code)
	})
	late := record(t, f.reader, "/a")
	downs = f.feedDowns.Load() // a busy machine may take more than one attempt
	began := time.Now()        // the feed is pinged three times within its bound
	eventually(t, faultBound, "half a bound to pass", func() bool { return time.Since(began) > faultBound/2 })
	if n := f.feedDowns.Load() - downs; n != 0 {
		t.Errorf("the feed was given up %d times once it was live, and was not cut", n)
	}
	if got := f.executed(); got != before {
		t.Errorf("%d publishes were carried out while the server refused them", got-before)
	}
	r.end(f)
	awaitHealth(t, f.reader, faultPatience, true)
	f.publishAll(5)
	f.recorders = append(f.recorders, late)
	f.wantNoLoss(f.verdict())
	f.wantGaps()
}

func TestFaultRedis_FullMemoryRefusesPublishesAndNothingElse(t *testing.T) {
	testRefusal(t, stores.RedisOptions{}, refusal{
		code: "OOM",
		begin: func(f *redisFault) {
			f.server.Do(f.T, "config", "set", "maxmemory", "1mb", "maxmemory-policy", "noeviction")
		},
		end: func(f *redisFault) { f.server.Do(f.T, "config", "set", "maxmemory", "0") },
	})
}

// Where a server cannot write its snapshots it takes no writes: a full disk looks the
// same to it as a folder in which nobody can create files.
func TestFaultRedis_FullDiskRefusesPublishesAndNothingElse(t *testing.T) {
	testRefusal(t, stores.RedisOptions{Config: []string{"dir /proc"}}, refusal{
		code: "MISCONF",
		begin: func(f *redisFault) {
			f.server.Do(f.T, "config", "set", "save", "3600 1000000")
			f.server.Do(f.T, "bgsave")
			client := f.server.Client(f.T)
			eventually(f.T, faultPatience, "the snapshot to fail", func() bool {
				return strings.Contains(client.Info(f.Context(), "persistence").Val(), "rdb_last_bgsave_status:err")
			})
		},
		end: func(f *redisFault) { f.server.Do(f.T, "config", "set", "save", "") },
	})
}

func TestFaultRedis_WrongPasswordIsToldAndMendedByTheRightOne(t *testing.T) {
	t.Parallel()
	const right, wrong = "correct-horse", "battery-staple"
	f := newRedisFault(t, stores.RedisOptions{Password: right})
	f.publishAll(5)
	f.awaitSeen()
	stranger := faultBus(t, redisPeer(t, f.server.Client(t, func(o *redis.Options) { o.Password = wrong }), nil))
	_, publishErr := stranger.Publish(t.Context(), "/a", "x")
	_, subscribeErr := stranger.Subscribe(t.Context(), "/a", bus.Latest())
	for what, err := range map[string]error{"publish": publishErr, "subscribe": subscribeErr} {
		if err == nil || !strings.Contains(err.Error(), "WRONGPASS") || errors.Is(err, bus.ErrUnknownOutcome) {
			t.Errorf("%s: %v, want the server's WRONGPASS", what, err)
		}
		if err != nil && strings.Contains(err.Error(), wrong) {
			t.Errorf("%s: the password is in %v", what, err)
		}
	}
	if f.executed() != 10 {
		t.Errorf("%d messages, 10 were published with the right password", f.executed())
	}

	// Now the password is changed under everybody.
	admin := f.server.Client(t).Conn()
	defer admin.Close()
	admin.ConfigSet(t.Context(), "requirepass", wrong)
	admin.Do(t.Context(), "client", "kill", "type", "pubsub")
	admin.Do(t.Context(), "client", "kill", "type", "normal")
	awaitHealth(t, f.reader, faultBound+slack, false)
	eventually(t, faultPatience, "health to say why", func() bool {
		return strings.Contains(fmt.Sprint(f.reader.Health().Reasons), "WRONGPASS")
	})
	if reasons := fmt.Sprint(f.reader.Health().Reasons); strings.Contains(reasons, right) {
		t.Errorf("the password is in %s", reasons)
	}
	if _, err := f.keep("/a", func(number int) (int64, error) { return stranger.Publish(t.Context(), "/a", number) }); err != nil {
		t.Errorf("publish with what is the right password now: %v", err)
	}
	if err := admin.ConfigSet(t.Context(), "requirepass", right).Err(); err != nil {
		t.Fatal(err)
	}
	f.wantNoLoss(f.verdict())
	f.wantGaps()
}

func TestFaultRedis_FeedThatOverflowsAtTheServerIsRepaired(t *testing.T) {
	t.Parallel()
	f := newRedisFault(t, stores.RedisOptions{})
	f.server.Do(t, "config", "set", "client-output-buffer-limit", "pubsub 128kb 0 0")
	big := record(t, f.reader, "/big")
	load := f.load(2, 5*time.Millisecond)
	filling := bus.ToClients(strings.Repeat("x", 256<<10))
	for range 5 {
		f.awaitPublished(10)
		awaitHealth(t, f.reader, faultPatience, true)
		downs := f.feedDowns.Load()
		if _, err := f.publish(t.Context(), f.publisher, "/big", filling); err != nil {
			t.Fatal(err)
		}
		f.publishAll(2)
		eventually(t, faultPatience, "the feed to be cut", func() bool { return f.feedDowns.Load() > downs })
	}
	load.stop()
	f.recorders = append(f.recorders, big)
	f.wantNoLoss(f.verdict())
	f.wantGaps()
	f.wantFailures()
}

// A tripCounter counts the round trips of a client.
type tripCounter struct{ trips atomic.Int64 }

func (c *tripCounter) DialHook(next redis.DialHook) redis.DialHook { return next }

func (c *tripCounter) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		c.trips.Add(1)
		return next(ctx, cmd)
	}
}

func (c *tripCounter) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		c.trips.Add(1)
		return next(ctx, cmds)
	}
}

func TestFaultRedis_TenThousandChannelsAreCaughtUpWithInAFewRoundTrips(t *testing.T) {
	t.Parallel()
	const channels, missed, most = 10_000, 100, 10
	f := newRedisFault(t, stores.RedisOptions{}, func(o *bus.Options) { o.LivenessBound = time.Minute })
	client := f.server.Client(t, func(o *redis.Options) { o.Addr = f.proxy.Address() })
	counter := &tripCounter{}
	client.AddHook(counter)
	up := make(chan struct{}, 100)
	reader := faultBus(t, redisPeer(t, client, nil), func(o *bus.Options) {
		o.LivenessBound = time.Minute
		o.Trace = &bus.Trace{FeedUp: func() { up <- struct{}{} }}
	})
	subscriptions := make([]*bus.Subscription, channels)
	var work sync.WaitGroup
	for worker := range 8 {
		work.Go(func() {
			for i := worker; i < channels; i += 8 {
				var err error
				if subscriptions[i], err = reader.Subscribe(t.Context(), fmt.Sprint("/", i), bus.Latest()); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	work.Wait()
	<-up

	f.cutReader()
	awaitHealth(t, reader, faultPatience, false)
	for i := range missed {
		if _, err := f.publisher.Publish(t.Context(), fmt.Sprint("/", i*(channels/missed)), i); err != nil {
			t.Fatal(err)
		}
	}
	before := counter.trips.Load()
	f.proxy.Restore()
	<-up
	ctx, cancel := context.WithTimeout(t.Context(), faultPatience)
	defer cancel()
	for i := range missed {
		m, err := subscriptions[i*(channels/missed)].Next(ctx)
		if err != nil || string(m.Data) != fmt.Sprint(i) {
			t.Errorf("%s: %s, %v; want %d", m.Channel, m.Data, err, i)
		}
	}
	if trips := counter.trips.Load() - before; trips > most {
		t.Errorf("%d round trips for %d channels, want at most %d", trips, channels, most)
	}
}
