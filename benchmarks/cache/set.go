package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/messagebus-go/messagebus/benchmarks/internal/measure"
	"github.com/messagebus-go/messagebus/bus"
	"github.com/messagebus-go/messagebus/bus/redisbus"
	"github.com/messagebus-go/messagebus/integration/stores"
)

// The databases in which the sides of a comparison work, so that they do not hear
// each other. Each has announcements of its own.
const (
	cacheDB = 1 + iota
	busDB
	bareDB
)

// timedChannel is what the sides that have no cache publish on.
const timedChannel = "/animals"

// setting times the way from before Set to after the change shows in another process,
// and beside it that of an equal message through the bus alone, and through the
// client library alone.
func setting() experiment {
	const (
		throughBus    = "publish to Next, through the bus alone"
		throughClient = "the same request by go-redis, heard by it"
	)
	within := measure.Target{AtMost: 1.3}
	return experiment{
		name: "set",
		figures: []measure.Figure{
			{Name: "Set to visible in another process, Redis, p50", Unit: "µs", Beside: throughBus, Target: within},
			{Name: "Set to visible in another process, Redis, p99", Unit: "µs", Beside: throughBus},
			{Name: "Set to visible in another process, Redis, p50", Unit: "µs", Beside: throughClient, Target: within},
			{Name: "Set to visible in another process, Redis, p99", Unit: "µs", Beside: throughClient},
		},
		prepare: func(ctx context.Context, tb testing.TB, size scale) (run, error) {
			tb.Helper()
			server := stores.Redis(tb)
			ways, err := waysOf(ctx, tb, server.URL())
			if err != nil {
				return nil, err
			}
			listener, err := measure.StartSelf(ctx, tb, peerVariable, server.URL())
			if err != nil {
				return nil, err
			}
			return func(ctx context.Context) ([]measure.Pair, error) {
				took, err := measure.TimeEach(ctx, listener, size.timed, ways)
				if err != nil {
					return nil, err
				}
				own, throughBus, throughClient := took[0], took[1], took[2]
				p50, p99 := len(own)/2, len(own)*99/100
				return []measure.Pair{
					{Ours: own[p50], Other: throughBus[p50]}, {Ours: own[p99], Other: throughBus[p99]},
					{Ours: own[p50], Other: throughClient[p50]}, {Ours: own[p99], Other: throughClient[p99]},
				}, nil
			}, nil
		},
	}
}

// timed is a value that says when it was sent. All processes of a machine have one
// clock.
func timed() int64 { return time.Now().UnixNano() }

// operation is what a Set publishes.
type operation struct {
	Op         string `json:"op"`
	Key        string `json:"key"`
	Value      int64  `json:"value"`
	Marshalled bool   `json:"marshalled"`
	Origin     string `json:"origin"`
	Name       string `json:"hash_key"`
}

func set(origin string, value int64) operation {
	return operation{Op: "set", Key: "dog", Value: value, Origin: origin, Name: "animals"}
}

// waysOf returns what sends a timed value: a cache, the bus, go-redis.
func waysOf(ctx context.Context, tb testing.TB, url string) ([]func(context.Context) error, error) {
	tb.Helper()
	c := newCache[int64](ctx, tb, newBus(tb, openRedis(tb, url, cacheDB)), nil)
	alone := newBus(tb, openRedis(tb, url, busDB))
	bare, err := newBareRedis(ctx, tb, url, c.Origin())
	if err != nil {
		return nil, err
	}
	return []func(context.Context) error{
		func(ctx context.Context) error { return c.Set(ctx, "dog", timed()) },
		func(ctx context.Context) error {
			_, err := alone.Publish(ctx, timedChannel, set(c.Origin(), timed()), bus.ToUsers(bus.IntID(-1)))
			return err
		},
		bare.publish,
	}, nil
}

func openRedis(tb testing.TB, url string, db int) *redisbus.Backend {
	tb.Helper()
	return redisOn(tb, newClient(tb, url, db), db)
}

func newClient(tb testing.TB, url string, db int) *redis.Client {
	tb.Helper()
	options, err := redis.ParseURL(url)
	if err != nil {
		tb.Fatal(err)
	}
	options.DB = db
	client := redis.NewClient(options)
	tb.Cleanup(func() { _ = client.Close() }) // the end of all that used it
	return client
}

func redisOn(tb testing.TB, client *redis.Client, db int) *redisbus.Backend {
	tb.Helper()
	store, err := redisbus.New(client, &redisbus.Options{PubSubDB: strconv.Itoa(db)})
	if err != nil {
		tb.Fatal(err)
	}
	return store
}

// bareRedis sends with go-redis what a bus sends.
type bareRedis struct {
	client *redis.Client
	script []any // the arguments of a publish that was overheard
	at     int   // of the envelope in it
	origin string
}

func newBareRedis(ctx context.Context, tb testing.TB, url, origin string) (*bareRedis, error) {
	tb.Helper()
	b := &bareRedis{client: newClient(tb, url, bareDB), origin: origin}
	overheard := newClient(tb, url, bareDB)
	overheard.AddHook(b)
	if _, err := newBus(tb, redisOn(tb, overheard, bareDB)).Publish(ctx, timedChannel, "listen", bus.ToUsers(bus.IntID(-1))); err != nil {
		return nil, err
	}
	b.at = slices.IndexFunc(b.script, func(argument any) bool {
		text, isBytes := argument.([]byte)
		_, found := envelopeOf(string(text))
		return isBytes && found
	})
	if b.at < 0 {
		return nil, errors.New("redisbus has sent no script with an envelope in it")
	}
	return b, nil
}

func (b *bareRedis) publish(ctx context.Context) error {
	envelope := fmt.Sprintf(`%s|{"data":{"op":"set","key":"dog","value":%d,"marshalled":false,"origin":%q,"hash_key":"animals"},`+
		`"user_ids":[-1],"group_ids":null,"client_ids":null}`, timedChannel, timed(), b.origin)
	script := slices.Clone(b.script)
	script[b.at] = envelope
	return b.client.Do(ctx, script...).Err()
}

// DialHook implements redis.Hook.
func (b *bareRedis) DialHook(next redis.DialHook) redis.DialHook { return next }

// ProcessPipelineHook implements redis.Hook.
func (b *bareRedis) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return next
}

// ProcessHook implements redis.Hook.
func (b *bareRedis) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		if cmd.Name() == "evalsha" {
			b.script = slices.Clone(cmd.Args())
		}
		return next(ctx, cmd)
	}
}
