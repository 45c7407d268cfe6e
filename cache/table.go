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
	t := &lruTable[K, V]{young: uint64(maxEntries / youngShare)}
	var err error
	t.lru, err = simplelru.NewLRU(maxEntries, func(key K, u used[V]) { t.gone = pair[K, V]{key, u.entry} })
	return t, err
}

// lruTable holds the entries that were used last. To note each use in order would
// take the lock for itself at every read, and the memory of three entries. But an
// entry is in no danger for as long as few others have come since it was put in
// front: until then reads leave it where it is. So one that makes room may have been
// used later than one that stays, by as many arrivals as an eighth of the table; in
// a table of less than eight entries by none.
type lruTable[K Key, V any] struct {
	young uint64 // as many arrivals do not make an entry old

	_        cacheLine
	mu       sync.RWMutex // guards below
	_        cacheLine
	lru      *simplelru.LRU[K, used[V]]
	arrivals uint64     // how often something was put
	gone     pair[K, V] // what was removed last
}

const youngShare = 8

// cacheLine keeps what every read changes, which is the count of readers in a lock,
// apart from what it only reads: processors hand the former to and fro.
type cacheLine [64]byte

// used is an entry, and how many had arrived when it was put in front.
type used[V any] struct {
	entry[V]

	at uint64
}

func (t *lruTable[K, V]) get(key K) (entry[V], bool) {
	t.mu.RLock()
	u, ok := t.lru.Peek(key)
	old := t.arrivals-u.at >= t.young
	t.mu.RUnlock()
	if ok && old {
		t.use(key)
	}
	return u.entry, ok
}

// use puts an entry in front.
func (t *lruTable[K, V]) use(key K) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if u, ok := t.lru.Peek(key); ok {
		u.at = t.arrivals
		t.lru.Add(key, u)
	}
}

func (t *lruTable[K, V]) peek(key K) (entry[V], bool) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	u, ok := t.lru.Peek(key)
	return u.entry, ok
}

func (t *lruTable[K, V]) put(key K, e entry[V]) (evicted pair[K, V], full bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.arrivals++
	full = t.lru.Add(key, used[V]{e, t.arrivals})
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
	t.mu.RLock()
	defer t.mu.RUnlock()
	return t.lru.Len()
}

func (t *lruTable[K, V]) all() []pair[K, V] {
	t.mu.RLock()
	defer t.mu.RUnlock()
	pairs := make([]pair[K, V], 0, t.lru.Len())
	for _, key := range t.lru.Keys() {
		if u, ok := t.lru.Peek(key); ok {
			pairs = append(pairs, pair[K, V]{key, u.entry})
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
		key, u, ok := t.lru.GetOldest()
		if !ok || !u.expired(now) {
			break
		}
		t.lru.Remove(key)
		gone = append(gone, pair[K, V]{key, u.entry})
	}
	t.gone = pair[K, V]{}
	return gone
}

// mapTable holds any number of entries.
type mapTable[K Key, V any] struct {
	_       cacheLine
	mu      sync.RWMutex // guards below
	_       cacheLine
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
