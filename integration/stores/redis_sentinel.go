package stores

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/redis/go-redis/v9"
)

const (
	sentinelName = "messagebus"
	replicas     = 2
	sentinels    = 3
)

// A SentinelGroup is a Redis master with two replicas, and three sentinels that
// watch over them. Any two sentinels can decide on a failover, half a second after
// the master has fallen silent.
type SentinelGroup struct {
	// Servers are the three Redis servers; the first one is the master at first.
	Servers []*RedisServer
	// Sentinels can be stopped, killed and paused one by one.
	Sentinels []*SentinelServer

	tb testing.TB
}

// A SentinelServer is one of the sentinels of a [SentinelGroup].
type SentinelServer struct {
	*server
}

// Sentinel starts a group whose servers all know each other. It ends with the test.
func Sentinel(tb testing.TB) *SentinelGroup {
	tb.Helper()
	g := &SentinelGroup{tb: tb}
	master := Redis(tb)
	g.Servers = append(g.Servers, master)
	for range replicas {
		g.Servers = append(g.Servers, RedisWith(tb, RedisOptions{ReplicaOf: master}))
	}
	for range sentinels {
		g.Sentinels = append(g.Sentinels, startSentinel(tb, master))
	}
	g.AwaitComplete()
	return g
}

func startSentinel(tb testing.TB, master *RedisServer) *SentinelServer {
	tb.Helper()
	base, err := newServer(tb)
	if err != nil {
		tb.Fatalf("stores: start a sentinel: %v", err)
	}
	s := &SentinelServer{server: base}
	if err := s.launch(s.program(master), s.ping); err != nil {
		tb.Fatalf("stores: start a sentinel: %v", err)
	}
	s.endWithTest()
	return s
}

func (s *SentinelServer) program(master *RedisServer) program {
	config := []string{
		"bind 127.0.0.1",
		"protected-mode no",
		fmt.Sprint("port ", s.port.Port),
		fmt.Sprintf("sentinel monitor %s 127.0.0.1 %d %d", sentinelName, master.port.Port, sentinels/2+1),
		fmt.Sprintf("sentinel down-after-milliseconds %s 500", sentinelName),
		fmt.Sprintf("sentinel failover-timeout %s 5000", sentinelName),
		fmt.Sprintf("sentinel parallel-syncs %s %d", sentinelName, replicas),
	}
	p := master.program()
	p.script = "exec redis-server sentinel.conf --sentinel"
	p.files = map[string]string{"sentinel.conf": strings.Join(config, "\n") + "\n"}
	p.quit = syscall.SIGTERM
	return p
}

// Addr is the sentinel's host and port, the same after a restart.
func (s *SentinelServer) Addr() string { return s.port.Address() }

func (s *SentinelServer) ping(ctx context.Context) error {
	return s.ask(func(c *redis.SentinelClient) error { return c.Ping(ctx).Err() })
}

func (s *SentinelServer) ask(question func(*redis.SentinelClient) error) error {
	client := redis.NewSentinelClient(&redis.Options{Addr: s.Addr()})
	defer client.Close()
	return question(client)
}

// master is the address of the master as this sentinel knows it.
func (s *SentinelServer) master(ctx context.Context) (address string, err error) {
	err = s.ask(func(c *redis.SentinelClient) error {
		parts, err := c.GetMasterAddrByName(ctx, sentinelName).Result()
		address = strings.Join(parts, ":")
		return err
	})
	return address, err
}

// knows reports an error while this sentinel has not found all others, which it
// needs for a failover.
func (s *SentinelServer) knows(ctx context.Context) error {
	return s.ask(func(c *redis.SentinelClient) error {
		master, err := c.Master(ctx, sentinelName).Result()
		if err != nil {
			return err
		}
		if master["flags"] != "master" || master["num-slaves"] != strconv.Itoa(replicas) ||
			master["num-other-sentinels"] != strconv.Itoa(sentinels-1) {
			return fmt.Errorf("the sentinel at %s sees %v", s.Addr(), master)
		}
		return nil
	})
}

