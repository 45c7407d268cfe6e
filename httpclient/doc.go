// Package httpclient subscribes to a message bus over HTTP, from a service, a command or a
// test. It has the settings and methods of the browser client message-bus.js of the Ruby gem
// message_bus 4.5 under Go names, and speaks to a server of this project or of the gem.
//
//	client, err := httpclient.New("https://example.com/", nil)
//	if err != nil {
//		return err
//	}
//	defer client.Close()
//	client.Subscribe("/chat", httpclient.Last(10), func(m httpclient.Message) {
//		fmt.Println(m.ID, string(m.Data))
//	})
//
// A subscription with a callback has it called for each message. One without is read by Next,
// and Client.Messages loops over a channel.
//
// # What it promises
//
// On each channel a subscription gets the messages in the order of the channel, each once and
// none missing, from where it asked to begin, for as long as the server's backlog holds them:
// over lost connections, restarts of the server, proxies, a machine that slept, and another
// server on the same store. A position moves when a message is handed over, and before its
// callback runs, so that one that panics does not get it again.
//
// What can no longer be had is told as a *GapError, before the message that comes next. A
// server of this project tells every such loss; against a Ruby server only ids that go back
// give one away. On a Postgres store a message that is announced behind others with higher ids
// comes late, once, to those who are connected.
//
// # Concurrency
//
// One goroutine sends the requests, reads the answers and calls the application, one function
// at a time and in order. It reads no further while a callback runs, a queue for Next is full,
// or the client is paused: what comes meanwhile waits in the backlog of the server. Of an answer
// no more than one message is held, of at most Options.MaxMessageBytes, and as much again of
// messages that come late, until the server has said that they are. A callback that ends its
// goroutine, as a test's FailNow does, stops the client.
//
// # When the next request goes out
//
// A held request is followed by the next at once, at least Timing.MinPollInterval after its
// start. After the n-th failure in a row the wait is random, up to 2^(n-1) seconds and at most
// Timing.MaxPollInterval; an answer that began well and held for a second begins a new row, so
// that a stream which a restart or a proxy has cut is taken up soon. A 429 or 503 with
// Retry-After is obeyed, up to an hour; 401 and 403 stop the client unless Options.Refresh
// renews what it sends. A stream that brings nothing in Timing.FirstPartTimeout is kept back by
// a proxy: the next Timing.StreamingRetry requests wait for one message each, then streaming is
// tried again.
//
// A dead connection is noticed ten seconds after the time for which the server holds requests,
// which is learnt from its answers, and at the latest after 30 s if that is shorter; before
// anything is learnt, after Timing.SilenceTimeout.
package httpclient
