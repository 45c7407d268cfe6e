package transport

import (
	"hash/maphash"
	"sync"
	"sync/atomic"

	"github.com/messagebus-go/messagebus/bus"
)

// A table finds the clients of a channel. It is sharded, so that a message to
// many clients does not keep those of other channels from coming and going.
type table struct {
	seed        maphash.Seed
	indexedFrom int // how many clients make it worthwhile to look up whom a message is for
	shards      [tableShards]shard
}

const tableShards = 64

type shard struct {
	mu      sync.RWMutex      // guards below
	entries map[string]*entry // by stored name
}

// An entry is everybody who listens to one channel of one site.
//
// A message for certain targets is offered to those alone. The others learn
// from passed that it has gone by: as long as each message of the feed follows
// on the one before, what was not offered to a client since it joined the entry
// was withheld from it.
type entry struct {
	name   string // as it is stored
	subs   []*subscription
	index  *targetIndex            // nil: there was no need of one
	passed atomic.Pointer[passage] // the newest message that has been offered; nil: none yet
}

// A passage is where a channel stands after a message.
type passage struct {
	id, gid int64
	epoch   string        // of the store; empty: not known
	place   *bus.Position // nil: not known
}

func newTable() *table {
	t := &table{seed: maphash.MakeSeed(), indexedFrom: 32}
	for i := range t.shards {
		t.shards[i].entries = make(map[string]*entry)
	}
	return t
}

func (t *table) shard(name string) *shard {
	return &t.shards[maphash.String(t.seed, name)%tableShards]
}

// add puts subscriptions of a client into the entries of their channels.
func (t *table) add(subs []*subscription) {
	for _, s := range subs {
		name := s.client.identity.storedName(s.channel)
		t.shard(name).add(name, s)
	}
}

func (sh *shard) add(name string, s *subscription) {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	e := sh.entries[name]
	if e == nil {
		e = &entry{name: name}
		sh.entries[name] = e
	}
	s.entry, s.slot = e, len(e.subs)
	e.subs = append(e.subs, s)
	if e.index != nil {
		e.index.add(s)
	}
}

// remove takes subscriptions out again, once.
func (t *table) remove(subs []*subscription) {
	for _, s := range subs {
		t.shard(s.entry.name).remove(s)
	}
}

// remove takes s out by putting the last one in its place.
func (sh *shard) remove(s *subscription) {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	e := s.entry
	last := len(e.subs) - 1
	e.subs[s.slot] = e.subs[last]
	e.subs[s.slot].slot = s.slot
	e.subs[last] = nil
	e.subs = e.subs[:last]
	if e.index != nil {
		e.index.remove(s)
	}
	if last == 0 {
		delete(sh.entries, e.name)
	}
}

// offer calls take for the subscriptions to a stored name to which f has to be
// offered, each once, and returns their entry; nil: there are none. Only the
// feed calls it. take must not wait.
func (t *table) offer(name string, f *frame, take func(*subscription)) *entry {
	sh := t.shard(name)
	sh.mu.RLock()
	e := sh.entries[name]
	if e == nil {
		sh.mu.RUnlock()
		return nil
	}
	f.follows = e.isFollowedBy(f)
	lookUp := len(e.subs) >= t.indexedFrom && e.canLookUp(f)
	if e.index == nil && lookUp {
		sh.mu.RUnlock()
		sh.buildIndex(e)
		sh.mu.RLock()
	}
	defer sh.mu.RUnlock()
	switch {
	case f.follows && f.skip:
	case lookUp:
		e.index.find(&f.audience, take)
	default:
		for _, s := range e.subs {
			take(s)
		}
	}
	return e
}

// isFollowedBy reports whether nothing lies between what has passed and f.
func (e *entry) isFollowedBy(f *frame) bool {
	before := e.passed.Load()
	return before != nil && f.prev <= before.id && (f.epoch == "" || f.epoch == before.epoch)
}

// canLookUp reports whether those whom f is for can be looked up, and whether
// that is less work than to ask everybody.
func (e *entry) canLookUp(f *frame) bool {
	n := f.audience.lookUps()
	return f.follows && n > 0 && n <= len(e.subs)
}

// pass notes that f was offered to whom it is for.
func (e *entry) pass(f *frame) {
	before := e.passed.Load()
	switch {
	case before != nil && f.epoch == "":
		e.passed.Store(&passage{id: f.id, gid: f.gid, epoch: before.epoch})
	case before == nil || f.epoch != before.epoch || f.gid > before.gid:
		e.passed.Store(&f.passage)
	}
}

func (sh *shard) buildIndex(e *entry) {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	e.index = newTargetIndex()
	for _, s := range e.subs {
		e.index.add(s)
	}
}

// everyone calls f for every subscription. f must not wait.
func (t *table) everyone(f func(*subscription)) {
	for i := range t.shards {
		t.shards[i].everyone(f)
	}
}

func (sh *shard) everyone(f func(*subscription)) {
	sh.mu.RLock()
	defer sh.mu.RUnlock()
	for _, e := range sh.entries {
		for _, s := range e.subs {
			f(s)
		}
	}
}
