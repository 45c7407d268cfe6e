// Package load puts a load on a running server and measures what comes of it.
//
// Each client is one of package httpclient with one channel, as a page of a browser has.
// Every message carries a number and the time at which it was published, so that a client
// sees what is missing, comes twice or late.
package load

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/messagebus-go/messagebus/httpclient"
)

// Options say what load. All numbers must be above 0.
type Options struct {
	URL      string // public address of the server
	Header   http.Header
	Clients  int
	Channels int           // over which clients and messages are spread evenly
	Rate     int           // messages a second, of all channels together
	Duration time.Duration // of the measurement, which begins when all clients are connected
	Payload  int           // bytes that a message carries beside its number and time

	// Publish publishes one message. It is called concurrently, one message of a channel
	// at a time.
	Publish func(ctx context.Context, channel string, data json.RawMessage) error
}

// connectPatience bounds how long the clients may take to connect, and drainPatience how long
// the last messages may let nothing arrive.
const (
	connectPatience = time.Minute
	drainPatience   = 5 * time.Second
	probeEvery      = 200 * time.Millisecond
)

// A Run is a load under way. Its methods are safe for concurrent use.
type Run struct {
	opts     Options
	channels []*channel
	began    atomic.Int64 // when the measurement did, in Unix nanoseconds; 0: it has not

	connected, published, delivered, missing, repeated, gaps, failed, errors atomic.Int64

	latency histogram

	mu    sync.Mutex
	first error // guarded by mu: of the clients and the publishers
}

// A channel is published to by one goroutine.
type channel struct {
	name string
	last int64 // number of its last message; of that goroutine until the end
}

// body is a message of the load. A number of 0 says: are you there?
type body struct {
	Number int64  `json:"n"`
	At     int64  `json:"at"` // Unix nanoseconds
	Pad    string `json:"pad,omitempty"`
}

// New returns a load that Do starts. name keeps the channels of one run apart from those of
// another.
func New(opts Options, name string) *Run {
	r := &Run{opts: opts}
	for i := range min(opts.Channels, opts.Clients) {
		r.channels = append(r.channels, &channel{name: fmt.Sprintf("/bench/%s/%d", name, i)})
	}
	return r
}

// Do connects the clients, publishes, waits for what is on its way, and disconnects. When ctx
// ends the measurement does, and what there is counts.
func (r *Run) Do(ctx context.Context) (Report, error) {
	begin := time.Now()
	transport := &http.Transport{MaxIdleConnsPerHost: r.opts.Clients, WriteBufferSize: 1 << 10, ReadBufferSize: 4 << 10}
	defer transport.CloseIdleConnections()
	clients := make([]*client, 0, r.opts.Clients)
	defer func() {
		var closing sync.WaitGroup
		for _, c := range clients {
			closing.Go(func() { _ = c.bus.Close() }) // never fails
		}
		closing.Wait()
	}()
	for i := range r.opts.Clients {
		c, err := r.connect(transport, r.channels[i%len(r.channels)])
		if err != nil {
			return Report{}, err
		}
		clients = append(clients, c)
	}
	if err := r.awaitClients(ctx); err != nil {
		return Report{}, err
	}
	connected := time.Since(begin)
	r.began.Store(time.Now().UnixNano())
	r.publish(ctx)
	seconds := time.Since(time.Unix(0, r.began.Load())).Seconds()
	r.drain(ctx)
	for _, c := range clients {
		r.missing.Add(c.lacks())
	}
	return r.report(connected, seconds), nil
}

// A client is one page.
type client struct {
	run     *Run
	bus     *httpclient.Client
	channel *channel

	mu   sync.Mutex // guards below
	here bool
	last int64 // number of the last message
}

func (r *Run) connect(transport *http.Transport, ch *channel) (*client, error) {
	c := &client{run: r, channel: ch}
	var err error
	c.bus, err = httpclient.New(r.opts.URL, &httpclient.Options{
		HTTPClient: &http.Client{Transport: transport},
		Header:     func(context.Context) (http.Header, error) { return r.opts.Header, nil },
		OnError:    r.fail,
	})
	if err != nil {
		return nil, err
	}
	if _, err := c.bus.Subscribe(ch.name, httpclient.Latest(), c.hear); err != nil {
		return nil, errors.Join(err, c.bus.Close())
	}
	return c, nil
}

