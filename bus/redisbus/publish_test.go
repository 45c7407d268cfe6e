package redisbus_test

import (
	"context"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/messagebus-go/messagebus/bus/driver"
	"github.com/messagebus-go/messagebus/bus/redisbus"
)

// outcomes are what an error may say of the message.
const (
	notStored = "not stored"
	readOnly  = "read-only"
	unknown   = "unknown"
)

func outcome(err error) string {
	switch {
	case err == nil:
		return "stored"
	case errors.Is(err, driver.ErrReadOnly):
		return readOnly
	case errors.Is(err, driver.ErrUnknownOutcome):
		return unknown
	default:
		return notStored
	}
}

func wantOutcome(t *testing.T, what string, err error, want string) {
	t.Helper()
	if got := outcome(err); got != want {
		t.Errorf("%s: %s: %v; want %s", what, got, err, want)
	}
	if err != nil && strings.Contains(err.Error(), password) {
		t.Errorf("%s: the error tells the password: %v", what, err)
	}
}

func wantSent(t *testing.T, s *fakeServer, command string, want int) {
	t.Helper()
	if got := s.count(command); got != want {
		t.Errorf("%s was sent %d times, want %d", command, got, want)
	}
}

func TestPublish_IsNeverSentTwice(t *testing.T) {
	t.Parallel()
	for name, options := range map[string]*redisbus.Options{"alone": nil, "with WAIT": {WaitReplicas: 1}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newFakeServer(t).on("EVALSHA", hangUp)
			_, err := publish(t.Context(), s.peer(options))
			wantOutcome(t, "the connection broke after the request", err, unknown)
			wantSent(t, s, "EVALSHA", 1)
		})
	}
}

func TestPublish_WithoutAnAnswerIsNotSentAgain(t *testing.T) {
	t.Parallel()
	s := newFakeServer(t).on("EVALSHA", silence)
	b := s.peer(nil, func(o *redis.Options) { o.ReadTimeout = 50 * time.Millisecond })
	_, err := publish(t.Context(), b)
	wantOutcome(t, "no answer", err, unknown)
	wantSent(t, s, "EVALSHA", 1)
}

func TestPublish_WhoseHalfAnswerIsCutIsUnknown(t *testing.T) {
	t.Parallel()
	s := newFakeServer(t).on("EVALSHA", func(w io.Writer, _ []string) bool {
		_, _ = io.WriteString(w, stored[:6])
		return false
	})
	_, err := publish(t.Context(), s.peer(nil))
	wantOutcome(t, "half an answer", err, unknown)
	wantSent(t, s, "EVALSHA", 1)
}

func TestPublish_KeepsTheDeadlineOfItsContext(t *testing.T) {
	t.Parallel()
	s := newFakeServer(t).on("EVALSHA", silence)
	b := s.peer(nil, func(o *redis.Options) { o.ReadTimeout = time.Second })
	const deadline = 50 * time.Millisecond
	ctx, cancel := context.WithTimeout(t.Context(), deadline)
	defer cancel()
	began := time.Now()
	_, err := publish(ctx, b)
	wantOutcome(t, "no answer before the deadline", err, unknown)
	if !errors.Is(err, context.DeadlineExceeded) || time.Since(began) > deadline+500*time.Millisecond {
		t.Errorf("after %v: %v; want the context's error after %v", time.Since(began), err, deadline)
	}
}

func TestPublish_CanceledWhileItWaitsForAnAnswerIsUnknown(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	s := newFakeServer(t).on("EVALSHA", func(io.Writer, []string) bool { cancel(); return true })
	b := s.peer(nil, func(o *redis.Options) { o.ReadTimeout = 50 * time.Millisecond })
	_, err := publish(ctx, b)
	wantOutcome(t, "canceled", err, unknown)
	wantSent(t, s, "EVALSHA", 1)
}

func TestPublish_RefusedByTheServerIsNotStored(t *testing.T) {
	t.Parallel()
	for answer, want := range map[string]string{
		"-READONLY You can't write against a read only replica.":                                                                             readOnly,
		"-ERR Error running script (call to f_0): @user_script:29: @user_script: 29: -READONLY You can't write against a read only replica.": readOnly,
		"-OOM command not allowed when used memory > 'maxmemory'.":                                                                           notStored,
		"-MISCONF Redis is configured to save RDB snapshots, but it's unable to persist to disk.":                                            notStored,
		"-LOADING Redis is loading the dataset in memory":                                                                                    notStored,
		"-MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.":                                                  notStored,
		"-NOPERM this user has no permissions to run the 'evalsha' command":                                                                  notStored,
		"-NOREPLICAS Not enough good replicas to write.":                                                                                     notStored,
		"-CLUSTERDOWN The cluster is down":                                                                                                   notStored,
		"-MOVED 3999 127.0.0.1:1":                                                                                                            notStored,
		"-WRONGTYPE Operation against a key holding the wrong kind of value":                                                                 notStored,
		"-BUSY Redis is busy running a script. You can only call SCRIPT KILL or SHUTDOWN NOSAVE.":                                            notStored,
		"-TRYAGAIN Multiple keys request during rehashing of slot":                                                                           notStored,
		"-ERR max number of clients reached":                                                                                                 notStored,
		"-CROSSSLOT Keys in request don't hash to the same slot":                                                                             notStored,
		"-NOAUTH Authentication required.":                                                                                                   notStored,
	} {
		s := newFakeServer(t).on("EVALSHA", say(answer+"\r\n"))
		_, err := publish(t.Context(), s.peer(nil))
		wantOutcome(t, answer, err, want)
		wantSent(t, s, "EVALSHA", 1)
	}
}

