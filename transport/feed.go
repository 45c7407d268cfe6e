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
}

// run follows the bus until ctx is done or the bus is closed.
func (f *feed) run(ctx context.Context) {
	for ctx.Err() == nil {
		err := f.follow(ctx)
		if errors.Is(err, bus.ErrClosed) {
			f.h.endAll(Stopped)
			return
		}
		if ctx.Err() == nil {
			f.h.options.Logger.Warn("no live messages for held requests", "error", err)
		}
		pause(ctx, retryAfter)
	}
}

// follow is the life of one subscription.
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
			f.offer(undecodable.Channel, &frame{id: undecodable.ID, gid: undecodable.GlobalID, skip: true})
		case errors.As(err, &gap):
			f.interruptAll()
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
	f.h.traceDeliver(m.Channel, f.offer(name, newFrame(m)))
}

// offer returns how many clients have taken the message.
func (f *feed) offer(name string, message *frame) (taken int) {
	f.h.table.each(name, func(s *subscription) {
		wake, took := s.client.offer(s, message)
		if wake {
			f.wake(s.client)
		}
		if took {
			taken++
		}
	})
	f.wakeAll()
	return taken
}

// interruptAll makes everybody read the backlog.
func (f *feed) interruptAll() {
	f.h.table.everyone(func(s *subscription) {
		if s.client.interrupt() {
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

// endAll answers everybody who is held.
func (h *Handler) endAll(why Reason) {
	for _, c := range h.clients.all() {
		h.end(c, why)
	}
}
