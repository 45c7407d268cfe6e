package cache_test

import (
	"context"
	"fmt"
	"log"

	"github.com/messagebus-go/messagebus/bus"
	"github.com/messagebus-go/messagebus/bus/membus"
	"github.com/messagebus-go/messagebus/cache"
)

// Two processes share a cache; here they are two buses on a store in memory.
func Example() {
	ctx := context.Background()
	store, err := membus.New(nil)
	if err != nil {
		log.Fatal(err)
	}
	var caches []*cache.Cache[string, int]
	came := make(chan cache.Change[string, int])
	for _, peer := range []*membus.Backend{store, store.Dial()} {
		b, err := bus.New(peer, nil)
		if err != nil {
			log.Fatal(err)
		}
		defer b.Close()
		opts := &cache.Options[string, int]{}
		if len(caches) == 1 {
			opts.OnChange = func(change cache.Change[string, int]) { came <- change }
		}
		c, err := cache.New(ctx, b, "ages", opts)
		if err != nil {
			log.Fatal(err)
		}
		defer c.Close()
		caches = append(caches, c)
	}

	if err := caches[0].Set(ctx, "ann", 44); err != nil {
		log.Fatal(err)
	}
	<-came
	age, ok := caches[1].Get("ann")
	fmt.Println(age, ok)
	// Output: 44 true
}

// A value that is not there is loaded, by one caller at a time for each process,
// and goes when somebody changes it.
func ExampleCache_Load() {
	ctx := context.Background()
	store, err := membus.New(nil)
	if err != nil {
		log.Fatal(err)
	}
	b, err := bus.New(store, nil)
	if err != nil {
		log.Fatal(err)
	}
	defer b.Close()
	c, err := cache.New[int, string](ctx, b, "names", nil)
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()

	database := map[int]string{7: "Ann"}
	load := func(context.Context) (string, error) {
		fmt.Println("asking the database")
		return database[7], nil
	}
	for range 2 {
		name, err := c.Load(ctx, 7, load)
		fmt.Println(name, err)
	}
	database[7] = "Anne"
	if err := c.Delete(ctx, 7); err != nil { // at every peer
		log.Fatal(err)
	}
	name, err := c.Load(ctx, 7, load)
	fmt.Println(name, err)
	// Output:
	// asking the database
	// Ann <nil>
	// Ann <nil>
	// asking the database
	// Anne <nil>
}

// Keys of every type that a Ruby peer can have are apart.
func ExampleParseKey() {
	for _, text := range []string{`1`, `1.0`, `"1"`, `null`, `["a", 1]`} {
		key, err := cache.ParseKey([]byte(text))
		fmt.Println(key, key == cache.IntKey(1), err)
	}
	// Output:
	// 1 true <nil>
	// 1.0 false <nil>
	// "1" false <nil>
	// null false <nil>
	// ["a",1] false <nil>
}
