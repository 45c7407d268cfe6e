package cache_test

import (
	"errors"
	"maps"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/messagebus-go/messagebus/bus"
	"github.com/messagebus-go/messagebus/bus/bustest"
	"github.com/messagebus-go/messagebus/bus/driver"
	"github.com/messagebus-go/messagebus/cache"
)

var errDown = errors.New("the server is stopped")

// TestMaxStaleness_AStoppedServerEndsWhatIsServed also with a server that comes
// back: nothing older than the bound is ever served.
func TestMaxStaleness_AStoppedServerEndsWhatIsServed(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := bustest.NewStore(t)
		var told atomic.Int32
		opts := &cache.Options[string, int]{MaxStaleness: time.Minute, Trace: &cache.Trace{Stale: func(error) { told.Add(1) }}}
		all := peers(t, store, 2, opts)
		must(t, all[0].Set(t.Context(), "dog", 1))
		synctest.Wait()

		store.Faults().FailRequests(errDown)
		store.Faults().CutFeeds(errDown)
		<-time.After(time.Second)
		want(t, all[0], "dog", 1)
		if err := all[0].Err(); !errors.Is(err, cache.ErrStale) {
			t.Errorf("Err with the server down: %v", err)
		}
		<-time.After(time.Minute)
		wantNone(t, all[0], "dog")
		if told.Load() != 2 || all[0].Len() != 0 {
			t.Errorf("told %d times, Len %d", told.Load(), all[0].Len())
		}
		// Loaders work, but what they return is not kept.
		if v, err := all[0].Load(t.Context(), "dog", quick(2).load); v != 2 || err != nil {
			t.Errorf("Load: %d, %v", v, err)
		}
		wantNone(t, all[0], "dog")

		store.Faults().FailRequests(nil)
		<-time.After(10 * time.Second)
		if err := all[0].Err(); err != nil {
			t.Errorf("Err with the server back: %v", err)
		}
		wantNone(t, all[0], "dog")
		must(t, all[1].Set(t.Context(), "dog", 3))
		synctest.Wait()
		want(t, all[0], "dog", 3)
	})
}

// TestMaxStaleness_AfterAShortBreakNothingIsLost as the bus brings what was
// missed.
func TestMaxStaleness_AfterAShortBreakNothingIsLost(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := bustest.NewStore(t)
		all := peers[string, int](t, store, 2, nil)
		must(t, all[0].Set(t.Context(), "dog", 1))
		synctest.Wait()
		store.Faults().Silence(true)
		<-time.After(15 * time.Second)
		must(t, all[1].Set(t.Context(), "dog", 2))
		want(t, all[0], "dog", 1)
		store.Faults().Silence(false)
		<-time.After(15 * time.Second)
		want(t, all[0], "dog", 2)
		if err := all[0].Err(); err != nil || all[0].Stats().Stale > 0 {
			t.Errorf("Err %v, stats %+v", err, all[0].Stats())
		}
	})
}

// missed makes a cache that holds dog and cat, and that then misses that the dog
// was changed, in one of several ways.
func missed(t *testing.T, how string, policy cache.GapPolicy) (c *cache.Cache[string, int], dropped *atomic.Int32) {
	store := bustest.NewStore(t)
	dropped = new(atomic.Int32)
	c = peers(t, store, 1, &cache.Options[string, int]{OnGap: policy, MaxStaleness: -1, OnChange: func(ch cache.Change[string, int]) {
		if ch.Op == cache.OpDrop {
			dropped.Add(1)
		}
	}})[0]
	other := peers[string, int](t, store, 1, nil)[0]
	must(t, c.Set(t.Context(), "dog", 1))
	must(t, other.Set(t.Context(), "cat", 1))
	synctest.Wait()
	faults := store.Faults()
	switch how {
	case "trimmed":
		faults.DropNext(3)
		must(t, other.Set(t.Context(), "dog", 2))
		must(t, other.Delete(t.Context(), "cat"))
		must(t, other.Set(t.Context(), "fox", 3))
		faults.Trim("/distributed_hash", 1)
	case "reset":
		faults.Reset()
		must(t, other.Set(t.Context(), "fox", 3))
	case "failover":
		faults.DropNext(1)
		must(t, other.Set(t.Context(), "dog", 2))
		faults.FailOver(1)
		<-time.After(20 * time.Second)
		must(t, other.Set(t.Context(), "fox", 3))
	case "damaged":
		limits := driver.Limits{MaxSize: 9, MaxGlobalSize: 9, MaxAge: time.Hour, ClearEvery: 1}
		_, err := store.Publish(t.Context(), "/distributed_hash", []byte(`{"data":{"op":"set","key":NaN,"hash_key":"animals"}}`), limits)
		must(t, err)
		must(t, other.Set(t.Context(), "fox", 3))
	}
	<-time.After(20 * time.Second)
	return c, dropped
}