// hear takes one message.
func (c *client) hear(m httpclient.Message) {
	now := time.Now().UnixNano()
	var b body
	if err := json.Unmarshal(m.Data, &b); err != nil {
		c.run.fail(fmt.Errorf("%s holds what is not of this run: %w", m.Channel, err))
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case b.Number == 0:
		if !c.here {
			c.here = true
			c.run.connected.Add(1)
		}
	case b.Number <= c.last:
		c.run.repeated.Add(1)
	default:
		c.run.missing.Add(b.Number - c.last - 1)
		c.last = b.Number
		c.run.delivered.Add(1)
		c.run.latency.add(time.Duration(now - b.At))
	}
}

// lacks returns how many of the last messages it does not have.
func (c *client) lacks() int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.channel.last - c.last
}

func (r *Run) fail(err error) {
	r.errors.Add(1)
	if _, ok := errors.AsType[*httpclient.GapError](err); ok {
		r.gaps.Add(1)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.first == nil {
		r.first = err
	}
}

// awaitClients asks until all clients answer, as a message that is published before a
// client's first request does not come to it.
func (r *Run) awaitClients(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, connectPatience)
	defer cancel()
	ticker := time.NewTicker(probeEvery)
	defer ticker.Stop()
	for int(r.connected.Load()) < r.opts.Clients {
		for _, ch := range r.channels {
			if err := r.send(ctx, ch, 0); err != nil && ctx.Err() == nil {
				return fmt.Errorf("publish: %w", err)
			}
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return r.notConnected()
		}
	}
	return nil
}

func (r *Run) notConnected() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	err := fmt.Errorf("%d of %d clients are connected after %v", r.connected.Load(), r.opts.Clients, connectPatience)
	if r.first != nil {
		err = fmt.Errorf("%w; the first error: %w", err, r.first)
	}
	return err
}

// publish publishes to all channels at the rate that is wanted, or as quickly as the server
// takes it.
func (r *Run) publish(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, r.opts.Duration)
	defer cancel()
	every := time.Duration(float64(time.Second) * float64(len(r.channels)) / float64(r.opts.Rate))
	var publishers sync.WaitGroup
	for i, ch := range r.channels {
		offset := every * time.Duration(i) / time.Duration(len(r.channels))
		publishers.Go(func() { r.publishTo(ctx, ch, offset, every) })
	}
	publishers.Wait()
}

func (r *Run) publishTo(ctx context.Context, ch *channel, offset, every time.Duration) {
	next := time.Now().Add(offset)
	timer := time.NewTimer(offset)
	defer timer.Stop()
	for {
		select {
		case <-timer.C:
		case <-ctx.Done():
			return
		}
		// What has begun is ended: a message of which nobody knows is not one that is missing.
		if err := r.send(context.WithoutCancel(ctx), ch, ch.last+1); err != nil {
			r.failed.Add(1)
			r.fail(fmt.Errorf("publish: %w", err))
		} else {
			ch.last++
			r.published.Add(1)
		}
		next = later(next.Add(every), time.Now())
		timer.Reset(time.Until(next))
	}
}

// later keeps a publisher that has fallen behind from making up for it in a burst.
func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

func (r *Run) send(ctx context.Context, ch *channel, number int64) error {
	data, err := json.Marshal(body{Number: number, At: time.Now().UnixNano(), Pad: strings.Repeat("x", r.opts.Payload)})
	if err != nil {
		return err
	}
	return r.opts.Publish(ctx, ch.name, data)
}

// drain waits until everything has arrived, or nothing does any more.
func (r *Run) drain(ctx context.Context) {
	ticker := time.NewTicker(20 * time.Millisecond)
	defer ticker.Stop()
	quiet, seen := time.Now(), int64(-1)
	for r.delivered.Load() < r.expected() && time.Since(quiet) < drainPatience {
		if now := r.delivered.Load(); now != seen {
			quiet, seen = time.Now(), now
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return
		}
	}
}

// expected is how many deliveries the messages of all channels come to.
func (r *Run) expected() (n int64) {
	for i := range r.opts.Clients {
		n += r.channels[i%len(r.channels)].last
	}
	return n
}
