package cache

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"iter"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/messagebus-go/messagebus/bus"
)

// What callers branch on with errors.Is.
var (
	// ErrClosed: the cache was closed. It is final.
	ErrClosed = errors.New("cache: closed")

	// ErrStale: changes of peers may have been missed; Err says why.
	ErrStale = errors.New("changes may have been missed")

	// ErrNotFound is for loaders: an error that wraps it is remembered for
	// Options.NegativeTTL.
	ErrNotFound = errors.New("not found")
)

// A Cache is a map that every process on a store shares. Make one with New and
// close it with Close. All methods are safe for concurrent use; values are
// shared with all readers of the process, and must not be changed.
type Cache[K Key, V any] struct {
	bus     *bus.Bus
	options Options[K, V]
	address address
	keys    keys[K]
	values  values[V]
	origin  string
	table   table[K, V]
	started time.Time

	now     atomic.Int64 // the coarse clock: nanoseconds since started
	special atomic.Bool  // table alone does not have the answers
	counts  counts

	ctx    context.Context //nolint:containedctx // the goroutines' own: it ends with Close
	cancel context.CancelFunc
	loops  sync.WaitGroup
	feeds  []*feed
	turn   chan struct{} // holds one token: that of the feed that begins anew

	mu        sync.Mutex // guards below; taken before the table's
	own       own[K, V]
	order     order[K]
	flights   map[K]*flight[V]
	negatives map[K]negative
	trust     trust
	notices   []func() // callbacks to run when mu is free
	closed    bool
}

// New returns the cache of that name, which shares its entries with the caches
// of the same name and site of all peers. Its site is that of b, a view made by
// bus.Site; no site, the empty one and "default" are one, as in the gem. opts
// may be nil.
//
// A new cache is empty, unless Options.WarmStart is set, and hears every change
// that is published after New returned. ctx bounds New alone. It fails on
// options that are out of range, on a name that is not valid UTF-8, and when the
// store does not answer.
//
// The cache does not own b: close the cache first, and then the bus.
func New[K Key, V any](ctx context.Context, b *bus.Bus, name string, opts *Options[K, V]) (*Cache[K, V], error) {
	c, err := newCache(b, name, opts)
	if err == nil {
		err = c.start(ctx)
	}
	if err != nil {
		return nil, fmt.Errorf("cache: new %q: %w", name, err)
	}
	return c, nil
}

func newCache[K Key, V any](b *bus.Bus, name string, opts *Options[K, V]) (*Cache[K, V], error) {
	if opts == nil {
		opts = &Options[K, V]{}
	}
	resolved, err := opts.resolve()
	if err != nil {
		return nil, err
	}
	if err := checkText(name); err != nil {
		return nil, fmt.Errorf("%w: the name %w", bus.ErrInvalidData, err)
	}
	c := &Cache[K, V]{
		bus: b, options: resolved, keys: newKeys[K](), values: newValues[V](resolved.Codec),
		origin: newOrigin(), started: time.Now(),
		flights: map[K]*flight[V]{}, negatives: map[K]negative{}, turn: make(chan struct{}, 1),
	}
	c.own.keys = map[K]*ownKey[V]{}
	if c.address, err = newAddress(name, resolved.AppVersion); err != nil {
		return nil, err
	}
	if c.table, err = newTable[K, V](resolved.MaxEntries); err != nil {
		return nil, err
	}
	c.ctx, c.cancel = context.WithCancel(context.Background()) //nolint:gosec // Close calls it
	return c, nil
}

// newOrigin is made as the gem makes it: 32 hexadecimal digits and the process id.
func newOrigin() string {
	var random [16]byte
	_, _ = rand.Read(random[:]) // never fails
	return hex.EncodeToString(random[:]) + strconv.Itoa(os.Getpid())
}

// Get returns what the cache holds of a key. It asks nobody and never waits.
func (c *Cache[K, V]) Get(key K) (V, bool) {
	value, ok := c.find(key)
	if ok {
		c.counts.hits.Add(1)
	} else {
		c.counts.misses.Add(1)
	}
	return value, ok
}

