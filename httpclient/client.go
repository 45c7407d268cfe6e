package httpclient

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"net/url"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode/utf8"
)

// A Client subscribes to channels of one server. One request at a time carries all of
// them, sent by one goroutine, which also calls the application's functions. Make one
// with New; Close ends it. Its methods are safe for concurrent use, and may be called
// from callbacks, but for Close and Next.
type Client struct {
	options Options
	base    *url.URL
	shown   string // the address in errors: without credentials and client id
	http    *http.Client
	own     *http.Transport // nil: the http.Client is the caller's
	work    sync.WaitGroup

	mu        sync.Mutex                 // guards below
	loop      *loop                      // the last one; nil before the first
	started   bool                       // the loop is to go on
	stopped   bool                       // by Stop: Subscribe does not start it
	closed    bool                       // for good
	resumed   chan struct{}              // closed by Resume; nil: it is not paused
	halted    chan struct{}              // closed when the client has stopped by itself
	failure   error                      // why it has; nil: it has not
	subs      []*Subscription            // replaced at each change, never changed in place
	byChannel map[string][]*Subscription // likewise its lists
	stored    map[string]Position        // of channels that go on from an earlier life
	counts    counts

	// The loop's own.
	schedule   schedule
	lastStart  time.Time
	sequence   int64
	unstreamed int // held requests that are still to go without streaming
	refusals   int // by 401 and 403, in a row
	patience   patience
}

// counts are what Diagnostics tells.
type counts struct {
	calls, failures, recent int
	lastCall                time.Time
	connected               bool
	streaming               bool
	lastError               error
}

// A loop is the goroutine of a client from Start to Stop.
type loop struct {
	cancel context.CancelFunc
	done   chan struct{} // closed when it has ended
	kick   chan struct{} // the subscriptions have changed
	cut    func()        // ends the request under way for that; guarded by Client.mu; nil: there is none
	stale  bool          // they have, since the last plan; guarded by Client.mu
}

// New makes a client for the server whose message bus lies at baseURL + "message-bus/".
// A slash is added to baseURL where it has none at its end. It sends nothing before
// there is a subscription. nil means the default options.
func New(baseURL string, opts *Options) (*Client, error) {
	base, err := parseBase(baseURL)
	if err != nil {
		return nil, err
	}
	if opts == nil {
		opts = &Options{}
	}
	options, err := opts.resolve()
	if err != nil {
		return nil, err
	}
	c := &Client{
		options: options, base: base.JoinPath("message-bus", "/"),
		byChannel: make(map[string][]*Subscription), stored: maps.Clone(options.Positions),
		halted: make(chan struct{}),
	}
	shown := *c.base
	shown.User = nil
	c.shown = shown.String()
	c.http, c.own = options.httpClient()
	c.schedule = schedule{timing: &c.options.Timing, random: rand.Float64}
	c.patience.initial = options.Timing.SilenceTimeout
	return c, nil
}

// Subscribe has fn called for each message of a channel, from a position on, in the
// order of the channel, each once. All callbacks of a client run one at a time on one
// goroutine, which reads on when they return. With a nil fn the subscription is read
// by Next or Messages instead.
//
// Each call is a subscription of its own with its own position. The client starts by
// itself, unless Stop was called. A channel is UTF-8 and begins with a slash; other
// names are refused, and so are those of the protocol, /__status and /__gap.
func (c *Client) Subscribe(channel string, from Position, fn func(Message)) (*Subscription, error) {
	if !utf8.ValidString(channel) || !strings.HasPrefix(channel, "/") || channel == statusChannel || channel == gapChannel {
		return nil, fmt.Errorf("httpclient: subscribe to %q: a channel is UTF-8, begins with a slash and is none of the protocol's own", channel)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return nil, ErrClosed
	}
	if stored, ok := c.stored[channel]; ok {
		from = stored
	}
	s := newSubscription(c, channel, from, fn)
	c.subs = append(slices.Clip(c.subs), s)
	c.byChannel[channel] = append(slices.Clip(c.byChannel[channel]), s)
	if !c.started && !c.stopped {
		c.begin()
	}
	c.change()
	return s, nil
}

