package transport

import (
	"hash/maphash"
	"sync"
)

// A table finds the clients of a channel. It is sharded, so that a message to
// many clients does not keep those of other channels from coming and going.
type table struct {
	seed   maphash.Seed
	shards [tableShards]shard
}

const tableShards = 64

type shard struct {
	mu      sync.RWMutex      // guards below
	entries map[string]*entry // by stored name
}

// An entry is everybody who listens to one channel of one site.
type entry struct {
	name string // as it is stored
	subs []*subscription
}

func newTable() *table {
	t := &table{seed: maphash.MakeSeed()}
	for i := range t.shards {
		t.shards[i].entries = make(map[string]*entry)
	}
	return t
}

func (t *table) shard(name string) *shard {
	return &t.shards[maphash.String(t.seed, name)%tableShards]
}

// add puts a client into the entries of its channels.
func (t *table) add(c *client) {
	for i := range c.subs {
		s := &c.subs[i]
		name := storedName(s.channel, c.identity.Site)
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
}

// remove takes a client out again, once.
func (t *table) remove(c *client) {
	for i := range c.subs {
		s := &c.subs[i]
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
	if last == 0 {
		delete(sh.entries, e.name)
	}
}

// each calls f for every subscription to a stored name. f must not wait.
func (t *table) each(name string, f func(*subscription)) {
	sh := t.shard(name)
	sh.mu.RLock()
	defer sh.mu.RUnlock()
	if e := sh.entries[name]; e != nil {
		for _, s := range e.subs {
			f(s)
		}
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
