package pgbus

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/messagebus-go/messagebus/bus/driver"
)

// NOTIFY, and the lock of the table, make the publishers of a database commit one
// after the other. Those of one process that would wait for each other are therefore
// sent together, as one transaction.

const (
	mostRequests = 2   // of one peer: one at work, and one that waits for the lock
	mostTogether = 128 // messages, each short enough for a notice
)

// errApart is that of a publication that failed with others, and certainly: it is sent
// once more, alone, so that nobody fails by another one's fault.
var errApart = errors.New("failed together with others")

// A publication is a message to be published.
type publication struct {
	channel, data string
	limits        driver.Limits
	large         bool // it may be too long for a notice

	id int64 // given when it is stored
}

// A waiter is a publication that is sent with others.
type waiter struct {
	*publication

	done  chan struct{} // closed with err set
	err   error
	group *group // what it is sent with; nil until then. line.mu protects it
}

// A group is what is sent as one transaction.
type group struct {
	waiters []*waiter
	wanted  int                // waiters whose publishers have not given up. line.mu protects it
	ctx     context.Context    //nolint:containedctx // it is nobody's in particular, and ends with the last who wants it
	cancel  context.CancelFunc // ends ctx
}

// A line is where publications wait while others are sent. The zero value is empty.
// Its methods are safe for concurrent use.
type line struct {
	mu       sync.Mutex // protects everything below
	requests int        // under way
	waiting  []*waiter
}

// enter begins a request, and returns nil, or returns who waits for one to end.
func (l *line) enter(p *publication) *waiter {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.requests < mostRequests {
		l.requests++
		return nil
	}
	w := &waiter{publication: p, done: make(chan struct{})}
	l.waiting = append(l.waiting, w)
	return w
}

// leave ends a request, and returns the group with which the next one begins; nil if
// nobody waits.
func (l *line) leave() *group {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := min(len(l.waiting), mostTogether)
	if n == 0 {
		l.requests--
		return nil
	}
	g := &group{waiters: slices.Clone(l.waiting[:n]), wanted: n}
	g.ctx, g.cancel = context.WithCancel(context.Background())
	for _, w := range g.waiters {
		w.group = g
	}
	l.waiting = slices.Delete(l.waiting, 0, n)
	return g
}

// giveUp ends the wait of a publisher, and reports whether its message may have been
// sent. The last one of a group ends the request.
func (l *line) giveUp(w *waiter) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if w.group == nil {
		l.waiting = slices.DeleteFunc(l.waiting, func(other *waiter) bool { return other == w })
		return false
	}
	if w.group.wanted--; w.group.wanted == 0 {
		w.group.cancel()
	}
	return true
}

// publish sends p, by itself or with others.
func (b *Backend) publish(ctx context.Context, p *publication) error {
	if p.large { // its listeners read the row, which a trim of the same transaction might take
		return b.send(ctx, p)
	}
	w := b.line.enter(p)
	if w == nil {
		defer b.proceed()
		return b.send(ctx, p)
	}
	select {
	case <-w.done:
		if errors.Is(w.err, errApart) {
			return b.send(ctx, p)
		}
		return w.err
	case <-ctx.Done():
		if b.line.giveUp(w) {
			return fmt.Errorf("%w: %w", driver.ErrUnknownOutcome, ctx.Err())
		}
		return ctx.Err()
	}
}

// proceed ends a request and begins that of those who wait.
func (b *Backend) proceed() {
	if g := b.line.leave(); g != nil {
		go b.sendGroup(g)
	}
}

func (b *Backend) sendGroup(g *group) {
	defer b.proceed()
	defer g.cancel()
	all := make([]*publication, len(g.waiters))
	for i, w := range g.waiters {
		all[i] = w.publication
	}
	err := b.send(g.ctx, all...)
	if err != nil && !errors.Is(err, driver.ErrUnknownOutcome) {
		err = errApart
	}
	for _, w := range g.waiters {
		w.err = err
		close(w.done)
	}
}
