package cache_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strconv"
	"testing"
	"testing/synctest"

	"github.com/messagebus-go/messagebus/bus"
	"github.com/messagebus-go/messagebus/bus/bustest"
	"github.com/messagebus-go/messagebus/cache"
)

// calling is a cache whose callbacks do what f does with it.
func calling(t *testing.T, f func(c *cache.Cache[string, int], key string)) *cache.Cache[string, int] {
	t.Helper()
	var c *cache.Cache[string, int]
	c = open(t, bustest.On(t, bustest.NewStore(t), &bus.Options{Keepalive: -1}), &cache.Options[string, int]{
		MaxEntries: 2,
		OnChange:   func(change cache.Change[string, int]) { f(c, change.Key) },
		OnEvict:    func(key string, _ int, _ cache.EvictReason) { f(c, key) },
		Trace:      &cache.Trace{Undecodable: func(_ int64, key string, _ error) { f(c, key) }},
	})
	return c
}

func TestCallbacks_MayUseTheCache(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		left := 20
		c := calling(t, func(c *cache.Cache[string, int], key string) {
			if left--; left < 0 {
				return
			}
			c.Get(key)
			_, _, _ = c.Len(), c.Err(), c.Stats()
			for range c.All() {
				break
			}
			must(t, c.Set(t.Context(), strconv.Itoa(left), left))
			_, err := c.Load(t.Context(), "loaded", func(context.Context) (int, error) { return left, nil })
			must(t, err)
			c.Forget(key)
			must(t, c.Delete(t.Context(), "dog"))
			if left == 10 {
				must(t, c.Clear(t.Context()))
			}
		})
		must(t, c.Set(t.Context(), "dog", 1))
		synctest.Wait()
		if left >= 0 {
			t.Errorf("%d calls were not made", left+1)
		}
		must(t, c.Set(t.Context(), "last", 7))
		synctest.Wait()
		want(t, c, "last", 7)
	})
}

func TestCallbacks_APanicGoesNoFurther(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		panics := 0
		c := calling(t, func(_ *cache.Cache[string, int], key string) {
			panics++
			panic("with " + key)
		})
		for i := range 5 {
			must(t, c.Set(t.Context(), strconv.Itoa(i), i))
		}
		synctest.Wait()
		if panics != 8 { // of five changes, and three that had to make room
			t.Errorf("%d calls, want 8", panics)
		}
		want(t, c, "4", 4)
		must(t, c.Err())
	})
}

// TestCallbacks_ThatEndTheirGoroutineEndTheCache: it would hear of nothing more.
func TestCallbacks_ThatEndTheirGoroutineEndTheCache(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := calling(t, func(*cache.Cache[string, int], string) { runtime.Goexit() })
		must(t, c.Set(t.Context(), "dog", 1))
		synctest.Wait()
		wantNone(t, c, "dog")
		if c.Err() == nil {
			t.Error("it is said to be up to date")
		}
		must(t, c.Close())
	})
}

// wild is a codec that panics at what is below zero.
type wild struct{}

func (wild) Encode(v int) ([]byte, error) { return []byte(strconv.Itoa(v)), nil }

func (wild) Decode(b []byte) (int, error) {
	n, err := strconv.Atoi(string(b))
	if n < 0 {
		panic("below zero")
	}
	return n, err
}

// touchy is a value whose method panics at some JSON.
type touchy struct{ N int }

func (v *touchy) UnmarshalJSON(text []byte) (err error) {
	if string(text) == "-1" {
		panic("below zero")
	}
	v.N, err = strconv.Atoi(string(text))
	return err
}

// TestValues_APanicInDecodingRemovesTheKey and what a peer sends ends no process.
func TestValues_APanicInDecodingRemovesTheKey(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := bustest.On(t, bustest.NewStore(t), &bus.Options{Keepalive: -1})
		coded := open(t, b, &cache.Options[string, int]{Codec: wild{}})
		plain := open[string, touchy](t, b, nil)
		for _, value := range []any{"MQ==", 1, "LTE=", -1} { // 1 and -1 as each has them
			_, err := b.Publish(t.Context(), "/distributed_hash", map[string]any{"op": "set", "key": "dog", "value": value, "marshalled": false, "hash_key": "animals"})
			must(t, err)
		}
		synctest.Wait()
		wantNone(t, coded, "dog")
		wantNone(t, plain, "dog")
		if n, m := coded.Stats().Undecodable, plain.Stats().Undecodable; n != 3 || m != 3 {
			t.Errorf("%d and %d of 4 were undecodable, want 3", n, m)
		}
		if err := coded.Set(t.Context(), "dog", -1); !errors.Is(err, bus.ErrInvalidData) {
			t.Errorf("Set of what cannot be read back: %v", err)
		}
		must(t, coded.Set(t.Context(), "dog", 2))
		want(t, coded, "dog", 2)
	})
}

// TestSet_APanicInEncodingIsTheCallers and leaves the cache as it was.
func TestSet_APanicInEncodingIsTheCallers(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := open[string, any](t, bustest.On(t, bustest.NewStore(t), &bus.Options{Keepalive: -1}), nil)
		must(t, c.Set(t.Context(), "dog", "woof"))
		synctest.Wait()
		func() {
			defer func() {
				if p := recover(); fmt.Sprint(p) != "no text" {
					t.Errorf("recovered %v", p)
				}
			}()
			_ = c.Set(t.Context(), "dog", mute{})
		}()
		want[string, any](t, c, "dog", "woof")
		must(t, c.Set(t.Context(), "dog", "bark"))
		want[string, any](t, c, "dog", "bark")
	})
}

type mute struct{}

func (mute) MarshalText() ([]byte, error) { panic("no text") }
