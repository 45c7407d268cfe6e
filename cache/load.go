package cache

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
)

// flight is a loader that runs, and those who wait for it.
type flight[V any] struct {
	done    chan struct{} // closed when value and err are set
	value   V
	err     error
	waiters int  // guarded by Cache.mu, as what follows
	lonely  bool // nobody waited for it from the start: it refreshes an entry
	stale   bool // its key was changed meanwhile: what it returns is not stored
	cancel  context.CancelFunc
}

// negative is a loader's answer that there is nothing.
type negative struct {
	err   error
	until int64 // of the coarse clock
}

// maxNegatives bounds what is remembered of keys that do not exist.
const maxNegatives = 4096

// A PanicError is what Load returns when the loader panicked.
type PanicError struct {
	Value any    // what it panicked with; nil: it ended its goroutine by runtime.Goexit
	Stack []byte // of the loader's goroutine
}

func (e *PanicError) Error() string {
	if e.Value == nil {
		return "cache: the loader ended its goroutine"
	}
	return fmt.Sprintf("cache: the loader panicked: %v", e.Value)
}

// Load returns what the cache holds of a key, or calls load and stores what it
// returns, in this process alone: nothing is published.
//
// Load runs one loader for a key at a time, however many callers wait for it,
// and all of them get its value or its error. An error is not stored, but for
// Options.NegativeTTL. A panic reaches all of them as a *PanicError.
//
// A value is not stored if the key was changed while it was loaded, by this
// process or a peer, or if changes may have been missed: it may be older than the
// change. Callers that come after such a change do not wait for the old loader.
//
// When ctx is done its error is returned, and the others go on waiting. The
// loader's own context has the values of the first caller's, and ends when
// nobody waits any more, or with Close. With Options.StaleWhileRevalidate an entry
// that expired lately is returned at once, while a loader runs.
func (c *Cache[K, V]) Load(ctx context.Context, key K, load func(context.Context) (V, error)) (V, error) {
	if value, ok := c.Get(key); ok {
		return value, nil
	}
	f, value, err := c.board(ctx, key, load)
	if f == nil {
		return value, err
	}
	select {
	case <-f.done:
		return f.value, f.err
	case <-ctx.Done():
		c.leave(key, f)
		var none V
		return none, ctx.Err()
	}
}

// board joins the flight for a key, or starts one; none, if the answer is known.
func (c *Cache[K, V]) board(ctx context.Context, key K, load func(context.Context) (V, error)) (f *flight[V], value V, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return nil, value, ErrClosed
	}
	if value, ok := c.look(key); ok {
		return nil, value, nil
	}
	if n, ok := c.negatives[key]; ok && n.until > c.now.Load() && !c.trust.none() {
		return nil, value, n.err
	}
	f = c.flights[key]
	old, refreshable := c.refreshable(key)
	if f == nil {
		f = c.takeOff(ctx, key, load)
		f.lonely = refreshable
	}
	if refreshable {
		return nil, old, nil
	}
	f.waiters++
	return f, value, nil
}

// refreshable returns an entry that has expired not long ago. c.mu must be held.
func (c *Cache[K, V]) refreshable(key K) (value V, ok bool) {
	grace := int64(c.options.StaleWhileRevalidate)
	if grace == 0 || c.trust.none() {
		return value, false
	}
	if _, _, hides := c.own.look(key); hides {
		return value, false
	}
	e, found := c.table.peek(key)
	return e.value, found && !e.expired(c.now.Load()-grace)
}

// takeOff starts a loader. c.mu must be held.
func (c *Cache[K, V]) takeOff(ctx context.Context, key K, load func(context.Context) (V, error)) *flight[V] {
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	stop := context.AfterFunc(c.ctx, cancel)
	f := &flight[V]{done: make(chan struct{}), cancel: cancel, stale: c.trust.none()}
	c.flights[key] = f
	c.counts.loads.Add(1)
	c.loops.Go(func() {
		defer cancel()
		defer stop()
		returned := false
		defer func() {
			if !returned {
				f.err = &PanicError{Value: recover(), Stack: debug.Stack()}
			}
			c.land(key, f)
		}()
		f.value, f.err = load(ctx)
		returned = true
	})
	return f
}

// land stores what a loader returned, and lets its waiters go.
func (c *Cache[K, V]) land(key K, f *flight[V]) {
	c.mu.Lock()
	defer close(f.done)
	defer c.unlock()
	if c.flights[key] == f {
		delete(c.flights, key)
	}
	switch {
	case f.err != nil:
		if !f.stale {
			c.remember(key, f.err)
		}
	case !f.stale && !c.closed && !c.trust.none():
		c.put(key, f.value)
	default:
		// A write that came meanwhile is what all others read.
		if value, ok := c.look(key); ok {
			f.value = value
		}
	}
}

// remember notes that there is nothing. c.mu must be held.
func (c *Cache[K, V]) remember(key K, err error) {
	if c.options.NegativeTTL == 0 || c.closed || !errors.Is(err, ErrNotFound) {
		return
	}
	for other := range c.negatives {
		if len(c.negatives) < maxNegatives {
			break
		}
		delete(c.negatives, other)
	}
	c.negatives[key] = negative{err, c.now.Load() + int64(c.options.NegativeTTL)}
}

// leave is called when a waiter gives up. The last one cancels the loader.
func (c *Cache[K, V]) leave(key K, f *flight[V]) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if f.waiters--; f.waiters > 0 || f.lonely {
		return
	}
	f.cancel()
	if c.flights[key] == f {
		delete(c.flights, key)
	}
}

// outdate marks a loader that is under way. c.mu must be held.
func (c *Cache[K, V]) outdate(key K) {
	if f := c.flights[key]; f != nil {
		f.stale = true
		delete(c.flights, key)
	}
}
