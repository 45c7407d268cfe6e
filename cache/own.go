package cache

import "slices"

// own holds what this cache itself has published and not heard of yet. Its
// feed brings every operation, own ones included, and the table is changed by
// the feed alone; until it has come so far, an own write hides what the table
// has of its key. All is guarded by Cache.mu.
type own[K Key, V any] struct {
	keys       map[K]*ownKey[V]
	all        ownKey[V] // clears
	pending    int       // keys, and all, that hide something
	generation int       // changes when messages were missed: what was not heard may never be
}

// ownKey is the own operations on one key.
type ownKey[V any] struct {
	publishing int     // operations whose publish has begun and not ended
	heard      []int64 // ids of own operations that the feed brought meanwhile
	pending    bool    // what follows hides the table
	id         int64   // of the operation, on the channel
	value      V
	deleted    bool
}

// A ticket is one publish.
type ticket struct{ generation int }

// of returns the record of a key, or of clears.
func (o *own[K, V]) of(op Op, key K) *ownKey[V] {
	if op == OpClear {
		return &o.all
	}
	k := o.keys[key]
	if k == nil {
		k = &ownKey[V]{}
		o.keys[key] = k
	}
	return k
}

// begin is called before a publish, so that the feed cannot be quicker.
func (o *own[K, V]) begin(op Op, key K) ticket {
	o.of(op, key).publishing++
	return ticket{o.generation}
}

// end is called when a publish has ended, well or not.
func (o *own[K, V]) end(op Op, key K) {
	k := o.of(op, key)
	k.publishing--
	o.tidy(op, key, k)
}

func (o *own[K, V]) tidy(op Op, key K, k *ownKey[V]) {
	if k.publishing > 0 {
		return
	}
	k.heard = nil
	if op != OpClear && !k.pending {
		delete(o.keys, key)
	}
}

// accepted notes that the store gave an operation an id, between begin and end.
// It returns false if messages were missed meanwhile: nothing is known then.
func (o *own[K, V]) accepted(t ticket, op Op, key K, id int64, value V, deleted bool) bool {
	k := o.of(op, key)
	if slices.Contains(k.heard, id) {
		return true
	}
	if t.generation != o.generation {
		return false
	}
	if !k.pending || k.id < id {
		o.setPending(k, true)
		k.id, k.value, k.deleted = id, value, deleted
	}
	return true
}

func (o *own[K, V]) setPending(k *ownKey[V], yes bool) {
	if k.pending == yes {
		return
	}
	k.pending = yes
	if yes {
		o.pending++
		return
	}
	o.pending--
	var none V
	k.value = none
}

// heard notes that the feed has brought an operation on the channel on which
// this cache publishes.
func (o *own[K, V]) heard(op Op, key K, id int64, mine bool) {
	if op == OpClear {
		for other, k := range o.keys {
			o.reached(k, id)
			o.tidy(OpSet, other, k)
		}
		o.note(&o.all, id, mine)
		return
	}
	if k := o.keys[key]; k != nil {
		o.note(k, id, mine)
		o.tidy(op, key, k)
	}
}

func (o *own[K, V]) note(k *ownKey[V], id int64, mine bool) {
	if mine && k.publishing > 0 {
		k.heard = append(k.heard, id)
	}
	o.reached(k, id)
}

func (o *own[K, V]) reached(k *ownKey[V], id int64) {
	if k.pending && k.id <= id {
		o.setPending(k, false)
	}
}

// doubt lets go of the values that are pending for a key, or for all with OpClear.
// The table stays hidden all the same until the feed has come so far: what it has
// until then is older than what was read.
func (o *own[K, V]) doubt(op Op, key K) {
	if op != OpClear {
		if k := o.keys[key]; k != nil {
			k.remove()
		}
		return
	}
	for _, k := range o.keys {
		k.remove()
	}
}

func (k *ownKey[V]) remove() {
	var none V
	k.value, k.deleted = none, true
}

// missed is called when messages were missed, own ones perhaps among them.
func (o *own[K, V]) missed() {
	o.setPending(&o.all, false)
	for key, k := range o.keys {
		o.setPending(k, false)
		o.tidy(OpSet, key, k)
	}
	o.generation++
}

// look returns what hides the table's entry of a key, if something does.
func (o *own[K, V]) look(key K) (value V, found, hides bool) {
	if k := o.keys[key]; k != nil && k.pending && (!o.all.pending || k.id > o.all.id) {
		return k.value, !k.deleted, true
	}
	return value, false, o.all.pending
}
