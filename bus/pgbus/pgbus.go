package pgbus

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/messagebus-go/messagebus/bus/driver"
)

// defaultSettleHole is long for a Ruby publisher to take between two statements.
const defaultSettleHole = 250 * time.Millisecond

// Options are the settings of a Backend. Zero fields mean the default.
type Options struct {
	// DB sets apart the announcements of several buses that share one table:
	// the notification channel is _message_bus_<DB>. It is the gem's bus-level
	// db, at most 47 bytes long, and nothing that ends in _id. Default: "0".
	DB string

	// SettleHole is how long package bus waits for a message with an id that is
	// missing in the feed. Negative: not at all, for a database in which Go
	// alone publishes. Default: 250 ms.
	SettleHole time.Duration

	// ListenConfig is what streams connect with, for a pool that goes through
	// PgBouncer in transaction mode. It must come from pgx.ParseConfig, and is
	// copied. Default: as the pool connects, with its hooks BeforeConnect and
	// AfterConnect.
	ListenConfig *pgx.ConnConfig
}

// A Backend is one peer on a database. It implements driver.Backend and
// driver.Resetter; all its methods are safe for concurrent use. It has goroutines
// only while publishes wait for each other.
type Backend struct {
	pool    *pgxpool.Pool
	options Options
	trims   trims
	line    line

	// The notification channels of ordinary messages, and of those that are too long
	// for a notice.
	notices, largeNotices string

	mu      sync.Mutex // protects everything below
	closed  bool
	streams map[*stream]struct{}
}

var (
	_ driver.Backend  = (*Backend)(nil)
	_ driver.Resetter = (*Backend)(nil)
	_ driver.Counter  = (*Backend)(nil)
)

// New returns a peer that works with pool, which stays the caller's to close,
// after the Backend. It does not connect. Options may be nil.
func New(pool *pgxpool.Pool, opts *Options) (*Backend, error) {
	if pool == nil {
		return nil, errors.New("pgbus: the pool is nil")
	}
	b := &Backend{pool: pool, streams: make(map[*stream]struct{})}
	if opts != nil {
		b.options = *opts
	}
	if err := b.options.complete(); err != nil {
		return nil, fmt.Errorf("pgbus: %w", err)
	}
	b.notices = channelPrefix + b.options.DB
	b.largeNotices = b.notices + largeSuffix
	return b, nil
}

// complete checks the options and puts in the defaults.
func (o *Options) complete() error {
	if o.DB == "" {
		o.DB = "0"
	}
	if o.SettleHole == 0 {
		o.SettleHole = defaultSettleHole
	}
	o.SettleHole = max(o.SettleHole, 0)
	if o.ListenConfig != nil {
		o.ListenConfig = o.ListenConfig.Copy()
	}
	const longestName = 63 // of anything in Postgres
	if most := longestName - len(channelPrefix) - len(largeSuffix); len(o.DB) > most {
		return fmt.Errorf("DB of %d bytes: at most %d", len(o.DB), most)
	}
	if strings.HasSuffix(o.DB, largeSuffix) || strings.ContainsRune(o.DB, 0) {
		return fmt.Errorf("DB %q: it may not end in %s or contain NUL", o.DB, largeSuffix)
	}
	return nil
}

// The notification channels (message_bus 4.5.2, lib/message_bus/backends/postgres.rb,
// and, for the ids of long messages, this package alone).
const (
	channelPrefix = "_message_bus_"
	largeSuffix   = "_id"
)

// Traits implements driver.Backend.
func (b *Backend) Traits() driver.Traits {
	return driver.Traits{SharedIDs: true, SettleHole: b.options.SettleHole}
}

// Close ends the peer's streams with driver.ErrClosed, which all its methods
// return from then on. The pool stays open.
func (b *Backend) Close() error {
	b.mu.Lock()
	b.closed = true
	open := make([]*stream, 0, len(b.streams))
	for s := range b.streams {
		open = append(open, s)
	}
	b.mu.Unlock()
	for _, s := range open {
		_ = s.Close() // returns nil
	}
	return nil
}

// begin reports why a request cannot be made.
func (b *Backend) begin(ctx context.Context) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return driver.ErrClosed
	}
	return ctx.Err()
}

// adopt makes s end with the Backend, unless that is closed already.
func (b *Backend) adopt(s *stream) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return driver.ErrClosed
	}
	b.streams[s] = struct{}{}
	return nil
}

func (b *Backend) release(s *stream) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.streams, s)
}
