package cache

import (
	"math/rand/v2"
	"testing"
)

// TestLRUTable_WhatMakesRoomWasHardlyUsedLaterThanWhatStays compares each eviction
// with when all entries were used last, counted in arrivals.
func TestLRUTable_WhatMakesRoomWasHardlyUsedLaterThanWhatStays(t *testing.T) {
	t.Parallel()
	for seed := range uint64(300) {
		random := rand.New(rand.NewPCG(seed, 0))
		most := 1 + random.IntN(100)
		made, err := newTable[int, int](most)
		if err != nil {
			t.Fatal(err)
		}
		arrivals, used, keys := 0, map[int]int{}, 1+random.IntN(3*most)
		for range 3000 {
			key := random.IntN(1 + random.IntN(keys)) // some more often than others
			if random.IntN(4) > 0 {
				if _, ok := made.get(key); ok != (used[key] > 0) {
					t.Fatalf("seed %d: key %d is there: %v", seed, key, ok)
				} else if ok {
					used[key] = arrivals
				}
				continue
			}
			arrivals++
			evicted, full := made.put(key, entry[int]{value: key})
			last := used[evicted.key]
			used[key] = arrivals
			if !full {
				continue
			}
			delete(used, evicted.key)
			for stays, at := range used {
				if last > at && last-at >= max(1, most/youngShare) {
					t.Fatalf("seed %d, at most %d entries, %d arrivals: key %d made room, used at %d; key %d stays, used at %d",
						seed, most, arrivals, evicted.key, last, stays, at)
				}
			}
		}
		if made.len() != len(used) || made.len() > most {
			t.Fatalf("seed %d: %d entries, want %d of at most %d", seed, made.len(), len(used), most)
		}
	}
}
