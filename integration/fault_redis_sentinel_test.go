package integration_test

import (
	"context"
	"errors"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/messagebus-go/messagebus/bus"
	"github.com/messagebus-go/messagebus/bus/redisbus"
	"github.com/messagebus-go/messagebus/integration/stores"
)

// A failoverScene is a scene on a master with two replicas.
type failoverScene struct {
	*faultPeers

	group  *stores.SentinelGroup
	master *stores.RedisServer // the first one
}

// newFailoverScene publishes in a way of its own, and subscribes through the dialer,
// where there is one.
func newFailoverScene(t *testing.T, publishing *redisbus.Options, dial dialer) *failoverScene {
	t.Helper()
	f := &failoverScene{faultPeers: &faultPeers{T: t}, group: stores.Sentinel(t)}
	// On a busy machine servers are slow to answer. No sentinel is to act on that.
	for _, s := range f.group.Sentinels {
		f.sentinel(s, func(c *redis.SentinelClient) error {
			return c.Set(t.Context(), f.group.Name(), "down-after-milliseconds", "60000").Err()
		})
	}
	f.master = f.group.Master()
	f.publisher = faultBus(t, redisPeer(t, f.group.Client(t), publishing))
	f.reader = f.peer(dial)
	return f
}

// peer is one more peer, through the dialer, where there is one.
func (f *failoverScene) peer(dial dialer) *bus.Bus {
	f.Helper()
	client := redis.NewFailoverClient(&redis.FailoverOptions{
		MasterName: f.group.Name(), SentinelAddrs: f.group.Addrs(), Dialer: dial,
	})
	f.Cleanup(func() { client.Close() })
	return faultBus(f.T, redisPeer(f.T, client, nil))
}

type dialer = func(ctx context.Context, network, address string) (net.Conn, error)

// awaitReplicas waits until both replicas have all that was published.
func (f *failoverScene) awaitReplicas() {
	f.Helper()
	conn := f.master.Client(f.T).Conn()
	defer conn.Close()
	conn.Incr(f.Context(), "written last")
	if n, err := conn.Wait(f.Context(), 2, faultPatience).Result(); n != 2 {
		f.Fatalf("%d of 2 replicas have everything: %v", n, err)
	}
}

// partition keeps the replicas from hearing anything new of the master, and everybody
// else not.
func (f *failoverScene) partition() {
	f.Helper()
	f.master.Do(f.T, "acl", "setuser", "default", "-psync", "-sync")
	f.master.Do(f.T, "client", "kill", "type", "replica")
}

func (f *failoverScene) sentinel(s *stores.SentinelServer, ask func(*redis.SentinelClient) error) {
	f.Helper()
	client := redis.NewSentinelClient(&redis.Options{Addr: s.Addr()})
	defer client.Close()
	if err := ask(client); err != nil {
		f.Fatal(err)
	}
}

// failOver kills the master, has the sentinels know, and waits until there is another
// one.
func (f *failoverScene) failOver() {
	f.Helper()
	f.master.Kill()
	f.sentinel(f.group.Sentinels[0], func(c *redis.SentinelClient) error {
		return c.Failover(f.Context(), f.group.Name()).Err()
	})
	f.group.AwaitMaster(f.master)
}

// publishSome publishes so many messages on a channel, however often it must be tried
// while the master is changing.
func (f *failoverScene) publishSome(channel string, n int) {
	f.Helper()
	for range n {
		eventually(f.T, faultPatience, "a message to be accepted", func() bool {
			_, err := f.publish(f.Context(), f.publisher, channel)
			return err == nil
		})
	}
}

func TestFaultRedis_FailoverUnderLoadLosesNothingThatTheReplicasHave(t *testing.T) {
	t.Parallel()
	f := newFailoverScene(t, nil, nil)
	f.subscribe()
	load := f.load(3, 5*time.Millisecond)
	f.awaitPublished(100)
	load.stop()
	f.awaitReplicas()
	f.master.Pause() // so that nothing is acknowledged from now on
	load = f.load(3, 5*time.Millisecond)
	f.failOver()
	f.awaitPublished(100)
	load.stop()
	f.wantNoLoss(f.verdict())
	f.wantGaps(bus.GapFailover)
}

