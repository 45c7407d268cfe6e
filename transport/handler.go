package transport

import (
	"context"
	"errors"
	"net/http"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/messagebus-go/messagebus/bus"
)

// A Handler serves the messages of a bus over HTTP: it answers what polls, and
// holds requests to which it delivers live messages. Make one with NewHandler,
// and end it with Shutdown. All methods are safe for concurrent use.
type Handler struct {
	bus      *bus.Bus
	loose    bool // a message may come after others with higher ids
	options  Options
	prefixes []string // of the paths that are ours
	origins  []origin

	table     *table
	clients   *clients
	deadlines *deadlines
	watcher   *watcher
	workers   []*worker
	turn      atomic.Uint32 // whose turn among the workers it is
	readers   readers
	atOnce    int // messages that are read

	ctx    context.Context //nolint:containedctx // ends when nobody is held any more; the loops' own
	cancel context.CancelFunc
	loops  sync.WaitGroup
}

// NewHandler returns a Handler for a bus, which must not be a view made by
// Site: Identity.Site says to which site a client belongs. opts may be nil. It
// fails on a setting out of range, and does not ask the store anything: while the
// store does not answer, requests are answered with errors, and live messages
// come as soon as it does.
func NewHandler(b *bus.Bus, opts *Options) (*Handler, error) {
	if b == nil {
		return nil, errors.New("transport: the bus is nil")
	}
	if opts == nil {
		opts = &Options{}
	}
	options, err := opts.resolve()
	if err != nil {
		return nil, err
	}
	origins, err := parseOrigins(options.Origins)
	if err != nil {
		return nil, err
	}
	h := &Handler{
		bus: b, loose: b.MayComeLate(), options: options, prefixes: prefixesOf(options.BasePath), origins: origins,
		atOnce: defaultRead, table: newTable(), clients: newClients(options.Limits.MaxHeld), deadlines: newDeadlines(),
	}
	h.ctx, h.cancel = context.WithCancel(context.Background())
	h.watcher = newWatcher(h)
	h.run()
	return h, nil
}

// run starts the goroutines that live as long as the handler.
func (h *Handler) run() {
	for i := range runtime.GOMAXPROCS(0) {
		w := newWorker(h, i)
		h.workers = append(h.workers, w)
		h.loops.Go(func() { w.run(h.ctx) })
	}
	f := &feed{h: h, woken: make([][]*client, len(h.workers))}
	h.loops.Go(func() { f.run(h.ctx) })
	h.loops.Go(func() { h.deadlines.run(h.ctx, func(c *client) { h.end(c, c.endsWhy) }, h.beat) })
}

func (h *Handler) nextWorker() *worker {
	return h.workers[h.turn.Add(1)%uint32(len(h.workers))]
}

// ServeHTTP answers requests below {base}message-bus/, and all others with 404.
//
// Behind an http.ServeMux some paths never come here: it redirects those with
// two slashes or dots. Middleware has them all.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	rest, ours := h.below(r)
	if !ours {
		notFound(w)
		return
	}
	h.serve(w, r, rest)
}

// Middleware returns a handler that answers requests below {base}message-bus/
// and passes on all others to next.
func (h *Handler) Middleware(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if rest, ours := h.below(r); ours {
			h.serve(w, r, rest)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// serve answers a request whose path goes on with rest.
func (h *Handler) serve(w http.ResponseWriter, r *http.Request, rest string) {
	id, ok := clientID(rest)
	if !ok {
		notFound(w)
		return
	}
	h.allowOrigin(w.Header(), r)
	if rest == broadcastPath && h.options.Broadcast != nil {
		h.broadcast(w, r)
		return
	}
	header, err := h.header(w, r)
	if err == nil {
		err = h.checkClientID(id)
	}
	switch {
	case err != nil:
		h.fail(w, r, err)
	case r.Method == http.MethodOptions:
		h.answer(w, header, []byte("OK"))
	case h.wantsSocket(r, rest):
		h.serveSocket(w, r, &query{clientID: id, header: header})
	default:
		h.serveQuery(w, r, &query{clientID: id, header: header, events: wantsEvents(r, rest)})
	}
}

// serveQuery answers a request for messages.
func (h *Handler) serveQuery(w http.ResponseWriter, r *http.Request, q *query) {
	held, err := h.admit(w, r, q)
	switch {
	case err != nil:
		h.fail(w, r, err)
	case held:
		h.hold(w, r, q)
	default:
		h.poll(w, r, q)
	}
}

// admit finds out who asks for what; held: there is a place for the request to
// be held.
func (h *Handler) admit(w http.ResponseWriter, r *http.Request, q *query) (held bool, err error) {
	if q.identity, err = h.identify(r); err != nil {
		return false, err
	}
	if err = h.read(w, r, q); err != nil {
		return false, err
	}
	h.authorize(r, q)
	if !h.mayHold(r) || q.events && !flows(w) {
		return false, nil
	}
	var most int
	q.holder, most = h.holderOf(r, &q.identity)
	return h.clients.reserve(q.holder, most)
}

// Held returns how many requests are held at the moment.
func (h *Handler) Held() int { return h.clients.held() }

// Shutdown answers every held request with its last part and waits until all
// of them are written and the handler's goroutines have ended. It takes its
// time, up to LongPoll.Drain, so that not all clients look for another server
// in one instant. When ctx is done before, it cuts off those who are left and
// returns the context's error. Later requests are answered at once, as if none
// might be held. It does not close the bus. Further calls wait as well.
//
// A write that waits for its peer in a writer without deadlines, as middleware may
// put around that of net/http, cannot be ended: then Shutdown returns before it.
func (h *Handler) Shutdown(ctx context.Context) error {
	h.drain(ctx, h.clients.stop())
	err := h.clients.wait(ctx)
	if err != nil {
		h.cancel() // who begins after this gives itself up
		for _, c := range h.clients.all() {
			h.cut(c, Stopped)
		}
		<-h.clients.idle
	}
	h.cancel()
	h.watcher.stop()
	h.loops.Wait()
	return err
}

// drainPace is how long Shutdown waits between two clients, if they are few.
const drainPace = 5 * time.Millisecond

// drain ends the holds of clients one after the other, as evenly as a clock
// can.
func (h *Handler) drain(ctx context.Context, all []*client) {
	pace := h.pace(ctx, len(all))
	start := time.Now()
	for i, c := range all {
		if early := time.Duration(i)*pace - time.Since(start); early > 0 && !pause(ctx, early) {
			return
		}
		h.end(c, Stopped)
	}
}

func (h *Handler) pace(ctx context.Context, clients int) time.Duration {
	span := h.options.LongPoll.Drain
	if deadline, ok := ctx.Deadline(); ok {
		span = max(min(span, time.Until(deadline)/2), 0)
	}
	return min(span/time.Duration(max(clients, 1)), drainPace)
}
