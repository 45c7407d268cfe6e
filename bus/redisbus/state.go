package redisbus

import (
	"context"
	"crypto/rand"
	"slices"
	"strings"

	"github.com/redis/go-redis/v9"

	"github.com/messagebus-go/messagebus/bus/driver"
)

// State implements driver.Backend in one round trip. A store without an epoch is
// given one, which takes another. Its warning is that the server refuses writes, for
// want of memory or because it cannot write to its disk.
//
// The epoch is a key of the store's own, and so it is gone whenever the store's
// data are. The timeline is the server's replication id, which changes when a
// replica is promoted and when a server comes back without its history; it is
// empty where the user may not ask for INFO.
func (b *Backend) State(ctx context.Context) (driver.State, error) {
	var state driver.State
	err := b.ask(ctx, func(s server) (err error) {
		if state, err = b.state(ctx, s); err == nil && state.Epoch == "" && !state.ReadOnly {
			state.Epoch, err = b.writeEpoch(ctx, s)
		}
		return err
	})
	if err != nil {
		return driver.State{}, err
	}
	return state, nil
}

func (b *Backend) state(ctx context.Context, s server) (driver.State, error) {
	pipe := s.Pipeline()
	values := pipe.MGet(ctx, b.names.epoch, b.names.globalID)
	info := b.info(ctx, pipe)
	refusal := wouldRefuse(ctx, pipe)
	if err := perform(ctx, pipe); err != nil {
		return driver.State{}, err
	}
	if err := values.Err(); err != nil {
		return driver.State{}, err
	}
	if err := info.Err(); err != nil && !b.denied(info) {
		return driver.State{}, err
	}
	state := newState(values.Val(), info.Val())
	if err := refusal.Err(); outOfMemory(err) || redis.HasErrorPrefix(err, diskTrouble) {
		state.Warning = "the server refuses writes: " + err.Error()
	}
	return state, nil
}

// wouldRefuse asks whether the server takes writes, without one: where it is out of
// memory it takes nothing into a transaction, and where it cannot write to its disk it
// refuses to be pinged. The transaction is given up.
func wouldRefuse(ctx context.Context, pipe redis.Pipeliner) *redis.StatusCmd {
	pipe.Do(ctx, "multi")
	ping := pipe.Ping(ctx)
	pipe.Do(ctx, "discard")
	return ping
}

// info asks for what the server is, unless that is known to be refused.
func (b *Backend) info(ctx context.Context, pipe redis.Pipeliner) *redis.StringCmd {
	if b.infoDenied.Load() {
		return redis.NewStringCmd(ctx)
	}
	return pipe.Info(ctx, "replication")
}

// denied reports whether the user may not ask for INFO, and keeps it in mind.
func (b *Backend) denied(info *redis.StringCmd) bool {
	if !redis.IsPermissionError(info.Err()) {
		return false
	}
	b.infoDenied.Store(true)
	return true
}

// newState takes the values of the epoch and of the last global id.
func newState(values []any, info string) driver.State {
	replication := parseInfo(info)
	last := asInt(values[1])
	return driver.State{
		GlobalID: last,
		Settled:  last, // a script stores and announces at once
		Epoch:    asString(values[0]),
		Timeline: replication["master_replid"],
		ReadOnly: replication["role"] == "slave" && replication["slave_read_only"] != "0",
	}
}

// parseInfo reads lines of the form name:value.
func parseInfo(info string) map[string]string {
	fields := make(map[string]string)
	for line := range strings.Lines(info) {
		if name, value, ok := strings.Cut(strings.TrimSpace(line), ":"); ok {
			fields[name] = value
		}
	}
	return fields
}

// asString returns a value of MGET, which is nil where there is none.
func asString(value any) string {
	s, _ := value.(string)
	return s
}

// asInt reads a value of MGET as the gem does.
func asInt(value any) int64 { return driver.ParseInt(asString(value)) }

// perform sends what is in pipe. Each command has its own error then, but for what
// a server says while the client logs in, which go-redis tells none of them.
func perform(ctx context.Context, pipe redis.Pipeliner) error {
	commands, err := pipe.Exec(ctx)
	if slices.ContainsFunc(commands, func(c redis.Cmder) bool { return c.Err() != nil }) {
		return nil
	}
	return err
}

// writeEpoch gives the store an epoch if it has none, and returns the one that
// it has: empty on a server that takes no writes.
func (b *Backend) writeEpoch(ctx context.Context, s server) (string, error) {
	pipe := s.Pipeline()
	set := pipe.SetNX(ctx, b.names.epoch, rand.Text(), 0)
	get := pipe.Get(ctx, b.names.epoch)
	if err := perform(ctx, pipe); err != nil {
		return "", err
	}
	if err := set.Err(); err != nil && !takesNoWrites(err) {
		return "", err
	}
	if err := get.Err(); err != nil && err != redis.Nil { //nolint:errorlint // a sentinel that is never wrapped
		return "", err
	}
	return get.Val(), nil
}

// takesNoWrites recognises what a server says that is well but for its memory, its
// disk or its replicas, and that can be read and listened to all the same.
func takesNoWrites(err error) bool {
	return redis.IsReadOnlyError(err) || outOfMemory(err) || redis.HasErrorPrefix(err, diskTrouble) || redis.HasErrorPrefix(err, "NOREPLICAS")
}

// diskTrouble is the code of a server that cannot write its snapshots or its log.
const diskTrouble = "MISCONF"

func outOfMemory(err error) bool { return redis.HasErrorPrefix(err, "OOM") }

// Reset implements driver.Resetter as the gem's reset! does: it deletes every
// key whose name begins with __mb_. Streams go on.
func (b *Backend) Reset(ctx context.Context) error {
	return b.ask(ctx, func(s server) error {
		keys := s.Scan(ctx, 0, b.names.all, 1000).Iterator()
		for keys.Next(ctx) {
			if err := s.Unlink(ctx, keys.Val()).Err(); err != nil {
				return err
			}
		}
		return keys.Err()
	})
}