// find is Get, but does not count.
func (c *Cache[K, V]) find(key K) (V, bool) {
	if c.special.Load() {
		c.mu.Lock()
		defer c.mu.Unlock()
		return c.look(key)
	}
	e, ok := c.table.get(key)
	if !ok || e.expired(c.now.Load()) {
		var none V
		return none, false
	}
	return e.value, true
}

// look is find with c.mu held.
func (c *Cache[K, V]) look(key K) (V, bool) {
	var none V
	if c.trust.none() {
		return none, false
	}
	if value, found, hides := c.own.look(key); hides {
		return value, found
	}
	e, ok := c.table.get(key)
	if !ok || e.expired(c.now.Load()) {
		return none, false
	}
	return e.value, true
}

// Set publishes a value to all peers. When it returns nil, this process reads
// it at once, and the others when it reaches them. After concurrent writes to a
// key all peers written in Go hold the value with the highest id.
//
// Values of arrays, maps and structs reach Ruby as arrays and hashes, by the
// rules of encoding/json; see Codec for peers that are all written in Go.
//
// Nothing is changed, here or elsewhere, when key or value have no form that all
// peers can read (bus.ErrInvalidData) or are too large (bus.ErrTooLarge), and when the
// store refuses them, because it is read-only (bus.ErrReadOnly; a Set is never
// queued) or does not answer. An error for which
// errors.Is(err, bus.ErrUnknownOutcome) holds means that peers may have it or
// not: this process no longer holds the key until it hears of it.
func (c *Cache[K, V]) Set(ctx context.Context, key K, value V) error {
	o, err := c.outgoingSet(key, value)
	if err != nil {
		return c.fail(OpSet, key, err)
	}
	// Here it is held as every peer will have it, and not as it was handed in.
	back, absent, err := c.values.decode(o.Value, *o.Marshalled)
	if err != nil {
		return c.fail(OpSet, key, fmt.Errorf("%w: it cannot be read back: %w", bus.ErrInvalidData, err))
	}
	return c.publish(ctx, o, key, back, absent)
}

func (c *Cache[K, V]) outgoingSet(key K, value V) (o outgoing, err error) {
	if o, err = c.outgoing(OpSet, key); err != nil {
		return o, err
	}
	var marshalled bool
	if o.Value, marshalled, err = c.values.encode(value); err != nil {
		return o, fmt.Errorf("%w: %w", bus.ErrInvalidData, err)
	}
	o.Marshalled = &marshalled
	return o, nil
}

func (c *Cache[K, V]) outgoing(op Op, key K) (o outgoing, err error) {
	o = outgoing{Op: op, Origin: c.origin, Name: c.address.name, AppVersion: c.address.version}
	if op == OpClear {
		return o, nil
	}
	if o.Key, err = c.keys.encode(key); err != nil {
		return o, fmt.Errorf("%w: the key %w", bus.ErrInvalidData, err)
	}
	return o, nil
}

// Delete removes a key at all peers, also where this cache does not hold it. Its
// errors are those of Set.
func (c *Cache[K, V]) Delete(ctx context.Context, key K) error {
	var none V
	o, err := c.outgoing(OpDelete, key)
	if err != nil {
		return c.fail(OpDelete, key, err)
	}
	return c.publish(ctx, o, key, none, true)
}

// Clear removes everything at all peers, in this site. Its errors are those of
// Set.
func (c *Cache[K, V]) Clear(ctx context.Context) error {
	var key K
	var none V
	o, err := c.outgoing(OpClear, key)
	if err != nil {
		return c.fail(OpClear, key, err)
	}
	return c.publish(ctx, o, key, none, true)
}

// publish tells the peers of an operation, and this process while it has not come
// back.
func (c *Cache[K, V]) publish(ctx context.Context, o outgoing, key K, value V, deleted bool) error {
	c.mu.Lock()
	if c.closed {
		c.mu.Unlock()
		return ErrClosed
	}
	t := c.own.begin(o.Op, key)
	c.mu.Unlock()

	// The target is nobody, as the gem has it, so that no browser gets it.
	id, err := c.bus.Publish(ctx, channel, o, bus.ToUsers(bus.IntID(-1)), bus.WithoutReadOnlyQueue())

	c.mu.Lock()
	defer c.unlock()
	switch {
	case err == nil && c.own.accepted(t, o.Op, key, id, value, deleted):
		c.changed(o.Op, key)
	case err == nil, errors.Is(err, bus.ErrUnknownOutcome):
		c.doubt(o.Op, key)
	}
	c.own.end(o.Op, key)
	if err != nil {
		return c.fail(o.Op, key, err)
	}
	return nil
}

