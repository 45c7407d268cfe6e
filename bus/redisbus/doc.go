// Package redisbus is the store on Redis, wire-compatible with the Ruby gem
// message_bus 4.5: processes of both kinds on one server see each other's
// messages and cannot tell who published them.
//
//	rdb := redis.NewClient(&redis.Options{Addr: "localhost:6379"})
//	store, err := redisbus.New(rdb, nil)
//	b, err := bus.New(store, nil)
//
// It works with Redis 6.2 and newer, and with Valkey; on one server, on a group
// under Sentinel (redis.NewFailoverClient), and on a Redis Cluster, where all of
// the store lives in one slot (Options.HashTag). The client's settings for
// addresses, TLS, passwords, timeouts and pools hold. Hooks of the client see
// requests, but not the feed.
//
// # What it promises
//
//   - A publish is one script: the message is stored, trimmed and announced, or
//     nothing is changed. It is sent once. Where the answer is lost the error
//     wraps driver.ErrUnknownOutcome; any other error means that it is not stored.
//   - Ids on a channel are consecutive, and so are global ids, so that every
//     message that was trimmed is known to be lost, and no other one.
//   - A read is one transaction in one round trip: pages and state are of one
//     moment. The global backlog takes two round trips.
//   - The feed has a connection of its own, which is never replaced: when it
//     breaks, the feed ends. A reader that is slower than the publishers is cut
//     off by the server (client-output-buffer-limit pubsub); nothing grows here.
//
// # What Redis does not promise
//
// Replication is asynchronous. A failover may lose messages that Publish has
// returned an id for; afterwards their ids are given again to others. It shows as
// a change of driver.State.Timeline. Options.WaitReplicas makes Publish wait until
// so many replicas have the message, which makes that loss unlikely, not
// impossible. A server that is restarted has what its persistence kept.
//
// A backlog expires as a whole, when nothing was published on its channel for as
// long as its last message said. With it goes the channel's id, and ids begin
// again at 1. A server that evicts keys (maxmemory-policy) may drop any backlog at
// any time; noeviction is the policy for a store.
//
// # Rights
//
// A user needs the keys __mb_* and the pub/sub channel _message_bus_0, and the
// commands EVAL, EVALSHA, those of the script, MGET, GET, SETNX, MULTI, EXEC,
// SUBSCRIBE, PING, and INFO. Without INFO there is no timeline, so a failover is
// noticed only by what it lost.
package redisbus
