package cache_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/messagebus-go/messagebus/bus"
	"github.com/messagebus-go/messagebus/bus/bustest"
	"github.com/messagebus-go/messagebus/bus/membus"
	"github.com/messagebus-go/messagebus/cache"
)

// open makes a cache that is closed with the test.
func open[K cache.Key, V any](tb testing.TB, b *bus.Bus, opts *cache.Options[K, V]) *cache.Cache[K, V] {
	tb.Helper()
	c, err := cache.New(tb.Context(), b, "animals", opts)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { c.Close() })
	return c
}

// peers makes caches of one name in processes of their own.
func peers[K cache.Key, V any](tb testing.TB, store *membus.Backend, n int, opts *cache.Options[K, V]) []*cache.Cache[K, V] {
	tb.Helper()
	all := make([]*cache.Cache[K, V], n)
	for i := range all {
		all[i] = open(tb, bustest.On(tb, store.Dial(), &bus.Options{Keepalive: -1}), opts)
	}
	return all
}

func must(tb testing.TB, err error) {
	tb.Helper()
	if err != nil {
		tb.Fatal(err)
	}
}

func want[K cache.Key, V any](tb testing.TB, c *cache.Cache[K, V], key K, value V) {
	tb.Helper()
	if got, ok := c.Get(key); !ok || !reflect.DeepEqual(got, value) {
		tb.Errorf("Get(%v) = %v, %v; want %v", key, got, ok, value)
	}
}

func wantNone[K cache.Key, V any](tb testing.TB, c *cache.Cache[K, V], key K) {
	tb.Helper()
	if got, ok := c.Get(key); ok {
		tb.Errorf("Get(%v) = %v; want nothing", key, got)
	}
}

func TestCache_WritesAreReadAtOnceHereAndThenElsewhere(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		all := peers[string, int](t, bustest.NewStore(t), 3, nil)
		a, b := all[0], all[1]
		must(t, a.Set(t.Context(), "dog", 1))
		want(t, a, "dog", 1)
		synctest.Wait()
		for _, c := range all {
			want(t, c, "dog", 1)
		}
		must(t, b.Set(t.Context(), "cat", 2))
		must(t, b.Delete(t.Context(), "dog"))
		wantNone(t, b, "dog")
		synctest.Wait()
		for _, c := range all {
			wantNone(t, c, "dog")
			want(t, c, "cat", 2)
			if got := maps.Collect(c.All()); !maps.Equal(got, map[string]int{"cat": 2}) || c.Len() != 1 {
				t.Errorf("All: %v, Len %d", got, c.Len())
			}
		}
		must(t, a.Clear(t.Context()))
		wantNone(t, a, "cat")
		if a.Len() != 0 {
			t.Errorf("Len is %d after Clear", a.Len())
		}
		synctest.Wait()
		wantNone(t, b, "cat")
		if err := a.Err(); err != nil {
			t.Error(err)
		}
	})
}

// TestCache_OwnWritesHideTheTableUntilTheFeedHasThem holds the feed back.
func TestCache_OwnWritesHideTheTableUntilTheFeedHasThem(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := bustest.NewStore(t)
		all := peers[string, int](t, store, 2, nil)
		a, b := all[0], all[1]
		must(t, a.Set(t.Context(), "dog", 1))
		synctest.Wait()

		store.Faults().DropNext(100) // nothing is announced any more
		must(t, b.Set(t.Context(), "dog", 2))
		must(t, b.Set(t.Context(), "cat", 2))
		must(t, a.Set(t.Context(), "dog", 3))
		want(t, a, "dog", 3)
		if got := maps.Collect(a.All()); !maps.Equal(got, map[string]int{"dog": 3}) || a.Len() != 1 {
			t.Errorf("All: %v, Len %d", got, a.Len())
		}
		must(t, a.Clear(t.Context()))
		wantNone(t, a, "dog")
		must(t, a.Set(t.Context(), "fox", 4))
		must(t, a.Delete(t.Context(), "fox"))
		must(t, a.Set(t.Context(), "dog", 5))
		if got := maps.Collect(a.All()); !maps.Equal(got, map[string]int{"dog": 5}) || a.Len() != 1 {
			t.Errorf("All: %v, Len %d", got, a.Len())
		}
		must(t, b.Set(t.Context(), "dog", 6))
		want(t, b, "dog", 6)
		want(t, a, "dog", 5)

		store.Faults().DropNext(0)
		<-time.After(time.Minute) // the bus notices within its bound
		synctest.Wait()
		for _, c := range all {
			if got := maps.Collect(c.All()); !maps.Equal(got, map[string]int{"dog": 6}) {
				t.Errorf("All: %v, want what was written last", got)
			}
		}
	})
}

