package redisbus_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/messagebus-go/messagebus/bus/driver"
)

func (s *fakeServer) listen() driver.Stream {
	s.tb.Helper()
	stream, err := s.peer(nil).Listen(context.Background())
	if err != nil {
		s.tb.Fatal(err)
	}
	s.tb.Cleanup(func() { stream.Close() })
	return stream
}

func wantNext(t *testing.T, s driver.Stream, globalID int64, data string) {
	t.Helper()
	if m, err := s.Next(t.Context()); err != nil || m.GlobalID != globalID || string(m.Data) != data {
		t.Fatalf("Next: global id %d, data %.40q, %v; want %d, %.40q", m.GlobalID, m.Data, err, globalID, data)
	}
}

func TestListen_LogsInAsTheClientDoes(t *testing.T) {
	t.Parallel()
	var password1 string
	s := newFakeServer(t)
	s.on("AUTH", func(w io.Writer, args []string) bool {
		password1 = args[len(args)-1]
		return say("+OK\r\n")(w, args)
	})
	s.listen()
	if password1 != password {
		t.Errorf("password %q, want that of the client", password1)
	}
}

func TestListen_TellsWhyItWasRefused(t *testing.T) {
	t.Parallel()
	for command, answer := range map[string]string{
		"SUBSCRIBE": "-NOPERM this user has no permissions to access the channel\r\n",
		"AUTH":      "-WRONGPASS invalid username-password pair\r\n",
		"SETNX":     "-NOPERM no permissions to access a key\r\n",
	} {
		s := newFakeServer(t).on(command, say(answer)).on("SET", say(answer))
		if command != "SETNX" {
			s.on("SET", say("+OK\r\n"))
		}
		_, err := s.peer(nil).Listen(t.Context())
		if err == nil || !strings.Contains(err.Error(), answer[1:10]) || strings.Contains(err.Error(), password) {
			t.Errorf("%s: %v, want %s", command, err, answer)
		}
	}
}

// Of a pipeline that cannot be sent because the client may not log in, no command has
// an error of its own.
func TestState_WithAWrongPasswordIsAnError(t *testing.T) {
	t.Parallel()
	s := newFakeServer(t).on("AUTH", say("-WRONGPASS invalid username-password pair\r\n"))
	if state, err := s.peer(nil).State(t.Context()); err == nil || !strings.Contains(err.Error(), "WRONGPASS") {
		t.Errorf("%+v, %v; want WRONGPASS", state, err)
	}
}

func TestListen_OnAServerThatTakesNoWrites(t *testing.T) {
	t.Parallel()
	for _, answer := range []string{
		"-READONLY You can't write against a read only replica.",
		"-OOM command not allowed when used memory > 'maxmemory'.",
		"-MISCONF Redis is configured to save RDB snapshots, but it's currently unable to persist to disk.",
		"-NOREPLICAS Not enough good replicas to write.",
	} {
		s := newFakeServer(t).on("SET", say(answer+"\r\n")).on("SETNX", say(answer+"\r\n"))
		if stream, err := s.peer(nil).Listen(t.Context()); err != nil {
			t.Errorf("%s: %v", answer, err)
		} else {
			stream.Close()
		}
	}
}

func TestListen_EndsWithItsContext(t *testing.T) {
	t.Parallel()
	for _, command := range []string{"SETNX", "PING", "SUBSCRIBE"} {
		ctx, cancel := context.WithCancel(t.Context())
		stop := func(io.Writer, []string) bool { cancel(); return true }
		s := newFakeServer(t).on(command, stop)
		if command == "SETNX" {
			s.on("SET", stop)
		}
		b := s.peer(nil, func(o *redis.Options) { o.ReadTimeout = time.Second })
		if _, err := b.Listen(ctx); !errors.Is(err, context.Canceled) {
			t.Errorf("no answer to %s: %v, want context.Canceled", command, err)
		}
	}
}

func TestNext_EndsOnWhatMayBeAnotherConnection(t *testing.T) {
	t.Parallel()
	for name, frame := range map[string]string{
		"a second confirmation": "*3\r\n$9\r\nsubscribe\r\n$14\r\n_message_bus_0\r\n:1\r\n",
		"the subscription ends": "*3\r\n$11\r\nunsubscribe\r\n$14\r\n_message_bus_0\r\n:0\r\n",
		"an error":              "-ERR unknown\r\n",
		"no array":              "+OK\r\n",
		"a negative length":     "*3\r\n$7\r\nmessage\r\n$-1\r\n$1\r\nx\r\n",
		"too many parts":        "*9\r\n",
		"too long":              "*3\r\n$7\r\nmessage\r\n$99999999999\r\n",
		"no end of a string":    "*3\r\n$7\r\nmessageXX",
		"an endless line":       "*" + strings.Repeat("1", 1<<17),
	} {
		s := newFakeServer(t)
		stream := s.listen()
		s.send(announcement("1|1|/a|x") + frame)
		wantNext(t, stream, 1, "x")
		_, err := stream.Next(t.Context())
		if err == nil || t.Context().Err() != nil {
			t.Errorf("%s: %v, want the end of the stream", name, err)
		}
		if _, again := stream.Next(t.Context()); !errors.Is(again, err) {
			t.Errorf("%s: the next time %v, want %v", name, again, err)
		}
	}
}

