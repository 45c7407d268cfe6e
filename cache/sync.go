package cache

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/messagebus-go/messagebus/bus"
)

// A feed brings the operations of one channel, or of all sites.
type feed struct {
	view     *bus.Bus
	allSites bool
	mine     bool                             // own operations are published where it listens
	site     string                           // of those, if sited
	sited    bool                             // with allSites
	sub      atomic.Pointer[bus.Subscription] // replaced by a resynchronisation
	done     atomic.Int64                     // what was handed out up to this id has been applied
}

// start subscribes and starts the goroutines; on an error none is left.
func (c *Cache[K, V]) start(ctx context.Context) error {
	c.feeds = c.sources()
	if err := c.begin(ctx, c.options.WarmStart); err != nil {
		c.cancel()
		return err
	}
	for _, f := range c.feeds {
		c.loop(func() { c.follow(f) })
	}
	c.loop(c.tend)
	return nil
}

var errEnded = errors.New("a callback has ended a goroutine of the cache, with runtime.Goexit")

// loop runs f in a goroutine until f returns. If a callback ends that goroutine the
// cache hears of nothing any more, and says so.
func (c *Cache[K, V]) loop(f func()) {
	c.loops.Go(func() {
		returned := false
		defer func() {
			if p := recover(); p != nil {
				panic(p) //nolint:forbidigo // it was none of a callback, and goes on
			}
			if !returned {
				c.lose(errEnded)
			}
		}()
		f()
		returned = true
	})
}

// sources returns the feeds of a cache that is made on a view of a bus. No
// site, the empty one and "default" share one cache.
func (c *Cache[K, V]) sources() []*feed {
	const standard = "default"
	site, sited := c.bus.SiteName()
	switch {
	case c.options.AllSites:
		return []*feed{{view: c.bus, allSites: true, mine: true, site: site, sited: sited}}
	case sited && site != "" && site != standard:
		return []*feed{{view: c.bus, mine: true}}
	}
	root := c.bus.Root()
	return []*feed{
		{view: root, mine: !sited},
		{view: root.Site(""), mine: sited && site == ""},
		{view: root.Site(standard), mine: sited && site == standard},
	}
}

// begin gives every feed a new subscription: from now on, or, with warm, from the
// beginning of the backlog, which is then applied. On an error nothing is changed.
// One goroutine at a time may be in it.
func (c *Cache[K, V]) begin(ctx context.Context, warm bool) error {
	subs := make([]*bus.Subscription, 0, len(c.feeds))
	var backlog []item
	for _, f := range c.feeds {
		s, items, err := f.open(ctx, warm)
		if err != nil {
			for _, s := range subs {
				_ = s.Close() // never fails
			}
			return err
		}
		subs = append(subs, s)
		backlog = append(backlog, items...)
	}
	c.replace(subs, warm)
	slices.SortStableFunc(backlog, func(a, b item) int { return cmp.Compare(a.globalID(), b.globalID()) })
	for _, it := range backlog {
		if c.receive(it) != nil {
			c.drop() // it may have changed anything that came before
		}
	}
	for _, f := range c.feeds {
		f.done.Store(f.sub.Load().Position().ID())
	}
	c.mu.Lock()
	defer c.unlock()
	c.trust.filling = false
	return nil
}

// replace makes subs the subscriptions of the feeds. What comes of the old ones is
// not applied any more.
func (c *Cache[K, V]) replace(subs []*bus.Subscription, warm bool) {
	c.mu.Lock()
	defer c.unlock()
	known := int64(0)
	for i, f := range c.feeds {
		if old := f.sub.Swap(subs[i]); old != nil {
			_ = old.Close() // never fails
		}
		if !warm {
			known = max(known, subs[i].Position().GlobalID())
		}
	}
	c.order.begin(known)
	c.table.clear()
	c.own.missed()
	c.trust.filling = warm // what is old already must not be seen
}

// item is what a subscription returned: a message, or an error after which it
// goes on.
type item struct {
	feed    *feed
	sub     *bus.Subscription
	message bus.Message
	err     error
}

func (it item) globalID() int64 {
	if e, ok := errors.AsType[*bus.DecodeError](it.err); ok {
		return e.GlobalID
	}
	return it.message.GlobalID
}

// open subscribes, and with warm reads the backlog.
func (f *feed) open(ctx context.Context, warm bool) (s *bus.Subscription, backlog []item, err error) {
	var target int64
	if warm {
		if target, err = f.last(ctx); err != nil {
			return nil, nil, err
		}
	}
	if s, err = f.subscribe(ctx, warm); err != nil {
		return nil, nil, err
	}
	for at := s.Position().ID(); at < target; at = s.Position().ID() {
		it, err := f.next(ctx, s)
		if err != nil {
			_ = s.Close() // never fails
			return nil, nil, err
		}
		backlog = append(backlog, it)
	}
	return s, backlog, nil
}

