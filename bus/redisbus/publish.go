package redisbus

import (
	"context"
	_ "embed" // publish.lua
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/messagebus-go/messagebus/bus/driver"
)

//go:embed publish.lua
var publishScript string

var publishSHA = redis.NewScript(publishScript).Hash()

// Publish implements driver.Backend. The message is stored and announced by one
// script in one round trip, a further one where the server does not know the
// script yet. Limits are exact, but for ages, which are rounded up to seconds.
//
// A deadline of ctx is kept. A ctx that is canceled ends the wait for a
// connection; a message that was sent is waited for, for as long as the client's
// ReadTimeout allows, since only the answer says what became of it.
func (b *Backend) Publish(ctx context.Context, channel string, data []byte, limits driver.Limits) (driver.Position, error) {
	end, err := b.begin(ctx)
	if err != nil {
		return driver.Position{}, err
	}
	defer end()
	p := b.newPublish(channel, data, limits)
	if b.endsBefore(ctx) {
		err = p.run(ctx)
	} else {
		err = b.await(ctx, func() error { return p.run(ctx) }, func() bool { return !p.sent.Load() })
	}
	if err != nil {
		return driver.Position{}, p.explain(err)
	}
	return p.position, nil
}

// endsBefore reports whether a request ends before the deadline of ctx by
// itself. That spares the goroutine of await, a tenth of what publishing costs.
func (b *Backend) endsBefore(ctx context.Context) bool {
	deadline, ok := ctx.Deadline()
	return b.readTimeout > 0 && (!ok || time.Until(deadline) > b.readTimeout)
}

// A publish is one message on its way to the server.
type publish struct {
	backend  *Backend
	args     []any           // of EVALSHA or EVAL
	sent     atomic.Bool     // the request may have left this process
	position driver.Position // of the message, once it is stored
}

// publishArgs are the arguments of EVALSHA, in which nil stands for what differs
// from publish to publish.
func publishArgs(n names) []any {
	const keys = 4
	return []any{"evalsha", publishSHA, keys, n.globalID, nil, nil, n.globalBacklog, n.pubsub, nil, nil, nil, nil, nil, nil}
}

func (b *Backend) newPublish(channel string, data []byte, l driver.Limits) *publish {
	args := slices.Clone(b.publishArgs)
	args[4], args[5] = b.names.id+channel, b.names.backlog+channel
	args[8], args[9] = channel, withoutIDs(channel, data)
	age := (max(l.MaxAge, 0) + time.Second - 1) / time.Second
	args[10], args[11], args[12], args[13] = int64(age), max(l.MaxSize, 0), max(l.MaxGlobalSize, 0), max(l.ClearEvery, 1)
	return &publish{backend: b, args: args}
}

// withoutIDs is the part of the encoded message that does not depend on its ids.
// It is a copy, since the request may outlive the call.
func withoutIDs(channel string, data []byte) []byte {
	return driver.Message{Channel: channel, Data: data}.Encode()[len("0|0|"):]
}

// run sends the publish and, where the script was unknown, its text. That is
// not a repetition: an unknown script has not run.
func (p *publish) run(ctx context.Context) error {
	return p.backend.onServer(ctx, func(s server) error {
		err := p.send(ctx, s)
		if redis.HasErrorPrefix(err, "NOSCRIPT") {
			p.args[0], p.args[1] = "eval", publishScript
			err = p.send(ctx, s)
		}
		return err
	})
}

func (p *publish) send(ctx context.Context, s server) error {
	cmd := &scriptCmd{IntSliceCmd: redis.NewIntSliceCmd(ctx, p.args...), sent: &p.sent}
	if p.backend.opts.WaitReplicas > 0 {
		return p.sendAndWait(ctx, s, cmd)
	}
	if err := s.Process(ctx, cmd); err != nil {
		return err
	}
	return p.accept(cmd.Val())
}

// sendAndWait has the server wait for its replicas: WAIT is about what its own
// connection wrote before.
func (p *publish) sendAndWait(ctx context.Context, s server, cmd *scriptCmd) error {
	replicas, timeout := p.backend.opts.WaitReplicas, p.backend.opts.WaitTimeout
	wait := redis.NewIntCmd(ctx, "wait", replicas, timeout.Milliseconds())
	pipe := s.Pipeline()
	_ = pipe.Process(ctx, cmd) // each command has its error after Exec
	_ = pipe.Process(ctx, wait)
	if err := perform(ctx, pipe); err != nil {
		return err
	}
	if err := cmd.Err(); err != nil {
		return err
	}
	if err := p.accept(cmd.Val()); err != nil {
		return err
	}
	err := wait.Err()
	if err == nil && wait.Val() < int64(replicas) {
		err = fmt.Errorf("no more within %v", timeout)
	}
	if err != nil {
		return &replicationError{p.position, wait.Val(), replicas, err}
	}
	return nil
}

func (p *publish) accept(ids []int64) error {
	if len(ids) != 2 {
		return fmt.Errorf("the script answered %d numbers, want 2", len(ids))
	}
	p.position = driver.Position{GlobalID: ids[0], ID: ids[1]}
	return nil
}

// explain says what an error means for the message.
func (p *publish) explain(err error) error {
	var refused redis.Error
	var replication *replicationError
	switch {
	case errors.As(err, &replication):
		return fmt.Errorf("%w: %w", driver.ErrUnknownOutcome, err)
	case errors.As(err, &refused):
		return explainRefusal(err)
	case !p.sent.Load(), neverSent(err):
		return err
	default:
		return fmt.Errorf("%w: %w", driver.ErrUnknownOutcome, err)
	}
}

// explainRefusal says what an answer means that is an error. Before Redis 7 the
// code of an error inside a script stands in the middle of the text.
func explainRefusal(err error) error {
	switch {
	case redis.IsReadOnlyError(err), strings.Contains(err.Error(), "-READONLY "):
		return fmt.Errorf("%w: %w", driver.ErrReadOnly, err)
	case redis.HasErrorPrefix(err, "CROSSSLOT"):
		return fmt.Errorf("the server is part of a Redis Cluster, which needs Options.HashTag: %w", err)
	default:
		return err
	}
}

// neverSent recognises errors of getting a connection.
func neverSent(err error) bool {
	var network *net.OpError
	return errors.As(err, &network) && network.Op == "dial" ||
		errors.Is(err, redis.ErrPoolTimeout) || errors.Is(err, redis.ErrPoolExhausted) || errors.Is(err, redis.ErrClosed)
}

// A scriptCmd is a script that go-redis must not send again by itself: of a
// connection that broke it cannot know whether the script has run.
type scriptCmd struct {
	*redis.IntSliceCmd

	sent *atomic.Bool
}

// NoRetry implements redis.Cmder.
func (c *scriptCmd) NoRetry() bool { return true }

// Args implements redis.Cmder. A request cannot leave without it, so where it
// was not called nothing was sent. A hook of the client may call it too early,
// which errs on the safe side.
func (c *scriptCmd) Args() []any {
	c.sent.Store(true)
	return c.IntSliceCmd.Args()
}

// A replicationError is a message that is stored on fewer replicas than asked for.
type replicationError struct {
	position driver.Position
	got      int64
	want     int
	cause    error
}

func (e *replicationError) Error() string {
	return fmt.Sprintf("message %d (global id %d) is stored and replicated to %d of %d: %v",
		e.position.ID, e.position.GlobalID, e.got, e.want, e.cause)
}

func (e *replicationError) Unwrap() error { return e.cause }
