package membus_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"

	"github.com/messagebus-go/messagebus/bus/driver"
)

var errTest = errors.New("a fault of the test")

func (b bundle) wantNext(s driver.Stream, id int64) {
	b.Helper()
	if m, err := s.Next(b.Context()); err != nil || m.ID != id {
		b.Errorf("Next: id %d, %v; want id %d", m.ID, err, id)
	}
}

func (b bundle) state() driver.State {
	b.Helper()
	s, err := b.State(b.Context())
	if err != nil {
		b.Fatal(err)
	}
	return s
}

func TestCutFeeds_DropsWhatWasQueued(t *testing.T) {
	t.Parallel()
	b := setup(t, nil)
	s := b.listen()
	b.publish("/a", roomy)
	b.Faults().CutFeeds(errTest)
	if _, err := s.Next(t.Context()); !errors.Is(err, errTest) {
		t.Errorf("Next: %v, want %v", err, errTest)
	}
	if err := s.Ping(t.Context()); !errors.Is(err, errTest) {
		t.Errorf("Ping: %v, want %v", err, errTest)
	}
	again := b.listen()
	b.publish("/a", roomy)
	b.wantNext(again, 2)
}

func TestSilence_LeavesStreamsHalfOpen(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := setup(t, nil)
		old := b.listen()
		b.Faults().Silence(true)
		b.publish("/a", roomy)
		ctx, cancel := context.WithCancel(t.Context())
		waits := map[string]chan error{
			"Next":   async(func() error { _, err := old.Next(ctx); return err }),
			"Ping":   async(func() error { return old.Ping(ctx) }),
			"Listen": async(func() error { _, err := b.Listen(ctx); return err }),
		}
		listening := async(func() error { _, err := b.Listen(t.Context()); return err })
		synctest.Wait()
		cancel()
		for name, done := range waits {
			if err := <-done; !errors.Is(err, context.Canceled) {
				t.Errorf("%s on a silent store: %v, want to wait for the context", name, err)
			}
		}
		b.Faults().Silence(false)
		if err := <-listening; err != nil {
			t.Errorf("Listen, silent when it began: %v", err)
		}
		fresh := b.listen()
		b.publish("/a", roomy)
		b.wantNext(fresh, 2)
		pinging := async(func() error { return old.Ping(t.Context()) })
		synctest.Wait()
		old.Close()
		if err := <-pinging; !errors.Is(err, driver.ErrClosed) {
			t.Errorf("Ping of a stream from before: %v, want to wait for Close", err)
		}
	})
}

func async(f func() error) chan error {
	done := make(chan error, 1)
	go func() { done <- f() }()
	return done
}

func TestSetReadOnly_StoresNothing(t *testing.T) {
	t.Parallel()
	b := setup(t, nil)
	b.Faults().SetReadOnly(true)
	if _, err := b.Publish(t.Context(), "/a", nil, roomy); !errors.Is(err, driver.ErrReadOnly) {
		t.Errorf("Publish: %v, want ErrReadOnly", err)
	}
	if s := b.state(); !s.ReadOnly || s.GlobalID != 0 {
		t.Errorf("state %+v, want read-only and no id given", s)
	}
	b.Faults().SetReadOnly(false)
	b.publish("/a", roomy)
}

func TestFailRequests_FailsAllUntilNil(t *testing.T) {
	t.Parallel()
	b := setup(t, nil)
	s := b.listen()
	b.Faults().FailRequests(errTest)
	calls := map[string]func() error{
		"Publish":       func() error { _, err := b.Publish(t.Context(), "/a", nil, roomy); return err },
		"Read":          func() error { _, err := b.Read(t.Context(), nil); return err },
		"GlobalBacklog": func() error { _, err := b.GlobalBacklog(t.Context(), 0, 0); return err },
		"State":         func() error { _, err := b.State(t.Context()); return err },
		"Listen":        func() error { _, err := b.Listen(t.Context()); return err },
	}
	for name, call := range calls {
		if err := call(); !errors.Is(err, errTest) {
			t.Errorf("%s: %v, want %v", name, err, errTest)
		}
	}
	b.Faults().FailRequests(nil)
	b.publish("/a", roomy)
	b.wantNext(s, 1)
}

func TestLoseAnswers_StoresAndAnnounces(t *testing.T) {
	t.Parallel()
	b := setup(t, nil)
	s := b.listen()
	b.Faults().LoseAnswers(1)
	if _, err := b.Publish(t.Context(), "/a", nil, roomy); !errors.Is(err, driver.ErrUnknownOutcome) {
		t.Errorf("Publish: %v, want ErrUnknownOutcome", err)
	}
	b.wantNext(s, 1)
	b.wantIDs("/a", 1)
	b.publish("/a", roomy)
}

func TestDropNext_StoresOnly(t *testing.T) {
	t.Parallel()
	b := setup(t, nil)
	s := b.listen()
	b.Faults().DropNext(1)
	b.publish("/a", roomy)
	b.publish("/a", roomy)
	b.wantIDs("/a", 1, 2)
	b.wantNext(s, 2)
}

func TestAnnounce_StoresNothing(t *testing.T) {
	t.Parallel()
	b := setup(t, nil)
	s := b.listen()
	b.Faults().Announce(driver.Message{ID: 77, Channel: "/a"})
	b.wantNext(s, 77)
	b.wantIDs("/a")
}

func TestReset_BeginsAgainAndKeepsStreams(t *testing.T) {
	t.Parallel()
	b := setup(t, nil)
	s := b.listen()
	b.publish("/a", roomy)
	b.wantNext(s, 1)
	before := b.state()
	b.Faults().Reset()
	after := b.state()
	if after.GlobalID != 0 || after.Epoch == before.Epoch {
		t.Errorf("state %+v after the reset, %+v before", after, before)
	}
	b.wantIDs("/a")
	b.wantLoss("/a", 0, driver.LossNone)
	b.publish("/a", roomy)
	b.wantNext(s, 1)
	b.wantIDs("/a", 1)
}

func TestFailOver_LosesTheNewestAndGivesTheirIDsAgain(t *testing.T) {
	t.Parallel()
	b := setup(t, nil)
	s := b.listen()
	b.publish("/a", roomy)
	b.publish("/b", roomy)
	b.publish("/a", roomy)
	before := b.state()
	b.Faults().FailOver(2)
	after := b.state()
	if after.GlobalID != 1 || after.Epoch != before.Epoch || after.Timeline == before.Timeline {
		t.Errorf("state %+v after the failover, %+v before", after, before)
	}
	if _, err := s.Next(t.Context()); err == nil {
		t.Error("the stream went on")
	}
	b.wantIDs("/a", 1)
	b.wantIDs("/b")
	b.publish("/b", roomy)
	b.wantIDs("/b", 2)
	p, err := b.GlobalBacklog(t.Context(), 0, 0)
	if err != nil || len(p.Messages) != 2 || p.Loss != driver.LossNone {
		t.Errorf("global backlog %+v, %v; want 2 messages and no loss", p, err)
	}
}

func TestFailOver_MayLoseEverything(t *testing.T) {
	t.Parallel()
	b := setup(t, nil)
	b.publish("/a", roomy)
	b.Faults().FailOver(5)
	if s := b.state(); s.GlobalID != 0 {
		t.Errorf("state %+v, want global id 0", s)
	}
	b.wantIDs("/a")
}
