// Package transport serves a message bus over HTTP to the clients of the Ruby
// gem message_bus, the browser's and the Ruby one, and to those of this
// project.
//
//	h, err := transport.NewHandler(b, &transport.Options{Identify: whoIs})
//	http.ListenAndServe(addr, h.Middleware(app))
//	…
//	err = h.Shutdown(ctx)
//
// A client asks for channels, each from the last id that it has, and gets what
// is stored after it. When there is nothing more, the request is held, and
// live messages are written to it as they come: a part each where the client
// takes HTTP chunks, or else the first message ends the request. A browser's
// EventSource gets them as events, and with Options.WebSocket a client can
// change its channels while it is connected.
//
// # What a client may rely on
//
//   - On one channel messages come in order, each once, none missing for as
//     long as the backlog holds them, from the position it asked for: there is
//     no gap between the backlog and what comes live.
//
//   - A message for certain users, groups or clients reaches nobody else. That
//     one was withheld shows in the positions only.
//
//   - A slow client delays nobody. What waits for it is bounded; beyond that it
//     is dropped and read from the backlog once the client has caught up.
//     One that does not take 16 KiB in Limits.WriteTimeout, or what there is,
//     is cut off, and goes on from its position with its next request.
//
//   - What was lost for good is told to clients that ask for it, as section 6
//     of docs/protocol.md has it; others see nothing of it.
//
// # What a client may not do
//
// Everything that a client can make grow is bounded by LimitOptions, with
// defaults for the open internet. Held requests are counted for each user and,
// of anonymous clients, for each address; behind a proxy set
// Options.TrustedProxies, or all of its clients may count as one. A client is
// known by its site, user and client id: nobody ends the request of another
// user by sending its client id. Names that cannot be stored are refused before
// anybody is asked about them. Slow headers and idle connections are for the
// http.Server to bound, by ReadHeaderTimeout and IdleTimeout.
//
// # What a held request costs
//
// With HTTP/1.x the connection is taken over from net/http: there is no
// goroutine for an idle client, nor a buffer. Where that is not possible, as
// with HTTP/2, the handler's goroutine waits. Where middleware hides Flush as
// well, nothing can be streamed: the first message ends a request, and events are
// polled. A message is encoded once for all
// who get it; what comes in a burst goes out in one write.
//
// # Who does what
//
// One goroutine reads the bus and offers each message to the clients of its
// channel, one for certain users, groups or clients to those alone. It asks the
// filters. Workers, one for each processor, write what was queued, and never
// wait: what a socket does not take at once is left to a goroutine with a
// deadline, which ends when it is written. One goroutine ends the holds that
// have expired, one (on Linux) hears of peers that leave, and up to eight read
// the backlog, each for all clients of a site that are behind at that moment.
//
// A WebSocket has two more: one writes and one reads it.
//
// Lock order: link.mu, shard.mu, client.mu, then worker.mu; each of clients.mu,
// deadlines.mu, readers.mu and watcher.mu is taken alone. None is held during
// a write, a read of the store or a call of the application's code.
package transport
