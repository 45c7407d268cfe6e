package membus

import (
	"context"
	"fmt"

	"github.com/messagebus-go/messagebus/bus/driver"
)

// What a feed may hold for a reader that is behind, where Options says nothing.
const (
	defaultFeedMessages = 8192
	defaultFeedBytes    = 64 << 20
)

// Options are the settings of a store. Zero fields mean the default.
type Options struct {
	// FeedMessages and FeedBytes bound what one Stream holds for its reader:
	// messages, and bytes of channel names and data. A stream that exceeds one
	// of them ends with driver.ErrFeedOverflow; a single message always fits.
	// Defaults: 8192 messages, 64 MiB.
	FeedMessages int
	FeedBytes    int
}

// A Backend is one peer on a store in memory. It implements driver.Backend and
// driver.Counter;
// all its methods are safe for concurrent use.
type Backend struct {
	store  *store
	closed bool // guarded by store.mu
}

var (
	_ driver.Backend = (*Backend)(nil)
	_ driver.Counter = (*Backend)(nil)
)

// New makes an empty store and returns the first peer on it. Options may be nil.
func New(opts *Options) (*Backend, error) {
	o := Options{}
	if opts != nil {
		o = *opts
	}
	if o.FeedMessages < 0 || o.FeedBytes < 0 {
		return nil, fmt.Errorf("membus: FeedMessages %d, FeedBytes %d: each is positive, or 0 for the default",
			o.FeedMessages, o.FeedBytes)
	}
	if o.FeedMessages == 0 {
		o.FeedMessages = defaultFeedMessages
	}
	if o.FeedBytes == 0 {
		o.FeedBytes = defaultFeedBytes
	}
	return &Backend{store: newStore(o)}, nil
}

// Dial returns a further peer on the same store. Each is closed for itself.
func (b *Backend) Dial() *Backend { return &Backend{store: b.store} }

// Publish implements driver.Backend.
func (b *Backend) Publish(ctx context.Context, channel string, data []byte, limits driver.Limits) (driver.Position, error) {
	unlock, err := b.begin(ctx)
	if err != nil {
		return driver.Position{}, err
	}
	defer unlock()
	return b.store.publish(channel, data, limits)
}

// Read implements driver.Backend. All pages are of one moment.
func (b *Backend) Read(ctx context.Context, ranges []driver.Range) (driver.Snapshot, error) {
	unlock, err := b.begin(ctx)
	if err != nil {
		return driver.Snapshot{}, err
	}
	defer unlock()
	return b.store.read(ranges), nil
}

// GlobalBacklog implements driver.Backend.
func (b *Backend) GlobalBacklog(ctx context.Context, after int64, max int) (driver.GlobalPage, error) {
	unlock, err := b.begin(ctx)
	if err != nil {
		return driver.GlobalPage{}, err
	}
	defer unlock()
	return b.store.globalBacklog(after, max), nil
}

// State implements driver.Backend.
func (b *Backend) State(ctx context.Context) (driver.State, error) {
	unlock, err := b.begin(ctx)
	if err != nil {
		return driver.State{}, err
	}
	defer unlock()
	return b.store.state(), nil
}

// Listen implements driver.Backend. What a stream holds is dropped when it
// ends, as with a broken connection: the end is all that Next still returns.
func (b *Backend) Listen(ctx context.Context) (driver.Stream, error) {
	for {
		f, silence, err := b.listen(ctx)
		if silence == nil {
			return f, err
		}
		select {
		case <-silence:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// listen returns a channel to wait for instead of a feed while the store is silent.
func (b *Backend) listen(ctx context.Context) (driver.Stream, <-chan struct{}, error) {
	unlock, err := b.begin(ctx)
	if err != nil {
		return nil, nil, err
	}
	defer unlock()
	if b.store.faults.silence != nil {
		return nil, b.store.faults.silence, nil
	}
	return b.store.listen(b), nil, nil
}

// Traits implements driver.Backend.
func (b *Backend) Traits() driver.Traits {
	return driver.Traits{DenseGlobalIDs: true, SharedIDs: true}
}

// Close ends the peer's own streams with driver.ErrClosed, which all its
// methods return from then on. The store and its other peers stay as they are.
func (b *Backend) Close() error {
	b.store.mu.Lock()
	defer b.store.mu.Unlock()
	b.closed = true
	for f := range b.store.feeds {
		if f.owner == b {
			b.store.endFeed(f, driver.ErrClosed)
		}
	}
	return nil
}

// begin locks the store for one request, unless the request fails. The caller
// calls what it returns.
func (b *Backend) begin(ctx context.Context) (unlock func(), err error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	b.store.mu.Lock()
	switch {
	case b.closed:
		err = driver.ErrClosed
	case b.store.faults.fail != nil:
		err = b.store.faults.fail
	default:
		return b.store.mu.Unlock, nil
	}
	b.store.mu.Unlock()
	return nil, err
}

// Count implements driver.Counter.
func (b *Backend) Count(ctx context.Context, channels []string) ([]int, error) {
	unlock, err := b.begin(ctx)
	if err != nil {
		return nil, err
	}
	defer unlock()
	return b.store.count(channels), nil
}