func TestOnGap_DoesWhatItSays(t *testing.T) {
	t.Parallel()
	type holds = map[string]int
	for _, test := range []struct {
		how                  string
		dropped, kept, again holds
	}{
		{"trimmed", holds{"fox": 3}, holds{"dog": 1, "cat": 1, "fox": 3}, holds{"fox": 3}},
		{"reset", holds{}, holds{"dog": 1, "cat": 1, "fox": 3}, holds{"fox": 3}},
		{"failover", holds{"fox": 3}, holds{"dog": 1, "cat": 1, "fox": 3}, holds{"dog": 1, "cat": 1, "fox": 3}},
		{"damaged", holds{"fox": 3}, holds{"dog": 1, "cat": 1, "fox": 3}, holds{"fox": 3}},
	} {
		for policy, want := range []holds{test.dropped, test.kept, test.again} {
			t.Run(test.how, func(t *testing.T) {
				t.Parallel()
				synctest.Test(t, func(t *testing.T) {
					c, dropped := missed(t, test.how, cache.GapPolicy(policy))
					got := maps.Collect(c.All())
					if test.how == "reset" && policy == int(cache.GapDrop) {
						// Each feed drops what the others may have brought since: what
						// is left depends on who was first, but is never old.
						delete(got, "fox")
					}
					if !maps.Equal(got, want) {
						t.Errorf("policy %d: it holds %v, want %v", policy, got, want)
					}
					kept := cache.GapPolicy(policy) == cache.GapKeep
					if kept != (dropped.Load() == 0) || kept != errors.Is(c.Err(), cache.ErrStale) || c.Stats().Stale == 0 {
						t.Errorf("policy %d: told of %d drops, Err %v, stats %+v", policy, dropped.Load(), c.Err(), c.Stats())
					}
					must(t, c.Clear(t.Context()))
					synctest.Wait()
					if err := c.Err(); err != nil {
						t.Errorf("policy %d: Err after a Clear: %v", policy, err)
					}
				})
			})
		}
	}
}

// TestOnGap_OwnWritesThatMayNeverComeBackHideNothing also when the gap came while
// they were published.
func TestOnGap_OwnWritesThatMayNeverComeBackHideNothing(t *testing.T) {
	t.Parallel()
	for policy, wanted := range []map[string]int{{}, {"dog": 1, "cat": 2}, {"cat": 2}} {
		synctest.Test(t, func(t *testing.T) {
			store := bustest.NewStore(t)
			c := peers(t, store, 1, &cache.Options[string, int]{OnGap: cache.GapPolicy(policy)})[0]
			other := peers[string, int](t, store, 1, nil)[0]
			synctest.Wait()
			store.Faults().DropNext(1)
			must(t, c.Set(t.Context(), "dog", 1))
			store.Faults().Reset()
			want(t, c, "dog", 1)
			must(t, other.Set(t.Context(), "cat", 2))
			<-time.After(20 * time.Second)
			got := maps.Collect(c.All())
			if cache.GapPolicy(policy) == cache.GapDrop {
				delete(got, "cat") // see TestOnGap_DoesWhatItSays
			}
			if !maps.Equal(got, wanted) {
				t.Errorf("policy %d: it holds %v, want %v", policy, got, wanted)
			}
			must(t, other.Set(t.Context(), "dog", 3))
			synctest.Wait()
			want(t, c, "dog", 3)
		})
	}
}

// TestResync_TriesUntilTheStoreAnswers and says so meanwhile.
func TestResync_TriesUntilTheStoreAnswers(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		inner := bustest.NewStore(t)
		store := &refusing{Backend: inner.Dial()}
		c := open(t, bustest.On(t, store, &bus.Options{Keepalive: -1}), &cache.Options[string, int]{OnGap: cache.GapResync})
		other := peers[string, int](t, inner, 1, nil)[0]
		must(t, other.Set(t.Context(), "dog", 1))
		synctest.Wait()
		store.reads.Store(3)
		inner.Faults().DropNext(1)
		must(t, other.Set(t.Context(), "dog", 2))
		inner.Faults().FailOver(1)
		for range 40 {
			<-time.After(time.Second)
			if v, ok := c.Get("dog"); ok && v != 1 {
				t.Errorf("Get: %d", v)
			}
		}
		want(t, c, "dog", 1)
		if err := c.Err(); err != nil || store.reads.Load() > 0 {
			t.Errorf("Err %v, %d reads were not tried", err, store.reads.Load())
		}
	})
}

// TestOnGap_AWriteThatIsAnsweredAfterAResetHidesNothing as its message may never
// come: its id is of another store.
func TestOnGap_AWriteThatIsAnsweredAfterAResetHidesNothing(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		inner := bustest.NewStore(t)
		store := &holding{Backend: inner.Dial(), answers: make(chan struct{})}
		c := open[string, int](t, bustest.On(t, store, &bus.Options{Keepalive: -1}), nil)
		other := peers[string, int](t, inner, 1, nil)[0]
		for i := range 5 {
			must(t, other.Set(t.Context(), "cat", i))
		}
		synctest.Wait()
		inner.Faults().DropNext(1)
		written := make(chan error)
		go func() { written <- c.Set(t.Context(), "dog", 1) }()
		synctest.Wait()
		inner.Faults().Reset()
		must(t, other.Set(t.Context(), "dog", 2))
		<-time.After(20 * time.Second)
		close(store.answers)
		must(t, <-written)
		wantNone(t, c, "dog")
		must(t, other.Set(t.Context(), "dog", 3))
		synctest.Wait()
		want(t, c, "dog", 3)
	})
}

