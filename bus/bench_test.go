package bus_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/messagebus-go/messagebus/bus"
	"github.com/messagebus-go/messagebus/bus/bustest"
	"github.com/messagebus-go/messagebus/bus/driver"
)

// BenchmarkPublish compares Publish with the store alone, which does the same
// work but for the checks and the envelope.
func BenchmarkPublish(b *testing.B) {
	payload := map[string]any{"from": "Ann", "text": "hello, world"}
	b.Run("bus", func(b *testing.B) {
		mb := bustest.New(b)
		b.ReportAllocs()
		for b.Loop() {
			if _, err := mb.Publish(b.Context(), "/chat", payload); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("store", func(b *testing.B) {
		store := bustest.NewStore(b)
		envelope := []byte(chatEnvelope)
		limits := driver.Limits{MaxSize: 1000, MaxGlobalSize: 2000, MaxAge: 1 << 40, ClearEvery: 1}
		b.ReportAllocs()
		for b.Loop() {
			if _, err := store.Publish(b.Context(), "/chat", envelope, limits); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// BenchmarkDeliver measures one message from Publish to the Next of so many
// subscriptions, and beside it the bare feed of the store.
func BenchmarkDeliver(b *testing.B) {
	for _, n := range []int{1, 100} {
		b.Run(fmt.Sprintf("subscriptions=%d", n), func(b *testing.B) {
			mb := bustest.New(b)
			subs := make([]*bus.Subscription, n)
			for i := range subs {
				sub, err := mb.Subscribe(b.Context(), "/chat", bus.Latest())
				if err != nil {
					b.Fatal(err)
				}
				subs[i] = sub
			}
			b.ReportAllocs()
			for b.Loop() {
				if _, err := mb.Publish(b.Context(), "/chat", 1); err != nil {
					b.Fatal(err)
				}
				for _, sub := range subs {
					if _, err := sub.Next(b.Context()); err != nil {
						b.Fatal(err)
					}
				}
			}
		})
	}
	b.Run("feed", func(b *testing.B) {
		store := bustest.NewStore(b)
		stream, err := store.Listen(b.Context())
		if err != nil {
			b.Fatal(err)
		}
		defer stream.Close()
		limits := driver.Limits{MaxSize: 1000, MaxGlobalSize: 2000, MaxAge: 1 << 40, ClearEvery: 1}
		for b.Loop() {
			if _, err := store.Publish(b.Context(), "/chat", []byte("1"), limits); err != nil {
				b.Fatal(err)
			}
			if _, err := stream.Next(b.Context()); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// BenchmarkFlood measures what a message costs between a feed that always has
// the next one and so many subscriptions, each to a channel of its own: with
// many, it is the memory that is not in the processor's caches.
func BenchmarkFlood(b *testing.B) {
	for _, n := range []int{1, 100, 10_000} {
		b.Run(fmt.Sprintf("subscriptions=%d", n), func(b *testing.B) {
			flood := &floodStore{Backend: bustest.NewStore(b), channels: n, wanted: make(chan int)}
			up := make(chan struct{})
			mb := bustest.On(b, flood, &bus.Options{
				LivenessBound: time.Hour, Keepalive: -1, Trace: &bus.Trace{FeedUp: func() { close(up) }},
			})
			subs := make([]*bus.Subscription, n)
			for i := range subs {
				sub, err := mb.Subscribe(b.Context(), floodChannel(i), bus.Latest())
				if err != nil {
					b.Fatal(err)
				}
				subs[i] = sub
				<-up // one that was interrupted would look for the flood in the store
			}
			const batch = 1000 // fewer than any queue holds
			b.ReportAllocs()
			b.ResetTimer()
			for i := range b.N {
				if i%batch == 0 {
					flood.wanted <- batch
				}
				if _, err := subs[i%n].Next(b.Context()); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func floodChannel(number int) string { return fmt.Sprint("/flood/", number) }

// A floodStore is a store whose feed has as many messages as are wanted.
type floodStore struct {
	driver.Backend

	channels int
	wanted   chan int
}

func (s *floodStore) Listen(context.Context) (driver.Stream, error) {
	f := &floodFeed{store: s, names: make([]string, s.channels)}
	for i := range f.names {
		f.names[i] = floodChannel(i)
	}
	return f, nil
}

type floodFeed struct {
	store *floodStore
	names []string
	sent  int64
	left  int
}

func (f *floodFeed) Next(ctx context.Context) (driver.Message, error) {
	for f.left == 0 {
		select {
		case f.left = <-f.store.wanted:
		case <-ctx.Done():
			return driver.Message{}, ctx.Err()
		}
	}
	channel := f.names[f.sent%int64(len(f.names))]
	f.left--
	f.sent++
	return driver.Message{GlobalID: f.sent, ID: f.sent, Channel: strings.Clone(channel), Data: []byte(chatEnvelope)}, nil
}

func (f *floodFeed) Ping(context.Context) error { return nil }
func (f *floodFeed) Close() error               { return nil }

const chatEnvelope = `{"data":{"from":"Ann","text":"hello, world"},"user_ids":null,"group_ids":null,"client_ids":null}`

// BenchmarkDecodeEnvelope measures reading a stored message.
func BenchmarkDecodeEnvelope(b *testing.B) {
	for name, envelope := range map[string]string{
		"everyone": chatEnvelope,
		"targeted": `{"data":{"from":"Ann","text":"hello, world"},"user_ids":[1,2],"group_ids":null,"client_ids":null}`,
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, _, _, _, err := bus.DecodeEnvelope([]byte(envelope)); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
