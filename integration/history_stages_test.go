package integration_test

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/messagebus-go/messagebus/bus/bustest"
	"github.com/messagebus-go/messagebus/integration/faultproxy"
	"github.com/messagebus-go/messagebus/integration/history"
	"github.com/messagebus-go/messagebus/integration/stores"
)

// The stages of histories: what can happen to each store.

var errHistory = errors.New("broken by the test")

func memoryStage(p *play) stage {
	store := bustest.NewStore(p)
	faults := store.Faults()
	s := stage{faults: []fault{
		{"cut the feeds", 3, func(*play) { faults.CutFeeds(errHistory) }},
		{"half-open connections", 2, func(p *play) {
			faults.Silence(true)
			p.wait(500, 5000)
			faults.Silence(false)
		}},
		{"no answers", 2, func(p *play) {
			faults.FailRequests(errHistory)
			p.wait(500, 4000)
			faults.FailRequests(nil)
		}},
		{"lose answers", 2, func(p *play) {
			faults.LoseAnswers(1 + p.random.IntN(20))
			p.wait(200, 1000)
			faults.LoseAnswers(0)
		}},
		{"read-only", 2, func(p *play) {
			faults.SetReadOnly(true)
			p.wait(500, 4000)
			faults.SetReadOnly(false)
		}},
		// That something was never announced is found at the next comparison, and not
		// if the store is reset before that.
		{"store without announcing", 2, func(p *play) {
			faults.DropNext(1 + p.random.IntN(5))
			pause(p.Context(), historyLiveness)
			faults.DropNext(0)
			pause(p.Context(), historyLiveness)
		}},
		{"trim", 2, func(p *play) { faults.Trim("/a", p.random.IntN(20)) }},
		{"reset", 2, func(p *play) { p.h.Break(history.Wipe, faults.Reset) }},
		{"failover", 2, func(p *play) {
			p.h.Break(history.Failover, func() { faults.FailOver(p.random.IntN(30)) })
		}},
	}}
	s.peers = append(s.peers, store)
	for len(s.peers) < historyPeers {
		s.peers = append(s.peers, store.Dial())
	}
	return s
}

// networkFaults are what a network does to the connections that go through it.
func networkFaults(proxies []*faultproxy.Proxy) []fault {
	through := func(p *play) *faultproxy.Proxy { return proxies[p.random.IntN(len(proxies))] }
	return []fault{
		{"cut connections", 3, func(p *play) { through(p).Cut() }},
		{"swallow one direction", 2, func(p *play) {
			proxy := through(p)
			proxy.Swallow(faultproxy.Direction(p.random.IntN(2)))
			p.wait(500, 6000)
			proxy.Restore()
			proxy.Cut()
		}},
		{"a slow network", 1, func(p *play) {
			proxy := through(p)
			proxy.Delay(time.Duration(20+p.random.IntN(200)) * time.Millisecond)
			p.wait(1000, 4000)
			proxy.Restore()
		}},
		{"no connections", 1, func(p *play) {
			proxy := through(p)
			proxy.Refuse()
			proxy.Cut()
			p.wait(500, 4000)
			proxy.Restore()
		}},
	}
}

// quickly makes a client of Redis find out within the liveness of a history.
func quickly(o *redis.Options) {
	o.ReadTimeout, o.WriteTimeout, o.DialTimeout = historyLiveness-time.Second, historyLiveness-time.Second, time.Second
}

func redisStage(p *play) stage {
	// It keeps its data when it is killed.
	server := stores.RedisWith(p, stores.RedisOptions{Persistent: true})
	proxies := []*faultproxy.Proxy{faultproxy.Start(p, server.Addr()), faultproxy.Start(p, server.Addr())}
	do := func(p *play, args ...any) { server.Do(p, args...) }
	s := stage{faults: append(networkFaults(proxies), []fault{
		{"cut the feeds", 2, func(p *play) { do(p, "client", "kill", "type", "pubsub") }},
		{"cut the others", 2, func(p *play) { do(p, "client", "kill", "type", "normal") }},
		{"pause", 2, func(p *play) {
			server.Pause()
			p.wait(500, 6000)
			server.Continue()
		}},
		{"kill and start", 2, func(*play) { server.Kill(); server.Start() }},
		{"stop and start", 1, func(*play) { server.Stop(); server.Start() }},
		{"read-only", 2, func(p *play) {
			do(p, "replicaof", "127.0.0.1", "1")
			p.wait(500, 4000)
			do(p, "replicaof", "no", "one")
		}},
		{"forget the scripts", 1, func(p *play) { do(p, "script", "flush") }},
		{"trim", 1, func(p *play) { do(p, "zremrangebyrank", "__mb_backlog_n_/a", 0, -1-p.random.IntN(20)) }},
		{"flush", 2, func(p *play) { p.h.Break(history.Wipe, func() { do(p, "flushall") }) }},
	}...)}
	for i := range historyPeers {
		client := server.Client(p, quickly, func(o *redis.Options) {
			if i < len(proxies) {
				o.Addr = proxies[i].Address()
			}
		})
		s.peers = append(s.peers, redisPeer(p, client, nil))
	}
	return s
}

