package transport

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"
)

// A Socket carries text messages in both directions. Module transport/ws makes
// them of WebSockets, and the tests of this package of nothing at all. Each
// method is called by one goroutine at a time, and may be called while others
// are. Once the context of a call is done the connection is given up.
type Socket interface {
	// Read returns the next message. An error is final, unless it has a method
	// CloseCode() int: that is a message which may not be, and the connection is
	// to be closed with that code.
	Read(ctx context.Context) ([]byte, error)

	// Write sends one message. An error is final.
	Write(ctx context.Context, message []byte) error

	// Ping asks the peer for a sign of life and waits for it.
	Ping(ctx context.Context) error

	// Close ends the connection, with a status code of RFC 6455 and a reason of
	// at most 123 bytes, if it can still be told. It may wait for the peer, but no
	// longer than the context of a Read that is under way.
	Close(code int, reason string)
}

// The codes with which sockets are closed.
const (
	closedNormally  = 1000
	closedGoingAway = 1001
	closedPolicy    = 1008
	closedError     = 1011

	maxCloseReason = 123

	// closeTimeout is how long a peer may take to answer that the connection ends.
	closeTimeout = 2 * time.Second
)

const socketPath = "ws"

// wantsSocket reports whether a request is one for a WebSocket.
func (h *Handler) wantsSocket(r *http.Request, rest string) bool {
	_, after, _ := strings.Cut(rest, "/")
	return h.options.WebSocket != nil && r.Method == http.MethodGet && after == socketPath &&
		strings.EqualFold(r.Header.Get("Upgrade"), "websocket")
}

// checkPage refuses pages of other origins: a browser lets any page open a
// WebSocket to anywhere, with cookies.
func (h *Handler) checkPage(r *http.Request) error {
	page := r.Header.Get("Origin")
	if page == "" || h.originAllowed(page) {
		return nil
	}
	if u, err := url.Parse(page); err == nil && u.Host != "" && strings.EqualFold(u.Host, r.Host) {
		return nil
	}
	return &statusError{status: http.StatusForbidden, text: fmt.Sprintf("pages of %.100q may not connect; Options.Origins names who may", page)}
}

// A link is the other side of a client that changes its channels while it is
// held.
type link struct {
	socket  Socket
	request *http.Request
	timeout time.Duration
	stuck   func()             // a write has taken longer
	ctx     context.Context    //nolint:containedctx // ends with the client
	cancel  context.CancelFunc // gives up the connection
	room    chan struct{}      // holds one signal: something was written

	mu     sync.Mutex // guards below, and which subscriptions are in the table; comes before shard.mu
	closed bool
}

// write writes each part as a message. One that takes a long part slowly has
// the time for it.
func (l *link) write(parts [][]byte) error {
	for _, part := range parts {
		// Not by the context of the write: the reader would hear of it first.
		timer := time.AfterFunc(time.Duration(1+len(part)/writeStep)*l.timeout, l.stuck)
		err := l.socket.Write(l.ctx, part)
		timer.Stop()
		if err != nil {
			return err
		}
	}
	return nil
}

// serveSocket answers a request for a WebSocket, and returns when that has ended.
func (h *Handler) serveSocket(w http.ResponseWriter, r *http.Request, q *query) {
	if err := h.admitSocket(r, q); err != nil {
		h.fail(w, r, err)
		return
	}
	held := false
	defer func() {
		if !held { // it failed or panicked
			h.clients.release(q.holder)
		}
	}()
	replaceHeader(w, q.header)
	w.Header().Del("Content-Type")
	socket, err := h.options.WebSocket(w, r, h.options.Limits.MaxRequestBytes)
	if err != nil {
		return // it has been answered
	}
	held = true
	h.converse(r, q, socket)
}

func (h *Handler) admitSocket(r *http.Request, q *query) (err error) {
	if err = h.checkPage(r); err != nil {
		return err
	}
	if q.identity, err = h.identify(r); err != nil {
		return err
	}
	placed := false
	if !h.options.LongPoll.Disabled {
		var most int
		q.holder, most = h.holderOf(r, &q.identity)
		placed, err = h.clients.reserve(q.holder, most)
	}
	if err == nil && !placed {
		err = &statusError{status: http.StatusServiceUnavailable, text: "no further connection is held at present", retry: retryHeld}
	}
	return err
}

