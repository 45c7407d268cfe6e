package transport_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/messagebus-go/messagebus/bus/bustest"
	"github.com/messagebus-go/messagebus/bus/driver"
)

// betweenStore publishes just before and just after every read, which is when
// a client is neither served from the backlog nor yet live.
type betweenStore struct {
	driver.Backend
	around func()
}

func (s *betweenStore) Read(ctx context.Context, ranges []driver.Range) (driver.Snapshot, error) {
	s.around()
	defer s.around()
	return s.Backend.Read(ctx, ranges)
}

func TestHold_NothingFallsBetweenTheBacklogAndTheLiveMessages(t *testing.T) {
	for _, chunks := range []string{"X-None: 1", "Dont-Chunk: 1"} {
		synctest.Test(t, func(t *testing.T) {
			store := &betweenStore{Backend: bustest.NewStore(t), around: func() {}}
			r := newRigOn(t, store, nil)
			synctest.Wait()
			n := 0
			store.around = func() {
				n++
				r.publish("/a", n)
				synctest.Wait() // it has been offered
			}
			start := time.Now()
			last := 0
			for last < 6 {
				p := r.poll("me", fmt.Sprintf("/a=%d", last), chunks).head()
				parts := []string{}
				if p.header.Get("Content-Length") != "" {
					parts = append(parts, p.body())
				} else {
					parts = append(parts, p.part(), p.part())
				}
				for _, part := range parts {
					for _, m := range decode(t, part) {
						if m.ID != last+1 {
							t.Fatalf("message %d after %d", m.ID, last)
						}
						last = m.ID
					}
				}
			}
			if took := time.Since(start); took > 0 {
				t.Errorf("something came %v late", took)
			}
		})
	}
}

func TestHold_GapInTheFeedIsReadFromTheBacklog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := bustest.NewStore(t)
		r := newRigOn(t, store, nil)
		p := r.poll("me", "/a=0").head()
		p.want(noMessages)
		r.publish("/a", 1)
		p.want("[" + message(1, "/a", "1") + "]")
		store.Faults().DropNext(2)
		r.publish("/a", 2)
		r.publish("/a", 3)
		store.Faults().CutFeeds(errors.New("cut"))
		r.publish("/a", 4)
		last := 1
		for last < 4 {
			for _, m := range decode(t, p.part()) {
				if m.ID != last+1 {
					t.Fatalf("message %d after %d", m.ID, last)
				}
				last = m.ID
			}
		}
		store.Faults().Reset()
		r.publish("/a", `again`)
		for {
			if got := p.part(); strings.Contains(got, "again") {
				break
			}
		}
	})
}

func TestHold_ResetDuringTheReadBringsNothingOfTheOldStore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		mem := bustest.NewStore(t)
		store := &betweenStore{Backend: mem, around: func() {}}
		r := newRigOn(t, store, nil)
		synctest.Wait()
		store.around = func() {
			store.around = func() {}
			r.publish("/a", "old") // comes live, and waits for the read
			synctest.Wait()
			mem.Faults().Reset()
		}
		p := r.poll("me", "/a=0").head()
		p.want(noMessages)
		r.publish("/a", "new")
		p.want("[" + message(1, "/a", `"new"`) + "]")
	})
}

func TestHold_WhatWasWithheldIsNotForgottenWhenTheBacklogIsReadAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		mem := bustest.NewStore(t)
		r := newRigOn(t, &deafStore{Backend: mem}, nil)
		p := r.poll("me", "/a=0").head()
		p.want(noMessages)
		r.publish("/a", 1, forSomebodyElse)
		synctest.Wait()
		mem.Faults().CutFeeds(errors.New("cut"))
		p.want("["+status(`{"/a":1}`)+"]", "")
	})
}

// staleStore answers one read from before what it has announced, as a replica
// that lags behind does.
type staleStore struct {
	driver.Backend
	stale *driver.Snapshot
}

func (s *staleStore) Read(ctx context.Context, ranges []driver.Range) (driver.Snapshot, error) {
	if s.stale != nil {
		stale := *s.stale
		s.stale = nil
		return stale, nil
	}
	return s.Backend.Read(ctx, ranges)
}

// lag has the next read answer as the store does now.
func (s *staleStore) lag(t *testing.T) {
	t.Helper()
	snapshot, err := s.Backend.Read(t.Context(), []driver.Range{{Channel: "/a"}})
	if err != nil {
		t.Fatal(err)
	}
	s.stale = &snapshot
}

func TestHold_NewMessageRevealsThatTheReadWasStale(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &staleStore{Backend: bustest.NewStore(t)}
		r := newRigOn(t, store, nil)
		r.publish("/a", 1)
		store.lag(t)
		r.publish("/a", 2)
		synctest.Wait()
		p := r.poll("me", "/a=0").head()
		p.want("[" + message(1, "/a", "1") + "]")
		r.publish("/a", 3)
		p.want("["+message(2, "/a", "2")+"]", "["+message(3, "/a", "3")+"]")
	})
}

