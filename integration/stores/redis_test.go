package stores_test

import (
	"context"
	"crypto/x509"
	"errors"
	"net"
	"os"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/messagebus-go/messagebus/integration/stores"
)

func TestRedis_ComesBackEmptyOnTheSamePort(t *testing.T) {
	t.Parallel()
	s := stores.Redis(t)
	s.Do(t, "set", "key", "value")
	s.Stop()
	if conn, err := net.Dial("tcp", s.Addr()); err == nil {
		conn.Close()
		t.Error("a stopped server took a connection")
	}
	s.Start()
	if keys := s.Do(t, "dbsize"); keys != int64(0) {
		t.Errorf("%v keys after a restart without persistence", keys)
	}
}

func TestRedis_KeepsWhatIsPersistentOverACrash(t *testing.T) {
	t.Parallel()
	s := stores.RedisWith(t, stores.RedisOptions{Persistent: true})
	s.Do(t, "set", "key", "value")
	s.Kill()
	s.Start()
	if value := s.Do(t, "get", "key"); value != "value" {
		t.Errorf("the value is %v after a crash", value)
	}
}

func TestRedis_PausedAnswersNothingAndBreaksNoConnection(t *testing.T) {
	t.Parallel()
	s := stores.Redis(t)
	client := s.Client(t, func(o *redis.Options) {
		o.ReadTimeout, o.MaxRetries = 200*time.Millisecond, -1
		o.ContextTimeoutEnabled = true
	})
	s.Pause()
	err := client.Ping(t.Context()).Err()
	if timeout := net.Error(nil); !errors.As(err, &timeout) || !timeout.Timeout() {
		t.Errorf("a paused server answered: %v", err)
	}
	s.Continue()
	if err := client.Ping(t.Context()).Err(); err != nil {
		t.Error(err)
	}
}

func TestRedis_CanBeStoppedWhilePaused(t *testing.T) {
	t.Parallel()
	s := stores.Redis(t)
	s.Pause()
	s.Stop()
	s.Start()
	s.Do(t, "ping")
}

func TestRedis_TLSProvesItselfWithItsOwnCertificate(t *testing.T) {
	t.Parallel()
	s := stores.RedisWith(t, stores.RedisOptions{TLS: true, User: "gopher", Password: "secret"})
	if who := s.Do(t, "acl", "whoami"); who != "gopher" {
		t.Errorf("the client is %v", who)
	}
	pem, err := os.ReadFile(s.CertificateFile(t))
	if err != nil || !x509.NewCertPool().AppendCertsFromPEM(pem) {
		t.Errorf("no certificate in the file: %v", err)
	}
	stranger := s.Client(t, func(o *redis.Options) { o.TLSConfig, o.MaxRetries = nil, -1 })
	if stranger.Ping(t.Context()).Err() == nil {
		t.Error("a client without TLS was answered")
	}
}

func TestRedis_AsksForThePassword(t *testing.T) {
	t.Parallel()
	s := stores.RedisWith(t, stores.RedisOptions{Password: "secret"})
	s.Do(t, "ping")
	stranger := s.Client(t, func(o *redis.Options) { o.Password = "guess" })
	if stranger.Ping(t.Context()).Err() == nil {
		t.Error("a wrong password was taken")
	}
}

func TestRedis_ListensOnItsSocket(t *testing.T) {
	t.Parallel()
	s := stores.RedisWith(t, stores.RedisOptions{Socket: true})
	client := redis.NewClient(&redis.Options{Network: "unix", Addr: s.Socket()})
	defer client.Close()
	if err := client.Ping(t.Context()).Err(); err != nil {
		t.Error(err)
	}
}

func TestRedis_ReplicaFollows(t *testing.T) {
	t.Parallel()
	master := stores.RedisWith(t, stores.RedisOptions{Password: "secret"})
	replica := stores.RedisWith(t, stores.RedisOptions{ReplicaOf: master})
	client := master.Client(t)
	if err := client.Set(t.Context(), "key", "value", 0).Err(); err != nil {
		t.Fatal(err)
	}
	// A number of replicas that has acknowledged what the same connection wrote.
	conn := client.Conn()
	defer conn.Close()
	if err := conn.Set(t.Context(), "key", "value", 0).Err(); err != nil {
		t.Fatal(err)
	}
	if n, err := conn.Wait(t.Context(), 1, 10*time.Second).Result(); err != nil || n != 1 {
		t.Fatalf("%d replicas acknowledged: %v", n, err)
	}
	if value := replica.Do(t, "get", "key"); value != "value" {
		t.Errorf("the replica has %v", value)
	}
}

func TestRedisShared_GivesEachTestADatabase(t *testing.T) {
	t.Parallel()
	a, b := stores.RedisShared(t), stores.RedisShared(t)
	if a.DB == b.DB || a.PubSubDB == b.PubSubDB || a.Options().Addr != b.Options().Addr {
		t.Errorf("databases %s and %s", a.URL(), b.URL())
	}
	if err := a.Client(t).Set(t.Context(), "key", "value", 0).Err(); err != nil {
		t.Fatal(err)
	}
	if keys := b.Client(t).DBSize(t.Context()).Val(); keys != 0 {
		t.Errorf("%d keys in the database of another", keys)
	}
}

func TestRedisShared_IsEmptiedForTheNextTest(t *testing.T) {
	var first *stores.RedisDatabase
	t.Run("writes", func(t *testing.T) {
		first = stores.RedisShared(t)
		if err := first.Client(t).Set(t.Context(), "key", "value", 0).Err(); err != nil {
			t.Fatal(err)
		}
	})
	client := redis.NewClient(first.Options())
	defer client.Close()
	if keys, err := client.DBSize(t.Context()).Result(); err != nil || keys != 0 {
		t.Errorf("%d keys are left: %v", keys, err)
	}
}

func TestSentinel_FollowsAFailoverAndACrash(t *testing.T) {
	t.Parallel()
	g := stores.Sentinel(t)
	client := g.Client(t)
	set := func(value string) error { return client.Set(context.Background(), "key", value, 0).Err() }
	if err := set("before"); err != nil {
		t.Fatal(err)
	}
	first := g.Master()
	second := g.Failover()
	if second == first {
		t.Errorf("the master is still %s", first.Addr())
	}
	second.Kill()
	if third := g.AwaitMaster(second); third == second {
		t.Error("a killed server is the master")
	}
	if err := set("after"); err != nil {
		t.Errorf("the client did not follow: %v", err)
	}
}

func TestRedisCluster_HoldsEverySlot(t *testing.T) {
	t.Parallel()
	client := stores.RedisCluster(t).Client(t)
	for _, key := range []string{"a", "b", "c", "d", "e", "f"} {
		if err := client.Set(t.Context(), key, key, 0).Err(); err != nil {
			t.Error(err)
		}
	}
}
