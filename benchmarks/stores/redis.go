package main

import (
	"context"
	_ "embed" // for the flood
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/messagebus-go/messagebus/benchmarks/internal/measure"
	"github.com/messagebus-go/messagebus/bus/driver"
	"github.com/messagebus-go/messagebus/bus/redisbus"
	"github.com/messagebus-go/messagebus/integration/stores"
)

// database is the number of both a database and the pub/sub channel, as one setting
// of the gem has it.
func (p place) database() int { return 1 + int(p) }

func (p place) pubSub() string { return fmt.Sprint("_message_bus_", p.database()) }

//go:embed flood.lua
var floodScript string

type redisStore struct {
	server *stores.RedisServer
	admin  [2]*redis.Client // of each place
}

// newRedis starts a server that waits for slow readers, whom it would cut off
// otherwise: here they are meant to have a lot before them. On a busy machine the
// script of a flood may take its time.
func newRedis(tb testing.TB) store {
	tb.Helper()
	s := &redisStore{server: stores.RedisWith(tb, stores.RedisOptions{
		Config: []string{"client-output-buffer-limit pubsub 0 0 0", "lua-time-limit 0"},
	})}
	for p := range s.admin {
		s.admin[p] = s.client(tb, place(p), 1, nil)
	}
	return s
}

func (s *redisStore) name() string { return "Redis" }

func (s *redisStore) client(tb testing.TB, in place, connections int, t *measure.Turns) *redis.Client {
	tb.Helper()
	o := s.server.Options()
	o.DB, o.PoolSize = in.database(), connections
	if t != nil {
		o.Dialer = t.Dial
	}
	client := redis.NewClient(o)
	tb.Cleanup(func() { _ = client.Close() }) // the end of all that used it
	return client
}

func (s *redisStore) open(tb testing.TB, in place, connections int, t *measure.Turns) driver.Backend {
	tb.Helper()
	return openRedis(tb, s.client(tb, in, connections, t), in)
}

func openRedis(tb testing.TB, client *redis.Client, in place) driver.Backend {
	tb.Helper()
	backend, err := redisbus.New(client, &redisbus.Options{PubSubDB: strconv.Itoa(in.database())})
	if err != nil {
		tb.Fatal(err)
	}
	return backend
}

// bare overhears one publish of a backend, so as to send the same.
func (s *redisStore) bare(tb testing.TB, connections int) bare {
	tb.Helper()
	heard := &overheard{}
	client := s.client(tb, second, 1, nil)
	client.AddHook(heard)
	if _, err := openRedis(tb, client, second).Publish(context.Background(), publishChannel, []byte(envelope(helloJSON)), usual); err != nil {
		tb.Fatal(err)
	}
	b := &bareRedis{client: s.client(tb, second, connections, nil)}
	if err := b.learn(heard.args); err != nil {
		tb.Fatal(err)
	}
	return b
}

// overheard keeps the arguments of the last script by its hash.
type overheard struct{ args []any }

func (o *overheard) DialHook(next redis.DialHook) redis.DialHook { return next }

func (o *overheard) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		if cmd.Name() == "evalsha" {
			o.args = slices.Clone(cmd.Args())
		}
		return next(ctx, cmd)
	}
}

func (o *overheard) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return next
}

// bareRedis is go-redis.
type bareRedis struct {
	client *redis.Client
	sha    string
	keys   []string
	args   []any
}

// learn takes EVALSHA, the hash, the number of keys, keys and arguments.
func (b *bareRedis) learn(command []any) error {
	if len(command) < 3 {
		return errors.New("redisbus has sent no script")
	}
	sha, isText := command[1].(string)
	keys, isNumber := command[2].(int)
	if !isText || !isNumber || len(command) < 3+keys+3 {
		return fmt.Errorf("redisbus has sent %v, which is not understood here", command)
	}
	b.sha, b.args = sha, command[3+keys:]
	for _, key := range command[3 : 3+keys] {
		b.keys = append(b.keys, fmt.Sprint(key))
	}
	return nil
}

func (b *bareRedis) publish(ctx context.Context, envelope string) error {
	const message = 2 // the argument with channel and envelope
	args := slices.Clone(b.args)
	args[message] = publishChannel + "|" + envelope
	return b.client.EvalSha(ctx, b.sha, b.keys, args...).Err()
}

func (b *bareRedis) announce(ctx context.Context, encoded string) error {
	return b.client.Publish(ctx, second.pubSub(), encoded).Err()
}

func (b *bareRedis) listen(ctx context.Context) (feed, error) { return listenRedis(ctx, b.client) }

func listenRedis(ctx context.Context, client *redis.Client) (feed, error) {
	f := redisFeed{client.Subscribe(ctx, second.pubSub())}
	if _, err := f.Receive(ctx); err != nil {
		f.close()
		return nil, err
	}
	return f, nil
}

type redisFeed struct{ *redis.PubSub }

func (f redisFeed) next(ctx context.Context) (string, error) {
	m, err := f.ReceiveMessage(ctx)
	if err != nil {
		return "", err
	}
	return m.Payload, nil
}

func (f redisFeed) close() { _ = f.Close() } // whatever it says, it is not used again

func (s *redisStore) flood(ctx context.Context, in place, messages, channels int) error {
	return evalFlood(ctx, s.admin[in], in, messages, channels).Err()
}

func evalFlood(ctx context.Context, client redis.Cmdable, in place, messages, channels int) *redis.Cmd {
	keys := []string{"__mb_global_id_n", "__mb_global_backlog_n"}
	return client.Eval(ctx, floodScript, keys, in.pubSub(), messages, channels, envelope(helloJSON))
}

// cutFeeds does both in one transaction.
func (s *redisStore) cutFeeds(ctx context.Context, in place, channels int) error {
	feeds, err := s.feeds(ctx, in)
	if err != nil {
		return err
	}
	_, err = s.admin[in].TxPipelined(ctx, func(pipe redis.Pipeliner) error {
		for _, id := range feeds {
			pipe.Do(ctx, "client", "kill", "id", id)
		}
		evalFlood(ctx, pipe, in, channels, channels)
		return nil
	})
	return err
}

// feeds returns the ids of the connections that are subscribed.
func (s *redisStore) feeds(ctx context.Context, in place) ([]string, error) {
	list, err := s.admin[in].Do(ctx, "client", "list", "type", "pubsub").Text()
	if err != nil {
		return nil, err
	}
	var ids []string
	for line := range strings.Lines(list) {
		words := strings.Fields(line)
		if slices.Contains(words, fmt.Sprint("db=", in.database())) {
			ids = append(ids, strings.TrimPrefix(words[0], "id="))
		}
	}
	return ids, nil
}

func (s *redisStore) settle(context.Context) error { return nil }

func (s *redisStore) where() address {
	at := func(p place) string { return fmt.Sprintf("redis://%s/%d", s.server.Addr(), p.database()) }
	return address{Store: s.name(), First: at(first), Second: at(second)}
}
