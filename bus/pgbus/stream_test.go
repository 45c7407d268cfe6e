package pgbus

import (
	"context"
	"errors"
	"fmt"
	"io"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/messagebus-go/messagebus/bus/driver"
)

func TestNext_GivesWhatIsNoMessageTheGlobalIDZero(t *testing.T) {
	t.Parallel()
	payloads := []string{"", "garbage", "||/a|x", "0|0|/a|x", "-1|-1|/a|x", "5|7|/a|x", "5"}
	b, _ := newBackend(t, listening(func(s *session) {
		for _, payload := range payloads {
			s.notify("_message_bus_0", payload)
		}
		s.notify("_message_bus_0_id", "none")
		s.notify("_message_bus_0_id", "-3")
		s.notify("_message_bus_0", "$$UNSUBSCRIBE")
		s.notify("somebody else's", "8|8|/a|x")
		s.notify("_message_bus_0", "9|9|/a$$123$$b|x|y")
		s.Flush()
		s.request()
	}))
	stream := listen(t, b)
	for range len(payloads) + 2 {
		m, err := stream.Next(context.Background())
		if err != nil || m.GlobalID != 0 {
			t.Errorf("Next: %+v, %v; want the global id 0", m, err)
		}
	}
	m, err := stream.Next(context.Background())
	if err != nil || m.GlobalID != 9 || m.ID != 9 || m.Channel != "/a|b" || string(m.Data) != "x|y" {
		t.Errorf("Next: %+v, %v; want the message 9", m, err)
	}
}

func TestNext_LosesNothingWhenItsContextEnds(t *testing.T) {
	t.Parallel()
	const messages = 500
	b, _ := newBackend(t, listening(func(s *session) {
		for id := range messages {
			s.notify("_message_bus_0", fmt.Sprintf("%d|%d|/a|x", id+1, id+1))
			s.Flush()
		}
		s.request()
	}))
	stream, ended, want := listen(t, b), 0, int64(1)
	for try := 0; want <= messages; try++ {
		ctx, cancel := context.WithTimeout(context.Background(), time.Duration(try%300)*time.Microsecond)
		m, err := stream.Next(ctx)
		cancel()
		switch {
		case errors.Is(err, context.DeadlineExceeded):
			ended++
		case err != nil || m.GlobalID != want:
			t.Fatalf("Next: %+v, %v; want message %d", m, err, want)
		default:
			want++
		}
	}
	if ended == 0 {
		t.Error("no context ended in Next")
	}
}

func TestNext_EndsWithTheConnection(t *testing.T) {
	t.Parallel()
	ends := map[string]func(*session){
		"closed":         func(*session) {},
		"an error":       func(s *session) { s.fail("FATAL", "57P01"); s.Flush() },
		"broken framing": func(s *session) { s.conn.Write([]byte{'A', 0, 0, 0, 1}) },
	}
	for name, end := range ends {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b, _ := newBackend(t, listening(end))
			stream := listen(t, b)
			_, first := stream.Next(context.Background())
			_, second := stream.Next(context.Background())
			if first == nil || !errors.Is(second, first) {
				t.Errorf("Next: %v, then %v; want the same error twice", first, second)
			}
			if err := stream.Ping(context.Background()); !errors.Is(err, first) {
				t.Errorf("Ping: %v, want %v", err, first)
			}
		})
	}
}

func TestNext_ReadsALongMessageInItsPlace(t *testing.T) {
	t.Parallel()
	b, _ := newBackend(t, listening(func(s *session) {
		s.notify("_message_bus_0", "1|1|/a|x")
		s.notify("_message_bus_0_id", "2")
		s.notify("_message_bus_0", "3|3|/a|x")
		s.notify("_message_bus_0_id", "4")
		s.Flush()
		if _, ok := s.request(); ok {
			s.notify("_message_bus_0", "5|5|/a|x") // while the row is read
			s.row([]uint32{25, 25}, "/long", "y")
			s.ready()
		}
		if _, ok := s.request(); ok {
			s.Send(&pgproto3.ParseComplete{})
			s.Send(&pgproto3.BindComplete{})
			s.Send(&pgproto3.RowDescription{Fields: []pgproto3.FieldDescription{{DataTypeOID: 25}, {DataTypeOID: 25}}})
			s.Send(&pgproto3.CommandComplete{CommandTag: []byte("SELECT 0")}) // it was trimmed
			s.ready()
		}
		s.request()
	}))
	stream := listen(t, b)
	for _, want := range []int64{1, 2, 3, 0, 5} {
		m, err := stream.Next(context.Background())
		if err != nil || m.GlobalID != want {
			t.Fatalf("Next: %+v, %v; want the global id %d", m, err, want)
		}
		if want == 2 && (m.Channel != "/long" || string(m.Data) != "y") {
			t.Errorf("Next: %+v, want the row", m)
		}
	}
}

// A server that is stopped, or a network that swallows packets.
func TestPing_OfAServerThatDoesNotAnswerEndsWithItsContext(t *testing.T) {
	t.Parallel()
	pinged := make(chan struct{})
	b, _ := newBackend(t, listening(func(s *session) {
		s.request()
		close(pinged)
		io.Copy(io.Discard, s.conn)
	}))
	stream := listen(t, b)
	next := make(chan error, 1)
	go func() {
		_, err := stream.Next(context.Background())
		next <- err
	}()
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		<-pinged
		cancel()
	}()
	wantError(t, "Ping", stream.Ping(ctx), context.Canceled)
	if err := <-next; err == nil {
		t.Error("Next of a stream whose Ping failed: no error")
	}
}

func TestClose_EndsALongMessageThatIsBeingRead(t *testing.T) {
	t.Parallel()
	asked := make(chan struct{})
	b, _ := newBackend(t, listening(func(s *session) {
		s.notify("_message_bus_0_id", "1")
		s.Flush()
		s.request()
		close(asked)
		io.Copy(io.Discard, s.conn)
	}))
	stream := listen(t, b)
	go func() {
		<-asked
		_ = stream.Close()
	}()
	_, err := stream.Next(context.Background())
	wantError(t, "Next", err, driver.ErrClosed)
}

func FuzzDecode(f *testing.F) {
	for _, seed := range []string{"1|1|/a|x", "||/a|x", "", "1|2|/a|x", "9223372036854775808|1|a|", "1|1|a$$123$$b|\xff"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, payload string) {
		m := decode(payload)
		if m.GlobalID < 0 || m.ID != m.GlobalID {
			t.Errorf("%q: %+v", payload, m)
		}
		if m.GlobalID == 0 {
			return
		}
		if again := decode(string(m.Encode())); again.GlobalID != m.GlobalID || again.Channel != m.Channel || string(again.Data) != string(m.Data) {
			t.Errorf("%q: %+v, encoded and decoded %+v", payload, m, again)
		}
	})
}