// Unsubscribe ends all subscriptions of a channel. A trailing * ends those of all
// channels that begin with what stands before it: /chat/*, or * for all. It reports
// whether there were any. No callback of theirs begins afterwards.
func (c *Client) Unsubscribe(channel string) bool {
	prefix, isPrefix := strings.CutSuffix(channel, "*")
	return c.remove(func(s *Subscription) bool {
		return s.channel == channel || isPrefix && strings.HasPrefix(s.channel, prefix)
	})
}

func (c *Client) remove(matches func(*Subscription) bool) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	kept := slices.DeleteFunc(slices.Clone(c.subs), matches)
	if len(kept) == len(c.subs) {
		return false
	}
	for _, s := range c.subs {
		if matches(s) {
			s.end()
			c.forget(s)
		}
	}
	c.subs = kept
	c.change()
	return true
}

// forget takes s from those of its channel. c.mu must be held.
func (c *Client) forget(s *Subscription) {
	others := slices.DeleteFunc(slices.Clone(c.byChannel[s.channel]), func(other *Subscription) bool { return other == s })
	if len(others) > 0 {
		c.byChannel[s.channel] = others
		return
	}
	delete(c.byChannel, s.channel)
	delete(c.stored, s.channel)
}

// change has the request start anew, once for many changes in a row. c.mu must be held.
func (c *Client) change() {
	if !c.started {
		return
	}
	c.loop.stale = true
	if c.loop.cut != nil {
		c.loop.cut()
	}
	select {
	case c.loop.kick <- struct{}{}:
	default:
	}
}

// Start begins to send requests, as Subscribe does by itself. It is of use after Stop,
// and after the client has stopped because it was refused. It does nothing on one that is
// started or closed.
func (c *Client) Start() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.stopped = false
	if !c.started && !c.closed {
		c.begin()
	}
}

var errExited = errors.New("httpclient: a callback has ended the goroutine of its client, as runtime.Goexit and a test's FailNow do")

// begin starts the goroutine. c.mu must be held.
func (c *Client) begin() {
	ctx, cancel := context.WithCancel(context.Background())
	previous := c.loop
	l := &loop{cancel: cancel, done: make(chan struct{}), kick: make(chan struct{}, 1)}
	c.loop, c.started = l, true
	if c.failure != nil {
		c.failure, c.halted = nil, make(chan struct{})
	}
	c.work.Go(func() {
		defer close(l.done)
		defer cancel()
		if previous != nil {
			<-previous.done
		}
		served := false
		defer func() {
			if !served {
				c.halt(l, errExited)
			}
		}()
		c.serve(ctx, l)
		served = true
	})
}

// Stop ends the request and sends no more. A callback that is running goes on; no
// further one begins. Subscriptions keep their positions, and Start goes on from there.
func (c *Client) Stop() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.stopped = true
	c.stop()
}

// stop ends the loop. c.mu must be held.
func (c *Client) stop() {
	c.started = false
	if c.loop != nil {
		c.loop.cancel()
	}
}

// Pause holds back all messages until Resume. The client reads no further than to the
// next one, so that what comes meanwhile waits in the backlog of the server, and not in
// memory.
func (c *Client) Pause() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.resumed == nil {
		c.resumed = make(chan struct{})
	}
}

// Resume goes on after Pause.
func (c *Client) Resume() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.resumed != nil {
		close(c.resumed)
		c.resumed = nil
	}
}

// Close stops the client for good and ends its subscriptions. It returns when a callback
// that is running has returned and the goroutine is gone, so it must not be called from
// one; Stop may.
func (c *Client) Close() error {
	c.mu.Lock()
	c.closed = true
	c.stop()
	for _, s := range c.subs {
		s.end()
	}
	c.mu.Unlock()
	c.work.Wait()
	if c.own != nil {
		c.own.CloseIdleConnections()
	}
	return nil
}

// A Status says what a client does.
type Status string

// What a client does.
const (
	Stopped Status = "stopped" // it was not started, or has stopped
	Started Status = "started"
	Paused  Status = "paused" // by Pause, started or not
)

