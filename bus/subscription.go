package bus

import (
	"context"
	"errors"
	"iter"
	"sync"
)

// A Subscription hands out the messages of one channel, or of all of them, in
// the store's order, each once, none missing for as long as the backlog holds
// them: over reconnects, restarts and slow spells of the reader. What was lost
// for good is told by a *GapError.
//
// One goroutine at a time may be in Next or in a loop over Messages; Position
// and Close are safe at any time. Close it when it is not needed any more.
// A subscription whose reader is away holds bounded memory: its position is
// kept, and the backlog read when the reader is back.
type Subscription struct {
	source
	slot int           // its index in the hub's list; guarded by hub.mu
	wake chan struct{} // holds one signal: a reader that waits has something to do
	done chan struct{} // closed by end

	mu      sync.Mutex // guards below
	waiting bool       // the reader has found nothing, and wants to be woken
	ended   bool
	behind  bool     // the feed is not continuous with what is queued: read the backlog
	reading bool     // a read of the backlog is under way; its end is not known yet
	queue   queue    // live
	tail    Position // the end of page and queue; only while neither behind nor reading
	pos     Position // after what was handed out last
	page    []*item  // read from the backlog; handed out before queue
	recent  recentIDs
	readTo  Position // where what was read ends
}

// Next waits for the next message. A *GapError says that something may be
// lost, a *DecodeError that one message cannot be read: call Next again. When
// ctx is done its error is returned and the subscription goes on. ErrClosed is
// final. While the store does not answer, Next waits and tries again.
func (s *Subscription) Next(ctx context.Context) (Message, error) {
	for tries := 0; ; {
		it, found := s.take()
		switch found {
		case anItem:
			return it.open(s.core.traceUndecodable)
		case theEnd:
			return Message{}, ErrClosed
		case aHole:
			if err := s.catchUp(ctx); err == nil {
				tries = 0
				continue
			}
			if err := s.pause(ctx, tries); err != nil {
				return Message{}, err
			}
			tries++
		case nothing:
			select {
			case <-s.wake:
			case <-s.done:
			case <-ctx.Done():
				return Message{}, ctx.Err()
			}
		}
	}
}

// pause waits before another read of a store that did not answer.
func (s *Subscription) pause(ctx context.Context, tries int) error {
	timer := newBackoff(tries)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-s.done:
		return ErrClosed
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Messages loops over Next until ctx is done or the subscription is closed,
// either of which ends the loop. The error of a pair is a *GapError or a
// *DecodeError, after which the loop goes on.
func (s *Subscription) Messages(ctx context.Context) iter.Seq2[Message, error] {
	return func(yield func(Message, error) bool) {
		for {
			m, err := s.Next(ctx)
			if err != nil && !goesOn(err) {
				return
			}
			if !yield(m, err) {
				return
			}
		}
	}
}

// goesOn reports whether a subscription goes on after an error of Next.
func goesOn(err error) bool {
	_, gap := errors.AsType[*GapError](err)
	_, undecodable := errors.AsType[*DecodeError](err)
	return gap || undecodable
}

// Position returns the position after what Next returned last, from which a
// new subscription would go on. On a subscription to all channels its ids are
// global ids.
func (s *Subscription) Position() Position {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.pos
}

// Close ends the subscription: a waiting Next, and any later one, returns
// ErrClosed. It does not wait for a callback that is running. It always
// returns nil.
func (s *Subscription) Close() error {
	if s.end() {
		s.core.hub.remove(s)
	}
	return nil
}

// end marks s as over; true the first time.
func (s *Subscription) end() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended {
		return false
	}
	s.ended = true
	s.page, s.queue = nil, queue{}
	close(s.done)
	return true
}

// finding is what take found.
type finding uint8

const (
	nothing finding = iota
	anItem
	aHole // the backlog must be read
	theEnd
)

// take takes the next item: first what was read, then what came live.
func (s *Subscription) take() (*item, finding) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var it *item
	switch {
	case s.ended:
		return nil, theEnd
	case len(s.page) > 0:
		it, s.page = shift(s.page)
	case s.behind:
		return nil, aHole
	case s.queue.len() > 0:
		it = s.queue.take()
	default:
		s.waiting = true
		return nil, nothing
	}
	s.pos = s.after(it)
	return it, anItem
}

// shift takes the first item and lets go of the array with the last one.
func shift(items []*item) (*item, []*item) {
	first := items[0]
	items[0] = nil
	if len(items) == 1 {
		return first, nil
	}
	return first, items[1:]
}

