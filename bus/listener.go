package bus

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/messagebus-go/messagebus/bus/driver"
)

// listener keeps the one live feed of a bus: opens it, brings everybody
// forward, hands on what comes, and begins again when it ends or turns out to
// be dead.
type listener struct {
	core  *core
	mark  storeMark // the life of the store that the feed belongs to
	order order     // what is held back, on a store that is not always in order
	tried func()    // tells those who wait for the first feed

	mu sync.Mutex // guards below, which the watchdog reads
	at progress
}

// progress is how far a feed has come, in global ids.
type progress struct {
	live     bool  // everybody was brought forward
	floor    int64 // the feed brings only ids above it
	repaired int64 // the repair read up to it; the feed may bring some of that again
	seen     int64 // the feed, or the repair, has brought everything up to it
	heard    int64 // the highest id that the feed has brought, be it held back behind a hole
}

// Why a feed is given up although its connection did not fail.
var (
	errWentBack = errors.New("global ids went back")
	errReset    = errors.New("the store was reset or failed over")
	errMissing  = errors.New("the store has messages that the feed did not announce")
	errNotYet   = errors.New("not connected yet")
)

// run keeps the feed until the bus is closed.
func (l *listener) run() {
	ctx := l.core.ctx
	l.tried = sync.OnceFunc(func() { close(l.core.tried) })
	defer l.tried()
	for tries := 0; ; tries++ {
		began := time.Now()
		err := l.session(ctx)
		if ctx.Err() != nil {
			return
		}
		l.setProgress(progress{})
		l.core.health.setFeed(err)
		l.core.traceFeedDown(err)
		l.tried()
		if time.Since(began) > l.core.options.LivenessBound {
			tries = 0
		}
		timer := newBackoff(tries)
		select {
		case <-timer.C:
		case <-ctx.Done():
		}
		timer.Stop()
	}
}

// newBackoff returns a timer for another try: exponential, with full jitter so
// that a fleet does not come back in one instant.
func newBackoff(tries int) *time.Timer {
	const least, first, most = 5 * time.Millisecond, 50 * time.Millisecond, 5 * time.Second
	limit := most
	if tries < 10 {
		limit = min(most, first<<tries)
	}
	return time.NewTimer(least + rand.N(limit))
}

// session is the life of one feed.
func (l *listener) session(ctx context.Context) error {
	state, err := l.state(ctx, l.core.options.LivenessBound)
	if err != nil {
		return fmt.Errorf("ask the store: %w", err)
	}
	l.core.health.setStore(state, nil)
	l.order = order{settle: l.core.traits.SettleHole, found: l.order.found}
	l.setProgress(progress{floor: state.Settled})
	stream, since, err := l.open(ctx, state)
	if err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	ctx, cancel := context.WithCancelCause(ctx)
	var watch sync.WaitGroup
	watch.Go(func() { cancel(l.watch(ctx, stream)) })
	defer watch.Wait()
	defer cancel(nil)
	defer stream.Close()

	if err := l.bringForward(ctx, since); err != nil {
		return causeOf(ctx, err)
	}
	l.core.health.setFeed(nil)
	l.core.traceFeedUp()
	l.tried()
	for {
		m, came, err := l.next(ctx, stream)
		switch {
		case err == nil && came:
			err = l.take(ctx, m)
		case err == nil:
			err = l.release(ctx)
		}
		if err != nil {
			return causeOf(ctx, err)
		}
	}
}

// causeOf prefers the watchdog's reason to the error that came of it.
func causeOf(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); cause != nil {
		return cause
	}
	return err
}

// open opens the feed of a store that was before as it says, and asks where the store
// stands then: the feed brings all that is given an id after that, which is not what is
// settled, as the last messages may be trimmed already. By then the store has an epoch,
// if it can have one.
func (l *listener) open(ctx context.Context, before driver.State) (stream driver.Stream, since int64, err error) {
	err = within(ctx, l.core.options.LivenessBound, func(ctx context.Context) (err error) {
		stream, err = l.core.backend.Listen(ctx)
		return err
	})
	if err != nil {
		return nil, 0, err
	}
	now, err := l.state(ctx, l.core.options.LivenessBound)
	if err == nil && before.Epoch != "" && markOf(before) != markOf(now) {
		err = errReset
	}
	if err != nil {
		_ = stream.Close() // there is no other word on it
		return nil, 0, err
	}
	if l.mark != markOf(now) {
		l.mark, l.order.found = markOf(now), nil
	}
	return stream, now.GlobalID, nil
}

