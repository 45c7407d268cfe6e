package bus_test

import (
	"context"
	"errors"
	"fmt"
	"log"

	"github.com/messagebus-go/messagebus/bus"
	"github.com/messagebus-go/messagebus/bus/membus"
)

func Example() {
	store, err := membus.New(nil)
	if err != nil {
		log.Fatal(err)
	}
	b, err := bus.New(store, nil)
	if err != nil {
		log.Fatal(err)
	}
	defer b.Close()
	ctx := context.Background()

	if _, err := b.Publish(ctx, "/chat", "hello"); err != nil {
		log.Fatal(err)
	}
	sub, err := b.Subscribe(ctx, "/chat", bus.After(0))
	if err != nil {
		log.Fatal(err)
	}
	if _, err := b.Publish(ctx, "/chat", map[string]any{"from": "Ann", "text": "hi"}); err != nil {
		log.Fatal(err)
	}
	for range 2 {
		m, err := sub.Next(ctx)
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(m.ID, string(m.Data))
	}
	// Output:
	// 1 "hello"
	// 2 {"from":"Ann","text":"hi"}
}

func ExampleSubscription_Messages() {
	store, _ := membus.New(nil)
	b, _ := bus.New(store, &bus.Options{MaxBacklogSize: 2})
	defer b.Close()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	for i := range 4 {
		_, _ = b.Publish(ctx, "/chat", i)
	}
	sub, _ := b.Subscribe(ctx, "/chat", bus.After(1))
	for m, err := range sub.Messages(ctx) {
		if gap, ok := errors.AsType[*bus.GapError](err); ok {
			fmt.Println("lost something between", gap.After, "and", gap.Next)
			continue
		}
		fmt.Println(m.ID)
		if m.ID == 4 {
			cancel()
		}
	}
	// Output:
	// lost something between 1 and 3
	// 3
	// 4
}