func (f *feed) subscribe(ctx context.Context, warm bool) (*bus.Subscription, error) {
	switch {
	case f.allSites && warm:
		return f.view.SubscribeAll(ctx, bus.AfterGlobal(0))
	case f.allSites:
		return f.view.SubscribeAll(ctx, bus.LatestGlobal())
	case warm:
		// By count, so that what was trimmed before is no gap.
		return f.view.Subscribe(ctx, channel, bus.Last(math.MaxInt32))
	default:
		return f.view.Subscribe(ctx, channel, bus.Latest())
	}
}

// last returns the id up to which the store has messages for a feed.
func (f *feed) last(ctx context.Context) (int64, error) {
	if !f.allSites {
		return f.view.LastID(ctx, channel)
	}
	all, err := f.view.GlobalBacklog(ctx, 0)
	if err != nil || len(all) == 0 {
		return 0, err
	}
	return all[len(all)-1].GlobalID, nil
}

// next waits for the next item of a subscription. Its errors are final, but for
// that of ctx.
func (f *feed) next(ctx context.Context, s *bus.Subscription) (item, error) {
	m, err := s.Next(ctx)
	_, gap := errors.AsType[*bus.GapError](err)
	_, undecodable := errors.AsType[*bus.DecodeError](err)
	if err != nil && !gap && !undecodable {
		return item{}, err
	}
	return item{f, s, m, err}, nil
}

// follow applies what a feed brings until the cache or the bus is closed.
func (c *Cache[K, V]) follow(f *feed) {
	s := f.sub.Load()
	defer func() { _ = f.sub.Load().Close() }() // never fails
	for {
		it, err := f.next(c.ctx, s)
		if err == nil {
			if reason := c.receive(it); reason != nil {
				err = c.miss(c.ctx, it, reason)
			}
		}
		switch {
		case c.ctx.Err() != nil:
			return
		case f.sub.Load() != s:
			// Another feed, or this one, began anew. That has to be complete.
			if s = c.settled(f); s == nil {
				return
			}
		case err != nil:
			c.lose(err)
			return
		default:
			f.done.Store(s.Position().ID())
		}
	}
}

// settled waits until no feed begins anew, and returns the subscription of f; nil
// where the cache was closed meanwhile.
func (c *Cache[K, V]) settled(f *feed) *bus.Subscription {
	select {
	case c.turn <- struct{}{}:
		defer func() { <-c.turn }()
		return f.sub.Load()
	case <-c.ctx.Done():
		return nil
	}
}

// receive applies an item, if it is for this cache. It returns why changes may
// have been missed.
func (c *Cache[K, V]) receive(it item) (missed error) {
	if e, ok := errors.AsType[*bus.DecodeError](it.err); ok {
		return c.damaged(it, e)
	}
	if it.err != nil {
		return fmt.Errorf("%w: %w", ErrStale, it.err)
	}
	if it.message.Channel == channel {
		c.take(it)
	}
	return nil
}

// take applies one message, if it is an operation for this cache.
func (c *Cache[K, V]) take(it item) {
	m := it.message
	o, err := parseOperation(m.Data)
	if err != nil || !c.address.takes(o) {
		return // of another cache, or of nobody's
	}
	a := arrival[K, V]{
		Change:   Change[K, V]{Op: o.Op, Origin: o.Origin, ID: m.ID},
		globalID: m.GlobalID, own: it.feed.carriesOwn(m.Site, m.Sited), item: it,
	}
	switch o.Op {
	case OpSet, OpDelete:
		var ok bool
		if a.Key, ok = c.keys.decode(o.Key); !ok {
			c.counts.otherKeys.Add(1)
			return
		}
	case OpClear:
	default:
		c.counts.unknownOps.Add(1)
		return
	}
	if o.Op == OpSet {
		var absent bool
		if a.Value, absent, err = c.values.decode(o.Value, o.Marshalled); absent || err != nil {
			a.Op = OpDelete
		}
		if err != nil {
			c.undecodable(m.ID, string(o.Key), err)
		}
	}
	c.apply(a)
}

// carriesOwn reports whether a message came on the channel on which own
// operations are published.
func (f *feed) carriesOwn(site string, sited bool) bool {
	return f.mine && (!f.allSites || sited == f.sited && site == f.site)
}

