package stores

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/redis/go-redis/v9"
)

// sharedDatabases is how many tests can hold a database of the shared server at once.
const sharedDatabases = 512

// A RedisDatabase is one database of a server that other tests use as well. Only
// what concerns that database may be done to it: FLUSHDB, not FLUSHALL.
type RedisDatabase struct {
	// DB is the number of the database.
	DB int
	// PubSubDB is a number for the names of pub/sub channels, which all databases
	// of a server share. No other test has it.
	PubSubDB int

	options *redis.Options
}

// RedisShared returns an empty database on the server that the tests of this binary
// share. It is emptied and given to another test when this one ends.
func RedisShared(tb testing.TB) *RedisDatabase {
	tb.Helper()
	pool, err := sharedRedis.get(newRedisPool)
	if err != nil {
		tb.Fatalf("stores: start the shared Redis: %v", err)
	}
	database, err := pool.take()
	if err != nil {
		tb.Fatalf("stores: take a database of the shared Redis: %v", err)
	}
	tb.Cleanup(func() {
		if err := pool.giveBack(database); err != nil {
			tb.Errorf("stores: empty database %d of the shared Redis: %v", database.DB, err)
		}
	})
	return database
}

// URL is the database as the command takes it, with the pub/sub number.
func (d *RedisDatabase) URL() string {
	address := url.URL{
		Scheme:   "redis",
		Host:     d.options.Addr,
		Path:     fmt.Sprint("/", d.DB),
		RawQuery: fmt.Sprint("pubsub_db=", d.PubSubDB),
	}
	if d.options.TLSConfig != nil {
		address.Scheme = "rediss"
	}
	if d.options.Password != "" {
		address.User = url.UserPassword(d.options.Username, d.options.Password)
	}
	return address.String()
}

// Options are what a client needs to reach the database; each call makes new ones.
func (d *RedisDatabase) Options() *redis.Options {
	given := d.options
	return &redis.Options{
		Network:   given.Network,
		Addr:      given.Addr,
		Username:  given.Username,
		Password:  given.Password,
		TLSConfig: given.TLSConfig.Clone(),
		DB:        d.DB,
	}
}

// Client returns a client with the options as adjust leaves them. It is closed when
// the test tb ends.
func (d *RedisDatabase) Client(tb testing.TB, adjust ...func(*redis.Options)) *redis.Client {
	tb.Helper()
	return clientFor(tb, d.Options(), adjust)
}

func (d *RedisDatabase) flush(ctx context.Context) error {
	client := redis.NewClient(d.Options())
	defer client.Close()
	return client.FlushDB(ctx).Err()
}

const redisVariable = "MESSAGEBUS_TEST_REDIS_URL"

var (
	sharedRedis   shared[*redisPool]
	pubSubNumbers atomic.Int64
)

// A redisPool gives out the databases of one server.
type redisPool struct {
	options *redis.Options

	mu   sync.Mutex // guards below
	free []int
}

// newRedisPool starts a server, or takes the one that the environment names.
func newRedisPool() (*redisPool, func() error, error) {
	if server := os.Getenv(redisVariable); server != "" {
		pool, err := claimDatabases(server)
		if err != nil {
			return nil, nil, err
		}
		return pool, pool.unclaim, nil
	}
	s, err := newRedis(mute{}, RedisOptions{Config: []string{fmt.Sprint("databases ", sharedDatabases)}})
	if err != nil {
		return nil, nil, err
	}
	pool := &redisPool{options: s.Options()}
	for number := range sharedDatabases {
		pool.free = append(pool.free, number)
	}
	return pool, s.end, nil
}

// take prefers the database that has been free for longest.
func (p *redisPool) take() (*RedisDatabase, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.free) == 0 {
		return nil, errors.New("all are in use")
	}
	number := p.free[0]
	p.free = p.free[1:]
	return &RedisDatabase{DB: number, PubSubDB: pubSubNumber(), options: p.options}, nil
}

func (p *redisPool) giveBack(d *RedisDatabase) error {
	if err := d.flush(context.Background()); err != nil {
		return err // and nobody else gets it
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.free = append(p.free, d.DB)
	return nil
}

// pubSubNumber returns one that no other test has, of other processes on the same
// server neither.
func pubSubNumber() int {
	return 1000 + processID*1_000_000 + int(pubSubNumbers.Add(1))
}
