package cache_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/messagebus-go/messagebus/bus/bustest"
	"github.com/messagebus-go/messagebus/cache"
)

// A loader is a function for Load that waits to be let go.
type loader struct {
	calls int
	let   chan struct{}
	value int
	err   error
	ended error // of its context, when it was let go
}

func newLoader(value int) *loader { return &loader{let: make(chan struct{}), value: value} }

func (l *loader) load(ctx context.Context) (int, error) {
	l.calls++
	select {
	case <-l.let:
	case <-ctx.Done():
		l.ended = ctx.Err()
		return 0, ctx.Err()
	}
	return l.value, l.err
}

// quick returns a loader that does not wait.
func quick(value int) *loader {
	l := newLoader(value)
	close(l.let)
	return l
}

func TestLoad_OneLoaderForAllWhoWait(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := open[string, int](t, bustest.New(t), nil)
		l := newLoader(7)
		var all sync.WaitGroup
		for range 10 {
			all.Go(func() {
				if v, err := c.Load(t.Context(), "dog", l.load); v != 7 || err != nil {
					t.Errorf("Load: %d, %v", v, err)
				}
			})
		}
		synctest.Wait()
		close(l.let)
		all.Wait()
		if v, err := c.Load(t.Context(), "dog", nil); l.calls != 1 || v != 7 || err != nil {
			t.Errorf("%d loaders were run; then %d, %v", l.calls, v, err)
		}
		want(t, c, "dog", 7)
	})
}

// TestLoad_ThatBeganBeforeAChangeStoresNothing forces the race: the change comes
// while the loader holds the old value.
func TestLoad_ThatBeganBeforeAChangeStoresNothing(t *testing.T) {
	t.Parallel()
	changes := map[string]func(ctx context.Context, mine, other *cache.Cache[string, int]) error{
		"a peer's delete": func(ctx context.Context, _, other *cache.Cache[string, int]) error { return other.Delete(ctx, "dog") },
		"a peer's clear":  func(ctx context.Context, _, other *cache.Cache[string, int]) error { return other.Clear(ctx) },
		"a peer's set and delete": func(ctx context.Context, _, other *cache.Cache[string, int]) error {
			return errors.Join(other.Set(ctx, "dog", 5), other.Delete(ctx, "dog"))
		},
		"an own delete": func(ctx context.Context, mine, _ *cache.Cache[string, int]) error { return mine.Delete(ctx, "dog") },
		"an own clear":  func(ctx context.Context, mine, _ *cache.Cache[string, int]) error { return mine.Clear(ctx) },
		"forgetting it": func(_ context.Context, mine, _ *cache.Cache[string, int]) error { mine.Forget("dog"); return nil },
	}
	for name, change := range changes {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				all := peers[string, int](t, bustest.NewStore(t), 2, nil)
				l := newLoader(1)
				var waiting sync.WaitGroup
				waiting.Go(func() {
					if v, err := all[0].Load(t.Context(), "dog", l.load); v != 1 || err != nil {
						t.Errorf("Load: %d, %v", v, err)
					}
				})
				synctest.Wait()
				must(t, change(t.Context(), all[0], all[1]))
				synctest.Wait()
				// Who comes now must not be given what is older than the change.
				if v, err := all[0].Load(t.Context(), "dog", quick(2).load); v != 2 || err != nil {
					t.Errorf("Load after the change: %d, %v", v, err)
				}
				all[0].Forget("dog")
				close(l.let)
				waiting.Wait()
				synctest.Wait()
				wantNone(t, all[0], "dog")
			})
		})
	}
}

func TestLoad_AValueThatWasSetMeanwhileWins(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := open[string, int](t, bustest.New(t), nil)
		l := newLoader(1)
		var waiting sync.WaitGroup
		waiting.Go(func() {
			if v, err := c.Load(t.Context(), "dog", l.load); v != 2 || err != nil {
				t.Errorf("Load: %d, %v", v, err)
			}
		})
		synctest.Wait()
		must(t, c.Set(t.Context(), "dog", 2))
		close(l.let)
		waiting.Wait()
		want(t, c, "dog", 2)
	})
}

func TestLoad_AnErrorReachesAllAndIsNotStored(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := open(t, bustest.New(t), &cache.Options[string, int]{NegativeTTL: time.Minute})
		l := newLoader(0)
		l.err = errors.New("no database")
		var all sync.WaitGroup
		for range 3 {
			all.Go(func() {
				if _, err := c.Load(t.Context(), "dog", l.load); !errors.Is(err, l.err) {
					t.Errorf("Load: %v", err)
				}
			})
		}
		synctest.Wait()
		close(l.let)
		all.Wait()
		if v, err := c.Load(t.Context(), "dog", quick(3).load); v != 3 || err != nil {
			t.Errorf("Load: %d, %v", v, err)
		}
	})
}

