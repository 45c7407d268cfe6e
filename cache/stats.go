package cache

import "sync/atomic"

// Stats counts what a cache has met since New.
type Stats struct {
	Applied     uint64 // operations that were carried out, own ones included
	UnknownOps  uint64 // operations of a kind that is not known, and was ignored
	OtherKeys   uint64 // operations on keys that K does not hold
	Undecodable uint64 // operations that could not be read
	Stale       uint64 // times that changes may have been missed
	Hits        uint64 // times that Get or Load asked for a key that was held
	Misses      uint64 // times that they asked for one that was not
	Loads       uint64 // loaders that were run
}

type counts struct {
	applied, unknownOps, otherKeys, undecodable, stale, loads atomic.Uint64

	// Every read writes these: on a line of their own, or what it only reads
	// would go to and fro between processors as well.
	_            cacheLine
	hits, misses atomic.Uint64
	_            cacheLine
}

// Stats returns the counts at this moment.
func (c *Cache[K, V]) Stats() Stats {
	return Stats{
		Applied:     c.counts.applied.Load(),
		UnknownOps:  c.counts.unknownOps.Load(),
		OtherKeys:   c.counts.otherKeys.Load(),
		Undecodable: c.counts.undecodable.Load(),
		Stale:       c.counts.stale.Load(),
		Hits:        c.counts.hits.Load(),
		Misses:      c.counts.misses.Load(),
		Loads:       c.counts.loads.Load(),
	}
}