func TestSet_ThatFailsChangesNothing(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := bustest.NewStore(t)
		c := peers[string, any](t, store, 1, nil)[0]
		must(t, c.Set(t.Context(), "dog", int64(1)))
		synctest.Wait()

		for _, bad := range []any{
			func() {}, "\xff", make(chan int), map[float64]int{1: 1}, []any{complex(1, 1)}, math.NaN(),
			json.RawMessage("\"\xff\""), json.RawMessage(`["\ud83d"]`), json.RawMessage(`"\ud83d\ud83d"`), json.RawMessage(`{"\ude00":1}`),
			json.RawMessage(strings.Repeat("7", 1_000_000)), json.RawMessage("1e999"),
		} {
			if err := c.Set(t.Context(), "dog", bad); !errors.Is(err, bus.ErrInvalidData) || len(err.Error()) > 200 {
				t.Errorf("Set(%T): %v", bad, err)
			}
		}
		if err := c.Set(t.Context(), "\xff", 1); !errors.Is(err, bus.ErrInvalidData) {
			t.Errorf("a key that is not UTF-8: %v", err)
		}
		if err := c.Set(t.Context(), strings.Repeat("dog", 3<<20), 1); !errors.Is(err, bus.ErrTooLarge) || len(err.Error()) > 200 {
			t.Errorf("a key that is too large: %v", err)
		}
		store.Faults().SetReadOnly(true)
		if err := c.Set(t.Context(), "dog", 2); !errors.Is(err, bus.ErrReadOnly) {
			t.Errorf("read-only: %v", err)
		}
		store.Faults().SetReadOnly(false)
		down := errors.New("down")
		store.Faults().FailRequests(down)
		if err := c.Set(t.Context(), "dog", 3); !errors.Is(err, down) {
			t.Errorf("down: %v", err)
		}
		if err := c.Delete(t.Context(), "dog"); !errors.Is(err, down) {
			t.Errorf("down: %v", err)
		}
		if err := c.Clear(t.Context()); !errors.Is(err, down) {
			t.Errorf("down: %v", err)
		}
		want[string, any](t, c, "dog", int64(1))
		store.Faults().FailRequests(nil)
		synctest.Wait()
		want[string, any](t, c, "dog", int64(1))
	})
}

func TestSet_OfUnknownOutcomeRemovesTheKeyUntilItIsHeardOf(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := bustest.NewStore(t)
		all := peers[string, int](t, store, 2, nil)
		a := all[0]
		must(t, a.Set(t.Context(), "dog", 1))
		synctest.Wait()

		store.Faults().DropNext(100)
		store.Faults().LoseAnswers(1)
		if err := a.Set(t.Context(), "dog", 2); !errors.Is(err, bus.ErrUnknownOutcome) {
			t.Fatalf("Set: %v", err)
		}
		wantNone(t, a, "dog")
		store.Faults().LoseAnswers(1)
		if err := a.Clear(t.Context()); !errors.Is(err, bus.ErrUnknownOutcome) {
			t.Fatalf("Clear: %v", err)
		}
		must(t, a.Set(t.Context(), "cat", 3))
		store.Faults().DropNext(0)
		<-time.After(time.Minute)
		synctest.Wait()
		for _, c := range all {
			wantNone(t, c, "dog")
			want(t, c, "cat", 3)
		}
	})
}