func TestHold_WhatComesLiveBehindAStaleReadIsReadAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &staleStore{Backend: bustest.NewStore(t)}
		between := &betweenStore{Backend: store, around: func() {}}
		r := newRigOn(t, between, nil)
		store.lag(t)
		r.publish("/a", 1)
		synctest.Wait()
		between.around = func() {
			between.around = func() {}
			r.publish("/a", 2)
			synctest.Wait() // it has been offered
		}
		r.poll("me", "/a=0").head().want(noMessages, "["+message(1, "/a", "1")+"]", "["+message(2, "/a", "2")+"]")
	})
}

// deafStore has lost the backlog of all channels together, and fails to say how
// far it is as often as it is told.
type deafStore struct {
	driver.Backend
	fail atomic.Int64
}

func (s *deafStore) GlobalBacklog(ctx context.Context, after int64, most int) (driver.GlobalPage, error) {
	page, err := s.Backend.GlobalBacklog(ctx, after, most)
	page.Messages, page.Loss = nil, driver.LossCertain
	return page, err
}

func (s *deafStore) State(ctx context.Context) (driver.State, error) {
	if s.fail.Add(-1) >= 0 {
		return driver.State{}, errors.New("not now")
	}
	return s.Backend.State(ctx)
}

func TestHold_WhatTheFeedCannotBringIsReadChannelByChannel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		mem := bustest.NewStore(t)
		r := newRigOn(t, &deafStore{Backend: mem}, nil)
		p := r.poll("me", "/a=0&/b=0").head()
		p.want(noMessages)
		const n = 200 // more than is read at once
		mem.Faults().DropNext(n)
		for i := 1; i <= n; i++ {
			r.publish("/a", i)
		}
		mem.Faults().CutFeeds(errors.New("cut"))
		for i := 1; i <= n; i++ {
			p.want("[" + message(i, "/a", fmt.Sprint(i)) + "]")
		}
	})
}

func TestHold_WhoIsAboutToEndGetsNothingBehindWhatTheFeedMissed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		mem := bustest.NewStore(t)
		r := newRigOn(t, &deafStore{Backend: mem}, slowOptions(0))
		p := r.poll("me", "/a=0").head()
		p.want(noMessages)
		r.publish("/a", 1)             // being written, as nobody reads
		<-time.After(30 * time.Second) // it was held for long enough
		mem.Faults().DropNext(1)
		r.publish("/a", 2)
		mem.Faults().CutFeeds(errors.New("cut"))
		<-time.After(time.Second) // the feed is another one
		r.publish("/a", 3)
		r.publish("/a", 4, forSomebodyElse)
		synctest.Wait()
		p.want("["+message(1, "/a", "1")+"]", noMessages, "")
	})
}

func TestHold_WhatCameBeforeTheFeedWasThereIsReadWhenItIs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &deafStore{Backend: bustest.NewStore(t)}
		store.fail.Store(20)
		r := newRigOn(t, store, nil)
		start := time.Now()
		p := r.poll("me", "/a=0").head()
		p.want(noMessages)
		r.publish("/a", 1)
		p.want("[" + message(1, "/a", "1") + "]")
		if took := time.Since(start); took > 20*time.Second {
			t.Errorf("it came after %v", took)
		}
	})
}

func TestHold_UndecodableMessagesArePassedOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := bustest.NewStore(t)
		r := newRigOn(t, store, nil)
		broken := func() {
			limits := driver.Limits{MaxSize: 10, MaxGlobalSize: 10, MaxAge: time.Hour, ClearEvery: 1}
			if _, err := store.Publish(t.Context(), "/a", []byte("{"), limits); err != nil {
				t.Fatal(err)
			}
		}
		broken()
		r.publish("/a", 2)
		p := r.poll("me", "/a=0").head()
		p.want("[" + message(2, "/a", "2") + "," + status(`{"/a":2}`) + "]")
		broken()
		p.want("["+status(`{"/a":3}`)+"]", "")
	})
}

func TestHold_SlowReaderIsNotToldToPassWhatItDoesNotHave(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, slowOptions(1000))
		p := r.poll("me", "/a=0").head()
		p.want(noMessages)
		for i := range 30 {
			r.publish("/a", i)
			r.publish("/a", "secret", forSomebodyElse)
			synctest.Wait() // the first write waits for the reader
		}
		<-time.After(26 * time.Second) // past the hold
		last := 0
		for part := p.part(); part != ""; part = p.part() {
			for _, m := range decode(t, part) {
				if m.Channel == "/__status" {
					t.Fatalf("status %s after message %d", m.Data, last)
				}
				last = m.ID
			}
		}
		if last >= 59 {
			t.Errorf("everything came: message %d", last)
		}
	})
}
