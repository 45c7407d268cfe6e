package redisbus

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"

	"github.com/messagebus-go/messagebus/bus/driver"
)

// endOfSubscription, on the pub/sub channel, ends the subscriptions of Ruby
// peers (message_bus 4.5.2, lib/message_bus/backends/redis.rb). It is not for us.
const endOfSubscription = "$$UNSUBSCRIBE"

// lookAhead bounds what Ping reads for a reader that is not there: bytes.
const lookAhead = 1 << 20

// A stream implements driver.Stream on a connection of its own. go-redis opens
// it, with all that the client's options say of dialing and logging in, and has
// no part in it from then on: its own subscriptions connect again in secret.
//
// Bytes are read only when somebody waits for them, so a reader that is slow
// fills the buffers of the network and then that of the server, which cuts the
// connection (client-output-buffer-limit pubsub).
type stream struct {
	backend *Backend
	client  *redis.Client // owns conn
	conn    net.Conn
	ended   chan struct{} // closed with err set

	reading chan struct{} // holds a token while somebody reads: guards buffer and pinged
	buffer  buffer
	pinged  uint64 // the last ping whose answer Next has passed

	pinging chan struct{} // holds a token while somebody pings: guards pings
	pings   uint64
	pong    chan uint64 // of the latest answers, the newest

	mu  sync.Mutex // protects err
	err error      // why it ended; nil while it lasts
}

// Listen implements driver.Backend. It gives the store an epoch if it has none.
func (b *Backend) Listen(ctx context.Context) (driver.Stream, error) {
	var options *redis.Options
	err := b.ask(ctx, func(s server) error {
		options = s.Options()
		_, err := b.writeEpoch(ctx, s)
		return err
	})
	if err != nil {
		return nil, err
	}
	end, err := b.begin(ctx)
	if err != nil {
		return nil, err
	}
	defer end()
	s, err := b.connect(ctx, options)
	if err != nil {
		b.servers.failed(ctx)
		return nil, err
	}
	if err := s.subscribe(ctx, b.names.pubsub); err != nil {
		return nil, s.end(err)
	}
	if !b.adopt(s) {
		return nil, s.end(driver.ErrClosed)
	}
	return s, nil
}

// adopt reports whether the Backend is open, and ends s when it closes.
func (b *Backend) adopt(s *stream) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return false
	}
	b.streams[s] = struct{}{}
	return true
}

// connect opens a connection as the caller's client would.
func (b *Backend) connect(ctx context.Context, options *redis.Options) (*stream, error) {
	s := &stream{
		backend: b,
		ended:   make(chan struct{}),
		reading: make(chan struct{}, 1),
		pinging: make(chan struct{}, 1),
		pong:    make(chan uint64, 1),
	}
	release := func() bool { return true }
	s.client = redis.NewClient(single(options, func(conn net.Conn) {
		s.conn = conn
		release = context.AfterFunc(ctx, func() { _ = conn.Close() }) // wherever logging in stands
	}))
	// It is checked out for good, so nothing in go-redis touches it again.
	err := s.client.Conn().Ping(ctx).Err()
	if redis.HasErrorPrefix(err, diskTrouble) {
		err = nil // it refuses even to be pinged
	}
	if err == nil && release() {
		err = s.conn.SetDeadline(time.Time{})
	}
	if ctx.Err() != nil {
		err = ctx.Err() // rather than what came of it
	}
	if err != nil {
		_ = s.client.Close() // it did not come to life
		return nil, err
	}
	return s, nil
}

// single returns options for a client of one connection, which is handed to
// opened. It speaks version 2 of the protocol, and answers requests alone.
func single(options *redis.Options, opened func(net.Conn)) *redis.Options {
	o := *options
	dial := o.Dialer
	o.Dialer = func(ctx context.Context, network, addr string) (net.Conn, error) {
		conn, err := dial(ctx, network, addr)
		if err == nil {
			opened(conn)
		}
		return conn, err
	}
	o.Protocol, o.ContextTimeoutEnabled = 2, true
	o.MaxRetries, o.DialerRetries = -1, 1
	o.PoolSize, o.MinIdleConns, o.MaxActiveConns, o.PipelinePoolSize = 1, 0, 0, -1
	o.MaintNotificationsConfig = &maintnotifications.Config{Mode: maintnotifications.ModeDisabled}
	o.PushNotificationProcessor, o.Limiter, o.AutoPipelineOptions = nil, nil, nil
	o.ClientSideCache, o.ClientSideCacheConfig = nil, nil
	return &o
}

// subscribe returns once the server has confirmed it.
func (s *stream) subscribe(ctx context.Context, channel string) error {
	if err := s.write(ctx, "SUBSCRIBE", channel); err != nil {
		return err
	}
	f, err := s.next(ctx)
	if err == nil && string(f.kind) != "subscribe" {
		err = f.unexpected()
	}
	return err
}

// Next implements driver.Stream.
func (s *stream) Next(ctx context.Context) (driver.Message, error) {
	if err := s.take(ctx, s.reading); err != nil {
		return driver.Message{}, err
	}
	defer s.put(s.reading)
	for {
		f, err := s.next(ctx)
		if err != nil {
			return driver.Message{}, err
		}
		switch string(f.kind) {
		case "message":
			if string(f.data) != endOfSubscription {
				return announced(f.data), nil
			}
		default:
			if !f.answers(&s.pinged) {
				return driver.Message{}, s.end(f.unexpected())
			}
			s.answered(s.pinged)
		}
	}
}