// What the feed has still to bring is older than what was written and read here,
// also once that is in doubt.
func TestCache_WhatIsInDoubtGivesWayToNothingOlder(t *testing.T) {
	t.Parallel()
	doubts := map[string]func(*testing.T, *membus.Faults, *cache.Cache[string, int]){
		"a write of unknown outcome": func(t *testing.T, faults *membus.Faults, c *cache.Cache[string, int]) {
			faults.LoseAnswers(1)
			if err := c.Delete(t.Context(), "dog"); !errors.Is(err, bus.ErrUnknownOutcome) {
				t.Fatalf("Delete: %v", err)
			}
		},
		"a clear of unknown outcome": func(t *testing.T, faults *membus.Faults, c *cache.Cache[string, int]) {
			faults.LoseAnswers(1)
			if err := c.Clear(t.Context()); !errors.Is(err, bus.ErrUnknownOutcome) {
				t.Fatalf("Clear: %v", err)
			}
		},
		"forgotten": func(_ *testing.T, _ *membus.Faults, c *cache.Cache[string, int]) { c.Forget("dog") },
	}
	for name, doubt := range doubts {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				store := bustest.NewStore(t)
				var a *cache.Cache[string, int]
				older := 0
				a = peers(t, store, 1, &cache.Options[string, int]{OnChange: func(change cache.Change[string, int]) {
					if change.Value == 1 || change.Value == 2 {
						if got, ok := a.Get("dog"); ok {
							t.Errorf("%d is read, and 3 was written later", got)
						}
						older++
					}
				}})[0]
				b := peers[string, int](t, store, 1, nil)[0]
				store.Faults().DropNext(100)
				must(t, b.Set(t.Context(), "dog", 1))
				must(t, b.Set(t.Context(), "dog", 2))
				must(t, a.Set(t.Context(), "dog", 3))
				doubt(t, store.Faults(), a)
				wantNone(t, a, "dog")
				store.Faults().DropNext(0)
				<-time.After(time.Minute)
				synctest.Wait()
				if older != 2 {
					t.Errorf("%d older changes were told, want 2", older)
				}
			})
		})
	}
}

func TestCache_IsOfItsNameSiteAndVersion(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := bustest.NewStore(t)
		b := bustest.On(t, store, nil)
		type options = cache.Options[string, int]
		root, sited, standard, empty := open[string, int](t, b, nil), open[string, int](t, b.Site("one"), nil), open[string, int](t, b.Site("default"), nil), open[string, int](t, b.Site(""), nil)
		every := open(t, b.Site("two"), &options{AllSites: true})
		versioned, other := open(t, b, &options{AppVersion: 7}), open(t, b, &options{AppVersion: "7"})
		plants, err := cache.New[string, int](t.Context(), b, "plants", nil)
		must(t, err)
		defer plants.Close()

		must(t, root.Set(t.Context(), "root", 1))
		must(t, sited.Set(t.Context(), "sited", 2))
		must(t, standard.Set(t.Context(), "standard", 3))
		must(t, empty.Set(t.Context(), "empty", 4))
		must(t, every.Set(t.Context(), "every", 5))
		must(t, versioned.Set(t.Context(), "versioned", 6))
		must(t, other.Set(t.Context(), "other", 7))
		must(t, plants.Set(t.Context(), "plants", 8))
		synctest.Wait()

		common := map[string]int{"root": 1, "standard": 3, "empty": 4, "versioned": 6, "other": 7}
		all := maps.Clone(common)
		all["sited"], all["every"] = 2, 5
		for name, check := range map[string]struct {
			cache *cache.Cache[string, int]
			holds map[string]int
		}{
			"root": {root, common}, "standard": {standard, common}, "empty": {empty, common},
			"sited": {sited, map[string]int{"sited": 2}}, "every": {every, all},
			"versioned": {versioned, map[string]int{"versioned": 6}}, "other": {other, map[string]int{"other": 7}},
			"plants": {plants, map[string]int{"plants": 8}},
		} {
			if got := maps.Collect(check.cache.All()); !maps.Equal(got, check.holds) {
				t.Errorf("%s holds %v, want %v", name, got, check.holds)
			}
		}
		must(t, empty.Clear(t.Context()))
		synctest.Wait()
		if root.Len()+standard.Len()+empty.Len() != 0 || sited.Len() != 1 {
			t.Errorf("after a Clear in the site \"\": %d, %d, %d and %d of another site", root.Len(), standard.Len(), empty.Len(), sited.Len())
		}
	})
}

