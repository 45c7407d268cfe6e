package cache

import (
	"fmt"
	"log/slog"
	"math/rand/v2"
	"time"
)

// Options are the settings of a Cache. Zero fields mean defaults.
type Options[K Key, V any] struct {
	// What is held.
	MaxEntries int           // the entries used least lately make room; default 0: no bound
	TTL        time.Duration // an entry lives that long at most, and nine tenths of it at least; default 0: for good

	// AppVersion is sent with every operation, and those of peers with another
	// one, or none, are not taken: so that values of two releases of a program
	// do not mix. A string or a number, which keeps its JSON type. Default nil:
	// everything is taken.
	AppVersion any

	// WarmStart begins with what the operations in the channel's backlog come
	// to, instead of with nothing. New then reads all of that backlog.
	WarmStart bool

	// AllSites makes one cache of all sites, as the gem's namespace: false
	// does: operations of every site are taken; own ones carry the site of the
	// bus. It has to look at every message of the store.
	AllSites bool

	// What happens when changes of peers may have been missed.
	OnGap        GapPolicy
	MaxStaleness time.Duration // how long the feed may be down before that is so; default 30 s, negative: for ever

	// For Load.
	StaleWhileRevalidate time.Duration // how long Load returns an expired entry while it loads anew; default 0
	NegativeTTL          time.Duration // how long Load remembers an error that wraps ErrNotFound; default 0: not at all

	Codec Codec[V] // default nil: what Ruby peers read

	// OnEvict: an entry was removed to make room, or since it expired, which is
	// noticed some time later.
	OnEvict func(key K, value V, reason EvictReason)

	// OnChange: an operation was applied, own ones included, in the order of
	// the bus.
	//
	// Both are called one at a time for each goroutine that changes the cache,
	// with no lock held. They may use the cache, but not close it. OnChange
	// holds up the feed of the cache while it runs. A panic is logged, and goes
	// no further.
	OnChange func(Change[K, V])

	Logger *slog.Logger // default: silent
	Trace  *Trace       // default: none
}

// A GapPolicy says what a cache does when changes of peers may have been missed:
// messages were lost for good, the store was reset or failed over, the feed was
// down longer than Options.MaxStaleness, or a change cannot be read at all.
type GapPolicy uint8

// The policies.
const (
	// GapDrop lets go of everything, and begins anew with what comes. The cache
	// stays empty while the feed is down, and until what the store has after what
	// was missed has been applied.
	GapDrop GapPolicy = iota

	// GapKeep goes on with what is there, and Err says so until a Clear comes.
	GapKeep

	// GapResync does as GapDrop, and then reads the channel's backlog as with
	// Options.WarmStart.
	GapResync
)

// An EvictReason says why an entry was removed.
type EvictReason uint8

// The reasons.
const (
	EvictCapacity EvictReason = iota // it made room
	EvictExpired                     // its time was over
)

// A Change is one operation as it was applied.
type Change[K Key, V any] struct {
	Op     Op
	Key    K      // of OpSet and OpDelete
	Value  V      // of OpSet
	Origin string // of the cache that published it; empty where that is not known, and for OpDrop
	ID     int64  // of its message on the channel; 0 for OpDrop
}

// Trace is told what goes wrong, for metrics and traces. Every field may be nil.
// The functions run without a lock, in the goroutine of the feed: they must be
// quick. A panic in one is logged, and goes no further.
type Trace struct {
	// Undecodable: an operation for this cache could not be read. key is what
	// it names, as JSON, and was removed; empty: not known.
	Undecodable func(id int64, key string, err error)

	// Stale: changes may have been missed, and Options.OnGap was carried out.
	Stale func(reason error)
}

const (
	defaultMaxStaleness = 30 * time.Second
)

// resolve checks the options and fills in the defaults.
func (o *Options[K, V]) resolve() (Options[K, V], error) {
	r := *o
	for name, d := range map[string]time.Duration{
		"TTL": r.TTL, "StaleWhileRevalidate": r.StaleWhileRevalidate, "NegativeTTL": r.NegativeTTL,
	} {
		if d < 0 {
			return r, fmt.Errorf("%s is %v; it must be 0 or more", name, d)
		}
	}
	if r.MaxEntries < 0 {
		return r, fmt.Errorf("MaxEntries is %d; it must be 0 (no bound) or more", r.MaxEntries)
	}
	if r.OnGap > GapResync {
		return r, fmt.Errorf("OnGap is %d; it must be GapDrop, GapKeep or GapResync", r.OnGap)
	}
	if r.MaxStaleness == 0 {
		r.MaxStaleness = defaultMaxStaleness
	}
	if r.Logger == nil {
		r.Logger = slog.New(slog.DiscardHandler)
	}
	if r.Trace == nil {
		r.Trace = &Trace{}
	}
	return r, nil
}

// lifetime returns how long one entry lives: so that many that came together do
// not go together, and none is served longer than the TTL by a clock that is a
// tick behind.
func (o *Options[K, V]) lifetime() time.Duration {
	most := o.TTL - o.tick()
	return most - rand.N(max(o.TTL/10-o.tick(), 1))
}