// arrival is a change as it comes.
type arrival[K Key, V any] struct {
	Change[K, V]

	globalID int64
	own      bool // on the channel of own operations
	item     item
}

// apply carries out a change, unless newer ones have made it void.
func (c *Cache[K, V]) apply(a arrival[K, V]) {
	c.mu.Lock()
	defer c.unlock()
	if c.closed || a.item.sub != a.item.feed.sub.Load() {
		return
	}
	c.counts.applied.Add(1)
	if a.Op == OpClear {
		c.applyClear(a)
	} else {
		c.applyToKey(a)
	}
	if a.own {
		c.own.heard(a.Op, a.Key, a.ID, a.Origin == c.origin)
	}
	c.order.note(placed[K]{a.globalID, a.Key, a.Op == OpClear})
}

// applyToKey carries out a set or a delete. c.mu must be held.
func (c *Cache[K, V]) applyToKey(a arrival[K, V]) {
	switch c.order.judge(a.globalID, a.Key) {
	case outdated:
		return
	case unsure:
		a.Op = OpDelete
	case current:
	}
	c.changed(a.Op, a.Key)
	if a.Op == OpSet {
		c.put(a.Key, a.Value)
	} else {
		c.table.remove(a.Key)
	}
	c.tell(a.Change)
}

// applyClear carries out a clear. c.mu must be held.
func (c *Cache[K, V]) applyClear(a arrival[K, V]) {
	switch {
	case a.globalID > c.order.high:
		c.table.clear()
		c.trust.gap = nil // all is known again
	case c.order.cleared(a.globalID):
		return
	default:
		newer := c.order.newer(a.globalID)
		for _, p := range c.table.all() {
			if !newer[p.key] {
				c.table.remove(p.key)
			}
		}
	}
	c.changed(OpClear, a.Key)
	c.tell(a.Change)
}

// put stores a value with its time to live. c.mu must be held.
func (c *Cache[K, V]) put(key K, value V) {
	evicted, full := c.table.put(key, entry[V]{value, c.deadline()})
	if f := c.options.OnEvict; full && f != nil {
		c.notices = append(c.notices, func() { f(evicted.key, evicted.entry.value, EvictCapacity) })
	}
}

// tell notes a change for OnChange. c.mu must be held.
func (c *Cache[K, V]) tell(change Change[K, V]) {
	if f := c.options.OnChange; f != nil {
		c.notices = append(c.notices, func() { f(change) })
	}
}

// changed is called for every change of a key, or of all: what loaders are about
// to return, or returned as an error, says nothing about it any more. c.mu must
// be held.
func (c *Cache[K, V]) changed(op Op, key K) {
	if op != OpClear {
		c.outdate(key)
		delete(c.negatives, key)
		return
	}
	for key := range c.flights {
		c.outdate(key)
	}
	clear(c.negatives)
}

// undecodable counts and tells of an operation that cannot be read.
func (c *Cache[K, V]) undecodable(id int64, key string, err error) {
	c.counts.undecodable.Add(1)
	c.options.Logger.Warn("an operation cannot be read; its key is removed", "cache", c.address.name, "id", id,
		"key", shorten(key), "error", clip(err.Error(), 500))
	if f := c.options.Trace.Undecodable; f != nil {
		c.guard(func() { f(id, key, err) })
	}
}

// damaged handles a message whose envelope is not valid. A key that it names is
// removed; where it may have changed anything, it returns that as missed.
func (c *Cache[K, V]) damaged(it item, e *bus.DecodeError) (missed error) {
	stored, site, sited := strings.Cut(e.Channel, "$|$")
	op, raw, isOne := damagedOperation(e.Data)
	if stored != channel || !isOne || !bytes.Contains(e.Data, []byte(`"hash_key":`+c.address.quoted)) {
		return nil
	}
	key, ok := c.keys.decode(raw)
	switch {
	case raw == nil:
		c.undecodable(e.ID, "", e)
		return fmt.Errorf("%w: %w", ErrStale, e)
	case !ok:
		c.counts.otherKeys.Add(1)
		return nil
	case op != OpSet && op != OpDelete:
		c.counts.unknownOps.Add(1)
		return nil
	}
	c.undecodable(e.ID, string(raw), e)
	c.apply(arrival[K, V]{
		Change: Change[K, V]{Op: OpDelete, Key: key, ID: e.ID}, globalID: e.GlobalID,
		own: it.feed.carriesOwn(site, sited), item: it,
	})
	return nil
}

// clock returns the time since New.
func (c *Cache[K, V]) clock() int64 { return int64(time.Since(c.started)) }