func sentinelStage(p *play) stage {
	group := stores.Sentinel(p)
	for _, sentinel := range group.Sentinels { // a busy machine is no failover
		askRedis(p, sentinel.Addr(), "sentinel", "set", group.Name(), "down-after-milliseconds", "1500")
	}
	watch := watchMasters(p, group)
	s := stage{oneLife: true, end: watch.stop, faults: []fault{
		{"failover", 2, func(p *play) {
			old := group.Master()
			if master := failOver(p, group, old); master != old {
				follow(p, group, old, master)
			}
		}},
		{"kill the master", 2, func(p *play) {
			old := group.Master()
			old.Kill()
			master := group.AwaitMaster(old)
			old.Start()
			follow(p, group, old, master)
		}},
		{"pause the master", 2, func(p *play) {
			old := group.Master()
			old.Pause()
			master := group.AwaitMaster(old)
			old.Continue()
			follow(p, group, old, master)
		}},
		{"cut the feeds", 3, func(p *play) { group.Master().Do(p, "client", "kill", "type", "pubsub") }},
		{"cut the others", 3, func(p *play) { group.Master().Do(p, "client", "kill", "type", "normal") }},
		{"kill a sentinel", 1, func(p *play) {
			one := group.Sentinels[p.random.IntN(len(group.Sentinels))]
			one.Kill()
			p.wait(200, 2000)
			one.Start()
		}},
		{"flush", 1, func(p *play) { p.h.Break(history.Wipe, func() { group.Master().Do(p, "flushall") }) }},
	}}
	for range historyPeers {
		client := redis.NewFailoverClient(&redis.FailoverOptions{
			MasterName: group.Name(), SentinelAddrs: group.Addrs(),
			ReadTimeout: historyLiveness - time.Second, WriteTimeout: historyLiveness - time.Second, DialTimeout: time.Second,
		})
		p.Cleanup(func() { client.Close() })
		s.peers = append(s.peers, redisPeer(p, client, nil))
	}
	return s
}

func askRedis(p *play, address string, args ...any) {
	p.Helper()
	client := redis.NewClient(&redis.Options{Addr: address})
	defer client.Close()
	if err := client.Do(p.Context(), args...).Err(); err != nil {
		p.Fatalf("%v: %v", args, err)
	}
}

// failOver asks for a failover and returns who is the master then: still the old one,
// where the sentinels have given it up, as they do while replicas are not in sync.
func failOver(p *play, group *stores.SentinelGroup, old *stores.RedisServer) *stores.RedisServer {
	p.Helper()
	client := redis.NewSentinelClient(&redis.Options{Addr: group.Sentinels[0].Addr()})
	defer client.Close()
	_ = client.Failover(p.Context(), group.Name()).Err() // refused: another one is under way
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); {
		if master := group.Master(); master != old {
			return master
		}
		pause(p.Context(), 50*time.Millisecond)
	}
	return old
}

// follow makes an old master a replica, as the sentinels do some seconds later, and
// waits until both replicas have what the new one has and the sentinels are done: before
// that they refuse another failover, or never come back from it.
func follow(p *play, group *stores.SentinelGroup, old, master *stores.RedisServer) {
	p.Helper()
	if master == nil {
		p.FailNow() // the reason was told
	}
	host, port, _ := strings.Cut(master.Addr(), ":")
	old.Do(p, "replicaof", host, port)
	eventually(p.T, faultPatience, "two replicas", func() bool {
		info := fmt.Sprint(group.Master().Do(p, "info", "replication"))
		return strings.Count(info, "state=online") == len(group.Servers)-1
	})
	group.AwaitComplete()
}

// A masterWatch looks who calls itself the master, and records as failovers what it
// sees: from when one server was the only one to when another one is. In between both
// may take writes. On a busy machine the sentinels do more of it than they are made to.
type masterWatch struct {
	h       *history.History
	clients []*redis.Client
	stop    func()

	master  int       // the only one, when it was looked at last
	since   time.Time // it was then
	another bool      // has called itself the master since
}

