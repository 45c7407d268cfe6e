package bus

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/messagebus-go/messagebus/bus/driver"
)

// QueueLimits bound what a bus holds in memory while its store is read-only.
// When one is reached the oldest message is given up for the newest, as the gem
// does (message_bus 4.5.2, lib/message_bus/backends/redis.rb), and counted.
type QueueLimits struct {
	Messages int // default 1000; negative: no queue, and Publish returns ErrReadOnly
	Bytes    int // of the envelopes; default 16 MiB
}

const (
	defaultQueueMessages = 1000
	defaultQueueBytes    = 16 << 20

	// flushEvery is how often a read-only store is asked whether it takes
	// writes again; the gem's interval.
	flushEvery = time.Second

	// flushTries is how often a store that answers may refuse a message before
	// it is given up, so that it does not hold up all behind it.
	flushTries = 3
)

// WithoutReadOnlyQueue makes Publish return ErrReadOnly at once instead of
// ErrQueued, and lets the message overtake those that wait.
func WithoutReadOnlyQueue() PublishOption {
	return publishOption(func(p *publication) error {
		p.direct = true
		return nil
	})
}

// waiting is the queue of messages for a store that is read-only: in order,
// with their limits. A message leaves it when it is stored, so that whatever
// is published meanwhile joins behind it.
type waiting struct {
	limits  QueueLimits
	dropped atomic.Uint64 // messages that were given up
	length  atomic.Int64  // of queue, to be read without mu
	refused int           // tries of the oldest, by a store that answers; the flush's own

	mu    sync.Mutex // guards below
	queue []publication
	bytes int
}

// join appends p if others wait already.
func (w *waiting) join(p publication) (joined bool, givenUp []publication) {
	if w.length.Load() == 0 {
		return false, nil
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.queue) == 0 {
		return false, nil
	}
	return w.append(p)
}

// add appends p, and says whether it is the first.
func (w *waiting) add(p publication) (added, first bool, givenUp []publication) {
	w.mu.Lock()
	defer w.mu.Unlock()
	first = len(w.queue) == 0
	added, givenUp = w.append(p)
	return added, first && added, givenUp
}

// append makes room for p by giving up the oldest; not added: it never fits.
// w.mu must be held.
func (w *waiting) append(p publication) (added bool, givenUp []publication) {
	if w.limits.Messages <= 0 || len(p.envelope) > w.limits.Bytes {
		return false, nil
	}
	for len(w.queue) >= w.limits.Messages || w.bytes+len(p.envelope) > w.limits.Bytes {
		givenUp = append(givenUp, w.queue[0])
		w.removeFirst()
	}
	w.queue = append(w.queue, p)
	w.bytes += len(p.envelope)
	w.length.Store(int64(len(w.queue)))
	w.dropped.Add(uint64(len(givenUp)))
	return true, givenUp
}

// removeFirst takes the oldest out. w.mu must be held.
func (w *waiting) removeFirst() {
	w.bytes -= len(w.queue[0].envelope)
	w.queue[0] = publication{}
	w.queue = w.queue[1:]
	if len(w.queue) == 0 {
		w.queue = nil
	}
	w.length.Store(int64(len(w.queue)))
}

// first returns the oldest.
func (w *waiting) first() (publication, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.queue) == 0 {
		return publication{}, false
	}
	return w.queue[0], true
}

// done takes p out, unless it was pushed out meanwhile, and returns how many
// are left.
func (w *waiting) done(p publication) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.queue) > 0 && w.queue[0].number == p.number {
		w.removeFirst()
	}
	return len(w.queue)
}

// report returns how much waits.
func (w *waiting) report() (messages, bytes int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.queue), w.bytes
}

// send publishes p, or queues it where the store is read-only or others wait.
func (c *core) send(ctx context.Context, p publication) (driver.Position, error) {
	p.number = c.published.Add(1)
	if !p.direct {
		joined, givenUp := c.waiting.join(p)
		c.traceGivenUp(givenUp, errPushedOut)
		if joined {
			return driver.Position{}, ErrQueued
		}
	}
	at, err := c.backend.Publish(ctx, p.stored, p.envelope, p.limits)
	if p.direct || !errors.Is(err, driver.ErrReadOnly) {
		return at, err
	}
	c.health.setReadOnly(true)
	added, first, givenUp := c.waiting.add(p)
	c.traceGivenUp(givenUp, errPushedOut)
	if !added || first && !c.start(c.flush) {
		return driver.Position{}, err
	}
	return driver.Position{}, ErrQueued
}

var errPushedOut = errors.New("the queue for the read-only store was full")

// flush publishes what waits, in order, until nothing does.
func (c *core) flush() {
	c.options.Logger.Warn("the store is read-only; messages wait in memory")
	timer := time.NewTimer(flushEvery)
	defer timer.Stop()
	for {
		select {
		case <-timer.C:
		case <-c.ctx.Done():
			return
		}
		for {
			p, ok := c.waiting.first()
			if !ok {
				return
			}
			left, err := c.flushOne(p)
			if err != nil {
				c.options.Logger.Debug("queued messages cannot be published yet", "waiting", left, "error", err)
				break
			}
			if left == 0 {
				c.options.Logger.Info("the store takes writes again; all queued messages are published")
				return
			}
		}
		timer.Reset(flushEvery)
	}
}

// flushOne publishes the oldest message. An error means that it still waits.
func (c *core) flushOne(p publication) (left int, err error) {
	start := time.Now()
	ctx, cancel := context.WithTimeout(c.ctx, c.options.LivenessBound)
	defer cancel()
	at, err := c.backend.Publish(ctx, p.stored, p.envelope, p.limits)
	switch {
	case err == nil:
		c.health.setReadOnly(false)
		c.tracePublish(p.info(at, time.Since(start), nil))
	case errors.Is(err, driver.ErrUnknownOutcome):
		// It may be stored, and must not be published twice.
		c.giveUp(p, err)
	case errors.Is(err, driver.ErrReadOnly) || !c.answers(ctx):
		return int(c.waiting.length.Load()), err
	default:
		if c.waiting.refused++; c.waiting.refused < flushTries {
			return int(c.waiting.length.Load()), err
		}
		c.giveUp(p, err)
	}
	c.waiting.refused = 0
	return c.waiting.done(p), nil
}

// answers reports whether the store is there and takes writes.
func (c *core) answers(ctx context.Context) bool {
	state, err := c.backend.State(ctx)
	return err == nil && !state.ReadOnly
}

// giveUp counts a queued message that will not be published.
func (c *core) giveUp(p publication, err error) {
	c.waiting.dropped.Add(1)
	c.traceGivenUp([]publication{p}, err)
}

// abandon is called when the bus is closed: what still waits is lost.
func (w *waiting) abandon() error {
	if n, _ := w.report(); n > 0 {
		return fmt.Errorf("%d messages still waited for the read-only store and were not published", n)
	}
	return nil
}
