package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/messagebus-go/messagebus/benchmarks/internal/measure"
	"github.com/messagebus-go/messagebus/bus"
	"github.com/messagebus-go/messagebus/bus/driver"
)

// peerVariable makes this program a peer: another process, which listens in both
// places and prints how long each message was on its way, in nanoseconds. The
// variable holds an address. The peer ends with its input.
const peerVariable = "MESSAGEBUS_BENCHMARK_PEER"

// timed is the payload of a message that is timed: when it was published. All
// processes of a machine have one clock.
func timed() int64 { return time.Now().UnixNano() }

// startPeer returns when the peer listens.
func startPeer(ctx context.Context, tb testing.TB, s store) (*measure.Process, error) {
	tb.Helper()
	where, err := json.Marshal(s.where())
	if err != nil {
		return nil, err
	}
	return measure.StartSelf(ctx, tb, peerVariable, string(where))
}

// peer is the other process.
func peer(ctx context.Context, role string, in io.Reader, out io.Writer) error {
	var where address
	if err := json.Unmarshal([]byte(role), &where); err != nil {
		return fmt.Errorf("%s: %w", peerVariable, err)
	}
	return measure.Hosted(func(tb testing.TB) error {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		backend, heard, err := where.join(ctx, tb)
		if err != nil {
			return err
		}
		defer heard.close()
		mb := newBus(tb, backend)
		sub, err := mb.Subscribe(ctx, publishChannel, bus.Latest())
		if err != nil {
			return err
		}
		ended := make(chan error, 2)
		go func() { ended <- tell(out, func() (int64, error) { return nextOfBus(ctx, sub) }) }()
		go func() { ended <- tell(out, func() (int64, error) { return nextOfFeed(ctx, heard) }) }()
		go func() {
			_, err := io.Copy(io.Discard, in)
			ended <- err
		}()
		fmt.Fprintln(out, "ready")
		return <-ended
	})
}

// join opens a backend in the first place and a bare feed in the second one.
func (a address) join(ctx context.Context, tb testing.TB) (driver.Backend, feed, error) {
	tb.Helper()
	if a.Store == "Postgres" {
		heard, err := listenPostgres(ctx, postgresPool(tb, a.Second, 1, nil))
		return openPostgres(tb, postgresPool(tb, a.First, 1, nil)), heard, err
	}
	clients := [2]*redis.Client{}
	for i, url := range []string{a.First, a.Second} {
		options, err := redis.ParseURL(url)
		if err != nil {
			return nil, nil, err
		}
		clients[i] = redis.NewClient(options)
		tb.Cleanup(func() { _ = clients[i].Close() }) // the end of all that used it
	}
	heard, err := listenRedis(ctx, clients[second])
	return openRedis(tb, clients[first], first), heard, err
}

// tell prints how long messages were on their way.
func tell(out io.Writer, next func() (int64, error)) error {
	for {
		published, err := next()
		if err != nil {
			return err
		}
		if _, err := fmt.Fprintln(out, published); err != nil {
			return err
		}
	}
}

func nextOfBus(ctx context.Context, sub *bus.Subscription) (int64, error) {
	m, err := sub.Next(ctx)
	now := timed()
	if err != nil {
		return 0, err
	}
	var published int64
	err = m.Decode(&published)
	return now - published, err
}

func nextOfFeed(ctx context.Context, heard feed) (int64, error) {
	encoded, err := heard.next(ctx)
	now := timed()
	if err != nil {
		return 0, err
	}
	_, rest, _ := strings.Cut(encoded, `{"data":`)
	digits, _, _ := strings.Cut(rest, ",")
	published, err := strconv.ParseInt(digits, 10, 64)
	return now - published, err
}
