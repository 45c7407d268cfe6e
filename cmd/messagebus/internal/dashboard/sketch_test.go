package dashboard

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"
)

// However many names there are, the memory is bounded, and who has a large share is
// found with rates that are right.
func TestSketch_FindsTheHeaviestOfAnyNumber(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(1, 2))
	s := newSketch[string](32)
	now := time.Unix(0, 0)
	const seconds, each = 300, 100 // messages a second
	for range seconds {
		for range each {
			key := fmt.Sprint("/noise/", random.Uint64())
			switch n := random.IntN(10); {
			case n < 3:
				key = "/first"
			case n < 5:
				key = "/second"
			}
			s.at(key, 1, now).published++
		}
		now = now.Add(time.Second)
		s.fade(now)
		if len(s.entries) > 32 {
			t.Fatalf("%d entries", len(s.entries))
		}
	}
	top := s.heaviest(2)
	if fmt.Sprint(top) != "[/first /second]" {
		t.Fatalf("the heaviest are %v", top)
	}
	for i, want := range []float64{30, 20} {
		if got := s.entries[top[i]].rate(s.entries[top[i]].published, now); got < want*0.8 || got > want*1.2 {
			t.Errorf("%s has %.1f a second, want about %v", top[i], got, want)
		}
	}
}

func TestSketch_NeverSaysTooMuch(t *testing.T) {
	t.Parallel()
	s := newSketch[int](2)
	now := time.Unix(0, 0)
	for i := range 1000 {
		s.at(i, 1, now).published++
	}
	for key, tally := range s.entries {
		if tally.published > 1 {
			t.Errorf("%d was there once, and has %v", key, tally.published)
		}
	}
}

func TestSketch_ForgetsWhatHasEnded(t *testing.T) {
	t.Parallel()
	s := newSketch[string](8)
	now := time.Unix(0, 0)
	s.fade(now)
	for range 600 {
		s.at("/a", 1, now).published++
	}
	now = now.Add(10 * time.Minute)
	s.fade(now)
	if got := s.entries["/a"].rate(s.entries["/a"].published, now); got > 0.001 {
		t.Errorf("10 minutes later it has %v a second", got)
	}
}
