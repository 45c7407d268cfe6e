package transport

import (
	"container/heap"
	"context"
	"sync"
	"time"
)

// deadlines ends holds when their time is up, and says when a sign of life is
// due: one timer for all of them.
type deadlines struct {
	start  time.Time     // due times count from it
	sooner chan struct{} // holds one signal: the next one is another now

	mu   sync.Mutex // guards below
	next dueHeap
}

func newDeadlines() *deadlines {
	return &deadlines{start: time.Now(), sooner: make(chan struct{}, 1)}
}

// add ends the hold of c after d.
func (ds *deadlines) add(c *client, d time.Duration) {
	ds.mu.Lock()
	now := time.Since(ds.start)
	c.ends = now + d
	c.due = c.next(now)
	heap.Push(&ds.next, c)
	first := c.at == 0
	ds.mu.Unlock()
	if first {
		select {
		case ds.sooner <- struct{}{}:
		default:
		}
	}
}

// next is when something is to be done for c. deadlines.mu must be held.
func (c *client) next(now time.Duration) time.Duration {
	if c.every == 0 {
		return c.ends
	}
	return min(c.ends, now+c.every)
}

func (ds *deadlines) remove(c *client) {
	ds.mu.Lock()
	defer ds.mu.Unlock()
	if c.at >= 0 {
		heap.Remove(&ds.next, c.at)
	}
}

// run calls expire for every client whose time is up, and beat for those that
// are to have a sign of life, until ctx is done.
func (ds *deadlines) run(ctx context.Context, expire, beat func(*client)) {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		expired, silent, wait := ds.expired()
		for _, c := range expired {
			expire(c)
		}
		for _, c := range silent {
			beat(c)
		}
		timer.Reset(wait)
		select {
		case <-timer.C:
		case <-ds.sooner:
		case <-ctx.Done():
			return
		}
	}
}

// expired takes out whose time is up, and returns as well who is due for a sign
// of life, and how long the next one has.
func (ds *deadlines) expired() (over, silent []*client, wait time.Duration) {
	ds.mu.Lock()
	defer ds.mu.Unlock()
	now := time.Since(ds.start)
	for len(ds.next) > 0 {
		c := ds.next[0]
		switch {
		case c.due > now:
			return over, silent, c.due - now
		case c.ends > now:
			c.due = c.next(now)
			heap.Fix(&ds.next, 0)
			silent = append(silent, c)
		default:
			heap.Pop(&ds.next)
			over = append(over, c)
		}
	}
	return over, silent, time.Hour
}

// dueHeap is a heap whose members know their places.
type dueHeap []*client //nolint:recvcheck // as container/heap has it

func (h dueHeap) Len() int           { return len(h) }
func (h dueHeap) Less(i, j int) bool { return h[i].due < h[j].due }

func (h dueHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].at, h[j].at = i, j
}

// Push implements heap.Interface.
func (h *dueHeap) Push(x any) {
	c, _ := x.(*client)
	c.at = len(*h)
	*h = append(*h, c)
}

// Pop implements heap.Interface.
func (h *dueHeap) Pop() any {
	old := *h
	c := old[len(old)-1]
	old[len(old)-1] = nil
	c.at, *h = -1, old[:len(old)-1]
	return c
}
