package bus

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/messagebus-go/messagebus/bus/driver"
)

// A Bus publishes to one store and hears what is published there. Make one
// with New and close it with Close. All methods are safe for concurrent use.
//
// A Bus opens the store's live feed with the first subscription; one that only
// publishes has no feed and no goroutines.
type Bus struct {
	*core
	site  string
	sited bool // a view made by Site
}

// core is what all views of a bus share.
type core struct {
	backend driver.Backend
	traits  driver.Traits
	options Options
	hub     *hub
	health  healthState
	waiting waiting
	reads   gatherer

	published atomic.Uint64 // numbers the publishes
	tried     chan struct{} // closed when the feed was opened, or could not be, for the first time

	ctx    context.Context //nolint:containedctx // the background loops' own: it ends with Close
	cancel context.CancelFunc
	loops  sync.WaitGroup

	mu        sync.Mutex // guards below
	listening bool
	closed    bool
}

// Options are the settings of a Bus. Zero fields mean defaults.
type Options struct {
	// Retention, of this bus's publishes. See also MaxBacklogSize and
	// MaxBacklogAge, which override it for one publish.
	MaxBacklogSize       int           // messages kept of each channel; default 1000
	MaxGlobalBacklogSize int           // messages kept of all channels; default 2000
	MaxBacklogAge        time.Duration // rounded up to seconds; default 7 days
	ClearEvery           int           // trims when an id is a multiple of it; default 1

	// MaxMessageBytes is the largest message that Publish takes, counted as
	// it is stored, with its channel and envelope. Default 8 MiB.
	MaxMessageBytes int

	// Keepalive is how often a listening bus publishes on /__mb_keepalive__/,
	// as the gem does. Default 60 s; negative: never.
	Keepalive time.Duration

	// ReadOnlyQueue bounds what waits in memory while the store is read-only.
	ReadOnlyQueue QueueLimits

	// LivenessBound is how long a dead feed may go unnoticed. Default 10 s.
	LivenessBound time.Duration

	Logger *slog.Logger // default: silent
	Trace  *Trace       // default: none
}

// The gem's defaults (message_bus 4.5.2, lib/message_bus/backends/redis.rb and
// lib/message_bus.rb), and our own for what it does not have.
const (
	defaultMaxBacklogSize       = 1000
	defaultMaxGlobalBacklogSize = 2000
	defaultMaxBacklogAge        = 7 * 24 * time.Hour
	defaultClearEvery           = 1
	defaultMaxMessageBytes      = 8 << 20
	defaultKeepalive            = time.Minute
	defaultLivenessBound        = 10 * time.Second
)

// New returns a Bus on a store. The Bus owns backend and closes it, which does
// not close a client that the backend was made with. opts may be nil. It
// fails on a negative limit, and does not ask the store anything.
func New(backend driver.Backend, opts *Options) (*Bus, error) {
	if opts == nil {
		opts = &Options{}
	}
	resolved, err := opts.resolve()
	if err != nil {
		return nil, err
	}
	c := &core{backend: backend, traits: backend.Traits(), options: resolved, hub: newHub(), tried: make(chan struct{})}
	c.waiting.limits = resolved.ReadOnlyQueue
	c.ctx, c.cancel = context.WithCancel(context.Background())
	return &Bus{core: c}, nil
}

