package bus

import (
	"context"
	"fmt"
)

// Subscribe subscribes to channel, and asks the store once where the channel
// stands: it fails when the store does not answer. The first one opens the bus's live
// feed, and waits for it, but no longer than Options.LivenessBound. Nothing that is published
// after Subscribe returned is missed in silence. ctx bounds this call only: the
// subscription lasts until Close.
//
// On a bus without a site only messages without a site are heard.
func (b *Bus) Subscribe(ctx context.Context, channel string, from Position) (*Subscription, error) {
	src, err := b.source(channel)
	if err != nil {
		return nil, fmt.Errorf("bus: subscribe %q: %w", channel, err)
	}
	return subscribe(ctx, src, from)
}

// SubscribeAll subscribes to every message of the store, of every channel and
// site. Its positions and gaps are in global ids. It fails as Subscribe does.
func (b *Bus) SubscribeAll(ctx context.Context, from GlobalPosition) (*Subscription, error) {
	p := Position{id: from.id, seen: from.id, mark: from.mark} // the ids are global ones
	if from.latest {
		p = Latest()
	}
	return subscribe(ctx, source{core: b.core, everything: true}, p)
}

// subscribe registers first and only then asks where the store stands, so that
// nothing falls between the two.
func subscribe(ctx context.Context, src source, from Position) (*Subscription, error) {
	s := &Subscription{
		source: src, pos: from, behind: true,
		wake: make(chan struct{}, 1), done: make(chan struct{}),
	}
	err := src.core.listen()
	if err == nil && !src.core.hub.add(s) {
		err = ErrClosed
	}
	if err != nil {
		return nil, fmt.Errorf("bus: subscribe %q: %w", src.channel, err)
	}
	src.core.awaitFeed(ctx)
	if err := s.begin(ctx); err != nil {
		_ = s.Close() // never fails
		return nil, fmt.Errorf("bus: subscribe %q: %w", src.channel, err)
	}
	return s, nil
}

// awaitFeed waits until the feed was opened, or could not be, for the first time, so
// that the store has its epoch and what is published from now on comes live. A store that
// answers nothing is waited for as long as a feed may be dead. Without the feed nothing is
// lost in silence either.
func (c *core) awaitFeed(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, c.options.LivenessBound)
	defer cancel()
	select {
	case <-c.tried:
	case <-ctx.Done():
	}
}

// begin reads at once, whatever the position, so that it is known which life of the
// store it belongs to, and again where the feed was interrupted meanwhile: what is not
// kept in the backlog has to come live.
func (s *Subscription) begin(ctx context.Context) error {
	err := s.catchUp(ctx)
	if err == nil && s.hasNothing() {
		err = s.catchUp(ctx)
	}
	return err
}

// hasNothing reports whether s must read before it has anything to hand out.
func (s *Subscription) hasNothing() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.behind && len(s.page) == 0
}

// SubscribeFunc subscribes like Subscribe and calls fn for each message, in
// order, from one goroutine. fn gets a *GapError or *DecodeError with an empty
// message, after which it goes on, and ErrClosed as the last call. A panic of
// fn is logged and contained; the next message follows. fn may close the
// subscription, but not the bus.
func (b *Bus) SubscribeFunc(ctx context.Context, channel string, from Position, fn func(Message, error)) (*Subscription, error) {
	s, err := b.Subscribe(ctx, channel, from)
	if err != nil {
		return nil, err
	}
	started := b.start(func() {
		for more := true; more; {
			m, err := s.Next(context.Background())
			more = err == nil || goesOn(err)
			b.guard("a subscriber's callback", func() { fn(m, err) })
		}
	})
	if !started {
		_ = s.Close() // never fails
		return nil, fmt.Errorf("bus: subscribe %q: %w", channel, ErrClosed)
	}
	return s, nil
}