func watchMasters(p *play, group *stores.SentinelGroup) *masterWatch {
	ctx, cancel := context.WithCancel(p.Context())
	var watching sync.WaitGroup
	w := &masterWatch{h: p.h, since: time.Now(), stop: func() { cancel(); watching.Wait() }}
	for _, s := range group.Servers {
		options := s.Options()
		options.ReadTimeout, options.DialTimeout, options.MaxRetries = 200*time.Millisecond, 200*time.Millisecond, -1
		client := redis.NewClient(options)
		p.Cleanup(func() { client.Close() })
		w.clients = append(w.clients, client)
	}
	p.Cleanup(w.stop)
	watching.Go(func() {
		for pause(ctx, 20*time.Millisecond) {
			w.look(ctx)
		}
	})
	return w
}

func (w *masterWatch) look(ctx context.Context) {
	began := time.Now()
	masters, certain := w.masters(ctx)
	alone := certain && len(masters) == 1
	w.another = w.another || slices.ContainsFunc(masters, func(m int) bool { return m != w.master })
	switch {
	case alone && w.another:
		w.h.Broke(history.Failover, w.since, time.Now())
		w.master, w.since, w.another = masters[0], began, false
	case alone:
		w.since = began
	}
}

// masters are those that say they are one; it is not certain where a server is there
// and says nothing.
func (w *masterWatch) masters(ctx context.Context) (found []int, certain bool) {
	certain = true
	for i, client := range w.clients {
		role, err := client.Do(ctx, "role").Slice()
		switch {
		case err == nil && len(role) > 0 && role[0] == "master":
			found = append(found, i)
		case err != nil && !errors.Is(err, syscall.ECONNREFUSED):
			certain = false
		}
	}
	return found, certain
}

// feedSessions are those that listen, as pg_stat_activity shows them: by what they have
// asked last.
const feedSessions = "query LIKE 'LISTEN%' OR query = '-- ping' OR query LIKE 'SELECT channel, value FROM message_bus WHERE id%'"

func postgresStage(p *play) stage {
	server := stores.Postgres(p)
	proxies := []*faultproxy.Proxy{faultproxy.Start(p, server.Addr()), faultproxy.Start(p, server.Addr())}
	address := server.NewDatabase(p)
	do := func(sql string) { execPostgres(p, address+"&default_transaction_read_only=off", sql) }
	s := stage{faults: append(networkFaults(proxies), []fault{
		{"cut the feeds", 2, func(p *play) { cutPostgres(p, address, feedSessions) }},
		{"cut the others", 2, func(p *play) { cutPostgres(p, address, "NOT ("+feedSessions+")") }},
		{"pause", 2, func(p *play) {
			server.Pause()
			p.wait(500, 6000)
			server.Continue()
		}},
		{"kill and start", 2, func(*play) { server.Kill(); server.Start() }},
		{"stop and start", 1, func(*play) { server.Stop(); server.Start() }},
		{"read-only", 2, func(p *play) {
			do("ALTER SYSTEM SET default_transaction_read_only = on")
			do("SELECT pg_reload_conf()")
			p.wait(500, 4000)
			do("ALTER SYSTEM RESET default_transaction_read_only")
			do("SELECT pg_reload_conf()")
		}},
		{"truncate", 2, func(*play) { do("TRUNCATE message_bus") }},
		{"delete the oldest", 1, func(p *play) {
			do(fmt.Sprintf("DELETE FROM message_bus WHERE id < (SELECT max(id) - %d FROM message_bus)", p.random.IntN(200)))
		}},
		{"truncate and begin again", 1, func(p *play) {
			p.h.Break(history.Wipe, func() { do("TRUNCATE message_bus RESTART IDENTITY") })
		}},
		{"drop the table", 1, func(p *play) { p.h.Break(history.Wipe, func() { do("DROP TABLE message_bus") }) }},
	}...)}
	for i := range historyPeers {
		at := address
		if i < len(proxies) {
			at = throughProxy(address, proxies[i])
		}
		s.peers = append(s.peers, postgresPeer(p, at+"&pool_max_conns=6&connect_timeout=2", nil))
	}
	return s
}

// throughProxy is the same database, reached through a proxy.
func throughProxy(address string, proxy *faultproxy.Proxy) string {
	u, _ := url.Parse(address) // one of ours
	u.Host = proxy.Address()
	return u.String()
}