func TestNext_ReadsWhateverTheNetworkDoesToIt(t *testing.T) {
	t.Parallel()
	for part, large := range map[int]int{1: 100, 7: 1000, 4096: 5 << 20, 6 << 20: 5 << 20} { // bytes
		s := newFakeServer(t)
		stream := s.listen()
		data := strings.Repeat("x", large)
		text := announcement("1|1|/a|x") + announcement("$$UNSUBSCRIBE") + pong("9") +
			announcement("2|1|/b$$123$$c|") + announcement("3|2|/a|"+data) + announcement("4|3|/a|y")
		done := make(chan struct{})
		go func() {
			defer close(done)
			for rest := text; rest != ""; rest = rest[min(part, len(rest)):] {
				s.send(rest[:min(part, len(rest))])
			}
		}()
		wantNext(t, stream, 1, "x")
		wantNext(t, stream, 2, "")
		wantNext(t, stream, 3, data)
		wantNext(t, stream, 4, "y")
		<-done
	}
}

func TestNext_GivesWhatItCannotDecodeWithoutAGlobalID(t *testing.T) {
	t.Parallel()
	s := newFakeServer(t)
	stream := s.listen()
	for _, encoded := range []string{"", "garbage", "||/a|x", "-5|1|/a|x", "1|1|/a"} {
		s.send(announcement(encoded))
		wantNext(t, stream, 0, encoded)
	}
	s.send(announcement("1|1|/a|x"))
	wantNext(t, stream, 1, "x")
}

// Half of a message is there when the context ends.
func TestNext_LosesNothingWhenItsContextEnds(t *testing.T) {
	t.Parallel()
	s := newFakeServer(t)
	stream := s.listen()
	text := announcement("1|1|/a|x")
	for i := range len(text) {
		s.send(text[i : i+1])
		if i == len(text)-1 {
			break
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { _, err := stream.Next(ctx); done <- err }()
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Fatalf("%d bytes: %v, want context.Canceled", i, err)
		}
	}
	wantNext(t, stream, 1, "x")
}

func TestNext_ReadsWhatWasSentBeforeTheConnectionBroke(t *testing.T) {
	t.Parallel()
	s := newFakeServer(t)
	stream := s.listen()
	s.send(announcement("1|1|/a|x") + announcement("2|2|/a|y"))
	s.cut()
	wantNext(t, stream, 1, "x")
	wantNext(t, stream, 2, "y")
	if _, err := stream.Next(t.Context()); !errors.Is(err, io.EOF) {
		t.Errorf("%v, want io.EOF", err)
	}
}

func TestPing_LeavesMessagesForNext(t *testing.T) {
	t.Parallel()
	s := newFakeServer(t)
	stream := s.listen()
	var sent strings.Builder
	for i := 1; i <= 1000; i++ {
		sent.WriteString(announcement(fmt.Sprintf("%d|%d|/a|x", i, i)))
	}
	s.send(sent.String())
	for range 3 {
		if err := stream.Ping(t.Context()); err != nil {
			t.Fatalf("Ping: %v", err)
		}
	}
	wantSent(t, s, "PING", 3+1) // and one to open the connection
	for i := int64(1); i <= 1000; i++ {
		wantNext(t, stream, i, "x")
	}
}

func TestPing_OfAConnectionThatIsHalfOpenEndsWithItsContext(t *testing.T) {
	t.Parallel()
	s := newFakeServer(t)
	stream := s.listen()
	s.on("PING", silence)
	for _, reading := range []bool{false, true} {
		if reading {
			go func() { _, _ = stream.Next(context.Background()) }() // ends with the stream
		}
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
		if err := stream.Ping(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Ping, somebody in Next %t: %v, want the context's error", reading, err)
		}
		cancel()
	}
	s.on("PING", ping)
	if err := stream.Ping(t.Context()); err != nil {
		t.Errorf("Ping, once there is an answer again: %v", err)
	}
}

func TestPing_RefusedForTheDiskIsAnswered(t *testing.T) {
	t.Parallel()
	const refused = "-MISCONF Errors writing to the AOF file: No space left on device\r\n"
	s := newFakeServer(t).on("PING", say(refused))
	stream := s.listen()
	for range 2 {
		if err := stream.Ping(t.Context()); err != nil {
			t.Errorf("Ping: %v", err)
		}
	}
	s.on("PING", silence)
	reading := make(chan struct{})
	go func() {
		defer close(reading)
		wantNext(t, stream, 1, "x") // passes both answers
	}()
	s.send(announcement("1|1|/a|x"))
	<-reading
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if err := stream.Ping(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Ping: %v, want that earlier answers do not count", err)
	}
}

func TestPing_TakesNoAnswerForThatOfALaterPing(t *testing.T) {
	t.Parallel()
	s := newFakeServer(t)
	stream := s.listen()
	s.on("PING", silence)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	_ = stream.Ping(ctx)
	s.send(pong("1") + pong("other"))
	again, cancelAgain := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancelAgain()
	if err := stream.Ping(again); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Ping: %v, want no answer", err)
	}
}

// What Ping reads ahead is bounded.
func TestPing_OfAReaderThatIsFarBehindSucceeds(t *testing.T) {
	t.Parallel()
	s := newFakeServer(t)
	stream := s.listen()
	s.on("PING", silence)
	sent := make(chan struct{})
	go func() {
		defer close(sent)
		s.send(announcement("1|1|/a|" + strings.Repeat("x", 2<<20)))
	}()
	if err := stream.Ping(t.Context()); err != nil {
		t.Errorf("Ping: %v", err)
	}
	if m, err := stream.Next(t.Context()); err != nil || len(m.Data) != 2<<20 {
		t.Errorf("Next: %d bytes, %v", len(m.Data), err)
	}
	<-sent
}

func TestPing_FailsWhenTheConnectionIsGone(t *testing.T) {
	t.Parallel()
	s := newFakeServer(t)
	stream := s.listen()
	s.cut()
	if err := stream.Ping(t.Context()); err == nil {
		t.Error("Ping: no error")
	}
	if _, err := stream.Next(t.Context()); err == nil || errors.Is(err, net.ErrClosed) {
		t.Errorf("Next: %v, want why the stream ended", err)
	}
}