// push takes a live item from the feed. It never waits. It reports whether the
// queue is filling.
func (s *Subscription) push(it *item) (filling bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.ended:
	case s.behind:
		s.keep(it)
	case s.reading:
		s.enqueue(it)
	default:
		s.follow(it)
	}
	return s.queue.filling()
}

// follow queues a live item if it continues what is queued. s.mu must be held.
func (s *Subscription) follow(it *item) {
	switch {
	case s.behind:
		s.keep(it)
	case it.mark != s.tail.mark:
		s.fallBehind() // the feed and the backlog are of two lives of the store
	case it.at.GlobalID <= s.tail.seen: // was read from the backlog, or comes late
		if s.lacks(it) {
			s.enqueue(it.madeLate(s.tail))
		}
	case !s.everything && it.prev > s.tail.id:
		s.fallBehind() // something before it never came
	default:
		s.enqueue(it)
	}
}

// enqueue appends to the queue, or drops all of it when it is full. s.mu must
// be held.
func (s *Subscription) enqueue(it *item) {
	if s.queue.full(it) {
		s.fallBehind()
		s.keep(it)
		return
	}
	s.queue.add(it)
	s.tail = s.after(it)
	s.signal()
}

// keep is for a reader that is behind: it will read a live item from the
// backlog, unless what it has read goes past the item already, and be told of a gap
// again. s.mu must be held.
func (s *Subscription) keep(it *item) {
	if !it.isMessage() || !s.hasPassed(it) || !it.isLate() && !s.lacks(it) {
		return
	}
	if len(s.page) < maxPage+maxQueued {
		s.page = append(s.page, it.madeLate(s.pageEnd()))
		s.signal()
	}
}

// hasPassed reports whether what was handed out, or is read, goes past an item. Another
// life of the store has other ids. s.mu must be held.
func (s *Subscription) hasPassed(it *item) bool {
	return it.mark == s.pos.mark && it.at.GlobalID <= s.pos.seen || it.mark == s.readTo.mark && it.at.GlobalID <= s.readTo.seen
}

// pageEnd is where the reader stands when it has been handed page. s.mu must be held.
func (s *Subscription) pageEnd() Position {
	switch n := len(s.page); {
	case n > 0 && s.page[n-1].isLate():
		return *s.page[n-1].place
	case n > 0, s.pos.mark == s.readTo.mark && s.pos.seen < s.readTo.seen:
		return s.readTo
	default:
		return s.pos
	}
}

// lacks reports whether an item that the reader is past was never handed to
// it: on a store where messages are not committed in the order of their ids.
// s.mu must be held.
func (s *Subscription) lacks(it *item) bool {
	return !s.core.traits.DenseGlobalIDs && it.mark == s.recent.mark && s.recent.lacks(it.at.GlobalID)
}

// remember notes what was read. s.mu must be held.
func (s *Subscription) remember(part stretch) {
	if !s.core.traits.DenseGlobalIDs {
		s.recent.note(part)
	}
}

// fallBehind drops what is queued: the backlog has it, but for what came late.
// s.mu must be held.
func (s *Subscription) fallBehind() {
	s.behind = true
	for _, it := range s.queue.takeAll() {
		s.keep(it)
	}
	s.core.traceBehind(s.channel)
	s.signal()
}

// signal wakes the reader if it waits. s.mu must be held.
func (s *Subscription) signal() {
	if !s.waiting {
		return
	}
	s.waiting = false
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// catchUp reads a page of the backlog. Live messages that come meanwhile are
// queued, and joined to what was read.
func (s *Subscription) catchUp(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	defer context.AfterFunc(s.core.ctx, cancel)()

	s.mu.Lock()
	from := s.pos
	s.behind, s.reading, s.readTo = false, true, from
	s.mu.Unlock()

	part, err := s.read(ctx, from, maxPage)

	s.mu.Lock()
	defer s.mu.Unlock()
	s.reading = false
	if err == nil {
		s.remember(part)
	}
	switch {
	case err != nil:
		s.fallBehind()
		return err
	case s.ended:
	case part.more:
		s.handOver(part)
		s.fallBehind()
	default:
		s.handOver(part)
		s.join()
	}
	return nil
}

// handOver makes part the next to be handed out, behind what came late meanwhile. s.mu must
// be held.
func (s *Subscription) handOver(part stretch) {
	s.page = append(s.page, part.items...)
	s.tail, s.readTo = part.end, part.end
	if len(s.page) == 0 {
		s.pos = part.end
	}
}

// join queues what came live during a read, unless it came too fast or was
// interrupted. s.mu must be held.
func (s *Subscription) join() {
	for _, it := range s.queue.takeAll() {
		s.follow(it)
	}
}
