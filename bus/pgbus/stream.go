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
	opened  messages      // Next's own
	turn    chan struct{} // holds a token while it is somebody's turn
	ended   chan struct{} // closed with err set

	mu     sync.Mutex         // protects everything below
	err    error              // why it ended; nil while it lasts
	wanted int                // goroutines that interrupt Next to have their turn
	idling bool               // Next waits for a notice, and can be interrupted
	cancel context.CancelFunc // of a request to the server
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
	names := []string{s.backend.notices, s.backend.largeNotices}
	// In quotes: the gem announces on the name as it is, capitals and all.
	_, err := s.conn.Exec(ctx, "LISTEN "+pgx.Identifier(names[:1]).Sanitize()+"; LISTEN "+pgx.Identifier(names[1:]).Sanitize())
	return err
}

// Next implements driver.Stream.
func (s *stream) Next(ctx context.Context) (driver.Message, error) {
	for {
		if err := s.over(ctx); err != nil {
			return driver.Message{}, err
		}
		if m, ok := s.opened.take(); ok {
			return m, nil
		}
		if err := s.advance(ctx); err != nil {
			return driver.Message{}, err
		}
	}
}

// over returns why Next must not go on.
func (s *stream) over(ctx context.Context) error {
	if err := s.reason(); err != nil {
		return err
	}
	return ctx.Err()
}

// advance takes a turn, which brings messages, or a notice that is none, or was
// interrupted.
func (s *stream) advance(ctx context.Context) error {
	if err := s.take(ctx); err != nil {
		return err
	}
	defer s.give()
	if s.waiting.len() == 0 {
		if err := s.wait(ctx); err != nil {
			return err
		}
	}
	return s.open(ctx)
}

// wait waits until there is a notice, ctx ends, or somebody else wants a turn,
// none of which does the connection any harm.
func (s *stream) wait(ctx context.Context) error {
	if !s.idle(true) {
		return s.reason()
	}
	stop := context.AfterFunc(ctx, s.interrupt)
	err := s.receive()
	stop()
	s.idle(false)
	switch {
	case s.reason() != nil:
		return s.reason()
	case s.conn.IsClosed():
		return s.end(err)
	case s.waiting.len() == 0:
		return ctx.Err()
	}
	return nil
}

// receive waits for a notice and takes those along that have arrived with it.
func (s *stream) receive() error {
	conn := s.conn.PgConn()
	err := conn.WaitForNotification(context.Background())
	if err != nil || conn.Frontend().ReadBufferLen() == 0 {
		return err
	}
	s.interrupt() // what is buffered is read; nothing is waited for
	for err == nil && conn.Frontend().ReadBufferLen() > 0 && s.waiting.len() < mostNotices {
		err = conn.WaitForNotification(context.Background())
	}
	return err
}

// mostNotices are taken from the connection at once.
const mostNotices = 256

// interrupt ends a wait for a notice by a deadline that has passed: pgx keeps
// what it has read of a message until it is asked for the rest.
func (s *stream) interrupt() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.expire()
}

// expire is interrupt; s.mu must be held.
func (s *stream) expire() {
	if s.idling {
		_ = s.conn.PgConn().Conn().SetReadDeadline(time.Unix(1, 0)) // fails on a closed connection only
	}
}

// idle begins a wait that can be interrupted, unless it would be, or ends it.
func (s *stream) idle(begin bool) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if begin && (s.err != nil || s.wanted > 0) {
		return false
	}
	s.idling = begin
	if !begin {
		_ = s.conn.PgConn().Conn().SetReadDeadline(time.Time{}) // likewise
	}
	return true
}

// take takes a turn. Those who want it get it before Next does again.
func (s *stream) take(ctx context.Context) error {
	if err := s.over(ctx); err != nil {
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

// use runs f, whose context ends with the stream as well. It must be one's turn.
func (s *stream) use(ctx context.Context, f func(context.Context) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	s.cancelWith(cancel)
	defer s.cancelWith(nil)
	if err := s.reason(); err != nil {
		return err
	}
	return f(ctx)
}

// cancelWith notes how to end what is going on.
func (s *stream) cancelWith(cancel context.CancelFunc) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.cancel = cancel
}

// want says that somebody wants a turn (1), or not any more (-1).
func (s *stream) want(change int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.wanted += change
	if s.wanted > 0 {
		s.expire()
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
	s.expire()
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
	err = s.use(ctx, s.conn.Ping)
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