// Status returns what the client does.
func (c *Client) Status() Status {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.status()
}

func (c *Client) status() Status {
	switch {
	case c.resumed != nil:
		return Paused
	case c.started:
		return Started
	}
	return Stopped
}

// Diagnostics are what a client can tell of itself.
type Diagnostics struct {
	Status         Status
	ClientID       string
	Channels       []string  // of the subscriptions, in their order; one with several stands several times
	Calls          int       // requests so far
	Failures       int       // requests that failed so far
	RecentFailures int       // since the last part of an answer
	LastCall       time.Time // when the last request began; zero: there was none
	Connected      bool      // the request under way has brought something, or the last one has
	Streaming      bool      // the last request asked for a stream
	LastError      error     // of the last request that failed; nil: none has
}

// Diagnostics returns what the client can tell of itself.
func (c *Client) Diagnostics() Diagnostics {
	c.mu.Lock()
	defer c.mu.Unlock()
	channels := make([]string, len(c.subs))
	for i, s := range c.subs {
		channels[i] = s.channel
	}
	n := &c.counts
	return Diagnostics{
		Status: c.status(), ClientID: c.options.ClientID, Channels: channels,
		Calls: n.calls, Failures: n.failures, RecentFailures: n.recent, LastCall: n.lastCall,
		Connected: n.connected, Streaming: n.streaming, LastError: n.lastError,
	}
}

// Positions returns how far each channel has been handed over: to callbacks that have
// returned, and by Next. Of several subscriptions to a channel the one that is farthest
// behind counts. Channels of which that is not known yet, because their subscription began
// at Latest or Last and nothing was heard so far, are left out. The map is the caller's.
func (c *Client) Positions() map[string]Position {
	c.mu.Lock()
	defer c.mu.Unlock()
	positions := make(map[string]Position, len(c.byChannel))
	unknown := make(map[string]bool)
	for _, s := range c.subs {
		other, both := positions[s.channel]
		switch {
		case s.done.id < 0:
			unknown[s.channel] = true
		case !both || s.done.id < other.id:
			positions[s.channel] = s.done
		}
	}
	maps.DeleteFunc(positions, func(channel string, _ Position) bool { return unknown[channel] })
	return positions
}

// subscriptionsTo returns the subscriptions of a channel; they are not to be changed.
func (c *Client) subscriptionsTo(channel []byte) []*Subscription {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.byChannel[string(channel)]
}

// ready waits while the client is paused; false: s has ended, or the client is to stop.
func (c *Client) ready(s *Subscription, stop <-chan struct{}) bool {
	for {
		c.mu.Lock()
		resumed := c.resumed
		c.mu.Unlock()
		select {
		case <-stop:
			return false
		case <-s.ended:
			return false
		default:
		}
		if resumed == nil {
			return true
		}
		select {
		case <-resumed:
		case <-stop:
		case <-s.ended:
		}
	}
}

// call runs a function of Options.
func (c *Client) call(fn func()) (err error) {
	defer caught("", &err)
	fn()
	return nil
}

// caught is deferred around a function of the application, which was called for a channel;
// empty: it is one of Options.
func caught(channel string, err *error) {
	if value := recover(); value != nil {
		*err = &CallbackError{Channel: channel, Value: value, Stack: debug.Stack()}
	}
}

// report tells the application of an error.
func (c *Client) report(err error) {
	if c.options.OnError != nil {
		if err = c.call(func() { c.options.OnError(err) }); err == nil {
			return
		}
	}
	c.options.Logger.Warn("message bus client", "server", c.shown, "error", err)
}

// halt stops the client because asking again cannot help.
func (c *Client) halt(l *loop, err error) {
	c.mu.Lock()
	if c.loop == l && c.started {
		c.stopped, c.failure = true, err
		close(c.halted)
		c.stop()
	}
	c.mu.Unlock()
	c.report(err)
}

// fate returns what closes when the client has stopped by itself, and why it has.
func (c *Client) fate() (halted <-chan struct{}, why error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.halted, c.failure
}
