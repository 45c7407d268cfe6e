package cache

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/messagebus-go/messagebus/bus"
)

// trust is why what the cache holds may not be up to date. Guarded by Cache.mu.
type trust struct {
	down    time.Time // since when the feed is known to be down; zero: it is live
	overdue bool      // it is, or was, down for longer than MaxStaleness, and is not up to date again
	gap     error     // what was missed, with GapKeep
	resync  error     // why the backlog cannot be read, with GapResync
	ended   error     // why there will be no more changes
	blind   bool      // nothing is served: closed, or overdue without GapKeep
	filling bool      // nothing is served: the backlog is being applied, from its beginning
	behind  bool      // nothing is served: changes were missed, and what is left to come has not been applied
	asking  bool      // a goroutine asks the store whether all that was missed has been applied
}

// none reports whether nothing is served. c.mu must be held.
func (t *trust) none() bool { return t.blind || t.filling || t.behind }

// Err returns nil where the cache is up to date, as far as its feed can tell.
// Otherwise it says why not: an error that wraps ErrStale while the feed is
// down, after changes were missed with GapKeep, and while GapResync reads the
// backlog; ErrClosed, or the error of the bus, when the cache is of no use any
// more. A feed that dies silently is noticed within the bus's LivenessBound.
func (c *Cache[K, V]) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	t := &c.trust
	switch {
	case c.closed:
		return ErrClosed
	case t.ended != nil:
		return t.ended
	case t.gap != nil:
		return fmt.Errorf("cache: %q: %w", c.address.name, t.gap)
	case t.resync != nil:
		return fmt.Errorf("cache: %q: %w", c.address.name, t.resync)
	case t.behind:
		return fmt.Errorf("cache: %q: %w: what came after them is being applied", c.address.name, ErrStale)
	case t.overdue || !t.down.IsZero():
		return fmt.Errorf("cache: %q: %w: no live feed since %s", c.address.name, ErrStale, t.down.Format(time.RFC3339))
	}
	return nil
}

// miss does what OnGap says when changes were missed. Its errors are final.
func (c *Cache[K, V]) miss(ctx context.Context, it item, reason error) error {
	select {
	case c.turn <- struct{}{}:
		defer func() { <-c.turn }()
	case <-ctx.Done():
		return ctx.Err()
	}
	if !c.letGo(it, reason) {
		return nil
	}
	c.traceStale(reason)
	if c.options.OnGap != GapResync {
		return nil
	}
	return c.resync(ctx, reason)
}

// letGo lets go of what OnGap says, unless the feed has begun anew since.
func (c *Cache[K, V]) letGo(it item, reason error) bool {
	c.mu.Lock()
	defer c.unlock()
	if it.sub != it.feed.sub.Load() {
		return false
	}
	c.let()
	// Ids may have begun again. What is not above the position is not known.
	c.order.begin(it.sub.Position().GlobalID())
	if c.options.OnGap == GapKeep {
		c.trust.gap = reason
	} else {
		// An own write may have been read that the feed has not come to. What is
		// older must not be seen now.
		c.trust.behind = true
	}
	return true
}

// drop lets go of everything.
func (c *Cache[K, V]) drop() {
	c.mu.Lock()
	defer c.unlock()
	c.dropLocked()
}

// dropLocked lets go of everything. c.mu must be held.
func (c *Cache[K, V]) dropLocked() {
	var none K
	c.own.missed()
	c.changed(OpClear, none)
	c.table.clear()
	c.tell(Change[K, V]{Op: OpDrop})
}

// let lets go of what OnGap says. c.mu must be held.
func (c *Cache[K, V]) let() {
	if c.options.OnGap != GapKeep {
		c.dropLocked()
		return
	}
	var none K
	c.settle()
	c.changed(OpClear, none)
}

// settle moves own writes that have not come back into the table: they may not
// come any more. c.mu must be held.
func (c *Cache[K, V]) settle() {
	if c.own.all.pending {
		c.table.clear()
	}
	for key := range c.own.keys {
		value, found, hides := c.own.look(key)
		switch {
		case hides && found:
			c.put(key, value)
		case hides:
			c.table.remove(key)
		}
	}
	c.own.missed()
}

func (c *Cache[K, V]) traceStale(reason error) {
	c.counts.stale.Add(1)
	c.options.Logger.Warn("changes may have been missed", "cache", c.address.name, "error", reason)
	if f := c.options.Trace.Stale; f != nil {
		c.guard(func() { f(reason) })
	}
}

