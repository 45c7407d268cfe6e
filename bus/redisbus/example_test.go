package redisbus_test

import (
	"log"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/messagebus-go/messagebus/bus/redisbus"
)

func ExampleNew() {
	rdb := redis.NewClient(&redis.Options{Addr: "localhost:6379"})
	defer rdb.Close()
	store, err := redisbus.New(rdb, nil)
	if err != nil {
		log.Fatal(err)
	}
	defer store.Close() // bus.New(store, nil) would do so with the bus
	// Output:
}

// The gem's setting db names the pub/sub channel only.
func ExampleNew_besideRuby() {
	// MessageBus.configure(redis_config: { url: "redis://localhost/3", db: 7 })
	rdb := redis.NewClient(&redis.Options{Addr: "localhost:6379", DB: 3})
	defer rdb.Close()
	store, err := redisbus.New(rdb, &redisbus.Options{PubSubDB: "7"})
	if err != nil {
		log.Fatal(err)
	}
	defer store.Close()
	// Output:
}

func ExampleNew_sentinel() {
	rdb := redis.NewFailoverClient(&redis.FailoverOptions{
		MasterName:    "main",
		SentinelAddrs: []string{"a:26379", "b:26379", "c:26379"},
	})
	defer rdb.Close()
	store, err := redisbus.New(rdb, &redisbus.Options{WaitReplicas: 1, WaitTimeout: 500 * time.Millisecond})
	if err != nil {
		log.Fatal(err)
	}
	defer store.Close()
	// Output:
}

func ExampleNew_cluster() {
	rdb := redis.NewClusterClient(&redis.ClusterOptions{Addrs: []string{"a:6379", "b:6379", "c:6379"}})
	defer rdb.Close()
	store, err := redisbus.New(rdb, &redisbus.Options{HashTag: "messagebus"})
	if err != nil {
		log.Fatal(err)
	}
	defer store.Close()
	// Output:
}
