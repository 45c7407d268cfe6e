package pgbus

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/messagebus-go/messagebus/bus/driver"
)

// What the server does with a publish, and what the caller must be told.
func TestPublish_SaysWhatBecameOfIt(t *testing.T) {
	t.Parallel()
	plain := errors.New("nothing was stored")
	tests := map[string]struct {
		answer func(*session)
		want   error
	}{
		"done":                               {func(s *session) { s.inserted(); s.done(); s.ready() }, nil},
		"cut before any answer":              {(*session).cut, driver.ErrUnknownOutcome},
		"cut after the insert":               {func(s *session) { s.inserted(); s.cut() }, driver.ErrUnknownOutcome},
		"cut after the last statement":       {func(s *session) { s.inserted(); s.done(); s.cut() }, driver.ErrUnknownOutcome},
		"refused as read-only":               {func(s *session) { s.fail("ERROR", "25006"); s.ready() }, driver.ErrReadOnly},
		"the disk is full":                   {func(s *session) { s.fail("ERROR", "53100"); s.ready() }, plain},
		"the trim fails":                     {func(s *session) { s.inserted(); s.fail("ERROR", "40P01"); s.ready() }, plain},
		"the commit fails":                   {func(s *session) { s.inserted(); s.done(); s.fail("ERROR", "54000"); s.ready() }, plain},
		"the session was ended before":       {func(s *session) { s.fail("FATAL", "57P01"); s.cut() }, plain},
		"ended while it trimmed":             {func(s *session) { s.inserted(); s.fail("FATAL", "57P01"); s.cut() }, driver.ErrUnknownOutcome},
		"ended after the last statement":     {func(s *session) { s.inserted(); s.done(); s.fail("FATAL", "57P01"); s.cut() }, driver.ErrUnknownOutcome},
		"a pooler lost the server meanwhile": {func(s *session) { s.fail("FATAL", "08P01"); s.cut() }, driver.ErrUnknownOutcome},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b, server := newBackend(t, func(s *session) {
				if _, ok := s.request(); ok {
					test.answer(s)
					s.request()
				}
			})
			err := publish(b)
			if errors.Is(test.want, plain) {
				if err == nil || errors.Is(err, driver.ErrUnknownOutcome) || errors.Is(err, driver.ErrReadOnly) {
					t.Errorf("publish: %v, want an error that means that nothing was stored", err)
				}
			} else if !errors.Is(err, test.want) {
				t.Errorf("publish: %v, want %v", err, test.want)
			}
			if n := server.sent(insertSQL); n != 1 {
				t.Errorf("it was sent %d times", n)
			}
		})
	}
}

func TestPublish_WithoutAnAnswerEndsWithItsContextInAnUnknownOutcome(t *testing.T) {
	t.Parallel()
	arrived := make(chan struct{})
	b, server := newBackend(t, func(s *session) {
		if _, ok := s.request(); ok {
			close(arrived)
			s.request()
		}
	})
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		<-arrived
		cancel()
	}()
	_, err := b.Publish(ctx, "/a", []byte(`"x"`), driver.Limits{})
	wantError(t, "publish", err, driver.ErrUnknownOutcome)
	wantError(t, "publish", err, context.Canceled)
	if n := server.sent(insertSQL); n != 1 {
		t.Errorf("it was sent %d times", n)
	}
}

func TestPublish_CreatesATableThatIsMissingAndGoesOn(t *testing.T) {
	t.Parallel()
	created := false
	b, server := newBackend(t, func(s *session) {
		for {
			request, ok := s.request()
			if !ok {
				return
			}
			switch {
			case request[0] == insertSQL && !created:
				s.fail("ERROR", "42P01")
			case request[0] == insertSQL:
				s.inserted()
				s.done()
			case strings.HasPrefix(request[0], "SELECT to_regclass"):
				s.row([]uint32{16}, "t")
			default: // begin, lock, create, commit
				created = created || request[0] == schemaSQL
				answerSimply(s, request[0])
			}
			if !s.ready() {
				return
			}
		}
	})
	if err := publish(b); err != nil {
		t.Fatal(err)
	}
	if n := server.sent(schemaSQL); n != 1 {
		t.Errorf("the schema was sent %d times", n)
	}
}

func TestMayBeLarge_IsNeverFalseForWhatIs(t *testing.T) {
	t.Parallel()
	for _, channel := range []string{"/a", "/a|b", "||||||||", strings.Repeat("|", 2000)} {
		for size := 0; size < 9000; size += 7 {
			data := make([]byte, size)
			m := driver.Message{GlobalID: 1 << 62, ID: 1 << 62, Channel: channel, Data: data}
			if encoded := len(m.Encode()); encoded > 7999 && !mayBeLarge(channel, data) {
				t.Fatalf("%d bytes on %.10s are %d encoded", size, channel, encoded)
			}
		}
	}
	if mayBeLarge("/a", make([]byte, 7950)) {
		t.Error("a message of 7950 bytes is never too long")
	}
}

func TestErrors_DoNotContainThePassword(t *testing.T) {
	t.Parallel()
	b, _ := newBackend(t, func(s *session) {
		s.request()
		s.fail("FATAL", "57P01")
		s.Flush()
	})
	_, err := b.Listen(context.Background())
	for _, err := range []error{err, publish(b)} {
		if err == nil || strings.Contains(err.Error(), password) {
			t.Errorf("error %v", err)
		}
	}
	var connect *pgconn.ConnectError
	if _, err := pgx.Connect(context.Background(), "postgres://user:"+password+"@127.0.0.1:1/db"); !errors.As(err, &connect) ||
		strings.Contains(outcome(err, false).Error(), password) {
		t.Errorf("error %v", err)
	}
}