// resolve checks the options and fills in the defaults.
func (o *Options) resolve() (Options, error) {
	r := *o
	for _, limit := range []struct {
		name  string
		value *int
		unset int
	}{
		{"MaxBacklogSize", &r.MaxBacklogSize, defaultMaxBacklogSize},
		{"MaxGlobalBacklogSize", &r.MaxGlobalBacklogSize, defaultMaxGlobalBacklogSize},
		{"ClearEvery", &r.ClearEvery, defaultClearEvery},
		{"MaxMessageBytes", &r.MaxMessageBytes, defaultMaxMessageBytes},
		{"ReadOnlyQueue.Bytes", &r.ReadOnlyQueue.Bytes, defaultQueueBytes},
	} {
		if *limit.value < 0 {
			return r, fmt.Errorf("bus: new: %w: %s is %d; it must be 0 (the default, %d) or more",
				ErrInvalidLimit, limit.name, *limit.value, limit.unset)
		}
		if *limit.value == 0 {
			*limit.value = limit.unset
		}
	}
	if r.MaxBacklogAge < 0 || r.LivenessBound < 0 {
		return r, fmt.Errorf("bus: new: %w: MaxBacklogAge is %v and LivenessBound is %v; both must be 0 (the default) or more",
			ErrInvalidLimit, r.MaxBacklogAge, r.LivenessBound)
	}
	if r.MaxBacklogAge == 0 {
		r.MaxBacklogAge = defaultMaxBacklogAge
	}
	r.MaxBacklogAge = wholeSeconds(r.MaxBacklogAge)
	if r.ReadOnlyQueue.Messages == 0 {
		r.ReadOnlyQueue.Messages = defaultQueueMessages
	}
	if r.LivenessBound == 0 {
		r.LivenessBound = defaultLivenessBound
	}
	if r.Keepalive == 0 {
		r.Keepalive = defaultKeepalive
	}
	if r.Logger == nil {
		r.Logger = slog.New(slog.DiscardHandler)
	}
	if r.Trace == nil {
		r.Trace = &Trace{}
	}
	return r, nil
}

// wholeSeconds rounds up, so that a fraction is not the nothing of 0.
func wholeSeconds(d time.Duration) time.Duration {
	if rest := d % time.Second; rest > 0 {
		return d - rest + time.Second
	}
	return d
}

// Site returns a view of the bus for one site: what it publishes belongs to
// the site, and it hears only that, and channels below /global/, which belong
// to every site. A name that cannot be stored is refused by the view's
// methods. The empty name is a site of its own, apart from no site at all.
// Closing a view closes the bus.
func (b *Bus) Site(name string) *Bus {
	return &Bus{core: b.core, site: name, sited: true}
}

// SiteName returns the site of a view made by Site, and whether b is one.
func (b *Bus) SiteName() (name string, sited bool) { return b.site, b.sited }

// Root returns the bus that b is a view of: the one without a site.
func (b *Bus) Root() *Bus { return &Bus{core: b.core} }

// MayComeLate reports whether publishers of the store need not wait for each
// other: a message may then come after others with higher ids, and a page of the
// backlog may lack one that is below its last. Message.Late marks those that are
// delivered so.
func (b *Bus) MayComeLate() bool { return b.traits.SettleHole > 0 }

// Close ends every subscription with ErrClosed, waits until the bus's last
// goroutine is gone, callbacks of SubscribeFunc included, and closes the
// backend. It must not be called from such a callback. Its error tells of
// messages that still waited for a read-only store and are lost, or that the
// backend did not close. Further calls do nothing.
func (b *Bus) Close() error {
	c := b.core
	c.mu.Lock()
	wasClosed := c.closed
	c.closed = true
	c.mu.Unlock()
	c.cancel()
	c.hub.closeAll()
	c.loops.Wait()
	if wasClosed {
		return nil
	}
	if err := errors.Join(c.waiting.abandon(), c.backend.Close()); err != nil {
		return fmt.Errorf("bus: close: %w", err)
	}
	return nil
}

// start runs f in a goroutine that Close waits for; false when closed.
func (c *core) start(f func()) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return false
	}
	c.loops.Go(f)
	return true
}

// listen opens the live feed, once.
func (c *core) listen() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return ErrClosed
	}
	if !c.listening {
		c.listening = true
		c.health.setFeed(errNotYet)
		c.loops.Go((&listener{core: c}).run)
		if c.options.Keepalive > 0 {
			c.loops.Go(c.keepAlive)
		}
	}
	return nil
}

func (c *core) checkOpen() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return ErrClosed
	}
	return nil
}