func TestLoad_APanicReachesAll(t *testing.T) {
	t.Parallel()
	for name, l := range map[string]func(context.Context) (int, error){
		"boom":  func(context.Context) (int, error) { panic("boom") },
		"<nil>": func(context.Context) (int, error) { runtime.Goexit(); return 1, nil },
	} {
		synctest.Test(t, func(t *testing.T) {
			c := open[string, int](t, bustest.New(t), nil)
			var all sync.WaitGroup
			for range 3 {
				all.Go(func() {
					_, err := c.Load(t.Context(), "dog", l)
					if e, ok := errors.AsType[*cache.PanicError](err); !ok || fmt.Sprint(e.Value) != name || len(e.Stack) == 0 || e.Error() == "" {
						t.Errorf("Load: %v", err)
					}
				})
			}
			all.Wait()
			if v, err := c.Load(t.Context(), "dog", quick(3).load); v != 3 || err != nil {
				t.Errorf("Load: %d, %v", v, err)
			}
		})
	}
}

func TestLoad_AWaiterThatGivesUpDoesNotEndTheOthers(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := open[string, int](t, bustest.New(t), nil)
		l := newLoader(7)
		first, giveUp := context.WithCancel(t.Context())
		var all sync.WaitGroup
		all.Go(func() {
			if _, err := c.Load(first, "dog", l.load); !errors.Is(err, context.Canceled) {
				t.Errorf("who gave up: %v", err)
			}
		})
		synctest.Wait()
		all.Go(func() {
			if v, err := c.Load(t.Context(), "dog", l.load); v != 7 || err != nil {
				t.Errorf("who stayed: %d, %v", v, err)
			}
		})
		synctest.Wait()
		giveUp()
		synctest.Wait()
		close(l.let)
		all.Wait()

		alone := newLoader(8)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := c.Load(ctx, "cat", alone.load); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("who was alone: %v", err)
		}
		synctest.Wait()
		if alone.ended == nil {
			t.Error("the loader goes on with nobody waiting")
		}
		if v, err := c.Load(t.Context(), "cat", quick(9).load); v != 9 || err != nil {
			t.Errorf("who came later: %d, %v", v, err)
		}
	})
}

func TestLoad_CloseEndsLoaders(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := open[string, int](t, bustest.New(t), nil)
		l := newLoader(7)
		var all sync.WaitGroup
		all.Go(func() {
			if _, err := c.Load(t.Context(), "dog", l.load); !errors.Is(err, context.Canceled) {
				t.Errorf("Load: %v", err)
			}
		})
		synctest.Wait()
		must(t, c.Close())
		all.Wait()
	})
}

func TestLoad_ANotFoundIsRememberedUntilTheKeyChanges(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := open(t, bustest.New(t), &cache.Options[string, int]{NegativeTTL: time.Minute})
		missing := quick(0)
		missing.err = fmt.Errorf("no dog: %w", cache.ErrNotFound)
		for range 5 {
			if _, err := c.Load(t.Context(), "dog", missing.load); !errors.Is(err, cache.ErrNotFound) {
				t.Errorf("Load: %v", err)
			}
		}
		if missing.calls != 1 {
			t.Errorf("%d loaders were run", missing.calls)
		}
		wantNone(t, c, "dog")
		<-time.After(time.Minute + time.Second)
		if _, _ = c.Load(t.Context(), "dog", missing.load); missing.calls != 2 {
			t.Errorf("%d loaders were run after it ended", missing.calls)
		}
		must(t, c.Delete(t.Context(), "dog"))
		if v, err := c.Load(t.Context(), "dog", quick(4).load); v != 4 || err != nil {
			t.Errorf("Load after a change: %d, %v", v, err)
		}
	})
}

func TestLoad_ReturnsWhatExpiredLatelyAndLoadsAnew(t *testing.T) {
	t.Parallel()
	for _, maxEntries := range []int{0, 10} {
		synctest.Test(t, func(t *testing.T) {
			c := open(t, bustest.New(t), &cache.Options[string, int]{MaxEntries: maxEntries, TTL: time.Minute, StaleWhileRevalidate: time.Minute})
			must(t, c.Set(t.Context(), "dog", 1))
			<-time.After(time.Minute + time.Second)
			wantNone(t, c, "dog")
			l := newLoader(2)
			for range 3 {
				if v, err := c.Load(t.Context(), "dog", l.load); v != 1 || err != nil {
					t.Errorf("Load: %d, %v; want the old value", v, err)
				}
			}
			close(l.let)
			synctest.Wait()
			want(t, c, "dog", 2)
			if l.calls != 1 {
				t.Errorf("%d loaders were run", l.calls)
			}
			<-time.After(3 * time.Minute)
			if v, err := c.Load(t.Context(), "dog", quick(3).load); v != 3 || err != nil {
				t.Errorf("Load long after: %d, %v", v, err)
			}
		})
	}
}
