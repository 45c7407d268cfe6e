package dashboard

import (
	"cmp"
	"maps"
	"math"
	"slices"
	"time"
)

// memory is about how far back a rate looks: what is as old counts 1/e of what is new.
const memory = 30 * time.Second

// A sketch finds the heaviest of any number of keys in bounded memory, by the
// Space-Saving algorithm (Metwally, Agrawal, El Abbadi: Efficient computation of
// frequent and top-k elements in data streams, 2005). What is old fades. A key
// whose share of the whole is above 1/most is always there. It is not safe for
// concurrent use.
type sketch[K comparable] struct {
	most    int
	entries map[K]*tally
	faded   time.Time // up to when
}

// A tally is what is known of one key. Its sums are of what came while the key
// was there, so they never say too much.
type tally struct {
	weight                      float64 // for the ranking; an upper bound
	published, delivered, bytes float64
	times                       int // of a client; they do not fade
	since, last                 time.Time
}

func newSketch[K comparable](most int) *sketch[K] {
	return &sketch[K]{most: most, entries: make(map[K]*tally, most)}
}

// at returns the tally of a key, to which the caller adds; weight is what it adds
// to the ranking. The lightest key makes way for a new one, which inherits its
// weight.
func (s *sketch[K]) at(key K, weight float64, now time.Time) *tally {
	t := s.entries[key]
	if t == nil {
		t = &tally{since: now}
		if len(s.entries) >= s.most {
			lightest := s.lightest()
			t.weight = s.entries[lightest].weight
			delete(s.entries, lightest)
		}
		s.entries[key] = t
	}
	t.weight += weight
	t.last = now
	return t
}

func (s *sketch[K]) lightest() (key K) {
	least := math.Inf(1)
	for k, t := range s.entries {
		if t.weight < least {
			key, least = k, t.weight
		}
	}
	return key
}

// fade lets all that was counted age until now.
func (s *sketch[K]) fade(now time.Time) {
	if s.faded.IsZero() {
		s.faded = now
	}
	factor := math.Exp(-now.Sub(s.faded).Seconds() / memory.Seconds())
	s.faded = now
	for _, t := range s.entries {
		t.weight *= factor
		t.published *= factor
		t.delivered *= factor
		t.bytes *= factor
	}
}

// rate turns a faded sum into something for each second. One that has not been
// there for long is not measured by the time before.
func (t *tally) rate(sum float64, now time.Time) float64 {
	seen := 1 - math.Exp(-max(now.Sub(t.since), time.Second).Seconds()/memory.Seconds())
	return sum / (memory.Seconds() * seen)
}

// heaviest returns the keys, heaviest first, at most so many.
func (s *sketch[K]) heaviest(most int) []K {
	keys := slices.SortedFunc(maps.Keys(s.entries), func(a, b K) int {
		x, y := s.entries[a], s.entries[b]
		return cmp.Or(cmp.Compare(y.weight, x.weight), x.since.Compare(y.since))
	})
	return keys[:min(most, len(keys))]
}
