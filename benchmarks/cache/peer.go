package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/messagebus-go/messagebus/benchmarks/internal/measure"
	"github.com/messagebus-go/messagebus/bus"
	"github.com/messagebus-go/messagebus/cache"
)

// peerVariable makes this program a peer: another process, which prints how long
// each timed value was on its way, in nanoseconds. The variable holds the URL of the
// server. The peer ends with its input.
const peerVariable = "MESSAGEBUS_BENCHMARK_CACHE_PEER"

// peer is the other process.
func peer(ctx context.Context, url string, in io.Reader, out io.Writer) error {
	return measure.Hosted(func(tb testing.TB) error {
		ctx, cancel := context.WithCancel(ctx)
		var listeners sync.WaitGroup
		tb.Cleanup(listeners.Wait)
		tb.Cleanup(cancel)
		ended := make(chan error, 3)
		tell := func(sent int64) {
			if _, err := fmt.Fprintln(out, timed()-sent); err != nil {
				ended <- err
			}
		}
		newCache(ctx, tb, newBus(tb, openRedis(tb, url, cacheDB)), &cache.Options[string, int64]{
			OnChange: func(change cache.Change[string, int64]) { tell(change.Value) },
		})
		sub, err := newBus(tb, openRedis(tb, url, busDB)).Subscribe(ctx, timedChannel, bus.Latest())
		if err != nil {
			return err
		}
		heard := newClient(tb, url, bareDB).Subscribe(ctx, fmt.Sprint("_message_bus_", bareDB))
		tb.Cleanup(func() { _ = heard.Close() }) // whatever it says, it is not used again
		if _, err := heard.Receive(ctx); err != nil {
			return err
		}
		listeners.Go(func() { ended <- listen(tell, func() (int64, error) { return nextOfBus(ctx, sub) }) })
		listeners.Go(func() {
			ended <- listen(tell, func() (int64, error) {
				m, err := heard.ReceiveMessage(ctx)
				if err != nil {
					return 0, err
				}
				return sentAt(m.Payload)
			})
		})
		fmt.Fprintln(out, "ready")
		go func() {
			_, err := io.Copy(io.Discard, in)
			ended <- err
		}()
		return <-ended
	})
}

// listen tells of what comes until there is an error.
func listen(tell func(sent int64), next func() (int64, error)) error {
	for {
		sent, err := next()
		if err != nil {
			return err
		}
		tell(sent)
	}
}

func nextOfBus(ctx context.Context, sub *bus.Subscription) (int64, error) {
	m, err := sub.Next(ctx)
	if err != nil {
		return 0, err
	}
	var o operation
	err = json.Unmarshal(m.Data, &o)
	return o.Value, err
}

// sentAt finds the value in an envelope.
func sentAt(encoded string) (int64, error) {
	envelope, _ := envelopeOf(encoded)
	_, rest, _ := strings.Cut(envelope, `"value":`)
	digits, _, _ := strings.Cut(rest, ",")
	return strconv.ParseInt(digits, 10, 64)
}

// envelopeOf finds the envelope in what a store holds of a message.
func envelopeOf(encoded string) (envelope string, found bool) {
	const start = `{"data":`
	_, rest, found := strings.Cut(encoded, "|"+start)
	return start + rest, found
}