// announced copies what it returns from the buffer.
func announced(encoded []byte) driver.Message {
	encoded = bytes.Clone(encoded)
	m, err := driver.Decode(encoded)
	if err != nil || m.GlobalID <= 0 {
		return driver.Message{Channel: m.Channel, Data: encoded}
	}
	return m
}

// next returns the next frame. It is good until the next call. s.reading must be
// held, or s not shared yet.
func (s *stream) next(ctx context.Context) (frame, error) {
	for {
		f, size, err := parseFrame(s.buffer.unread())
		if err == nil {
			s.buffer.skip(size)
			return f, nil
		}
		if err = s.more(ctx, err); err != nil {
			return frame{}, err
		}
	}
}

// more reads further bytes, if that is all that was amiss. s.reading must be held.
func (s *stream) more(ctx context.Context, amiss error) error {
	if !errors.Is(amiss, errShort) {
		return s.end(amiss)
	}
	space := s.buffer.space()
	n, err := s.do(ctx, s.conn.SetReadDeadline, func() (int, error) { return s.conn.Read(space) })
	s.buffer.filled(n)
	switch {
	case n > 0 || err == nil:
		return nil
	case ctx.Err() != nil && errors.Is(err, os.ErrDeadlineExceeded):
		return ctx.Err()
	default:
		return s.end(fmt.Errorf("read from the feed's connection: %w", err))
	}
}

// do reads or writes, and breaks that off when ctx ends.
func (s *stream) do(ctx context.Context, setDeadline func(time.Time) error, f func() (int, error)) (int, error) {
	if ctx.Done() == nil {
		return f()
	}
	set := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		_ = setDeadline(time.Unix(1, 0)) // long ago; a connection that knows no deadlines goes on
		close(set)
	})
	n, err := f()
	if !stop() {
		<-set
		_ = setDeadline(time.Time{}) // as above
	}
	return n, err
}

// write sends one command. A failure ends the stream: part of it may have been sent.
func (s *stream) write(ctx context.Context, words ...string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	command := fmt.Appendf(nil, "*%d\r\n", len(words))
	for _, word := range words {
		command = fmt.Appendf(command, "$%d\r\n%s\r\n", len(word), word)
	}
	_, err := s.do(ctx, s.conn.SetWriteDeadline, func() (int, error) { return s.conn.Write(command) })
	if err != nil {
		return s.end(fmt.Errorf("write to the feed's connection: %w", err))
	}
	return nil
}

// Ping implements driver.Stream. Where nobody is in Next it reads by itself, and
// leaves the messages for Next. A reader that is so far behind that the answer
// lies beyond 1 MiB of messages has a connection that works: that is success too.
func (s *stream) Ping(ctx context.Context) error {
	if err := s.take(ctx, s.pinging); err != nil {
		return err
	}
	defer s.put(s.pinging)
	s.pings++
	if err := s.write(ctx, "PING", strconv.FormatUint(s.pings, 10)); err != nil {
		return err
	}
	for {
		select {
		case n := <-s.pong:
			if n == s.pings {
				return nil
			}
		case s.reading <- struct{}{}:
			err := s.seekPong(ctx)
			s.put(s.reading)
			return err
		case <-s.ended:
			return s.reason()
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// seekPong reads until the answer to the latest ping is there. s.reading and
// s.pinging must be held.
func (s *stream) seekPong(ctx context.Context) error {
	at, pinged := 0, s.pinged
	for len(s.buffer.unread()) < lookAhead {
		select {
		case n := <-s.pong: // Next may have met it
			if n == s.pings {
				return nil
			}
			continue
		default:
		}
		f, size, err := parseFrame(s.buffer.unread()[at:])
		if err == nil {
			at += size
			if f.answers(&pinged) {
				s.answered(pinged)
			}
			continue
		}
		if err := s.more(ctx, err); err != nil {
			return err
		}
	}
	return nil
}

// answers reports whether f answers a ping, and makes it the last one that was
// answered. A server that cannot write to its disk refuses even to be pinged: that
// is an answer as well, and answers come in order.
func (f frame) answers(last *uint64) bool {
	switch {
	case string(f.kind) == "pong":
		*last, _ = strconv.ParseUint(string(f.data), 10, 64) // of another's ping: none of ours
	case string(f.kind) == "-" && bytes.HasPrefix(f.data, []byte(diskTrouble)):
		*last++
	default:
		return false
	}
	return true
}

// answered notes the answer to a ping; one that nobody waits for is dropped.
func (s *stream) answered(n uint64) {
	select {
	case <-s.pong:
	default:
	}
	s.pong <- n // there is room: whoever reads is alone
}

// Close implements driver.Stream.
func (s *stream) Close() error {
	_ = s.end(driver.ErrClosed) // that it ended is what was asked for
	return nil
}

// end ends the stream, unless it has ended, and returns why it did.
func (s *stream) end(err error) error {
	s.mu.Lock()
	if s.err == nil {
		s.err = err
		close(s.ended)
	}
	err = s.err
	s.mu.Unlock()
	_ = s.client.Close() // with it the connection; nothing is left to be lost
	s.backend.forget(s)
	return err
}

func (b *Backend) forget(s *stream) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.streams, s)
}

func (s *stream) reason() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.err
}

// take waits for a token. The caller puts it back.
func (s *stream) take(ctx context.Context, token chan struct{}) error {
	select {
	case <-s.ended:
		return s.reason()
	default:
	}
	select {
	case token <- struct{}{}:
		return nil
	default:
	}
	select {
	case token <- struct{}{}:
		return nil
	case <-s.ended:
		return s.reason()
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (s *stream) put(token chan struct{}) { <-token }
