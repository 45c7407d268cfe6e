package cache

// order remembers the newest operations, so that one that comes after others
// with higher global ids can be put into its place. That happens on Postgres,
// where a message may be committed late, and between the channels of sites that
// share a cache. Guarded by Cache.mu.
type order[K Key] struct {
	high  int64 // the highest global id so far
	floor int64 // what is not above it is not remembered
	ring  []placed[K]
	next  int // in ring, once it is full
}

// placed is one operation in its place.
type placed[K Key] struct {
	globalID int64
	key      K
	all      bool // a clear
}

const maxPlaced = 512

// begin forgets everything: nothing up to a global id is known.
func (o *order[K]) begin(globalID int64) {
	o.high, o.floor, o.ring, o.next = globalID, globalID, nil, 0
}

// note adds an operation.
func (o *order[K]) note(p placed[K]) {
	o.high = max(o.high, p.globalID)
	if len(o.ring) < maxPlaced {
		o.ring = append(o.ring, p)
		return
	}
	o.floor = max(o.floor, o.ring[o.next].globalID)
	o.ring[o.next] = p
	o.next = (o.next + 1) % maxPlaced
}

// standing is what an operation may still do.
type standing uint8

const (
	current  standing = iota // it is the newest on its key
	outdated                 // a newer one was applied
	unsure                   // a newer one may have been applied: the key is not known any more
)

// judge tells how an operation on one key stands.
func (o *order[K]) judge(globalID int64, key K) standing {
	if globalID > o.high {
		return current
	}
	for _, p := range o.ring {
		if p.globalID >= globalID && (p.all || p.key == key) {
			return outdated
		}
	}
	if globalID <= o.floor {
		return unsure
	}
	return current
}

// newer returns the keys that were changed after a clear.
func (o *order[K]) newer(globalID int64) map[K]bool {
	keys := map[K]bool{}
	for _, p := range o.ring {
		if p.globalID > globalID && !p.all {
			keys[p.key] = true
		}
	}
	return keys
}

// cleared reports whether a clear is outdated by another one.
func (o *order[K]) cleared(globalID int64) bool {
	for _, p := range o.ring {
		if p.all && p.globalID >= globalID {
			return true
		}
	}
	return false
}
