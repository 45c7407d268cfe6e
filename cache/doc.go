// Package cache is a map that every process on a store shares. Reads are local
// and quick; writes reach every peer over a message bus, be it written in Go or
// in Ruby, with the DistributedCache of the gem message_bus 4.5.
//
//	users, err := cache.New[string, User](ctx, b, "users", nil) // b: a *bus.Bus
//	err = users.Set(ctx, "ann", User{Age: 44})
//	user, ok := users.Get("ann")
//	user, err = users.Load(ctx, "bob", fromDatabase)
//
// # What a reader may rely on
//
//   - A process reads its own writes: Get after a Set that returned nil finds that
//     value, or one that was written later.
//   - Convergence: operations apply in the order of the bus, own ones included.
//     When all have come, all peers written in Go hold the value with the highest
//     id. A Ruby peer applies its own operations at once, and may keep another
//     value after concurrent writes.
//   - Reads of a key in one process never go back to an older value, but for a
//     store that failed over and lost what was written last.
//   - What Load read before a change of its key is not stored after it.
//   - Nothing is stale in silence: when changes may have been missed the cache
//     does what Options.OnGap says, and lets go of everything by default. While
//     the feed is down it serves what it holds for Options.MaxStaleness, and no
//     longer; the feed counts as down from when the bus notices, which is within
//     its LivenessBound.
//
// A key can be missing at any time: the cache is new, its bounds are reached, or
// it let go of what it was not sure of. Ask Load, or be content.
//
// # What it costs
//
// A cache has four goroutines at most, and for each message of any cache on the
// site looks at its name. A burst of writes that is larger than the backlog of
// the channel (bus.Options.MaxBacklogSize of the writer), and quicker than a reader,
// is a gap for that reader.
//
// # Types
//
// Keys and values travel as Ruby peers expect them; see Key, AnyKey, Cache.Set
// and Codec. An operation that cannot be read, since its value is damaged, hostile,
// not plain data or not of the type V, removes its key, is counted, logged and
// traced; the cache goes on. A null is a value where V can hold it, and removes the
// key where V cannot. From Ruby, symbols come as strings, sets as lists, and the
// keys of hashes as strings; the default of a hash is left behind.
package cache