// converse writes to a socket, and has another goroutine read it.
func (h *Handler) converse(r *http.Request, q *query, socket Socket) {
	c := h.newClient(q)
	l := &link{socket: socket, request: r, timeout: h.options.Limits.WriteTimeout, room: make(chan struct{}, 1)}
	l.ctx, l.cancel = context.WithCancel(h.ctx)
	defer l.cancel()
	l.stuck = func() { h.cut(c, TooSlow) }
	c.link, c.wakeup = l, make(chan struct{}, 1)
	defer h.clients.closed(c)
	h.begin(c, q, &digest{})
	var reading sync.WaitGroup
	reading.Go(func() { h.listenTo(c) })
	h.talkTo(c)
	code, reason := c.farewell()
	giveUp := time.AfterFunc(closeTimeout, l.cancel)
	socket.Close(code, reason)
	giveUp.Stop()
	l.cancel()
	reading.Wait()
}

// talkTo writes until c is over.
func (h *Handler) talkTo(c *client) {
	var b batch
	for {
		select {
		case <-c.wakeup:
		case <-c.link.ctx.Done():
			h.cut(c, Left)
			return
		}
		if over := h.send(c, c.link, &b); over {
			return
		}
		select {
		case c.link.room <- struct{}{}:
		default:
		}
	}
}

// listenTo does what the client says until c is over. After that it goes on
// reading: who closes the connection need not wait for a peer that is given up.
func (h *Handler) listenTo(c *client) {
	for dismissed := false; ; {
		message, err := c.link.socket.Read(c.link.ctx)
		if _, coded := errors.AsType[closeCoder](err); err != nil && !coded {
			h.cut(c, Left)
			return
		}
		if dismissed {
			continue
		}
		if err == nil {
			err = errPanic
			h.guard("the store", func() { err = h.obey(c, message) }) // no server contains what happens here
		}
		if err != nil {
			h.dismiss(c, err)
			dismissed = true
		}
	}
}

// closeCoder is an error that says how the connection is to be closed.
type closeCoder interface {
	error
	CloseCode() int
}

// dismiss ends a client whose last command failed.
func (h *Handler) dismiss(c *client, err error) {
	why, code := Failed, closedError
	if known, ok := isStatus(err); ok {
		why, code, err = Invalid, closedPolicy, known
	} else if known, ok := errors.AsType[closeCoder](err); ok {
		why, code, err = Invalid, known.CloseCode(), known
	} else if c.link.ctx.Err() == nil {
		h.options.Logger.Error("WebSocket failed", "client", c.clientID, "error", err)
	}
	c.mu.Lock()
	c.parting = parting{code, err.Error()}
	c.mu.Unlock()
	h.end(c, why)
}

// A parting is what was wrong with the last command.
type parting struct {
	code int
	text string
}

// farewell is how a socket is closed.
func (c *client) farewell() (code int, reason string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch c.why {
	case Invalid:
		text := c.parting.text
		return c.parting.code, strings.ToValidUTF8(text[:min(len(text), maxCloseReason)], "")
	case IdentityExpired, TooSlow:
		code = closedPolicy
	case Failed:
		code = closedError
	case Replaced, Outdated:
		code = closedNormally
	default:
		code = closedGoingAway
	}
	return code, string(c.why)
}

// ping ends a client that gives no sign of life.
func (h *Handler) ping(c *client) {
	ctx, cancel := context.WithTimeout(c.link.ctx, c.every)
	defer cancel()
	if err := c.link.socket.Ping(ctx); err != nil {
		h.cut(c, Left)
	}
}

// A command is what a client says.
type command struct {
	Subscribe   json.RawMessage `json:"subscribe"` // as the body of a request
	Unsubscribe []string        `json:"unsubscribe"`
}

func parseCommand(message []byte) (*command, error) {
	var cmd command
	in := json.NewDecoder(bytes.NewReader(message))
	in.DisallowUnknownFields()
	if err := in.Decode(&cmd); err != nil || in.More() || cmd.Subscribe == nil && cmd.Unsubscribe == nil {
		return nil, badRequest(`the message is %.40q; it must be {"subscribe":{channel: last id},"unsubscribe":[channel]}, one of them or both`, message)
	}
	return &cmd, nil
}

// obey carries out a command; one after the other.
func (h *Handler) obey(c *client, message []byte) error {
	cmd, err := parseCommand(message)
	if err != nil {
		return err
	}
	h.leave(c, cmd.Unsubscribe)
	if cmd.Subscribe == nil {
		return nil
	}
	q, err := h.readSubscribe(c, cmd.Subscribe)
	if err != nil {
		return err
	}
	if err := c.waitForRoom(); err != nil {
		return err
	}
	return h.join(c, q)
}

func (h *Handler) readSubscribe(c *client, body []byte) (*query, error) {
	all := &asksOf{at: make(map[string]int), limits: &h.options.Limits}
	err := all.readJSON(body)
	if err == nil {
		err = all.mark()
	}
	if err != nil {
		return nil, err
	}
	q := &query{clientID: c.clientID, identity: c.identity, header: make(http.Header), asks: all.asks, gaps: all.positions != ""}
	h.authorize(c.link.request, q)
	return q, nil
}

