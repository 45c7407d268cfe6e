package integration_test

import (
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/messagebus-go/messagebus/bus/driver"
	"github.com/messagebus-go/messagebus/bus/drivertest"
	"github.com/messagebus-go/messagebus/bus/redisbus"
	"github.com/messagebus-go/messagebus/integration/stores"
)

// redisHarness gives each claim a server of its own, since cutting connections
// and emptying a store concern a whole server.
func redisHarness() drivertest.Harness {
	return drivertest.Harness{Open: func(tb testing.TB) drivertest.Store {
		tb.Helper()
		return redisStore(stores.Redis(tb), nil)
	}}
}

func redisStore(s *stores.RedisServer, options *redisbus.Options) drivertest.Store {
	return drivertest.Store{
		Dial: func(tb testing.TB) driver.Backend { return redisPeer(tb, s.Client(tb), options) },
		Interrupt: func(tb testing.TB) {
			s.Do(tb, "client", "kill", "type", "normal")
			s.Do(tb, "client", "kill", "type", "pubsub")
		},
		Wipe: func(tb testing.TB) { s.Do(tb, "flushall") },
	}
}

func redisPeer(tb testing.TB, client redis.UniversalClient, options *redisbus.Options) *redisbus.Backend {
	tb.Helper()
	b, err := redisbus.New(client, options)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = b.Close() }) // which may have happened
	return b
}

func TestRedis_Conforms(t *testing.T) { drivertest.Run(t, redisHarness()) }

func BenchmarkRedis(b *testing.B) { drivertest.Bench(b, redisHarness()) }
