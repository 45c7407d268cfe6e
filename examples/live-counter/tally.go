package main

import (
	"context"
	"errors"
	"sync/atomic"

	"github.com/redis/go-redis/v9"
)

// A tally is where the number is kept for good; the rest can be made again from it.
type tally interface {
	add(ctx context.Context) (int64, error)
	value(ctx context.Context) (int64, error)
}

// inMemory lasts as long as its process.
type inMemory struct{ n atomic.Int64 }

func (m *inMemory) add(context.Context) (int64, error)   { return m.n.Add(1), nil }
func (m *inMemory) value(context.Context) (int64, error) { return m.n.Load(), nil }

// inRedis is one number for all processes. In an application it is a row of its
// database.
type inRedis struct{ rdb *redis.Client }

const redisKey = "live-counter"

func (r inRedis) add(ctx context.Context) (int64, error) { return r.rdb.Incr(ctx, redisKey).Result() }

func (r inRedis) value(ctx context.Context) (int64, error) {
	n, err := r.rdb.Get(ctx, redisKey).Int64()
	if errors.Is(err, redis.Nil) {
		return 0, nil // nobody has clicked yet
	}
	return n, err
}
