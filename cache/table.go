package cache

import (
	"sync"

	"github.com/hashicorp/golang-lru/v2/simplelru"
)

// entry is what is known of a key.
type entry[V any] struct {
	value    V
	deadline int64 // of the coarse clock; 0: it does not expire
}

func (e entry[V]) expired(now int64) bool { return e.deadline != 0 && e.deadline <= now }

type pair[K Key, V any] struct {
	key   K
	entry entry[V]
}

// table holds the entries. It has a lock of its own, so that a read takes no
// other one.
type table[K Key, V any] interface {
	get(key K) (entry[V], bool)
	// peek is get, but does not count as a use.
	peek(key K) (entry[V], bool)
	// put returns what had to make room.
	put(key K, e entry[V]) (evicted pair[K, V], full bool)
	remove(key K)
	clear()
	len() int
	all() []pair[K, V]
	// sweep removes some of what expired before now, and returns it.
	sweep(now int64) []pair[K, V]
}

func newTable[K Key, V any](maxEntries int) (table[K, V], error) {
	if maxEntries == 0 {
		return &mapTable[K, V]{entries: map[K]entry[V]{}}, nil
	}
	t := &lruTable[K, V]{}
	var err error
	t.lru, err = simplelru.NewLRU(maxEntries, func(key K, e entry[V]) { t.gone = pair[K, V]{key, e} })
	return t, err
}

// lruTable holds the entries that were used last.
type lruTable[K Key, V any] struct {
	mu   sync.Mutex // guards below
	lru  *simplelru.LRU[K, entry[V]]
	gone pair[K, V] // what was removed last
}

func (t *lruTable[K, V]) get(key K) (entry[V], bool) {
	t.mu.Lock()
	e, ok := t.lru.Get(key)
	t.mu.Unlock()
	return e, ok
}

func (t *lruTable[K, V]) peek(key K) (entry[V], bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.lru.Peek(key)
}

func (t *lruTable[K, V]) put(key K, e entry[V]) (evicted pair[K, V], full bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	full = t.lru.Add(key, e)
	if full {
		evicted = t.gone
	}
	t.gone = pair[K, V]{}
	return evicted, full
}

func (t *lruTable[K, V]) remove(key K) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.lru.Remove(key)
	t.gone = pair[K, V]{}
}

func (t *lruTable[K, V]) clear() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.lru.Purge()
	t.gone = pair[K, V]{}
}

func (t *lruTable[K, V]) len() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.lru.Len()
}

func (t *lruTable[K, V]) all() []pair[K, V] {
	t.mu.Lock()
	defer t.mu.Unlock()
	pairs := make([]pair[K, V], 0, t.lru.Len())
	for _, key := range t.lru.Keys() {
		if e, ok := t.lru.Peek(key); ok {
			pairs = append(pairs, pair[K, V]{key, e})
		}
	}
	return pairs
}

// sweep looks at the entries that were used least lately, and stops at one that
// has not expired: the table is bounded, so that others may stay for a while.
func (t *lruTable[K, V]) sweep(now int64) (gone []pair[K, V]) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for len(gone) < sweepSize {
		key, e, ok := t.lru.GetOldest()
		if !ok || !e.expired(now) {
			break
		}
		t.lru.Remove(key)
		gone = append(gone, pair[K, V]{key, e})
	}
	t.gone = pair[K, V]{}
	return gone
}

// mapTable holds any number of entries.
type mapTable[K Key, V any] struct {
	mu      sync.RWMutex // guards below
	entries map[K]entry[V]
}

func (t *mapTable[K, V]) get(key K) (entry[V], bool) {
	t.mu.RLock()
	e, ok := t.entries[key]
	t.mu.RUnlock()
	return e, ok
}

func (t *mapTable[K, V]) peek(key K) (entry[V], bool) { return t.get(key) }

func (t *mapTable[K, V]) put(key K, e entry[V]) (evicted pair[K, V], full bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.entries[key] = e
	return evicted, false
}

func (t *mapTable[K, V]) remove(key K) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.entries, key)
}

func (t *mapTable[K, V]) clear() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.entries = map[K]entry[V]{}
}

func (t *mapTable[K, V]) len() int {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return len(t.entries)
}

func (t *mapTable[K, V]) all() []pair[K, V] {
	t.mu.RLock()
	defer t.mu.RUnlock()
	pairs := make([]pair[K, V], 0, len(t.entries))
	for key, e := range t.entries {
		pairs = append(pairs, pair[K, V]{key, e})
	}
	return pairs
}

// sweepSize bounds how many entries are looked at with the lock held.
const sweepSize = 1000

// sweep looks at a sample: a map's iteration begins anywhere. As long as a tenth
// of what is found has expired, the caller comes again.
func (t *mapTable[K, V]) sweep(now int64) (gone []pair[K, V]) {
	t.mu.Lock()
	defer t.mu.Unlock()
	seen := 0
	for key, e := range t.entries {
		if e.expired(now) {
			delete(t.entries, key)
			gone = append(gone, pair[K, V]{key, e})
		}
		if seen++; seen == sweepSize {
			break
		}
	}
	return gone
}
