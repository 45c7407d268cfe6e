package redisbus

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/messagebus-go/messagebus/bus/driver"
)

// Options are the settings of a Backend. Zero fields mean the default.
type Options struct {
	// PubSubDB names the pub/sub channel, _message_bus_<PubSubDB>: the gem's
	// own db setting, which is not the number of the database that holds the
	// keys. Peers hear each other where both are the same. Default: "0".
	PubSubDB string

	// HashTag goes in braces before every key, so that all of them live in one
	// slot of a Redis Cluster, which needs it. Ruby peers and peers with
	// another tag then use another store. Letters, digits, and - _ . are
	// accepted. Default: none.
	HashTag string

	// WaitReplicas is how many replicas must have a message before Publish
	// returns its position. Where fewer have it within WaitTimeout, which is
	// 1 s by default and must be less than the client's ReadTimeout, Publish
	// returns an error that says how many have it and that wraps
	// driver.ErrUnknownOutcome: the message is stored and announced.
	// Default: 0, the server that answers is enough.
	WaitReplicas int
	WaitTimeout  time.Duration
}

const defaultWaitTimeout = time.Second

// A Backend is one peer on a store in Redis. It implements driver.Backend and
// driver.Resetter; all its methods are safe for concurrent use.
type Backend struct {
	opts    Options
	names   names
	servers servers

	publishArgs []any
	readTimeout time.Duration // of the client; 0 or less: none

	infoDenied atomic.Bool    // the user may not ask for INFO
	calls      sync.WaitGroup // requests under way, also those whose caller has given up

	mu      sync.Mutex // protects everything below
	closed  bool
	streams map[*stream]struct{}
}

var (
	_ driver.Backend  = (*Backend)(nil)
	_ driver.Resetter = (*Backend)(nil)
	_ driver.Counter  = (*Backend)(nil)
)

// A server is a client of one Redis server, or of whichever is the master of a
// Sentinel group.
type server interface {
	redis.UniversalClient
	Options() *redis.Options
}

// A cluster knows the server that has a key.
type cluster interface {
	Options() *redis.ClusterOptions
	MasterForKey(ctx context.Context, key string) (*redis.Client, error)
	ReloadState(ctx context.Context)
}

// New returns a peer on the store that rdb reaches: a *redis.Client, whether
// made by NewClient or NewFailoverClient, or a *redis.ClusterClient, which needs
// Options.HashTag. It connects to nothing. Options may be nil.
//
// The caller keeps rdb and closes it after the Backend. Its settings hold here
// too. In particular a request whose context ends returns, but what it
// occupied is free again only at the client's ReadTimeout; do not turn that off.
func New(rdb redis.UniversalClient, opts *Options) (*Backend, error) {
	o := Options{}
	if opts != nil {
		o = *opts
	}
	if o.PubSubDB == "" {
		o.PubSubDB = "0"
	}
	if o.WaitTimeout == 0 {
		o.WaitTimeout = defaultWaitTimeout
	}
	if err := checkHashTag(o.HashTag); err != nil {
		return nil, err
	}
	b := &Backend{opts: o, names: newNames(o), streams: make(map[*stream]struct{})}
	b.publishArgs = publishArgs(b.names)
	if err := b.useClient(rdb); err != nil {
		return nil, err
	}
	if err := o.checkWait(b.readTimeout); err != nil {
		return nil, err
	}
	return b, nil
}

func (b *Backend) useClient(rdb redis.UniversalClient) error {
	switch rdb := rdb.(type) {
	case server:
		b.servers, b.readTimeout = oneServer{rdb}, rdb.Options().ReadTimeout
	case cluster:
		if b.opts.HashTag == "" {
			return errors.New("redisbus: a Redis Cluster needs Options.HashTag: " +
				"a publish writes several keys at once, which only one slot can hold")
		}
		b.servers, b.readTimeout = clusterServers{rdb, b.names.globalID}, rdb.Options().ReadTimeout
	default:
		return fmt.Errorf("redisbus: %T: a *redis.Client or a *redis.ClusterClient is accepted", rdb)
	}
	return nil
}