func (l *listener) state(ctx context.Context, timeout time.Duration) (state driver.State, err error) {
	err = within(ctx, timeout, func(ctx context.Context) (err error) {
		state, err = l.core.backend.State(ctx)
		return err
	})
	return state, err
}

// nowhere is since of a feed that has lacked something.
const nowhere = math.MaxInt64

// bringForward repairs every subscription and notes where the store stood. What
// comes after since is the feed's to bring. A feed from before a reset is of no use
// any more: it may still hold messages of the old store.
func (l *listener) bringForward(ctx context.Context, since int64) error {
	state, err := l.core.repair(ctx, since)
	if err != nil {
		return fmt.Errorf("catch up: %w", err)
	}
	floor := l.progress().floor
	if markOf(state) != l.mark || state.GlobalID < floor {
		return errReset
	}
	l.setProgress(progress{live: true, floor: floor, repaired: state.Settled, seen: min(since, state.Settled)})
	return nil
}

// take handles one message of the feed.
func (l *listener) take(ctx context.Context, m driver.Message) error {
	at := l.progress()
	switch {
	case m.GlobalID <= 0:
		// Something was announced, by a peer whose connection was cut while it
		// published: only the store knows what.
		l.core.traceUndecodable(&DecodeError{Channel: m.Channel, Err: fmt.Errorf("announcement %s: %w", shorten(m.Data), errNoIDs)})
		return l.bringForward(ctx, nowhere)
	case !l.core.traits.DenseGlobalIDs:
		return l.arrange(ctx, m)
	case m.GlobalID <= at.floor:
		return fmt.Errorf("%w from %d to %d", errWentBack, at.floor, m.GlobalID)
	case m.GlobalID > at.seen+1:
		if err := l.bringForward(ctx, nowhere); err != nil {
			return err
		}
	}
	// What the repair has read may come again. It is handed on all the same: a
	// subscription that began during the repair may lack it, the others know it.
	l.handOn(m)
	return nil
}

var errNoIDs = errors.New("no ids")

// advance notes that the feed has come to id.
func (l *listener) advance(id int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.at.floor, l.at.seen = id, max(l.at.seen, id)
}

// hear notes that a message has come, though it cannot be handed on yet.
func (l *listener) hear(id int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.at.heard = max(l.at.heard, id)
}

// settle is called when all that the repair read must have come again, if it
// was to come at all.
func (l *listener) settle() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.at.floor = max(l.at.floor, l.at.repaired)
}

func (l *listener) setProgress(at progress) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.at = at
}

func (l *listener) progress() progress {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.at
}

// watch asks, three times within the liveness bound, whether the feed is alive
// and whether it has brought what the store has. It returns why the feed must
// be given up.
func (l *listener) watch(ctx context.Context, stream driver.Stream) error {
	every := l.core.options.LivenessBound / 3
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	due := int64(0) // what the store had at the last tick, which the feed must have brought by now
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
		if err := within(ctx, every, stream.Ping); err != nil {
			return fmt.Errorf("the feed does not answer: %w", err)
		}
		var err error
		if due, err = l.compare(ctx, every, due); err != nil {
			return err
		}
	}
}

func within(ctx context.Context, d time.Duration, f func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, d)
	defer cancel()
	return f(ctx)
}

// compare asks the store how far it is and returns that. A store that does not
// answer is told to Health; the feed may be well all the same.
func (l *listener) compare(ctx context.Context, timeout time.Duration, due int64) (int64, error) {
	before := l.progress()
	state, err := l.state(ctx, timeout)
	if ctx.Err() != nil {
		return 0, nil //nolint:nilerr // the session is over; the store is not to blame
	}
	l.core.health.setStore(state, err)
	now := l.progress()
	switch {
	case err != nil || !now.live:
		return 0, nil //nolint:nilerr // told to Health
	case markOf(state) != l.mark || state.GlobalID < before.seen:
		return 0, errReset
	case due > max(now.seen, now.heard):
		return 0, fmt.Errorf("%w: it is at %d, the feed at %d", errMissing, due, now.seen)
	}
	if before.live && before.repaired == now.repaired && due > 0 {
		l.settle()
	}
	return state.Settled, nil
}
