package main

import (
	"context"
	"fmt"
	"testing"

	"github.com/messagebus-go/messagebus/benchmarks/internal/measure"
	"github.com/messagebus-go/messagebus/bus/driver"
)

// A store is a real server, with two places that do not hear each other: in one
// works a bus, in the other what it is compared with.
type store interface {
	name() string
	// open returns a backend with so many connections, whose round trips are
	// counted; nil: they are not.
	open(tb testing.TB, in place, connections int, t *measure.Turns) driver.Backend
	// bare returns the client library in the second place.
	bare(tb testing.TB, connections int) bare
	// flood has the server store and announce so many messages as fast as it can,
	// in turn on the channels /flood/0, /flood/1, and so on.
	flood(ctx context.Context, in place, messages, channels int) error
	// cutFeeds ends the connections of all feeds in a place, and publishes one
	// message on each of so many channels of a flood before they can be back.
	cutFeeds(ctx context.Context, in place, channels int) error
	// settle returns when the server has got used to what was stored.
	settle(ctx context.Context) error
	// where says how another process, also a Ruby one, reaches it.
	where() address
}

// A place is a database of its own, with announcements of its own.
type place int

const (
	first place = iota
	second
)

// bare is what a client library does without a bus. Its methods are safe for
// concurrent use.
type bare interface {
	// publish sends what a bus sends, down to the bytes, with another envelope.
	publish(ctx context.Context, envelope string) error
	// announce sends an encoded message to whoever listens, and stores nothing.
	announce(ctx context.Context, encoded string) error
	// listen returns once announcements come.
	listen(ctx context.Context) (feed, error)
}

// A feed is a subscription of a client library.
type feed interface {
	next(ctx context.Context) (string, error)
	close()
}

// An address is how to reach a store: the URLs of the databases of both places.
type address struct {
	Store  string `json:"store"` // its name
	First  string `json:"first"`
	Second string `json:"second"`
}

// floodChannel is one of those of a flood.
func floodChannel(number int) string { return fmt.Sprint("/flood/", number) }

// chat is the payload of all that is published, but for that which is timed.
type chat struct {
	From string `json:"from"`
	Text string `json:"text"`
}

// hello, and the same as JSON.
var hello = chat{From: "Ann", Text: "a message of an ordinary size, for a chat"}

const helloJSON = `{"from":"Ann","text":"a message of an ordinary size, for a chat"}`

// envelope is what a bus stores for a payload.
func envelope(payload string) string {
	return `{"data":` + payload + `,"user_ids":null,"group_ids":null,"client_ids":null}`
}

// usual are the gem's limits, which are a bus's defaults.
var usual = driver.Limits{MaxSize: 1000, MaxGlobalSize: 2000, MaxAge: 7 * 24 * 3600e9, ClearEvery: 1}

// publishChannel is what bare clients publish on.
const publishChannel = "/chat"