func TestPublish_OnAServerOfAClusterSaysWhatIsNeeded(t *testing.T) {
	t.Parallel()
	s := newFakeServer(t).on("EVALSHA", say("-CROSSSLOT Keys in request don't hash to the same slot\r\n"))
	if _, err := publish(t.Context(), s.peer(nil)); err == nil || !strings.Contains(err.Error(), "HashTag") {
		t.Errorf("%v, want an error that names Options.HashTag", err)
	}
}

func TestPublish_WithoutAConnectionIsNotStored(t *testing.T) {
	t.Parallel()
	s := newFakeServer(t)
	s.listener.Close()
	_, err := publish(t.Context(), s.peer(nil, func(o *redis.Options) { o.DialerRetries = 1 }))
	wantOutcome(t, "nobody listens", err, notStored)
}

func TestPublish_WithAWrongPasswordIsNotStored(t *testing.T) {
	t.Parallel()
	s := newFakeServer(t).on("AUTH", say("-WRONGPASS invalid username-password pair or user is disabled.\r\n"))
	_, err := publish(t.Context(), s.peer(nil))
	wantOutcome(t, "wrong password", err, notStored)
	_, err = publish(t.Context(), s.peer(&redisbus.Options{WaitReplicas: 1}))
	wantOutcome(t, "wrong password, with replicas", err, notStored)
	wantSent(t, s, "EVALSHA", 0)
}

func TestPublish_ThatWaitsForAConnectionIsNotStored(t *testing.T) {
	t.Parallel()
	for name, poolTimeout := range map[string]time.Duration{"context": time.Minute, "pool": 20 * time.Millisecond} {
		s := newFakeServer(t)
		client := s.client(func(o *redis.Options) { o.PoolSize, o.PoolTimeout, o.MaxRetries = 1, poolTimeout, -1 })
		held := client.Conn()
		if err := held.Ping(t.Context()).Err(); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		_, err := publish(ctx, newPeer(t, client, nil))
		wantOutcome(t, "no connection is free, until the end of the "+name, err, notStored)
		wantSent(t, s, "EVALSHA", 0)
		cancel()
		held.Close()
	}
}

func TestPublish_SendsTheScriptWhereItIsNotKnown(t *testing.T) {
	t.Parallel()
	unknownScript := say("-NOSCRIPT No matching script. Please use EVAL.\r\n")
	s := newFakeServer(t).on("EVALSHA", unknownScript).on("EVAL", say(stored))
	b := s.peer(nil)
	if p, err := publish(t.Context(), b); err != nil || p != (driver.Position{GlobalID: 7, ID: 3}) {
		t.Errorf("%+v, %v; want global id 7, id 3", p, err)
	}
	s.on("EVAL", hangUp)
	_, err := publish(t.Context(), b)
	wantOutcome(t, "the connection broke after EVAL", err, unknown)
	wantSent(t, s, "EVALSHA", 2)
	wantSent(t, s, "EVAL", 2)
}

func TestPublish_SendsKeysAndArguments(t *testing.T) {
	t.Parallel()
	var got []string
	s := newFakeServer(t).on("EVALSHA", func(w io.Writer, args []string) bool {
		got = args[2:]
		return say(stored)(w, args)
	})
	b := s.peer(&redisbus.Options{PubSubDB: "7", HashTag: "mb"})
	l := driver.Limits{MaxSize: -1, MaxGlobalSize: 5, MaxAge: 1500 * time.Millisecond}
	if _, err := b.Publish(t.Context(), "/a|b", []byte("x|y"), l); err != nil {
		t.Fatal(err)
	}
	want := []string{
		"4", "{mb}__mb_global_id_n", "{mb}__mb_backlog_id_n_/a|b", "{mb}__mb_backlog_n_/a|b", "{mb}__mb_global_backlog_n",
		"{mb}_message_bus_7", "/a|b", "/a$$123$$b|x|y", "2", "0", "5", "1",
	}
	if !slices.Equal(got, want) {
		t.Errorf("sent %q, want %q", got, want)
	}
}

func TestPublish_WaitsForReplicas(t *testing.T) {
	t.Parallel()
	s := newFakeServer(t).on("WAIT", say(":2\r\n"))
	b := s.peer(&redisbus.Options{WaitReplicas: 2})
	if p, err := publish(t.Context(), b); err != nil || p.ID != 3 {
		t.Errorf("id %d, %v; want 3", p.ID, err)
	}
	s.on("WAIT", say(":1\r\n"))
	_, err := publish(t.Context(), b)
	wantOutcome(t, "one replica of two", err, unknown)
	if err == nil || !strings.Contains(err.Error(), "replicated to 1 of 2") {
		t.Errorf("%v, want an error that says: replicated to 1 of 2", err)
	}
	s.on("EVALSHA", say("-READONLY You can't write against a read only replica.\r\n")).
		on("WAIT", say("-ERR WAIT cannot be used with replica instances.\r\n"))
	_, err = publish(t.Context(), b)
	wantOutcome(t, "a replica", err, readOnly)
	s.on("EVALSHA", say(stored)).on("WAIT", hangUp)
	_, err = publish(t.Context(), b)
	wantOutcome(t, "no answer to WAIT", err, unknown)
}

func TestClose_WaitsForRequestsWhoseCallersHaveGone(t *testing.T) {
	t.Parallel()
	s := newFakeServer(t).on("EVALSHA", silence)
	b := s.peer(nil, func(o *redis.Options) { o.ReadTimeout = 200 * time.Millisecond })
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	_, err := publish(ctx, b)
	wantOutcome(t, "no answer before the deadline", err, unknown)
	b.Close()
	if _, err := publish(t.Context(), b); !errors.Is(err, driver.ErrClosed) {
		t.Errorf("publish after Close: %v, want driver.ErrClosed", err)
	}
}
