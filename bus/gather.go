package bus

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/messagebus-go/messagebus/bus/driver"
)

// Reads that come while enough of them are under way wait, and share one round
// trip then: after a message to many clients that ask one by one, all of them
// come back at the same moment, and mostly with the same question.
//
// A read never joins a round trip that has begun: it would be told of a store that
// is older than the question.

const (
	readsUnderWay = 4   // before others are gathered
	gatheredMost  = 512 // ranges in one round trip; a call with more has one of its own
	gatheredLimit = time.Minute

	// gatherPatience is how long a read waits for those under way, which may hang on
	// dead connections while new ones would be answered.
	gatherPatience = time.Second
)

// A gatherer keeps the reads of one bus that wait.
type gatherer struct {
	mu       sync.Mutex // guards below
	underWay int
	waiting  []*gathered // only the last one may take more
}

// gathered are the reads of some callers, and what came of them.
type gathered struct {
	ranges []driver.Range
	places map[driver.Range]int // in ranges

	done     chan struct{} // closed when what follows is set
	snapshot driver.Snapshot
	err      error
}

// read answers ranges as driver.Backend's Read does. Pages may be shared with
// other callers.
func (c *core) read(ctx context.Context, ranges []driver.Range) (driver.Snapshot, error) {
	if len(ranges) > gatheredMost {
		return c.backend.Read(ctx, ranges)
	}
	g := c.reads.join(ranges)
	if g == nil {
		defer c.readGathered()
		return c.backend.Read(ctx, ranges)
	}
	select {
	case <-g.done:
	case <-time.After(gatherPatience):
		return c.backend.Read(ctx, ranges)
	case <-ctx.Done():
		return driver.Snapshot{}, ctx.Err()
	}
	if g.err != nil { // which need not be for what this caller asks
		return c.backend.Read(ctx, ranges)
	}
	return g.pick(ranges), nil
}

// join adds ranges to those that wait; nil: the caller has its turn at once.
func (r *gatherer) join(ranges []driver.Range) *gathered {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.underWay < readsUnderWay {
		r.underWay++
		return nil
	}
	last := len(r.waiting) - 1
	if last < 0 || len(r.waiting[last].ranges)+len(ranges) > gatheredMost {
		r.waiting = append(r.waiting, &gathered{places: make(map[driver.Range]int), done: make(chan struct{})})
		last++
	}
	g := r.waiting[last]
	for _, asked := range ranges {
		if _, known := g.places[asked]; !known {
			g.places[asked] = len(g.ranges)
			g.ranges = append(g.ranges, asked)
		}
	}
	return g
}

// next returns whose turn it is after a read; nil: nobody waits.
func (r *gatherer) next() *gathered {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.waiting) == 0 {
		r.underWay--
		return nil
	}
	g := r.waiting[0]
	r.waiting[0] = nil
	r.waiting = r.waiting[1:]
	return g
}

// readGathered gives the turn of the caller to those who wait.
func (c *core) readGathered() {
	g := c.reads.next()
	if g == nil {
		return
	}
	all := func() {
		for ; g != nil; g = c.reads.next() {
			g.read(c.ctx, c.backend)
		}
	}
	if !c.start(all) {
		all() // the bus is closed: each of them fails at once
	}
}

var errGathered = errors.New("bus: the store has panicked")

// read reads for all who are gathered. A store that panics does so again for each
// of them.
func (g *gathered) read(ctx context.Context, backend driver.Backend) {
	g.err = errGathered
	defer close(g.done)
	defer func() { _ = recover() }()
	ctx, cancel := context.WithTimeout(ctx, gatheredLimit)
	defer cancel()
	g.snapshot, g.err = backend.Read(ctx, g.ranges)
}

func (g *gathered) pick(ranges []driver.Range) driver.Snapshot {
	pages := make([]driver.Page, len(ranges))
	for i, asked := range ranges {
		pages[i] = g.snapshot.Pages[g.places[asked]]
	}
	return driver.Snapshot{Pages: pages, State: g.snapshot.State}
}