// waitForRoom waits until what was read for c before has been written: it may
// not ask for more than it takes.
func (c *client) waitForRoom() error {
	for {
		c.mu.Lock()
		free := len(c.lead) == 0 && !c.writing
		c.mu.Unlock()
		if free {
			return nil
		}
		select {
		case <-c.link.room:
		case <-c.link.ctx.Done():
			return c.link.ctx.Err()
		}
	}
}

// join adds channels to c. What is published from now on is noticed, and what
// was before is read, while messages of its other channels go on.
func (h *Handler) join(c *client, q *query) error {
	h.leave(c, channelsOf(q.asks))
	subs, err := h.addFresh(c, q.asks)
	if err != nil || subs == nil {
		return err
	}
	d := &digest{}
	if len(q.asks) > 0 {
		pages, err := h.readFirst(c.link.ctx, q)
		if err != nil {
			return err
		}
		d = h.firstDigest(q, pages, &c.recipient)
	}
	if c.settleFresh(d, subs, q) {
		c.wake()
	}
	return nil
}

func channelsOf(asks []ask) []string {
	channels := make([]string, len(asks))
	for i, a := range asks {
		channels[i] = a.channel
	}
	return channels
}

// addFresh makes the subscriptions; nil: c is over.
func (h *Handler) addFresh(c *client, asks []ask) ([]*subscription, error) {
	c.link.mu.Lock()
	defer c.link.mu.Unlock()
	if c.link.closed {
		return nil, nil
	}
	if most := h.options.Limits.MaxChannels; len(c.subs)+len(asks) > most {
		return nil, badRequest("more than %d channels", most)
	}
	subs := c.subscriptions(asks)
	for _, s := range subs {
		s.fresh = true
	}
	h.table.add(subs) // before c has them: who looks at them there looks at their entries
	c.mu.Lock()
	defer c.mu.Unlock()
	c.subs = append(c.subs, subs...)
	return subs, nil
}

// settleFresh ends the first read of some channels.
func (c *client) settleFresh(d *digest, subs []*subscription, q *query) (wake bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.state == over || c.barred {
		return false
	}
	c.gaps = c.gaps || q.gaps
	_, epoch, _ := d.reached()
	// The others are of another life of the store, or there is more.
	missed := len(subs) > 0 && c.epoch != "" && epoch != c.epoch || d.more
	for _, s := range subs {
		missed = missed || s.missed
	}
	if missed { // before the new ones have a position that could be moved on
		c.fallBehind()
	}
	c.stand(d, subs)
	for _, s := range subs {
		s.fresh = false
	}
	answer := d.gaps.before(d.status.appendTo(d.messages))
	c.lead = append(c.lead, array(q.confirmed().before(answer))) // as textMessages has it
	return c.needsWake()
}

// leave takes channels away from c.
func (h *Handler) leave(c *client, channels []string) {
	unwanted := make(map[string]bool, len(channels))
	for _, channel := range channels {
		unwanted[channel] = true
	}
	c.link.mu.Lock()
	defer c.link.mu.Unlock()
	if c.link.closed {
		return
	}
	if gone := c.drop(unwanted); len(gone) > 0 {
		h.table.remove(gone)
	}
}

func (c *client) drop(unwanted map[string]bool) (gone []*subscription) {
	c.mu.Lock()
	defer c.mu.Unlock()
	kept := c.subs[:0]
	for _, s := range c.subs {
		if unwanted[s.channel] {
			s.gone = true
			gone = append(gone, s)
		} else {
			kept = append(kept, s)
		}
	}
	clear(c.subs[len(kept):])
	c.subs = kept
	if len(gone) > 0 {
		c.version++
	}
	return gone
}

// subscribedChannel carries the answer to a subscription.
const subscribedChannel = "/__subscribed"

// A confirmation is the message before those that a subscription brings.
type confirmation []byte

func (q *query) confirmed() confirmation {
	data := appendNames([]byte(`{"channels":`), channelsOf(q.asks))
	if len(q.refused) > 0 {
		data = appendNames(append(data, `,"refused":`...), q.refused)
	}
	if epoch := q.header.Get(epochHeader); epoch != "" {
		data = appendString(append(data, `,"epoch":`...), epoch)
	}
	return appendMessage(nil, -1, -1, subscribedChannel, append(data, '}'))
}

func (m confirmation) before(messages []byte) []byte {
	if len(messages) == 0 {
		return m
	}
	return append(append(m, ','), messages...)
}

func appendNames(b []byte, names []string) []byte {
	b = append(b, '[')
	for i, name := range names {
		if i > 0 {
			b = append(b, ',')
		}
		b = appendString(b, name)
	}
	return append(b, ']')
}
