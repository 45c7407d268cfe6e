package stores

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"
)

// slots is how many slots a Redis Cluster has.
const slots = 16384

// A ClusterGroup is a Redis Cluster of three masters without replicas.
type ClusterGroup struct {
	// Servers hold a third of the slots each.
	Servers []*RedisServer
}

// RedisCluster starts a cluster that is complete. It ends with the test.
func RedisCluster(tb testing.TB) *ClusterGroup {
	tb.Helper()
	g := &ClusterGroup{}
	const masters = 3
	for n := range masters {
		s := RedisWith(tb, RedisOptions{Config: []string{"cluster-enabled yes", "cluster-node-timeout 2000"}})
		g.Servers = append(g.Servers, s)
		s.Do(tb, "cluster", "set-config-epoch", n+1)
		command := []any{"cluster", "addslots"}
		for slot := n * slots / masters; slot < (n+1)*slots/masters; slot++ {
			command = append(command, slot)
		}
		s.Do(tb, command...)
		s.Do(tb, "cluster", "meet", "127.0.0.1", g.Servers[0].port.Port)
	}
	if err := poll(g.complete); err != nil {
		tb.Fatalf("stores: the cluster is not complete: %v", err)
	}
	return g
}

func (g *ClusterGroup) complete(ctx context.Context) error {
	for _, s := range g.Servers {
		info, err := s.do(ctx, "cluster", "info")
		if err != nil {
			return err
		}
		for _, line := range []string{"cluster_state:ok", fmt.Sprint("cluster_known_nodes:", len(g.Servers))} {
			if !strings.Contains(fmt.Sprint(info), line) {
				return fmt.Errorf("CLUSTER INFO of %s has no line %s:\n%v", s.Addr(), line, info)
			}
		}
	}
	return nil
}

// Addrs are the addresses of all servers.
func (g *ClusterGroup) Addrs() []string {
	var all []string
	for _, s := range g.Servers {
		all = append(all, s.Addr())
	}
	return all
}

// Client returns a client of the cluster. It is closed when the test tb ends.
func (g *ClusterGroup) Client(tb testing.TB) *redis.ClusterClient {
	tb.Helper()
	client := redis.NewClusterClient(&redis.ClusterOptions{Addrs: g.Addrs()})
	tb.Cleanup(func() { client.Close() })
	return client
}
