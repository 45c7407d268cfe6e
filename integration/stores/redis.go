package stores

import (
	"context"
	"fmt"
	"net/url"
	"strings"
	"syscall"
	"testing"

	"github.com/redis/go-redis/v9"
)

// RedisOptions are the choices for [RedisWith]. The zero value is a server without
// persistence, password or TLS.
type RedisOptions struct {
	// Persistent makes a restart keep the data: every write is in the append-only
	// file before it is answered. Otherwise a restart comes back empty.
	Persistent bool
	// Config are further lines of redis.conf.
	Config []string
}

// A RedisServer is a server for one test.
type RedisServer struct {
	*server

	port    *reservation
	options RedisOptions
}

// Redis starts a server with the defaults of [RedisOptions].
func Redis(tb testing.TB) *RedisServer {
	tb.Helper()
	return RedisWith(tb, RedisOptions{})
}

// RedisWith starts a server. It ends with the test.
func RedisWith(tb testing.TB, options RedisOptions) *RedisServer {
	tb.Helper()
	s, err := newRedis(tb, options)
	if err != nil {
		tb.Fatalf("stores: start Redis: %v", err)
	}
	s.endWithTest()
	tb.Cleanup(s.port.release)
	return s
}

func newRedis(tb testing.TB, options RedisOptions) (*RedisServer, error) {
	tb.Helper()
	port, err := reservePort()
	if err != nil {
		return nil, err
	}
	s := &RedisServer{port: port, options: options}
	s.server, err = launch(tb, s.program(), s.ping)
	if err != nil {
		port.release()
		return nil, err
	}
	return s, nil
}

func (s *RedisServer) program() program {
	config := []string{
		"bind 127.0.0.1",
		fmt.Sprint("port ", s.port.port),
		"protected-mode no",
		`save ""`,
	}
	if s.options.Persistent {
		config = append(config, "appendonly yes", "appendfsync always")
	}
	config = append(config, s.options.Config...)
	return program{
		name:   "redis",
		script: "exec redis-server redis.conf",
		files:  map[string]string{"redis.conf": strings.Join(config, "\n") + "\n"},
		quit:   syscall.SIGTERM,
	}
}

func (s *RedisServer) ping(ctx context.Context) error {
	client := redis.NewClient(s.Options())
	defer client.Close()
	return client.Ping(ctx).Err()
}

// Addr is the server's host and port, the same after a restart.
func (s *RedisServer) Addr() string { return s.port.address() }

// URL is the server's address, database 0.
func (s *RedisServer) URL() string {
	return (&url.URL{Scheme: "redis", Host: s.Addr(), Path: "/0"}).String()
}

// Options are what a client needs to reach the server; each call makes new ones.
func (s *RedisServer) Options() *redis.Options {
	return &redis.Options{Addr: s.Addr()}
}

// Client returns a client with the options as adjust leaves them. It is closed when
// the test tb ends.
func (s *RedisServer) Client(tb testing.TB, adjust ...func(*redis.Options)) *redis.Client {
	tb.Helper()
	return clientFor(tb, s.Options(), adjust)
}

func clientFor(tb testing.TB, options *redis.Options, adjust []func(*redis.Options)) *redis.Client {
	tb.Helper()
	for _, change := range adjust {
		change(options)
	}
	client := redis.NewClient(options)
	tb.Cleanup(func() { client.Close() })
	return client
}

// Do sends a command over a connection of its own and returns the answer. An error
// ends the test.
func (s *RedisServer) Do(tb testing.TB, args ...any) any {
	tb.Helper()
	client := redis.NewClient(s.Options())
	defer client.Close()
	answer, err := client.Do(context.Background(), args...).Result()
	if err != nil {
		tb.Fatalf("stores: %v: %v", args, err)
	}
	return answer
}
