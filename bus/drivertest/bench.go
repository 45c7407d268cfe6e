package drivertest

import (
	"context"
	"fmt"
	"testing"

	"github.com/messagebus-go/messagebus/bus/driver"
)

const benchData = `{"data":{"text":"a message of an ordinary size, for a chat"},"user_ids":null,"group_ids":null,"client_ids":null}`

// Bench measures what package bus does most with a store.
func Bench(b *testing.B, h Harness) {
	for _, bench := range []struct {
		name string
		run  func(*testing.B, *env)
	}{
		{"Publish", benchPublish},
		{"PublishParallel", benchPublishParallel},
		{"Read100", benchRead},
		{"CatchUp1000Channels", benchCatchUp},
		{"Stream", benchStream},
	} {
		b.Run(bench.name, func(b *testing.B) {
			b.ReportAllocs()
			bench.run(b, newEnv(context.Background(), b, h))
		})
	}
}

// usual are the gem's limits.
func usual() driver.Limits {
	l := roomy()
	l.MaxSize, l.MaxGlobalSize = 1000, 2000
	return l
}

func benchPublish(b *testing.B, e *env) {
	channel, data := e.channel("a"), []byte(benchData)
	for b.Loop() {
		if _, err := e.peer.Publish(e.ctx, channel, data, usual()); err != nil {
			b.Fatal(err)
		}
	}
}

func benchPublishParallel(b *testing.B, e *env) {
	data := []byte(benchData)
	channels := make([]string, 16)
	for i := range channels {
		channels[i] = e.channel(fmt.Sprint(i))
	}
	b.RunParallel(func(pb *testing.PB) {
		for i := 0; pb.Next(); i++ {
			if _, err := e.peer.Publish(e.ctx, channels[i%len(channels)], data, usual()); err != nil {
				b.Error(err)
				return
			}
		}
	})
}

func benchRead(b *testing.B, e *env) {
	channel := e.channel("a")
	for range 100 {
		e.publish(e.peer, channel, benchData)
	}
	ranges := []driver.Range{{Channel: channel}}
	for b.Loop() {
		s, err := e.peer.Read(e.ctx, ranges)
		if err != nil || len(s.Pages[0].Messages) != 100 {
			b.Fatal(len(s.Pages), err)
		}
	}
}

func benchCatchUp(b *testing.B, e *env) {
	ranges := make([]driver.Range, 1000)
	for i := range ranges {
		ranges[i].Channel = e.channel(fmt.Sprint(i))
		e.publish(e.peer, ranges[i].Channel, benchData)
	}
	for b.Loop() {
		if s, err := e.peer.Read(e.ctx, ranges); err != nil || len(s.Pages) != 1000 {
			b.Fatal(len(s.Pages), err)
		}
	}
}

// benchStream publishes and receives 100 messages an operation.
func benchStream(b *testing.B, e *env) {
	const batch = 100
	s, channel, data := e.listen(e.peer), e.channel("a"), []byte(benchData)
	n := 0
	for b.Loop() {
		for range batch {
			if _, err := e.peer.Publish(e.ctx, channel, data, usual()); err != nil {
				b.Fatal(err)
			}
		}
		e.nextN(s, batch)
		n += batch
	}
	b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "messages/s")
}
