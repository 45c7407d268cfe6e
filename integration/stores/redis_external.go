package stores

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"
)

// A server that was there before the tests may hold what is dear to somebody. Only
// databases that are empty are taken, and one that is taken is marked in database 0,
// for test processes that run at the same time.

// claimLife is how long a mark stays when its process was killed.
const claimLife = time.Hour

func claim(number int) string { return fmt.Sprint("messagebus:test:database:", number) }

// claimDatabases takes free ones, at most a quarter of all.
func claimDatabases(server string) (*redisPool, error) {
	options, err := redis.ParseURL(server)
	if err != nil {
		return nil, fmt.Errorf("%s is not a redis:// or rediss:// URL", redisVariable)
	}
	pool := &redisPool{options: options}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	client := redis.NewClient(options)
	defer client.Close()
	databases, err := client.ConfigGet(ctx, "databases").Result()
	if err != nil {
		return nil, err
	}
	all, _ := strconv.Atoi(databases["databases"])
	for number := 1; number < all && len(pool.free) < max(1, all/4); number++ {
		if pool.tryClaim(ctx, client, number) {
			pool.free = append(pool.free, number)
		}
	}
	if len(pool.free) == 0 {
		return nil, fmt.Errorf("the server of %s has no empty database but number 0", redisVariable)
	}
	return pool, nil
}

func (p *redisPool) tryClaim(ctx context.Context, client *redis.Client, number int) bool {
	if !client.SetNX(ctx, claim(number), processID, claimLife).Val() {
		return false
	}
	candidate := redis.NewClient((&RedisDatabase{DB: number, options: p.options}).Options())
	defer candidate.Close()
	if keys, err := candidate.DBSize(ctx).Result(); err != nil || keys > 0 {
		client.Del(ctx, claim(number))
		return false
	}
	return true
}

// unclaim removes the marks of what was given back.
func (p *redisPool) unclaim() error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	client := redis.NewClient(p.options)
	defer client.Close()
	var all error
	for _, number := range p.free {
		all = errors.Join(all, client.Del(ctx, claim(number)).Err())
	}
	return all
}