// checkWait takes the client's ReadTimeout; -1 or less is none.
func (o Options) checkWait(readTimeout time.Duration) error {
	switch {
	case o.WaitReplicas < 0:
		return fmt.Errorf("redisbus: WaitReplicas %d: 0 and more are accepted", o.WaitReplicas)
	case o.WaitTimeout < time.Millisecond:
		return fmt.Errorf("redisbus: WaitTimeout %v: 1ms and more are accepted, or 0 for the default", o.WaitTimeout)
	case o.WaitReplicas > 0 && readTimeout > 0 && o.WaitTimeout >= readTimeout:
		return fmt.Errorf("redisbus: WaitTimeout %v: less than the client's ReadTimeout %v is accepted", o.WaitTimeout, readTimeout)
	}
	return nil
}

// servers finds the server to ask.
type servers interface {
	server(ctx context.Context) (server, error)
	failed(ctx context.Context) // a request to it has failed
}

type oneServer struct{ s server }

func (o oneServer) server(context.Context) (server, error) { return o.s, nil }
func (o oneServer) failed(context.Context)                 {}

// clusterServers asks the master of the one slot directly. Redirections are
// errors then, and not requests that the client sends again by itself.
type clusterServers struct {
	cluster cluster
	key     string
}

func (c clusterServers) server(ctx context.Context) (server, error) {
	return c.cluster.MasterForKey(ctx, c.key)
}

func (c clusterServers) failed(ctx context.Context) { c.cluster.ReloadState(ctx) }

// Traits implements driver.Backend.
func (b *Backend) Traits() driver.Traits { return driver.Traits{DenseGlobalIDs: true} }

// Close ends the Backend's streams with driver.ErrClosed, which all its methods
// return from then on, and waits for requests that are under way. It does not
// close the client.
func (b *Backend) Close() error {
	b.mu.Lock()
	b.closed = true
	open := b.streams
	b.streams = nil
	b.mu.Unlock()
	for s := range open {
		_ = s.Close() // it has the same reason to end
	}
	b.calls.Wait()
	return nil
}

// begin starts a request, unless it fails. The caller calls what it returns.
func (b *Backend) begin(ctx context.Context) (end func(), err error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return nil, driver.ErrClosed
	}
	b.calls.Add(1)
	return b.calls.Done, nil
}

// ask runs one request against the server that holds the store. It returns
// ctx's error as soon as ctx ends, while f goes on: go-redis cannot be
// interrupted. What f wrote may be looked at only where ask returned f's error.
func (b *Backend) ask(ctx context.Context, f func(server) error) error {
	end, err := b.begin(ctx)
	if err != nil {
		return err
	}
	defer end()
	return b.await(ctx, func() error { return b.onServer(ctx, f) }, nil)
}

func (b *Backend) onServer(ctx context.Context, f func(server) error) error {
	s, err := b.servers.server(ctx)
	if err == nil {
		err = f(s)
	}
	if err != nil {
		b.servers.failed(ctx)
	}
	return err
}

// await runs f and returns its error or, when ctx ends first, ctx's, unless
// stay says that f will end soon as well. A call of begin must be open.
func (b *Backend) await(ctx context.Context, f func() error, stay func() bool) error {
	if ctx.Done() == nil {
		return f()
	}
	done := make(chan error, 1)
	b.calls.Go(func() { done <- f() })
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
	}
	if stay != nil && stay() {
		return <-done
	}
	return &abandonedError{ctx.Err()}
}

// An abandonedError is the end of a context while an answer was awaited.
type abandonedError struct{ cause error }

func (e *abandonedError) Error() string { return "gave up waiting for an answer: " + e.cause.Error() }
func (e *abandonedError) Unwrap() error { return e.cause }
