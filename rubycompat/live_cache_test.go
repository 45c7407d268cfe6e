package rubycompat_test

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"reflect"
	"sync"
	"testing"
	"time"

	"github.com/messagebus-go/messagebus/cache"
)

func liveCache(t *testing.T, m meeting) *anyCache {
	t.Helper()
	c, err := cache.New[cache.AnyKey, any](t.Context(), m.goPeer(t), "live", nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// until waits for something that others do.
func until(t *testing.T, what string, f func() bool) {
	t.Helper()
	deadline := time.After(time.Minute)
	for !f() {
		select {
		case <-time.After(5 * time.Millisecond):
		case <-deadline:
			t.Fatalf("not within a minute: %s", what)
		}
	}
}

// TestLive_ValuesOfACacheTravelBothWays and arrive as what was meant.
func TestLive_ValuesOfACacheTravelBothWays(t *testing.T) {
	meet(t, func(t *testing.T, m meeting) {
		t.Helper()
		c, r := liveCache(t, m), m.rubyPeer(t)
		r.must("cache_open", "live")
		key := cache.StringKey("k")
		for _, v := range []struct {
			inGo   any
			inRuby string
		}{
			{nil, "nil"},
			{true, "true"},
			{int64(-5), "-5"},
			{1.0, "1.0"},
			{1e20, "1.0e+20"},
			{"größe \" \n", `"größe \" \n"`},
			{[]any{int64(1), 2.5, "x", nil, []any{}}, `[1, 2.5, "x", nil, []]`},
			{map[string]any{"a": map[string]any{"b": []any{false}}}, `{"a"=>{"b"=>[false]}}`},
		} {
			if err := c.Set(t.Context(), key, v.inGo); err != nil {
				t.Fatal(err)
			}
			until(t, fmt.Sprintf("Ruby has %s", v.inRuby), func() bool { return r.must("cache_inspect", "k") == v.inRuby })
			if err := c.Delete(t.Context(), key); err != nil {
				t.Fatal(err)
			}
			until(t, "Ruby has nothing", func() bool { return len(r.must("cache_hash").([]any)) == 0 })
			r.must("cache_set_ruby", "k", v.inRuby)
			until(t, fmt.Sprintf("Go has %v", v.inGo), func() bool {
				got, ok := c.Get(key)
				return ok && reflect.DeepEqual(got, v.inGo)
			})
		}
		r.must("cache_set_ruby", 1, `{a: Set.new([:b, 1 << 70]), "c" => "x".encode("UTF-16LE")}`)
		until(t, "Go has a hash with a set", func() bool { _, ok := c.Get(cache.IntKey(1)); return ok })
		got, _ := c.Get(cache.IntKey(1))
		if text := fmt.Sprint(got); text != "map[a:[b 1180591620717411303424] c:x]" {
			t.Errorf("Go has %s", text)
		}
		r.must("cache_set_ruby", 1, `[1..2]`)
		until(t, "Go has refused an object", func() bool { _, ok := c.Get(cache.IntKey(1)); return !ok })
	})
}

// TestLive_CachesAgreeAfterAThousandOperations of two Go processes and a Ruby one.
func TestLive_CachesAgreeAfterAThousandOperations(t *testing.T) {
	meet(t, func(t *testing.T, m meeting) {
		t.Helper()
		a, b, r := liveCache(t, m), liveCache(t, m), m.rubyPeer(t)
		r.must("cache_open", "live")
		random := rand.New(rand.NewPCG(7, 7))
		keys := []string{"a", "b", "c", "d", "e", "f", "g", "h"}
		do := func(who int, key string, value int) {
			var err error
			switch k := cache.StringKey(key); {
			case who == 2 && value%5 == 0:
				_, err = r.call("cache_delete", nil, key)
			case who == 2:
				_, err = r.call("cache_set", nil, key, value)
			case value%5 == 0:
				err = []*anyCache{a, b}[who].Delete(t.Context(), k)
			default:
				err = []*anyCache{a, b}[who].Set(t.Context(), k, int64(value))
			}
			if err != nil {
				t.Error(err)
			}
		}
		for round := range 250 {
			var all sync.WaitGroup
			for i := range 4 {
				who, key := random.IntN(3), keys[random.IntN(len(keys))]
				all.Go(func() { do(who, key, 1+4*round+i) })
			}
			all.Wait()
		}
		meetAt(t, a, b, r, "first")
		if x, y := maps.Collect(a.All()), maps.Collect(b.All()); !reflect.DeepEqual(x, y) {
			t.Errorf("the Go processes hold %v and %v", x, y)
		}
		// Written last, with nobody else writing.
		for i, key := range keys {
			do(random.IntN(3), key, 5001+i)
			meetAt(t, a, b, r, "after "+key)
		}
		want := maps.Collect(a.All())
		if got := maps.Collect(b.All()); !reflect.DeepEqual(got, want) {
			t.Errorf("the Go processes hold %v and %v", want, got)
		}
		for _, pair := range r.must("cache_hash").([]any) {
			key, value := pair.([]any)[0], pair.([]any)[1]
			k := cache.StringKey(fmt.Sprint(key))
			if fmt.Sprint(want[k]) != fmt.Sprint(value) {
				t.Errorf("%v is %v in Ruby, and %v in Go", key, value, want[k])
			}
			delete(want, k)
		}
		if len(want) > 0 {
			t.Errorf("Ruby lacks %v", want)
		}
	})
}

// meetAt waits until everybody has heard all there is to hear.
func meetAt(t *testing.T, a, b *anyCache, r rubyPeer, name string) {
	t.Helper()
	marker := cache.StringKey("marker")
	if err := a.Set(t.Context(), marker, name); err != nil {
		t.Fatal(err)
	}
	until(t, "all have the marker "+name, func() bool {
		x, _ := b.Get(marker)
		return x == name && r.must("cache_get", "marker") == name
	})
	// a itself has heard its own operation, not only remembered it.
	until(t, "the sender has heard the marker", func() bool { return a.Stats().Applied >= b.Stats().Applied })
}
