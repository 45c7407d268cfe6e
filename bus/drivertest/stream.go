package drivertest

import (
	"context"
	"errors"
	"fmt"

	"github.com/messagebus-go/messagebus/bus/driver"
)

func streamClaims() map[string]func(*env) {
	return map[string]func(*env){
		"IsLiveOnceListenReturns":       streamLive,
		"DeliversEverythingInOrder":     streamOrder,
		"EveryPeerSeesTheSame":          streamPeers,
		"NextGoesOnAfterItsContextEnds": streamContext,
		"CloseUnblocksNext":             streamCloseUnblocks,
		"CloseIsFinal":                  streamCloseFinal,
		"PeerCloseEndsItsStreamsOnly":   streamPeerClose,
		"PingSucceedsBesideNext":        streamPing,
		"NeverSkipsWhenUnread":          streamUnread,
	}
}

func streamLive(e *env) {
	other := e.dial()
	for i := range 20 {
		s := e.listen(e.peer)
		want := e.publish(other, e.channel("a"), fmt.Sprintf(`{"n":%d}`, i))
		e.equal("published right after Listen", e.nextN(s, 1), []driver.Message{want})
		_ = s.Close()
	}
}

func streamOrder(e *env) {
	s := e.listen(e.peer)
	var sent []driver.Message
	for i := range 60 {
		sent = append(sent, e.publish(e.peer, e.channel(fmt.Sprint(i%7)), fmt.Sprintf(`{"n":%d}`, i)))
	}
	e.equal("stream", e.nextN(s, len(sent)), sent)
}

func streamPeers(e *env) {
	peers := []driver.Backend{e.peer, e.dial(), e.dial()}
	streams := []driver.Stream{e.listen(peers[0]), e.listen(peers[1]), e.listen(peers[2]), e.listen(peers[2])}
	var sent []driver.Message
	for i := range 30 {
		sent = append(sent, e.publish(peers[i%3], e.channel("a"), fmt.Sprintf(`{"n":%d}`, i)))
	}
	for i, s := range streams {
		e.equal(fmt.Sprintf("stream %d", i), e.nextN(s, len(sent)), sent)
	}
}

func streamContext(e *env) {
	s := e.listen(e.peer)
	for i := range 5 {
		ctx, cancel := context.WithCancel(e.ctx)
		done := next(ctx, s)
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			e.Fatalf("Next, its context canceled: %v, want context.Canceled", err)
		}
		want := e.publish(e.peer, e.channel("a"), fmt.Sprintf(`{"n":%d}`, i))
		e.equal("Next after its context ended", e.nextN(s, 1), []driver.Message{want})
	}
}

// next calls Next in a goroutine and sends its error. It ends with ctx.
func next(ctx context.Context, s driver.Stream) <-chan error {
	done, started := make(chan error, 1), make(chan struct{})
	go func() {
		close(started)
		_, err := s.Next(ctx)
		done <- err
	}()
	<-started
	return done
}

func streamCloseUnblocks(e *env) {
	s := e.listen(e.peer)
	done := next(e.ctx, s)
	if err := s.Close(); err != nil {
		e.Errorf("close: %v", err)
	}
	if err := <-done; !errors.Is(err, driver.ErrClosed) {
		e.Errorf("Next, closed meanwhile: %v, want driver.ErrClosed", err)
	}
}

func streamCloseFinal(e *env) {
	s := e.listen(e.peer)
	for range 2 {
		if err := s.Close(); err != nil {
			e.Errorf("close: %v", err)
		}
	}
	e.publish(e.peer, e.channel("a"), `"x"`)
	if _, err := s.Next(e.ctx); !errors.Is(err, driver.ErrClosed) {
		e.Errorf("Next of a closed stream: %v, want driver.ErrClosed", err)
	}
	if err := s.Ping(e.ctx); err == nil {
		e.Error("Ping of a closed stream: no error")
	}
}

func streamPeerClose(e *env) {
	closed := e.dial()
	mine, other := e.listen(closed), e.listen(e.peer)
	done := next(e.ctx, mine)
	if err := closed.Close(); err != nil {
		e.Errorf("close: %v", err)
	}
	if err := <-done; !errors.Is(err, driver.ErrClosed) {
		e.Errorf("Next, its peer closed meanwhile: %v, want driver.ErrClosed", err)
	}
	want := e.publish(e.peer, e.channel("a"), `"x"`)
	e.equal("another peer's stream", e.nextN(other, 1), []driver.Message{want})
}

func streamPing(e *env) {
	s := e.listen(e.peer)
	if err := s.Ping(e.ctx); err != nil {
		e.Errorf("Ping, nobody in Next: %v", err)
	}
	done := next(e.ctx, s)
	for range 5 {
		if err := s.Ping(e.ctx); err != nil {
			e.Errorf("Ping, another goroutine in Next: %v", err)
		}
	}
	e.publish(e.peer, e.channel("a"), `"x"`)
	if err := <-done; err != nil {
		e.Errorf("Next after pings: %v", err)
	}
	want := e.publish(e.peer, e.channel("a"), `"y"`)
	e.equal("the message after that", e.nextN(s, 1), []driver.Message{want})
}

// A reader that is behind delays nobody; it may be cut off, but not lied to.
func streamUnread(e *env) {
	s := e.listen(e.peer)
	sent := e.publishN(e.channel("a"), 2000, roomy())
	for _, want := range sent {
		got, err := s.Next(e.ctx)
		if err != nil {
			if e.ctx.Err() != nil {
				e.Fatalf("the stream neither ended nor gave message %d", want.GlobalID)
			}
			return
		}
		if !same(got, want) {
			e.Fatalf("the stream skipped to %s, want %s", format(got), format(want))
		}
	}
}
