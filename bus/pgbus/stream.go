package pgbus

import (
	"context"
	"net"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgconn/ctxwatch"

	"github.com/messagebus-go/messagebus/bus/driver"
)

// A stream implements driver.Stream on a connection of its own. A connection
// can be used by one goroutine at a time: they take turns. Next keeps the turn
// while it waits for a notice, which is nearly always; who else wants it
// interrupts that wait.
type stream struct {
	backend *Backend
	conn    *pgx.Conn     // of whose turn it is
	waiting *notices      // likewise
	turn    chan struct{} // holds a token while it is somebody's turn
	ended   chan struct{} // closed with err set

	mu     sync.Mutex // protects everything below
	err    error      // why it ended; nil while it lasts
	wanted int        // goroutines that interrupt Next to have their turn
	cancel context.CancelFunc
	idle   bool // what cancel ends is a wait for a notice, which can begin again
}

// Listen implements driver.Backend. The stream's connection does not come from
// the pool.
func (b *Backend) Listen(ctx context.Context) (driver.Stream, error) {
	if err := b.begin(ctx); err != nil {
		return nil, err
	}
	if err := b.ensureTable(ctx); err != nil {
		return nil, err
	}
	s := &stream{backend: b, waiting: &notices{}, turn: make(chan struct{}, 1), ended: make(chan struct{})}
	var err error
	if s.conn, err = b.connect(ctx, s.waiting.put); err != nil {
		return nil, err
	}
	if err = s.listen(ctx); err == nil {
		err = b.adopt(s)
	}
	if err != nil {
		disconnect(s.conn)
		return nil, err
	}
	return s, nil
}

// connect opens a connection that hands its notices to put.
func (b *Backend) connect(ctx context.Context, put pgconn.NotificationHandler) (*pgx.Conn, error) {
	config, connected := b.options.ListenConfig, func(context.Context, *pgx.Conn) error { return nil }
	if config != nil {
		config = config.Copy()
	} else {
		pool := b.pool.Config()
		config = pool.ConnConfig
		if pool.BeforeConnect != nil {
			if err := pool.BeforeConnect(ctx, config); err != nil {
				return nil, err
			}
		}
		if pool.AfterConnect != nil {
			connected = pool.AfterConnect
		}
	}
	config.OnNotification = put
	config.BuildContextWatcherHandler = deadlines
	conn, err := pgx.ConnectConfig(ctx, config)
	if err != nil {
		return nil, err
	}
	keepAlive(conn.PgConn().Conn())
	if err := connected(ctx, conn); err != nil {
		disconnect(conn)
		return nil, err
	}
	return conn, nil
}

// deadlines makes a context that ends a deadline of the connection, which stays
// usable when it has interrupted a wait.
func deadlines(conn *pgconn.PgConn) ctxwatch.Handler {
	return &pgconn.DeadlineContextWatcherHandler{Conn: conn.Conn()}
}

// keepAlive has the system find out about a peer that is gone, for those who do
// not use Ping.
func keepAlive(conn net.Conn) {
	if wrapped, ok := conn.(interface{ NetConn() net.Conn }); ok {
		conn = wrapped.NetConn()
	}
	if tcp, ok := conn.(*net.TCPConn); ok {
		// Without it Ping still works.
		_ = tcp.SetKeepAliveConfig(net.KeepAliveConfig{Enable: true, Idle: 15 * time.Second, Interval: 5 * time.Second, Count: 3})
	}
}

// disconnect tells the server, within a second. Where pgx has broken with it
// before, it may still be waiting for the server's last word: not any longer.
func disconnect(conn *pgx.Conn) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	_ = conn.Close(ctx) // closed in any case
	_ = conn.PgConn().Conn().Close()
}

func (s *stream) listen(ctx context.Context) error {
	names := []string{s.backend.notices(), s.backend.largeNotices()}
	// In quotes: the gem announces on the name as it is, capitals and all.
	_, err := s.conn.Exec(ctx, "LISTEN "+pgx.Identifier(names[:1]).Sanitize()+"; LISTEN "+pgx.Identifier(names[1:]).Sanitize())
	return err
}

// Next implements driver.Stream.
func (s *stream) Next(ctx context.Context) (driver.Message, error) {
	for {
		m, ok, err := s.advance(ctx)
		if ok || err != nil {
			return m, err
		}
	}
}

// advance takes a turn, which brings a message, or a notice that is none, or
// was interrupted.
func (s *stream) advance(ctx context.Context) (m driver.Message, ok bool, err error) {
	if err := s.take(ctx); err != nil {
		return driver.Message{}, false, err
	}
	defer s.give()
	n := s.waiting.first()
	if n == nil {
		return driver.Message{}, false, s.wait(ctx)
	}
	m, ok, err = s.open(ctx, n)
	if err == nil {
		s.waiting.drop()
	}
	return m, ok, err
}

// wait waits until there is a notice or somebody else wants a turn. That, or
// the end of ctx, does the connection no harm.
func (s *stream) wait(ctx context.Context) error {
	err := s.use(ctx, true, s.conn.PgConn().WaitForNotification)
	switch {
	case err == nil, s.lives() && ctx.Err() == nil:
		return nil
	case s.lives():
		return ctx.Err()
	}
	return s.end(err)
}

// lives reports whether the connection is still good. It must be one's turn.
func (s *stream) lives() bool { return !s.conn.IsClosed() && s.reason() == nil }

// take takes a turn. Those who want it get it before Next does again.
func (s *stream) take(ctx context.Context) error {
	if err := s.reason(); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	select {
	case s.turn <- struct{}{}:
		return nil
	case <-s.ended:
		return s.reason()
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (s *stream) give() { <-s.turn }

// use runs f, whose context also ends with the stream and, if idle, when
// somebody else wants a turn. It must be one's own.
func (s *stream) use(ctx context.Context, idle bool, f func(context.Context) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer s.begin(nil, false)
	if !s.begin(cancel, idle) {
		return context.Canceled
	}
	return f(ctx)
}

// begin notes how to end what begins. It reports false if that is wanted already.
func (s *stream) begin(cancel context.CancelFunc, idle bool) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.cancel, s.idle = cancel, idle
	return s.err == nil && (!idle || s.wanted == 0)
}

// want says that somebody wants a turn (1), or not any more (-1).
func (s *stream) want(change int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.wanted += change
	if s.wanted > 0 && s.idle && s.cancel != nil {
		s.cancel()
	}
}

func (s *stream) reason() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.err
}

// end ends the stream for a reason, of which the first counts and is returned.
func (s *stream) end(err error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err != nil {
		return s.err
	}
	s.err = err
	close(s.ended)
	if s.cancel != nil {
		s.cancel()
	}
	return err
}

// Ping implements driver.Stream. The end of ctx while the server is being asked
// ends the stream too: how the connection stands is not known then.
func (s *stream) Ping(ctx context.Context) error {
	s.want(1)
	err := s.take(ctx)
	s.want(-1)
	if err != nil {
		return err
	}
	defer s.give()
	err = s.use(ctx, false, s.conn.Ping)
	if err != nil {
		_ = s.end(err)
	}
	return err
}

// Close implements driver.Stream.
func (s *stream) Close() error {
	_ = s.end(driver.ErrClosed) // or it has ended already
	s.turn <- struct{}{}        // soon: whatever is under way was canceled
	disconnect(s.conn)
	s.give()
	s.backend.release(s)
	return nil
}