// resync begins anew with the backlog, and tries until that works. Its errors are
// final.
func (c *Cache[K, V]) resync(ctx context.Context, reason error) error {
	c.setResync(reason)
	defer c.setResync(nil)
	for wait := 50 * time.Millisecond; ; wait = min(2*wait, 5*time.Second) {
		err := c.begin(ctx, true)
		if err == nil || ctx.Err() != nil || errors.Is(err, bus.ErrClosed) {
			return err
		}
		c.setResync(fmt.Errorf("%w: %w", ErrStale, err))
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return ctx.Err()
		}
	}
}

func (c *Cache[K, V]) setResync(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.trust.resync = err
}

// lose is called when a feed has ended for good: the bus was closed.
func (c *Cache[K, V]) lose(err error) {
	c.mu.Lock()
	defer c.unlock()
	c.trust.ended = fmt.Errorf("cache: %q: %w", c.address.name, err)
	c.trust.blind = true
	c.table.clear()
	c.own.missed()
}

// The cache looks at its clock and its feed at least and at most that often.
const (
	leastTick = time.Millisecond
	mostTick  = 250 * time.Millisecond

	// askTimeout is how long the store may take to say where a channel stands.
	askTimeout = 5 * time.Second
)

// tick is a twentieth of the shortest time that is to be kept.
func (o *Options[K, V]) tick() time.Duration {
	shortest := time.Duration(0)
	for _, d := range []time.Duration{o.TTL, o.MaxStaleness, o.NegativeTTL} {
		if d > 0 && (shortest == 0 || d < shortest) {
			shortest = d
		}
	}
	if shortest == 0 {
		return mostTick
	}
	return min(max(shortest/20, leastTick), mostTick)
}

// tend keeps the coarse clock, looks whether the feed is live, and removes what
// has expired.
func (c *Cache[K, V]) tend() {
	ticker := time.NewTicker(c.options.tick())
	defer ticker.Stop()
	for {
		select {
		case <-c.ctx.Done():
			return
		case <-ticker.C:
		}
		c.now.Store(c.clock())
		c.watch(c.bus.Health().Live)
		if c.options.TTL > 0 {
			c.sweep()
		}
	}
}

// watch notes whether the feed is live, and what that means.
func (c *Cache[K, V]) watch(live bool) {
	recovering, reason := c.observe(live)
	if reason != nil {
		c.traceStale(reason)
	}
	if recovering {
		c.loops.Go(c.recover) // the clock must not wait for the store
	}
}

// recover ends what observe has begun, if all that was missed has been applied.
func (c *Cache[K, V]) recover() {
	up := c.caughtUp()
	c.mu.Lock()
	defer c.unlock()
	c.trust.asking = false
	if up {
		c.trust.down, c.trust.overdue, c.trust.behind = time.Time{}, false, false
		c.trust.blind = c.closed || c.trust.ended != nil
	}
}

// observe returns whether the feed is live again, or why changes may be missed
// from now on.
func (c *Cache[K, V]) observe(live bool) (recovering bool, reason error) {
	c.mu.Lock()
	defer c.unlock()
	t := &c.trust
	switch {
	case c.closed || t.ended != nil:
	case live:
		recovering = (t.behind || !t.down.IsZero()) && !t.asking
		t.asking = t.asking || recovering
		return recovering, nil
	case t.down.IsZero():
		t.down = time.Now()
	case !t.overdue && c.options.MaxStaleness > 0 && time.Since(t.down) >= c.options.MaxStaleness:
		t.overdue = true
		t.blind = c.options.OnGap != GapKeep
		reason = fmt.Errorf("%w: the feed has been down for %v", ErrStale, c.options.MaxStaleness)
		c.let()
	}
	return false, reason
}

// caughtUp reports whether what the store has was applied: a feed that is live
// again has brought what was missed, but that may still wait to be applied.
func (c *Cache[K, V]) caughtUp() bool {
	ctx, cancel := context.WithTimeout(c.ctx, askTimeout)
	defer cancel()
	for _, f := range c.feeds {
		if f.allSites {
			continue // its position moves with every message of the store
		}
		if last, err := f.view.LastID(ctx, channel); err != nil || f.done.Load() < last {
			return false
		}
	}
	return true
}

// deadline returns until when a new entry lives. c.mu must be held.
func (c *Cache[K, V]) deadline() int64 {
	if c.options.TTL == 0 {
		return 0
	}
	return c.now.Load() + int64(c.options.lifetime())
}

// sweep removes some of what has expired.
func (c *Cache[K, V]) sweep() {
	before := c.now.Load() - int64(c.options.StaleWhileRevalidate)
	for {
		c.mu.Lock()
		gone := c.table.sweep(before)
		if f := c.options.OnEvict; f != nil {
			for _, p := range gone {
				c.notices = append(c.notices, func() { f(p.key, p.entry.value, EvictExpired) })
			}
		}
		c.unlock()
		if len(gone) < sweepSize/10 {
			return
		}
	}
}