// TestSet_ThatIsHeardOfBeforeItsAnswerHidesNothing that came after it.
func TestSet_ThatIsHeardOfBeforeItsAnswerHidesNothing(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		inner := bustest.NewStore(t)
		store := &holding{Backend: inner.Dial(), answers: make(chan struct{})}
		c := open[string, int](t, bustest.On(t, store, &bus.Options{Keepalive: -1}), nil)
		other := peers[string, int](t, inner, 1, nil)[0]
		written := make(chan error)
		go func() { written <- c.Set(t.Context(), "dog", 1) }()
		synctest.Wait()
		want(t, c, "dog", 1)
		must(t, other.Set(t.Context(), "dog", 2))
		synctest.Wait()
		close(store.answers)
		must(t, <-written)
		want(t, c, "dog", 2)
	})
}

// TestResync_ShowsNothingOldWhileItReads although it begins with what is oldest.
func TestResync_ShowsNothingOldWhileItReads(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := bustest.NewStore(t)
		var c *cache.Cache[string, int]
		var newest atomic.Int32
		c = peers(t, store, 1, &cache.Options[string, int]{OnGap: cache.GapResync, OnChange: func(cache.Change[string, int]) {
			if v, ok := c.Get("dog"); ok && int32(v) < newest.Load() {
				t.Errorf("it reads %d after %d", v, newest.Load())
			} else if ok {
				newest.Store(int32(v))
			}
		}})[0]
		other := peers[string, int](t, store, 1, nil)[0]
		for i := range 5 {
			must(t, other.Set(t.Context(), "dog", i))
			synctest.Wait()
		}
		store.Faults().FailOver(0)
		<-time.After(20 * time.Second)
		want(t, c, "dog", 4)
		if c.Stats().Stale == 0 {
			t.Error("there was no gap")
		}
	})
}

// TestMaxStaleness_NothingIsServedBeforeAllThatWasMissedIsApplied holds the feed up
// in the middle of it.
func TestMaxStaleness_NothingIsServedBeforeAllThatWasMissedIsApplied(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := bustest.NewStore(t)
		let := make(chan struct{})
		c := peers(t, store, 1, &cache.Options[string, int]{MaxStaleness: time.Minute, OnChange: func(ch cache.Change[string, int]) {
			if ch.Op == cache.OpSet {
				<-let
			}
		}})[0]
		other := peers[string, int](t, store, 1, nil)[0]
		synctest.Wait()
		store.Faults().Silence(true)
		must(t, other.Set(t.Context(), "dog", 1))
		must(t, other.Set(t.Context(), "dog", 2))
		<-time.After(2 * time.Minute)
		store.Faults().Silence(false)
		<-time.After(time.Minute)
		wantNone(t, c, "dog")
		if err := c.Err(); !errors.Is(err, cache.ErrStale) {
			t.Errorf("Err: %v", err)
		}
		close(let)
		<-time.After(time.Second)
		want(t, c, "dog", 2)
	})
}

// TestOnGap_NothingOlderThanAnOwnWriteIsSeenAfterIt although the feed was behind
// the write when messages were missed, and the write is let go of.
func TestOnGap_NothingOlderThanAnOwnWriteIsSeenAfterIt(t *testing.T) {
	t.Parallel()
	for _, policy := range []cache.GapPolicy{cache.GapDrop, cache.GapResync} {
		synctest.Test(t, func(t *testing.T) {
			store := bustest.NewStore(t)
			var c *cache.Cache[string, int]
			seen := func(cache.Change[string, int]) {
				if v, ok := c.Get("dog"); ok && v != 9 {
					t.Errorf("policy %d: it reads %d after it wrote 9", policy, v)
				}
			}
			c = peers(t, store, 1, &cache.Options[string, int]{OnGap: policy, MaxStaleness: -1, OnChange: seen})[0]
			other := peers[string, int](t, store, 1, nil)[0]
			synctest.Wait()
			store.Faults().DropNext(100)
			for i := range 6 {
				must(t, other.Set(t.Context(), "dog", i))
			}
			must(t, c.Set(t.Context(), "dog", 9))
			want(t, c, "dog", 9)
			store.Faults().Trim("/distributed_hash", 4)
			store.Faults().DropNext(0)
			<-time.After(20 * time.Second)
			want(t, c, "dog", 9)
			if c.Stats().Stale == 0 || c.Err() != nil {
				t.Errorf("policy %d: stats %+v, Err %v", policy, c.Stats(), c.Err())
			}
		})
	}
}