func TestNew_RefusesWhatCannotWork(t *testing.T) {
	t.Parallel()
	b := bustest.New(t)
	type options = cache.Options[string, int]
	for _, opts := range []options{
		{TTL: -1}, {MaxEntries: -1}, {OnGap: 3}, {AppVersion: []int{1}}, {AppVersion: true}, {NegativeTTL: -1}, {AppVersion: func() {}},
	} {
		if _, err := cache.New(t.Context(), b, "animals", &opts); err == nil {
			t.Errorf("%+v: no error", opts)
		}
	}
	if _, err := cache.New[string, int](t.Context(), b, "\xff", nil); err == nil {
		t.Error("a name that is not UTF-8: no error")
	}
	store := bustest.NewStore(t)
	store.Faults().FailRequests(errors.New("down"))
	if _, err := cache.New[string, int](t.Context(), bustest.On(t, store, nil), "animals", nil); err == nil {
		t.Error("a store that does not answer: no error")
	}
}

func TestWarmStart_BeginsWithTheBacklog(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		for _, site := range []string{"", "one"} {
			store := bustest.NewStore(t)
			b := bustest.On(t, store, nil)
			if site != "" {
				b = b.Site(site)
			}
			for _, every := range []bool{false, true} {
				old := open(t, b, &cache.Options[int, string]{AllSites: every})
				must(t, old.Set(t.Context(), 1, "one"))
				must(t, old.Set(t.Context(), 2, "two"))
				must(t, old.Delete(t.Context(), 1))
				must(t, old.Set(t.Context(), 3, "three"))
				fresh := open(t, b, &cache.Options[int, string]{WarmStart: true, AllSites: every})
				if got := maps.Collect(fresh.All()); !maps.Equal(got, map[int]string{2: "two", 3: "three"}) {
					t.Errorf("site %q, all sites %v: a fresh cache holds %v", site, every, got)
				}
				if err := fresh.Err(); err != nil {
					t.Error(err)
				}
			}
		}
	})
}

// TestWarmStart_OfATrimmedBacklogIsNoGap and holds what is left of it.
func TestWarmStart_OfATrimmedBacklogIsNoGap(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := bustest.NewStore(t)
		b := bustest.On(t, store, &bus.Options{MaxBacklogSize: 3})
		old := open[int, int](t, b, nil)
		for i := range 10 {
			must(t, old.Set(t.Context(), i, i))
			synctest.Wait()
		}
		fresh := open(t, b, &cache.Options[int, int]{WarmStart: true, OnGap: cache.GapKeep})
		if got := maps.Collect(fresh.All()); !maps.Equal(got, map[int]int{7: 7, 8: 8, 9: 9}) || fresh.Err() != nil || b.Health().Gaps > 0 {
			t.Errorf("it holds %v, Err %v, %d gaps", got, fresh.Err(), b.Health().Gaps)
		}
	})
}

func TestForget_IsOfThisProcessAlone(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		all := peers[string, int](t, bustest.NewStore(t), 2, nil)
		must(t, all[0].Set(t.Context(), "dog", 1))
		synctest.Wait()
		all[0].Forget("dog")
		synctest.Wait()
		wantNone(t, all[0], "dog")
		want(t, all[1], "dog", 1)
	})
}

// TestCache_RemembersNothingOfKeysThatAreGone however many there were.
func TestCache_RemembersNothingOfKeysThatAreGone(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := bustest.NewStore(t)
		c := peers[int, int](t, store, 1, nil)[0]
		for i := range 100 {
			must(t, c.Set(t.Context(), i, i))
			must(t, c.Delete(t.Context(), i))
			store.Faults().LoseAnswers(1)
			if err := c.Set(t.Context(), i, i); err == nil {
				t.Error("no error")
			}
			c.Forget(i)
			must(t, c.Delete(t.Context(), i))
			synctest.Wait()
		}
		if n := cache.Remembered(c); n != 0 {
			t.Errorf("%d keys are remembered", n)
		}
	})
}

func TestClose_EndsEverything(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := peers[string, int](t, bustest.NewStore(t), 1, nil)[0]
		must(t, c.Set(t.Context(), "dog", 1))
		must(t, c.Close())
		must(t, c.Close())
		wantNone(t, c, "dog")
		if c.Len() != 0 || !errors.Is(c.Err(), cache.ErrClosed) {
			t.Errorf("Len %d, Err %v", c.Len(), c.Err())
		}
		if err := c.Set(t.Context(), "dog", 1); !errors.Is(err, cache.ErrClosed) {
			t.Errorf("Set: %v", err)
		}
		if _, err := c.Load(t.Context(), "dog", nil); !errors.Is(err, cache.ErrClosed) {
			t.Errorf("Load: %v", err)
		}
	})
}