func (g *SentinelGroup) complete(ctx context.Context) error {
	var all error
	for _, s := range g.Sentinels {
		all = errors.Join(all, s.knows(ctx))
	}
	return all
}

// Name is what the sentinels call the master.
func (g *SentinelGroup) Name() string { return sentinelName }

// Addrs are the addresses of the sentinels.
func (g *SentinelGroup) Addrs() []string {
	var all []string
	for _, s := range g.Sentinels {
		all = append(all, s.Addr())
	}
	return all
}

// Client returns a client that follows the master. It is closed when the test tb
// ends.
func (g *SentinelGroup) Client(tb testing.TB) *redis.Client {
	tb.Helper()
	client := redis.NewFailoverClient(&redis.FailoverOptions{MasterName: g.Name(), SentinelAddrs: g.Addrs()})
	tb.Cleanup(func() { client.Close() })
	return client
}

// Master returns the server that all sentinels which answer call the master, and
// that agrees.
func (g *SentinelGroup) Master() *RedisServer {
	g.tb.Helper()
	return g.AwaitMaster(nil)
}

// AwaitMaster waits until another server than the one given is the master, as it is
// after that one was killed or paused.
func (g *SentinelGroup) AwaitMaster(not *RedisServer) *RedisServer {
	g.tb.Helper()
	var master *RedisServer
	err := poll(func(ctx context.Context) error {
		var err error
		if master, err = g.agreed(ctx); err == nil && master == not {
			err = fmt.Errorf("the master is still %s", not.Addr())
		}
		return err
	})
	if err != nil {
		g.tb.Fatalf("stores: wait for another master: %v", err)
	}
	return master
}

// AwaitComplete waits until all sentinels know all servers and none of them is in the
// middle of a failover, as the one that leads it is for seconds after there is another
// master. When that one dies meanwhile, the leading sentinel never names another.
func (g *SentinelGroup) AwaitComplete() {
	g.tb.Helper()
	if err := poll(g.complete); err != nil {
		g.tb.Fatalf("stores: the sentinels do not come to rest: %v", err)
	}
}

func (g *SentinelGroup) agreed(ctx context.Context) (*RedisServer, error) {
	addresses := map[string]int{}
	var unheard error
	for _, s := range g.Sentinels {
		address, err := s.master(ctx)
		if err != nil {
			unheard = errors.Join(unheard, err)
			continue
		}
		addresses[address]++
	}
	if len(addresses) != 1 {
		return nil, errors.Join(fmt.Errorf("the sentinels name as the master: %v", addresses), unheard)
	}
	for _, s := range g.Servers {
		if addresses[s.Addr()] > 0 {
			return s, s.isMaster(ctx)
		}
	}
	return nil, fmt.Errorf("none of the servers is at %v", addresses)
}

func (s *RedisServer) isMaster(ctx context.Context) error {
	role, err := s.do(ctx, "role")
	if err != nil {
		return err
	}
	if words, ok := role.([]any); !ok || len(words) == 0 || words[0] != "master" {
		return fmt.Errorf("the role of %s is %v", s.Addr(), role)
	}
	return nil
}

// Failover makes one of the replicas the master while the old one is well, and
// returns the new one. The old one becomes a replica.
func (g *SentinelGroup) Failover() *RedisServer {
	g.tb.Helper()
	old := g.Master()
	err := poll(func(ctx context.Context) error {
		return g.Sentinels[0].ask(func(c *redis.SentinelClient) error {
			err := c.Failover(ctx, sentinelName).Err()
			if err != nil && strings.HasPrefix(err.Error(), "INPROG") {
				return nil
			}
			return err
		})
	})
	if err != nil {
		g.tb.Errorf("stores: SENTINEL FAILOVER: %v", err)
	}
	return g.AwaitMaster(old)
}
