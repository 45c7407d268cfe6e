package modelstore

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/messagebus-go/messagebus/bus/driver"
)

// A Peer is one process on a store, and the network between them. It implements
// driver.Backend.
type Peer struct {
	store *Store

	// store.mu guards below.
	closed     bool
	connection int           // how often the connections were cut
	refused    bool          // no new connections
	silence    chan struct{} // not nil while nothing goes through; closed at the end of it
	lost       int           // answers to publishes that are lost next
	streams    map[*stream]struct{}
}

var (
	errCut     = errors.New("the connection was cut")
	errRefused = errors.New("connection refused")
	errNothing = errors.New("the answer was lost")
)

// patience is how long a request is waited for by what stands for a client library.
const patience = 2 * time.Second

// Cut cuts all connections of the peer, CutFeeds those of its streams.
func (p *Peer) Cut() {
	p.store.mu.Lock()
	defer p.store.mu.Unlock()
	p.cut(errCut)
}

// CutFeeds cuts the connections of the peer's streams.
func (p *Peer) CutFeeds() {
	p.store.mu.Lock()
	defer p.store.mu.Unlock()
	p.cutFeeds(errCut)
}

// cut needs store.mu to be held.
func (p *Peer) cut(err error) {
	p.connection++
	p.cutFeeds(err)
}

// cutFeeds needs store.mu to be held.
func (p *Peer) cutFeeds(err error) {
	for f := range p.streams {
		f.end(err)
	}
}

// Refuse cuts the connections, and makes new ones fail until it is called with false.
func (p *Peer) Refuse(on bool) {
	p.store.mu.Lock()
	defer p.store.mu.Unlock()
	p.refused = on
	if on {
		p.cut(errCut)
	}
}

// Silence makes the connections half-open: nothing goes through, and nobody is told.
// When it is called with false, new ones work.
func (p *Peer) Silence(on bool) {
	p.store.mu.Lock()
	defer p.store.mu.Unlock()
	switch {
	case on && p.silence == nil:
		p.silence = make(chan struct{})
		for f := range p.streams {
			f.dead = true
		}
	case !on && p.silence != nil:
		close(p.silence)
		p.silence = nil
		p.connection++
	}
}

// LoseAnswers loses the answers to the next n publishes.
func (p *Peer) LoseAnswers(n int) {
	p.store.mu.Lock()
	defer p.store.mu.Unlock()
	p.lost = n
}

// ask has the server take steps. Whatever the caller wrote in them may be looked at.
func (p *Peer) ask(ctx context.Context, steps ...step) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	p.store.mu.Lock()
	connection := p.connection
	p.store.mu.Unlock()
	for _, take := range steps {
		if err := p.travel(ctx, connection); err != nil {
			return err
		}
		p.store.mu.Lock()
		err := p.broken(connection)
		if err == nil {
			err = take()
		}
		p.store.mu.Unlock()
		if err != nil {
			return err
		}
	}
	return p.travel(ctx, connection)
}

// broken needs store.mu to be held.
func (p *Peer) broken(connection int) error {
	switch {
	case p.closed:
		return driver.ErrClosed
	case p.refused:
		return errRefused
	case p.connection != connection:
		return errCut
	}
	return nil
}

// travel is one way through the network, on a connection.
func (p *Peer) travel(ctx context.Context, connection int) error {
	if d := p.store.latency(); d > 0 {
		timer := time.NewTimer(d)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	p.store.mu.Lock()
	silence, err := p.silence, p.broken(connection)
	p.store.mu.Unlock()
	if err != nil || silence == nil {
		return err
	}
	select {
	case <-silence:
		return errCut
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Publish implements driver.Backend.
func (p *Peer) Publish(ctx context.Context, channel string, data []byte, limits driver.Limits) (driver.Position, error) {
	var at driver.Position
	err := p.ask(ctx, func() error {
		if p.store.readOnly {
			return driver.ErrReadOnly
		}
		at = p.store.model.publish(channel, data, limits)
		if p.lost > 0 {
			p.lost--
			return errNothing
		}
		return nil
	})
	switch {
	case err == nil:
		return at, nil
	case at != driver.Position{}:
		return driver.Position{}, fmt.Errorf("%w: %w", driver.ErrUnknownOutcome, err)
	}
	return driver.Position{}, err
}

// Read implements driver.Backend.
func (p *Peer) Read(ctx context.Context, ranges []driver.Range) (driver.Snapshot, error) {
	answer := driver.Snapshot{Pages: make([]driver.Page, len(ranges))}
	if err := p.ask(ctx, p.store.model.read(slices.Clone(ranges), &answer)...); err != nil {
		return driver.Snapshot{}, err
	}
	return answer, nil
}

// GlobalBacklog implements driver.Backend.
func (p *Peer) GlobalBacklog(ctx context.Context, after int64, most int) (driver.GlobalPage, error) {
	var answer driver.GlobalPage
	if err := p.ask(ctx, p.store.model.globalBacklog(after, most, &answer)...); err != nil {
		return driver.GlobalPage{}, err
	}
	return answer, nil
}

// State implements driver.Backend.
func (p *Peer) State(ctx context.Context) (driver.State, error) {
	var answer driver.State
	if err := p.ask(ctx, p.store.model.askState(&answer)...); err != nil {
		return driver.State{}, err
	}
	return answer, nil
}

// Listen implements driver.Backend.
func (p *Peer) Listen(ctx context.Context) (driver.Stream, error) {
	f := newStream(p)
	err := p.ask(ctx, append(p.store.model.prepare(), func() error {
		p.streams[f] = struct{}{}
		return nil
	})...)
	if err != nil {
		_ = f.Close() // never fails
		return nil, err
	}
	return f, nil
}

// Traits implements driver.Backend.
func (p *Peer) Traits() driver.Traits { return p.store.model.traits() }

// Close implements driver.Backend.
func (p *Peer) Close() error {
	p.store.mu.Lock()
	defer p.store.mu.Unlock()
	p.closed = true
	p.cutFeeds(driver.ErrClosed)
	return nil
}
