package cache

import (
	"maps"
	"testing"
	"testing/synctest"

	"github.com/messagebus-go/messagebus/bus"
	"github.com/messagebus-go/messagebus/bus/bustest"
)

// late applies operations in the order given, which is not that of their global ids.
func late(t *testing.T, arrivals ...arrival[string, int]) map[string]int {
	t.Helper()
	c, err := New[string, int](t.Context(), bustest.New(t), "animals", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for _, a := range arrivals {
		a.item = item{feed: c.feeds[0], sub: c.feeds[0].sub.Load()}
		c.apply(a)
	}
	return maps.Collect(c.All())
}

func arrive(globalID int64, op Op, key string, value int) arrival[string, int] {
	return arrival[string, int]{Change: Change[string, int]{Op: op, Key: key, Value: value, ID: globalID}, globalID: globalID}
}

func TestOrder_WhatComesLateIsPutIntoItsPlace(t *testing.T) {
	t.Parallel()
	type holds = map[string]int
	for name, test := range map[string]struct {
		arrivals []arrival[string, int]
		want     holds
	}{
		"a set after a newer one":    {[]arrival[string, int]{arrive(2, OpSet, "a", 2), arrive(1, OpSet, "a", 1)}, holds{"a": 2}},
		"a set after a newer delete": {[]arrival[string, int]{arrive(2, OpDelete, "a", 0), arrive(1, OpSet, "a", 1)}, holds{}},
		"a set after a newer clear":  {[]arrival[string, int]{arrive(2, OpClear, "", 0), arrive(1, OpSet, "a", 1)}, holds{}},
		"a delete after a newer set": {[]arrival[string, int]{arrive(2, OpSet, "a", 2), arrive(1, OpDelete, "a", 0)}, holds{"a": 2}},
		"a clear after newer sets": {
			[]arrival[string, int]{arrive(1, OpSet, "a", 1), arrive(3, OpSet, "b", 3), arrive(2, OpClear, "", 0), arrive(1, OpSet, "c", 1)},
			holds{"b": 3},
		},
		"a clear after a newer one":  {[]arrival[string, int]{arrive(3, OpClear, "", 0), arrive(4, OpSet, "a", 4), arrive(2, OpClear, "", 0)}, holds{"a": 4}},
		"a set of a key not changed": {[]arrival[string, int]{arrive(2, OpSet, "a", 2), arrive(1, OpSet, "b", 1)}, holds{"a": 2, "b": 1}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := late(t, test.arrivals...); !maps.Equal(got, test.want) {
				t.Errorf("it holds %v, want %v", got, test.want)
			}
		})
	}
}

// TestOrder_WhatIsForgottenIsRemoved and never guessed.
func TestOrder_WhatIsForgottenIsRemoved(t *testing.T) {
	t.Parallel()
	arrivals := []arrival[string, int]{arrive(10, OpSet, "a", 10)}
	for i := range maxPlaced + 5 {
		arrivals = append(arrivals, arrive(int64(20+i), OpSet, "b", i))
	}
	arrivals = append(arrivals, arrive(5, OpSet, "a", 5))
	if got := late(t, arrivals...); !maps.Equal(got, map[string]int{"b": maxPlaced + 4}) {
		t.Errorf("it holds %v", got)
	}
}

// TestOrder_SitesThatShareACacheAreOneOrder although each has a feed of its own.
func TestOrder_SitesThatShareACacheAreOneOrder(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := bustest.New(t)
		var all []*Cache[string, int]
		for _, view := range []*bus.Bus{b, b.Site(""), b.Site("default")} {
			c, err := New[string, int](t.Context(), view, "animals", nil)
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			all = append(all, c)
		}
		for i := range 200 {
			if err := all[i%3].Set(t.Context(), "dog", i); err != nil {
				t.Fatal(err)
			}
		}
		synctest.Wait()
		for i, c := range all {
			if v, ok := c.Get("dog"); v != 199 || !ok {
				t.Errorf("cache %d holds %d, %v", i, v, ok)
			}
		}
	})
}
