package membus

import (
	"context"
	"sync"

	"github.com/messagebus-go/messagebus/bus/driver"
)

// A feed implements driver.Stream.
type feed struct {
	store *store
	owner *Backend
	ready chan struct{} // holds a token when the reader has something to look at
	ended chan struct{} // closed with err set

	mu    sync.Mutex // protects everything below; taken after store.mu
	queue queue[driver.Message]
	bytes int
	err   error // why it ended; nil while it lasts
	dead  bool  // gets nothing, but does not know: a half-open connection
}

// listen returns a feed of what is announced from now on.
func (s *store) listen(owner *Backend) *feed {
	f := &feed{
		store: s,
		owner: owner,
		ready: make(chan struct{}, 1),
		ended: make(chan struct{}),
	}
	s.feeds[f] = struct{}{}
	return f
}

// announce gives m to all feeds, and cuts those that are full.
func (s *store) announce(m driver.Message) {
	for f := range s.feeds {
		if !f.put(m) {
			s.endFeed(f, driver.ErrFeedOverflow)
		}
	}
}

// endFeed ends f with err, which is what its reader then gets.
func (s *store) endFeed(f *feed, err error) {
	delete(s.feeds, f)
	f.end(err)
}

// put reports whether m still fitted.
func (f *feed) put(m driver.Message) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.dead {
		return true
	}
	size := weight(m)
	if n := f.queue.len(); n > 0 && (n >= f.store.opts.FeedMessages || f.bytes+size > f.store.opts.FeedBytes) {
		return false
	}
	f.queue.push(m)
	f.bytes += size
	f.signal()
	return true
}

func weight(m driver.Message) int { return len(m.Channel) + len(m.Data) }

func (f *feed) signal() {
	select {
	case f.ready <- struct{}{}:
	default: // there is a token already
	}
}

// end keeps the first reason.
func (f *feed) end(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.err != nil {
		return
	}
	f.err = err
	f.queue = queue[driver.Message]{}
	f.bytes = 0
	close(f.ended)
}

// Next implements driver.Stream.
func (f *feed) Next(ctx context.Context) (driver.Message, error) {
	for {
		m, ok, err := f.take()
		if ok || err != nil {
			return m, err
		}
		select {
		case <-f.ready:
		case <-f.ended:
		case <-ctx.Done():
			return driver.Message{}, ctx.Err()
		}
	}
}

// take returns the oldest message that waits, if one does.
func (f *feed) take() (driver.Message, bool, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.err != nil || f.queue.len() == 0 {
		return driver.Message{}, false, f.err
	}
	m := f.queue.items()[0]
	f.queue.drop(1)
	f.bytes -= weight(m)
	return m, true, nil
}

// Ping implements driver.Stream.
func (f *feed) Ping(ctx context.Context) error {
	f.mu.Lock()
	err, dead := f.err, f.dead
	f.mu.Unlock()
	if err == nil {
		err = ctx.Err()
	}
	if err != nil || !dead {
		return err
	}
	select {
	case <-f.ended:
		f.mu.Lock()
		defer f.mu.Unlock()
		return f.err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Close implements driver.Stream.
func (f *feed) Close() error {
	f.store.mu.Lock()
	defer f.store.mu.Unlock()
	f.store.endFeed(f, driver.ErrClosed)
	return nil
}
