package transport

import (
	"context"
	"errors"

	"github.com/messagebus-go/messagebus/bus"
)

// A feed hands the live messages of the bus to the held clients. It never
// waits for one of them.
type feed struct {
	h     *Handler
	woken [][]*client // for each worker, until the message has been offered to all
	found []queued    // those to whom a message is offered once filters have been asked
}

// run follows the bus until ctx is done or the bus is closed.
func (f *feed) run(ctx context.Context) {
	for ctx.Err() == nil {
		switch err := f.follow(ctx); {
		case err == nil || ctx.Err() != nil:
		case errors.Is(err, bus.ErrClosed):
			f.h.endAll()
			return
		default:
			f.h.options.Logger.Warn("no live messages for held requests", "error", err)
			pause(ctx, retryAfter)
		}
	}
}

// follow is the life of one subscription. It ends with a gap, behind which another one
// begins: what the backlog holds each client reads for itself.
func (f *feed) follow(ctx context.Context) error {
	sub, err := f.h.bus.SubscribeAll(ctx, bus.LatestGlobal())
	if err != nil {
		return err
	}
	defer sub.Close()
	f.interruptAll() // those who were there before may have missed something
	for {
		m, err := sub.Next(ctx)
		var undecodable *bus.DecodeError
		var gap *bus.GapError
		switch {
		case err == nil:
			f.deliver(&m)
		case errors.As(err, &undecodable):
			f.offer(undecodable.Channel, &frame{passage: passage{id: undecodable.ID, gid: undecodable.GlobalID}, skip: true}, nil)
		case errors.As(err, &gap):
			return nil
		default:
			return err
		}
	}
}

// deliver offers a message to everybody who listens to its channel.
func (f *feed) deliver(m *bus.Message) {
	name := m.Channel
	if m.Sited {
		name += siteSeparator + m.Site
	}
	f.h.traceDeliver(m, f.offer(name, newFrame(m), m))
}

// offer offers a message to those whom it is for, and returns how many clients
// have taken it. m is nil where it cannot be decoded.
func (f *feed) offer(name string, message *frame, m *bus.Message) (taken int) {
	offer := func(it queued) {
		wake, took := it.sub.client.offer(it)
		if wake {
			f.wake(it.sub.client)
		}
		if took {
			taken++
		}
	}
	var filters []Filter
	if m != nil {
		filters = f.h.filtersOf(m.Channel)
	}
	found := f.h.table.offer(name, message, func(s *subscription) {
		it := queued{frame: message, sub: s}
		if len(filters) > 0 { // which are not asked with a lock held
			f.found = append(f.found, it)
			return
		}
		offer(it)
	})
	for _, it := range f.found {
		to := &it.sub.client.recipient
		it.refused = message.audience.allows(to) && !f.h.pass(filters, m, to)
		offer(it)
	}
	clear(f.found)
	f.found = f.found[:0]
	if found != nil {
		found.pass(message)
	}
	f.wakeAll()
	return taken
}

// interruptAll makes everybody read the backlog.
func (f *feed) interruptAll() {
	f.h.table.everyone(func(s *subscription) {
		if s.interrupt() {
			f.wake(s.client)
		}
	})
	f.wakeAll()
}

// wake notes who has something to write, so that each worker is told once.
func (f *feed) wake(c *client) {
	if c.worker == nil {
		c.wake()
		return
	}
	f.woken[c.worker.number] = append(f.woken[c.worker.number], c)
}

func (f *feed) wakeAll() {
	for i, list := range f.woken {
		if len(list) > 0 {
			f.h.workers[i].wake(list...)
			clear(list)
			f.woken[i] = list[:0]
		}
	}
}

// endAll answers everybody who is held, and who is about to be.
func (h *Handler) endAll() {
	for _, c := range h.clients.stop() {
		h.end(c, Stopped)
	}
}