// doubt lets go of what an operation may have changed or not. c.mu must be held.
func (c *Cache[K, V]) doubt(op Op, key K) {
	c.own.doubt(op, key)
	c.changed(op, key)
	if op == OpClear {
		c.table.clear()
		return
	}
	c.table.remove(key)
}

func (c *Cache[K, V]) fail(op Op, key K, err error) error {
	if op == OpClear {
		return fmt.Errorf("cache: clear %q: %w", c.address.name, err)
	}
	return fmt.Errorf("cache: %s %s in %q: %w", op, shorten(fmt.Sprint(key)), c.address.name, err)
}

// unlock frees c.mu and runs the callbacks that were noted under it.
func (c *Cache[K, V]) unlock() {
	c.special.Store(c.trust.none() || c.own.pending > 0)
	notices := c.notices
	c.notices = nil
	c.mu.Unlock()
	for _, notice := range notices {
		c.guard(notice)
	}
}

// guard contains a panic of the application's code.
func (c *Cache[K, V]) guard(f func()) {
	defer func() {
		if p := recover(); p != nil {
			c.options.Logger.Error("panic in a callback of a cache", "cache", c.address.name, "panic", fmt.Sprint(p))
		}
	}()
	f()
}

// Forget removes a key from this process alone, as delete does in the gem with
// publish: false. Peers are not told, and their next change of the key is taken.
func (c *Cache[K, V]) Forget(key K) {
	c.mu.Lock()
	defer c.unlock()
	c.doubt(OpDelete, key)
}

// Len returns how many entries All would go over. It counts them one by one
// where an own write has not come back yet or Options.TTL is set.
func (c *Cache[K, V]) Len() int {
	if !c.special.Load() && c.options.TTL == 0 {
		return c.table.len()
	}
	return len(c.entries())
}

// All goes over what the cache holds at this moment, in no order. What changes
// meanwhile does not show.
func (c *Cache[K, V]) All() iter.Seq2[K, V] {
	return func(yield func(K, V) bool) {
		for _, p := range c.entries() {
			if !yield(p.key, p.entry.value) {
				return
			}
		}
	}
}

// entries returns a copy of what Get would find.
func (c *Cache[K, V]) entries() []pair[K, V] {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.trust.none() {
		return nil
	}
	now := c.now.Load()
	all := c.table.all()
	kept := all[:0]
	for _, p := range all {
		if _, _, hides := c.own.look(p.key); !hides && !p.entry.expired(now) {
			kept = append(kept, p)
		}
	}
	for key := range c.own.keys {
		if value, found, hides := c.own.look(key); hides && found {
			kept = append(kept, pair[K, V]{key, entry[V]{value: value}})
		}
	}
	return kept
}

// Origin returns what marks the operations of this cache, as Change.Origin has
// it. Every cache has one of its own.
func (c *Cache[K, V]) Origin() string { return c.origin }

// Name returns the name that New was given.
func (c *Cache[K, V]) Name() string { return c.address.name }

// Close ends the cache and waits until its goroutines are gone: loaders, whose
// contexts end, and callbacks included. It must not be called from either. A
// closed cache is empty, and its Set, Delete, Clear and Load return ErrClosed.
// The bus stays open. Close always returns nil.
func (c *Cache[K, V]) Close() error {
	c.mu.Lock()
	c.closed = true
	c.trust.blind = true
	c.table.clear()
	c.own.missed()
	c.unlock()
	c.cancel()
	c.loops.Wait()
	for _, f := range c.feeds {
		_ = f.sub.Load().Close() // never fails; one may have begun anew at the last moment
	}
	return nil
}
