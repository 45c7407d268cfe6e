package transport

import (
	"context"
	"sync"
)

// A worker writes to the clients that were assigned to it. It never waits for
// one: what a socket does not take at once is left to a goroutine of its own.
type worker struct {
	h      *Handler
	number int           // in Handler.workers
	signal chan struct{} // holds one signal: dirty is not empty

	mu    sync.Mutex // guards below
	dirty []*client

	// The worker's own, used again for each client.
	spare []*client
	batch batch
	bytes []byte
	now   nowWriter
}

// maxKeptBytes is how much memory a worker keeps for the next burst.
const maxKeptBytes = 256 << 10

func newWorker(h *Handler, number int) *worker {
	return &worker{h: h, number: number, signal: make(chan struct{}, 1)}
}

// wake makes the worker look at clients. It never waits.
func (w *worker) wake(clients ...*client) {
	w.mu.Lock()
	w.dirty = append(w.dirty, clients...)
	w.mu.Unlock()
	select {
	case w.signal <- struct{}{}:
	default:
	}
}

func (w *worker) run(ctx context.Context) {
	for {
		select {
		case <-w.signal:
		case <-ctx.Done():
			return
		}
		w.mu.Lock()
		todo := w.dirty
		w.dirty = w.spare[:0]
		w.mu.Unlock()
		for _, c := range todo {
			w.flush(c)
		}
		clear(todo)
		w.spare = todo
	}
}

// flush writes all that waits for c in one write.
func (w *worker) flush(c *client) {
	c.take(&w.batch)
	if w.batch.read {
		w.h.catchUp(c, w.batch.slow)
	}
	if len(w.batch.parts) == 0 {
		return
	}
	last := w.batch.last
	if last {
		w.h.retire(c)
	}
	b := w.joined()
	n, err := c.conn.writeNow(&w.now, b)
	switch {
	case err != nil:
		w.h.cut(c, Left)
	case n < len(b):
		rest := append([]byte(nil), b[n:]...)
		w.h.loops.Go(func() { w.h.finish(c, rest, last) })
	default:
		w.h.wrote(c, last)
	}
}

// joined returns the batch as one piece; a single message is not copied.
func (w *worker) joined() []byte {
	if len(w.batch.parts) == 1 {
		return w.batch.parts[0]
	}
	if cap(w.bytes) > maxKeptBytes {
		w.bytes = nil
	}
	w.bytes = w.bytes[:0]
	for _, part := range w.batch.parts {
		w.bytes = append(w.bytes, part...)
	}
	return w.bytes
}

// finish writes what the socket did not take at once, for as long as it goes on
// taking something.
func (h *Handler) finish(c *client, rest []byte, last bool) {
	if err := c.conn.writeWithin(rest, h.options.Limits.WriteTimeout); err != nil {
		h.cut(c, whyCut(err))
		return
	}
	h.wrote(c, last)
}

// wrote ends a write to c.
func (h *Handler) wrote(c *client, last bool) {
	if last {
		c.conn.close()
		h.clients.closed(c)
		return
	}
	if c.wrote() {
		c.wake()
	}
}

// wake tells whoever writes to c that there is something to do.
func (c *client) wake() {
	if c.worker != nil {
		c.worker.wake(c)
		return
	}
	select {
	case c.wakeup <- struct{}{}:
	default:
	}
}
