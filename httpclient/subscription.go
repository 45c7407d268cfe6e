package httpclient

import (
	"context"
	"errors"
	"iter"
)

// A Subscription is one channel from one position on. Client.Subscribe makes it; Close
// or Client.Unsubscribe ends it.
type Subscription struct {
	client  *Client
	channel string
	fn      func(Message)
	items   chan item     // for Next; nil with a callback
	ended   chan struct{} // closed when it is over; Client.mu must be held to close it

	// The loop's own.
	place   place
	refused bool // that was told
	given   int64

	// Guarded by Client.mu.
	done    Position // up to what was handed over
	counted int64    // items that done takes into account
}

// An item waits for Next.
type item struct {
	message Message
	err     error    // in place of a message
	silent  bool     // neither: the position has moved
	after   Position // where the subscription stands behind it
	number  int64
}

func newSubscription(c *Client, channel string, from Position, fn func(Message)) *Subscription {
	s := &Subscription{client: c, channel: channel, fn: fn, ended: make(chan struct{}), place: placeOf(from), done: from}
	if fn == nil {
		s.items = make(chan item, c.options.Buffer)
	}
	return s
}

// Channel returns the name of the channel.
func (s *Subscription) Channel() string { return s.channel }

// Close ends the subscription. No callback of it begins afterwards. It may be called
// more than once.
func (s *Subscription) Close() error {
	s.client.remove(func(other *Subscription) bool { return other == s })
	return nil
}

// end closes s.ended, once. Client.mu must be held.
func (s *Subscription) end() {
	if !s.isOver() {
		close(s.ended)
	}
}

func (s *Subscription) isOver() bool {
	select {
	case <-s.ended:
		return true
	default:
		return false
	}
}

// Next waits for the next message. After a *GapError or a *RefusedError the subscription
// goes on. When the client has stopped because it was refused, the error is that refusal,
// until Start. ErrClosed is final. An error of ctx changes nothing.
//
// Up to Options.Buffer messages wait for it. When there are more the client stops reading,
// for all of its channels: a worker that is slow has a client of its own. Next is safe for
// concurrent use. It must not be called from a callback of the same client, nor for a
// subscription that has one.
func (s *Subscription) Next(ctx context.Context) (Message, error) {
	if s.items == nil {
		return Message{}, errors.New("httpclient: Next of a subscription that has a callback")
	}
	for {
		it, err := s.wait(ctx)
		if err != nil {
			return Message{}, err
		}
		s.stand(it.after, it.number)
		if !it.silent {
			return it.message, it.err
		}
	}
}

func (s *Subscription) wait(ctx context.Context) (item, error) {
	if s.isOver() {
		return item{}, ErrClosed
	}
	select {
	case it := <-s.items:
		return it, nil
	default:
	}
	halted, _ := s.client.fate()
	select {
	case it := <-s.items:
		return it, nil
	case <-s.ended:
		return item{}, ErrClosed
	case <-ctx.Done():
		return item{}, ctx.Err()
	case <-halted:
		_, why := s.client.fate()
		return item{}, why
	}
}

// Messages loops over the messages of a channel until ctx is done, the client is closed or
// the channel unsubscribed. The error of a pair is a *GapError or a *RefusedError, after
// which the loop goes on; any other is the last pair. It subscribes when the loop begins,
// and ends that when the loop ends.
func (c *Client) Messages(ctx context.Context, channel string, from Position) iter.Seq2[Message, error] {
	return func(yield func(Message, error) bool) {
		s, err := c.Subscribe(channel, from, nil)
		if err != nil {
			yield(Message{}, err)
			return
		}
		defer s.Close()
		for {
			m, err := s.Next(ctx)
			if ctx.Err() != nil && err != nil || errors.Is(err, ErrClosed) {
				return
			}
			if !yield(m, err) || err != nil && !goesOn(err) {
				return
			}
		}
	}
}

// goesOn reports whether a subscription goes on after an error of Next.
func goesOn(err error) bool {
	_, gap := errors.AsType[*GapError](err)
	_, refused := errors.AsType[*RefusedError](err)
	return gap || refused
}

// stand notes up to where s was handed over, as of the item with that number.
func (s *Subscription) stand(at Position, number int64) {
	s.client.mu.Lock()
	defer s.client.mu.Unlock()
	if number >= s.counted {
		s.done, s.counted = at, number
	}
}

// offer hands over an item, after which s stands at next. It waits while the client is
// paused, and for a reader; false: s has ended, or the client is to stop.
func (s *Subscription) offer(it item, next place, stop <-chan struct{}) bool {
	if !s.client.ready(s, stop) {
		return false
	}
	it.after = next.position()
	if s.fn == nil {
		return s.push(it, next, stop)
	}
	s.place = next // so that what makes a callback panic does not come again
	if it.err != nil {
		s.client.report(it.err)
	} else if err := s.call(it.message); err != nil {
		s.client.report(err)
	}
	s.stand(it.after, 0)
	return true
}

// call runs the callback.
func (s *Subscription) call(m Message) (err error) {
	defer caught(s.channel, &err)
	s.fn(m)
	return nil
}

func (s *Subscription) push(it item, next place, stop <-chan struct{}) bool {
	it.number = s.given + 1
	select {
	case s.items <- it:
		s.given, s.place = it.number, next
		return true
	case <-s.ended:
	case <-stop:
	}
	return false
}

// move goes on to next without a message.
func (s *Subscription) move(next place) {
	s.place = next
	if s.fn != nil {
		s.stand(next.position(), 0)
		return
	}
	// Where the queue is full the position is told with a later message.
	select {
	case s.items <- item{silent: true, after: next.position(), number: s.given + 1}:
		s.given++
	default:
	}
}