// While the master is cut off from its replicas it takes messages, and acknowledges
// none of them.
func TestFaultRedis_FailoverLosesNothingThatWaitedForReplicas(t *testing.T) {
	t.Parallel()
	f := newFailoverScene(t, &redisbus.Options{WaitReplicas: 2, WaitTimeout: 100 * time.Millisecond}, nil)
	f.subscribe()
	load := f.load(3, 5*time.Millisecond)
	f.awaitPublished(100)
	f.partition()
	eventually(t, faultPatience, "publishes that are not replicated", func() bool { return len(f.failures()) >= 10 })
	f.failOver()
	load.stop()
	f.publisher = faultBus(t, redisPeer(t, f.group.Client(t), nil)) // one replica is left
	f.publishSome("/a", 1)
	v := f.verdict()
	f.wantNoLoss(v)
	if v.unknown < 10 {
		t.Errorf("%d publishes had an unknown outcome, want all those that only the lost master has", v.unknown)
	}
}

// The new master gives the ids of messages that it lost to other ones, and their global
// ids, before those who saw them are back: only what is in them tells them apart.
func TestFaultRedis_FailoverThatLosesMessagesIsReportedToEverySubscriber(t *testing.T) {
	t.Parallel()
	const before, lost, after = 10, 5, 8
	farGate, nearGate := newGate(), newGate()
	f := newFailoverScene(t, nil, farGate.dial)
	away := record(t, f.reader, "/a") // sees none of the messages that will be lost
	near := f.peer(nearGate.dial)
	there := record(t, near, "/b|c") // sees them all
	f.recorders = []*recorder{away, there}
	awaitHealth(t, f.reader, faultPatience, true)
	awaitHealth(t, near, faultPatience, true)
	f.publishAll(before)
	f.awaitSeen()
	f.awaitReplicas()

	farGate.shut()
	awaitHealth(t, f.reader, faultBound+slack, false)
	f.partition()
	f.publishAll(lost)
	last := f.all("/b|c")
	there.awaitNumber(last[len(last)-1].number)
	nearGate.shut()
	f.failOver()
	for range after {
		f.publishSome("/a", 1)
		f.publishSome("/b|c", 1)
	}
	farGate.open()
	nearGate.open()

	awaitHealth(t, near, faultPatience, true)
	v := f.verdict()
	if v.lost != lost {
		t.Errorf("%d acknowledged messages were never seen, want the %d of /a", v.lost, lost)
	}
	wantOneGap(t, away, bus.GapError{After: before, Next: before + 1, Reason: bus.GapFailover})
	wantOneGap(t, there, bus.GapError{After: before + lost, Next: 1, Reason: bus.GapReset})
}

func wantOneGap(t *testing.T, r *recorder, want bus.GapError) {
	t.Helper()
	gaps := r.gaps()
	if len(gaps) != 1 || gaps[0].After != want.After || gaps[0].Next != want.Next || gaps[0].Reason != want.Reason {
		t.Errorf("%s: gaps %v, want one from %d to %d: %s; saw %v", r.channel, gaps, want.After, want.Next, want.Reason, r.sightings())
	}
}

// A gate is a dialer whose connections can all be cut.
type gate struct {
	mu     sync.Mutex // guards below
	closed bool
	conns  map[net.Conn]struct{}
}

func newGate() *gate { return &gate{conns: map[net.Conn]struct{}{}} }

var errShut = errors.New("the gate is shut")

func (g *gate) dial(ctx context.Context, network, address string) (net.Conn, error) {
	conn, err := (&net.Dialer{}).DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed {
		conn.Close()
		return nil, errShut
	}
	g.conns[conn] = struct{}{}
	return conn, nil
}

func (g *gate) shut() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.closed = true
	for conn := range g.conns {
		conn.Close()
	}
	clear(g.conns)
}

func (g *gate) open() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.closed = false
}
