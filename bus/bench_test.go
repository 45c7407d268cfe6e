package bus_test

import (
	"fmt"
	"testing"

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
		envelope := []byte(`{"data":{"from":"Ann","text":"hello, world"},"user_ids":null,"group_ids":null,"client_ids":null}`)
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

// BenchmarkDecodeEnvelope measures reading a stored message.
func BenchmarkDecodeEnvelope(b *testing.B) {
	for name, envelope := range map[string]string{
		"everyone": `{"data":{"from":"Ann","text":"hello, world"},"user_ids":null,"group_ids":null,"client_ids":null}`,
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