// TestCache_OfAClosedBusServesNothing as nobody tells it of changes.
func TestCache_OfAClosedBusServesNothing(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b, err := bus.New(bustest.NewStore(t), nil)
		must(t, err)
		c := open[string, int](t, b, nil)
		must(t, c.Set(t.Context(), "dog", 1))
		must(t, b.Close())
		synctest.Wait()
		wantNone(t, c, "dog")
		if !errors.Is(c.Err(), bus.ErrClosed) {
			t.Errorf("Err: %v", c.Err())
		}
	})
}

func TestMaxEntries_TheOneUsedLeastLatelyMakesRoom(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var evicted []string
		var c *cache.Cache[string, int]
		c = open(t, bustest.New(t), &cache.Options[string, int]{MaxEntries: 2, OnEvict: func(key string, value int, reason cache.EvictReason) {
			_, _ = c.Get(key) // no lock is held
			evicted = append(evicted, fmt.Sprint(key, value, reason))
		}})
		for i, key := range []string{"a", "b", "a", "c"} {
			must(t, c.Set(t.Context(), key, i))
			synctest.Wait()
		}
		if got := maps.Collect(c.All()); !maps.Equal(got, map[string]int{"a": 2, "c": 3}) || !reflect.DeepEqual(evicted, []string{"b1 0"}) {
			t.Errorf("it holds %v, evicted were %v", got, evicted)
		}
	})
}

func TestTTL_NothingIsServedLonger(t *testing.T) {
	t.Parallel()
	for _, maxEntries := range []int{0, 5000} {
		t.Run(fmt.Sprint(maxEntries), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) { expiry(t, maxEntries) })
		})
	}
}

func expiry(t *testing.T, maxEntries int) {
	const ttl, entries = 10 * time.Second, 3000
	evicted := 0
	c := open(t, bustest.New(t), &cache.Options[int, int]{
		TTL: ttl, MaxEntries: maxEntries,
		OnEvict: func(_, _ int, reason cache.EvictReason) {
			if reason == cache.EvictExpired {
				evicted++
			}
		},
	})
	for i := range entries {
		must(t, c.Set(t.Context(), i, i))
		if i%100 == 0 {
			synctest.Wait() // or the backlog has not room for what is not read yet
		}
	}
	synctest.Wait()
	<-time.After(ttl*9/10 - 300*time.Millisecond)
	if n := c.Len(); n != entries {
		t.Errorf("%d of %d entries before nine tenths of their time", n, entries)
	}
	<-time.After(ttl * 8 / 100)
	if n := c.Len(); n == 0 || n == entries {
		t.Errorf("%d of %d entries: they go together", n, entries)
	}
	<-time.After(500 * time.Millisecond)
	if n := c.Len(); n != 0 {
		t.Errorf("%d entries after their time", n)
	}
	<-time.After(ttl)
	synctest.Wait()
	if evicted < entries*9/10 {
		t.Errorf("%d of %d entries were removed", evicted, entries)
	}
}

func TestOnChange_TellsWhatWasAppliedInOrder(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var changes []cache.Change[string, int]
		store := bustest.NewStore(t)
		watcher := peers(t, store, 1, &cache.Options[string, int]{OnChange: func(ch cache.Change[string, int]) {
			changes = append(changes, ch)
			if ch.Key == "panic" {
				panic("in OnChange")
			}
		}})[0]
		c := peers[string, int](t, store, 1, nil)[0]
		must(t, c.Set(t.Context(), "panic", 1))
		must(t, c.Delete(t.Context(), "dog"))
		must(t, watcher.Set(t.Context(), "cat", 2))
		must(t, c.Clear(t.Context()))
		synctest.Wait()
		origin := c.Origin()
		if got, want := changes, []cache.Change[string, int]{
			{Op: cache.OpSet, Key: "panic", Value: 1, Origin: origin, ID: 1},
			{Op: cache.OpDelete, Key: "dog", Origin: origin, ID: 2},
			{Op: cache.OpSet, Key: "cat", Value: 2, Origin: watcher.Origin(), ID: 3},
			{Op: cache.OpClear, Origin: origin, ID: 4},
		}; !reflect.DeepEqual(got, want) {
			t.Errorf("%v, want %v", got, want)
		}
	})
}
