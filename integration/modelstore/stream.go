package modelstore

import (
	"context"
	"time"

	"github.com/messagebus-go/messagebus/bus/driver"
)

// A stream implements driver.Stream.
type stream struct {
	peer  *Peer
	ready chan struct{} // holds a token when there is something to look at
	ended chan struct{} // closed with err set

	// store.mu guards below.
	queue []arrival
	dead  bool  // half-open
	err   error // why it ended; nil while it lasts
}

// An arrival is a message on its way.
type arrival struct {
	at   time.Time
	open func() driver.Message // needs store.mu to be held
}

// mostUnread is how many messages are kept for a reader.
const mostUnread = 8192

func newStream(p *Peer) *stream {
	return &stream{peer: p, ready: make(chan struct{}, 1), ended: make(chan struct{})}
}

// put needs store.mu to be held.
func (f *stream) put(open func() driver.Message) {
	if f.dead {
		return
	}
	if len(f.queue) == mostUnread {
		f.end(driver.ErrFeedOverflow)
		return
	}
	at := time.Now().Add(f.peer.store.latency())
	if n := len(f.queue); n > 0 && at.Before(f.queue[n-1].at) {
		at = f.queue[n-1].at
	}
	f.queue = append(f.queue, arrival{at, open})
	select {
	case f.ready <- struct{}{}:
	default: // there is a token already
	}
}

// end ends the stream, unless it has ended. store.mu must be held.
func (f *stream) end(err error) {
	delete(f.peer.streams, f)
	if f.err == nil {
		f.err, f.queue = err, nil
		close(f.ended)
	}
}

// Next implements driver.Stream.
func (f *stream) Next(ctx context.Context) (driver.Message, error) {
	for {
		m, wait, err := f.take()
		if wait == 0 || err != nil {
			return m, err
		}
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-f.ready:
		case <-f.ended:
		case <-ctx.Done():
			err = ctx.Err()
		}
		timer.Stop()
		if err != nil {
			return driver.Message{}, err
		}
	}
}

// take takes the next message, or returns how long to wait for one.
func (f *stream) take() (m driver.Message, wait time.Duration, err error) {
	f.peer.store.mu.Lock()
	defer f.peer.store.mu.Unlock()
	switch {
	case f.err != nil:
		return m, 0, f.err
	case len(f.queue) == 0:
		return m, time.Hour, nil
	}
	if wait = time.Until(f.queue[0].at); wait > 0 {
		return m, wait, nil
	}
	m = f.queue[0].open()
	f.queue = f.queue[1:]
	return m, 0, nil
}

// Ping implements driver.Stream. The answer comes behind what is on its way.
func (f *stream) Ping(ctx context.Context) error {
	f.peer.store.mu.Lock()
	dead, err := f.dead, f.err
	var answered <-chan time.Time // never, where it is half-open
	if wait := f.peer.store.latency(); !dead {
		if n := len(f.queue); n > 0 {
			wait += max(time.Until(f.queue[n-1].at), 0)
		}
		timer := time.NewTimer(wait)
		defer timer.Stop()
		answered = timer.C
	}
	f.peer.store.mu.Unlock()
	if err != nil {
		return err
	}
	select {
	case <-answered:
		return f.reason()
	case <-f.ended:
		return f.reason()
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (f *stream) reason() error {
	f.peer.store.mu.Lock()
	defer f.peer.store.mu.Unlock()
	return f.err
}

// Close implements driver.Stream.
func (f *stream) Close() error {
	f.peer.store.mu.Lock()
	defer f.peer.store.mu.Unlock()
	f.end(driver.ErrClosed)
	return nil
}
