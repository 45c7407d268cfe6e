package bus_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/messagebus-go/messagebus/bus"
	"github.com/messagebus-go/messagebus/bus/bustest"
	"github.com/messagebus-go/messagebus/bus/driver"
)

func publish(t *testing.T, b *bus.Bus, channel string, data any, opts ...bus.PublishOption) int64 {
	t.Helper()
	id, err := b.Publish(t.Context(), channel, data, opts...)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

func subscribe(t *testing.T, b *bus.Bus, channel string, from bus.Position) *bus.Subscription {
	t.Helper()
	sub, err := b.Subscribe(t.Context(), channel, from)
	if err != nil {
		t.Fatal(err)
	}
	return sub
}

// next returns the data of the next message.
func next(t *testing.T, sub *bus.Subscription) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	m, err := sub.Next(ctx)
	if err != nil {
		t.Fatalf("Next: %v", err)
	}
	return string(m.Data)
}

func nextGap(t *testing.T, sub *bus.Subscription) bus.GapError {
	t.Helper()
	m, err := sub.Next(t.Context())
	var gap *bus.GapError
	if !errors.As(err, &gap) {
		t.Fatalf("Next returned %+v, %v; want a gap", m, err)
	}
	return *gap
}

// quiet fails if there is something to read now.
func quiet(t *testing.T, sub *bus.Subscription) {
	t.Helper()
	synctest.Wait()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if m, err := sub.Next(ctx); !errors.Is(err, context.Canceled) {
		t.Fatalf("Next returned %+v, %v; want nothing", m, err)
	}
}

func TestSubscribe_StartsWhereAsked(t *testing.T) {
	t.Parallel()
	b := bustest.New(t)
	for i := 1; i <= 5; i++ {
		publish(t, b, "/a", i)
		publish(t, b, "/b", -i)
	}
	ids, err := b.LastIDs(t.Context(), "/a", "/nothing")
	if err != nil || ids["/a"] != 9 || ids["/nothing"] != 0 {
		t.Fatalf("LastIDs: %v, %v", ids, err)
	}
	for name, test := range map[string]struct {
		from bus.Position
		want string
	}{
		"from the beginning": {bus.After(0), "12345"},
		"the zero position":  {bus.Position{}, "12345"},
		"after an id":        {bus.After(5), "45"},
		"between two ids":    {bus.After(6), "45"},
		"from now":           {bus.Latest(), ""},
		"the last two":       {bus.Last(2), "45"},
		"the last none":      {bus.Last(0), ""},
		"more than there is": {bus.Last(9), "12345"},
		"a message's own":    {bus.Resume(7, 7, ""), "5"},
	} {
		t.Run(name, func(t *testing.T) {
			sub := subscribe(t, b, "/a", test.from)
			defer sub.Close()
			for i := range test.want {
				if got := next(t, sub); got != test.want[i:i+1] {
					t.Fatalf("message %d is %s; want %s", i, got, test.want)
				}
			}
		})
	}
}

func TestSubscribe_LatestHearsWhatIsPublishedAfterIt(t *testing.T) {
	t.Parallel()
	b := bustest.New(t)
	publish(t, b, "/a", 1)
	sub := subscribe(t, b, "/a", bus.Latest())
	publish(t, b, "/a", 2)
	publish(t, b, "/b", 3)
	publish(t, b, "/a", 4)
	if got := next(t, sub) + next(t, sub); got != "24" {
		t.Errorf("got %s; want 2 and 4", got)
	}
}

func TestSubscribe_SitesAreApart(t *testing.T) {
	t.Parallel()
	b := bustest.New(t)
	views := map[string]*bus.Bus{"none": b, "s1": b.Site("s1"), "s2": b.Site("s2"), "empty": b.Site("")}
	subs := map[string]*bus.Subscription{}
	for name, view := range views {
		subs[name] = subscribe(t, view, "/a", bus.After(0))
		publish(t, view, "/a", name)
	}
	for name, sub := range subs {
		m, err := sub.Next(t.Context())
		if err != nil || string(m.Data) != `"`+name+`"` || m.Channel != "/a" || m.Sited != (name != "none") {
			t.Errorf("site %s got %+v, %v", name, m, err)
		}
	}
	shared := subscribe(t, views["s1"], "/global/x", bus.After(0))
	publish(t, views["s2"], "/global/x", "all")
	if got := next(t, shared); got != `"all"` {
		t.Errorf("a channel below /global/ belongs to every site; got %s", got)
	}
	all, err := b.SubscribeAll(t.Context(), bus.AfterGlobal(0))
	if err != nil {
		t.Fatal(err)
	}
	for range 5 {
		next(t, all)
	}
}

func TestSubscribeAll_IsInGlobalOrderAndResumes(t *testing.T) {
	t.Parallel()
	b := bustest.New(t)
	for i := range 5 {
		publish(t, b, fmt.Sprintf("/%d", i%3), i)
	}
	all, err := b.SubscribeAll(t.Context(), bus.AfterGlobal(2))
	if err != nil {
		t.Fatal(err)
	}
	m, err := all.Next(t.Context())
	if err != nil || m.GlobalID != 3 {
		t.Fatalf("got %+v, %v", m, err)
	}
	again, err := b.SubscribeAll(t.Context(), m.GlobalPosition())
	if err != nil {
		t.Fatal(err)
	}
	if got := next(t, again) + next(t, again); got != "34" {
		t.Errorf("after global id 3 came %s", got)
	}
	latest, err := b.SubscribeAll(t.Context(), bus.LatestGlobal())
	if err != nil {
		t.Fatal(err)
	}
	publish(t, b, "/x", 9)
	if got := next(t, latest); got != "9" {
		t.Errorf("got %s; want what was published later", got)
	}
}

func TestSubscribe_AnUndecodableMessageIsToldAndPassed(t *testing.T) {
	t.Parallel()
	store := bustest.NewStore(t)
	b := bustest.On(t, store, nil)
	limits := driver.Limits{MaxSize: 10, MaxGlobalSize: 10, MaxAge: time.Hour, ClearEvery: 1}
	broken := func() {
		if _, err := store.Dial().Publish(t.Context(), "/a", []byte("hello"), limits); err != nil {
			t.Fatal(err)
		}
	}
	broken()
	sub := subscribe(t, b, "/a", bus.After(0))
	publish(t, b, "/a", 1)
	broken()
	publish(t, b, "/a", 2)
	for range 2 {
		var undecodable *bus.DecodeError
		if _, err := sub.Next(t.Context()); !errors.As(err, &undecodable) || undecodable.Channel != "/a" {
			t.Fatalf("Next: %v; want a DecodeError", err)
		}
		next(t, sub)
	}
	messages, err := b.Backlog(t.Context(), "/a", 0)
	var undecodable *bus.DecodeError
	if len(messages) != 2 || !errors.As(err, &undecodable) {
		t.Errorf("Backlog returned %d messages, %v; want 2 and a DecodeError", len(messages), err)
	}
	page, err := b.Read(t.Context(), map[string]bus.Position{"/a": bus.After(0)})
	if err != nil || len(page["/a"].Messages) != 2 || page["/a"].Skipped != 2 {
		t.Errorf("Read returned %+v, %v", page, err)
	}
}

func TestSubscribe_ResumeShowsAResetThatTheIdDoesNot(t *testing.T) {
	t.Parallel()
	store := bustest.NewStore(t)
	b := bustest.On(t, store, nil)
	for i := range 3 {
		publish(t, b, "/a", i)
	}
	m, _, err := b.LastMessage(t.Context(), "/a")
	if err != nil {
		t.Fatal(err)
	}
	store.Faults().Reset()
	for i := range 5 {
		publish(t, b, "/a", 10+i)
	}
	if got := next(t, subscribe(t, b, "/a", bus.After(3))); got != "13" {
		t.Errorf("an id alone cannot show it: got %s", got)
	}
	p := m.Position()
	sub := subscribe(t, b, "/a", bus.Resume(p.ID(), p.GlobalID(), p.Epoch()))
	if gap := nextGap(t, sub); gap.Reason != bus.GapReset || gap.After != 3 || gap.Next != 1 {
		t.Errorf("gap is %+v", gap)
	}
	if got := next(t, sub); got != "10" {
		t.Errorf("after the reset came %s; want all of the new store", got)
	}
	ahead := subscribe(t, b, "/a", bus.After(50))
	if gap := nextGap(t, ahead); gap.Reason != bus.GapReset || gap.After != 50 {
		t.Errorf("ahead of the store the gap is %+v", gap)
	}
}

func TestRead_JudgesEachChannelByItself(t *testing.T) {
	t.Parallel()
	store := bustest.NewStore(t)
	b := bustest.On(t, store, &bus.Options{MaxBacklogSize: 2})
	for i := range 5 {
		publish(t, b, "/a", i)
		publish(t, b, "/b", i)
	}
	pages, err := b.Read(t.Context(), map[string]bus.Position{
		"/a": bus.After(1), "/b": bus.After(8), "/c": bus.Latest(), "/d|e": bus.After(0),
	})
	if err != nil {
		t.Fatal(err)
	}
	if a := pages["/a"]; len(a.Messages) != 2 || a.Gap == nil || *a.Gap != (bus.GapError{Channel: "/a", After: 1, Next: 7, Reason: bus.GapTrimmed}) || a.LastID != 9 {
		t.Errorf("/a is %+v, gap %v", a, a.Gap)
	}
	if p := pages["/b"]; len(p.Messages) != 1 || p.Gap != nil || p.Position.GlobalID() != 10 {
		t.Errorf("/b is %+v", p)
	}
	if p := pages["/c"]; len(p.Messages) != 0 || p.Gap != nil || p.LastID != 0 {
		t.Errorf("/c is %+v", p)
	}
	if _, err := b.Read(t.Context(), map[string]bus.Position{"": bus.Latest()}); !errors.Is(err, bus.ErrInvalidChannel) {
		t.Errorf("empty channel: %v", err)
	}
}

func TestSubscribe_SlowReaderHoldsLittleAndLosesNothing(t *testing.T) {
	t.Parallel()
	var behind atomic.Int64
	b := bustest.On(t, bustest.NewStore(t), &bus.Options{
		MaxBacklogSize: 5000, MaxGlobalBacklogSize: 5000,
		Trace: &bus.Trace{Behind: func(string) { behind.Add(1) }},
	})
	sub := subscribe(t, b, "/a", bus.Latest())
	big := strings.Repeat("x", 10_000)
	for range 3000 {
		publish(t, b, "/a", big)
	}
	for i := range 3000 {
		if m, err := sub.Next(t.Context()); err != nil || m.ID != int64(i+1) {
			t.Fatalf("message %d is %d, %v", i+1, m.ID, err)
		}
	}
	if behind.Load() == 0 {
		t.Error("30 MB were queued for one reader")
	}
}

func TestSubscribeFunc_ContainsPanicsAndEndsWithErrClosed(t *testing.T) {
	t.Parallel()
	b := bustest.New(t)
	calls := make(chan string, 10)
	sub, err := b.SubscribeFunc(t.Context(), "/a", bus.After(0), func(m bus.Message, err error) {
		if err != nil {
			calls <- err.Error()
			return
		}
		calls <- string(m.Data)
		if string(m.Data) == "1" {
			panic("the callback is broken")
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	publish(t, b, "/a", 1)
	publish(t, b, "/a", 2)
	for _, want := range []string{"1", "2"} {
		if got := <-calls; got != want {
			t.Fatalf("the callback got %s; want %s", got, want)
		}
	}
	sub.Close()
	if got := <-calls; got != bus.ErrClosed.Error() {
		t.Errorf("the last call is %q", got)
	}
}

func TestClose_EndsEverySubscription(t *testing.T) {
	t.Parallel()
	b := bustest.New(t)
	sub := subscribe(t, b, "/a", bus.Latest())
	ended := make(chan error, 1)
	go func() {
		_, err := sub.Next(t.Context())
		ended <- err
	}()
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-ended; !errors.Is(err, bus.ErrClosed) {
		t.Errorf("Next returned %v", err)
	}
	if _, err := b.Subscribe(t.Context(), "/a", bus.Latest()); !errors.Is(err, bus.ErrClosed) {
		t.Errorf("Subscribe returned %v", err)
	}
	if err := b.Close(); err != nil {
		t.Errorf("the second Close returned %v", err)
	}
	if h := b.Health(); h.OK {
		t.Error("a closed bus is not well")
	}
	for range sub.Messages(t.Context()) {
		t.Error("a closed subscription has no messages")
	}
}

func TestFeed_ThatDiesSilentlyIsNoticedWithinTheBound(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := bustest.NewStore(t)
		b := bustest.On(t, store, nil)
		sub := subscribe(t, b, "/a", bus.Latest())
		synctest.Wait()
		if h := b.Health(); !h.OK || !h.Listening {
			t.Fatalf("health is %+v", h)
		}
		store.Faults().Silence(true)
		publish(t, b, "/a", 1)
		<-time.After(10 * time.Second)
		synctest.Wait()
		if h := b.Health(); h.OK || len(h.Reasons) == 0 {
			t.Errorf("10 s later health is %+v", h)
		}
		store.Faults().Silence(false)
		<-time.After(10 * time.Second)
		synctest.Wait()
		if h := b.Health(); !h.OK {
			t.Errorf("repaired, health is %+v", h)
		}
		if got := next(t, sub); got != "1" {
			t.Errorf("got %s", got)
		}
	})
}

func TestFeed_AMessageThatWasNeverAnnouncedIsFoundWithinTheBound(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := bustest.NewStore(t)
		b := bustest.On(t, store, nil)
		sub := subscribe(t, b, "/a", bus.Latest())
		<-time.After(time.Minute)
		store.Faults().DropNext(1)
		publish(t, b, "/a", 1)
		start := time.Now()
		if got := next(t, sub); got != "1" {
			t.Errorf("got %s", got)
		}
		if took := time.Since(start); took > 10*time.Second {
			t.Errorf("it took %v", took)
		}
	})
}

func TestFeed_ALaterMessageRevealsTheMissingOneAtOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := bustest.NewStore(t)
		b := bustest.On(t, store, nil)
		sub := subscribe(t, b, "/a", bus.Latest())
		synctest.Wait()
		store.Faults().DropNext(1)
		publish(t, b, "/a", 1)
		publish(t, b, "/b", 2)
		synctest.Wait()
		if got := next(t, sub); got != "1" {
			t.Errorf("got %s", got)
		}
	})
}

func TestFeed_AnAnnouncementWithoutIdsLeadsToTheStore(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := bustest.NewStore(t)
		b := bustest.On(t, store, nil)
		sub := subscribe(t, b, "/a", bus.Latest())
		synctest.Wait()
		store.Faults().DropNext(1)
		publish(t, b, "/a", 1)
		store.Faults().Announce(driver.Message{Channel: "/a", Data: []byte("{}")})
		if got := next(t, sub); got != "1" {
			t.Errorf("got %s", got)
		}
		if h := b.Health(); h.Undecodable != 1 {
			t.Errorf("health counts %d undecodable announcements", h.Undecodable)
		}
	})
}

func TestFeed_AFailoverIsAGap(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := bustest.NewStore(t)
		b := bustest.On(t, store, nil)
		quick := subscribe(t, b, "/a", bus.Latest())
		publish(t, b, "/a", 1)
		next(t, quick)
		synctest.Wait()
		store.Faults().FailOver(0)
		if gap := nextGap(t, quick); gap.Reason != bus.GapFailover || gap.After != 1 {
			t.Errorf("gap is %+v", gap)
		}
		publish(t, b, "/a", 2)
		if got := next(t, quick); got != "2" {
			t.Errorf("got %s", got)
		}
		if h := b.Health(); h.Gaps != 1 {
			t.Errorf("health counts %d gaps", h.Gaps)
		}
	})
}

func TestFeed_ManyChannelsAreBroughtForwardInOneRoundTrip(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := bustest.NewStore(t)
		counted := &countingStore{Backend: store}
		b := bustest.On(t, counted, nil)
		var subs []*bus.Subscription
		for i := range 1000 {
			subs = append(subs, subscribe(t, b, fmt.Sprintf("/%d", i), bus.Latest()))
		}
		synctest.Wait()
		store.Faults().FailRequests(errCut)
		store.Faults().CutFeeds(errCut)
		synctest.Wait()
		store.Faults().FailRequests(nil)
		for i := range 1000 {
			publish(t, b, fmt.Sprintf("/%d", i), i)
		}
		before := counted.reads.Load()
		for i, sub := range subs {
			if got := next(t, sub); got != fmt.Sprint(i) {
				t.Fatalf("channel %d got %s", i, got)
			}
		}
		if reads := counted.reads.Load() - before; reads > 2 {
			t.Errorf("%d reads brought 1000 channels forward", reads)
		}
	})
}

type countingStore struct {
	driver.Backend
	reads atomic.Int64
}

func (s *countingStore) Read(ctx context.Context, ranges []driver.Range) (driver.Snapshot, error) {
	s.reads.Add(1)
	return s.Backend.Read(ctx, ranges)
}

func TestKeepalive_IsPublishedAsTheGemDoes(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := bustest.New(t)
		subscribe(t, b, "/a", bus.Latest())
		<-time.After(61 * time.Second)
		synctest.Wait()
		m, ok, err := b.LastMessage(t.Context(), "/__mb_keepalive__/")
		if err != nil || !ok || string(m.Data) != fmt.Sprint(os.Getpid()) || len(m.UserIDs) != 1 || m.UserIDs[0] != bus.IntID(-1) {
			t.Errorf("got %+v, %v, %v", m, ok, err)
		}
		quietBus := bustest.On(t, bustest.NewStore(t), &bus.Options{Keepalive: -1})
		subscribe(t, quietBus, "/a", bus.Latest())
		<-time.After(time.Hour)
		if _, ok, err := quietBus.LastMessage(t.Context(), "/__mb_keepalive__/"); ok || err != nil {
			t.Errorf("a keepalive was published all the same: %v, %v", ok, err)
		}
	})
}

func TestTrace_APanicGoesNoFurther(t *testing.T) {
	t.Parallel()
	b := bustest.On(t, bustest.NewStore(t), &bus.Options{Trace: &bus.Trace{
		Publish: func(bus.PublishInfo) { panic("broken") },
		FeedUp:  func() { panic("broken") },
	}})
	sub := subscribe(t, b, "/a", bus.Latest())
	publish(t, b, "/a", 1)
	next(t, sub)
}

func TestNext_AContextThatEndsDoesNotEndTheSubscription(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := bustest.New(t)
		sub := subscribe(t, b, "/a", bus.Latest())
		quiet(t, sub)
		publish(t, b, "/a", 1)
		if got := next(t, sub); got != "1" {
			t.Errorf("got %s", got)
		}
		quiet(t, sub)
	})
}

func TestSubscribe_FailsWhenTheStoreDoesNotAnswer(t *testing.T) {
	t.Parallel()
	store := bustest.NewStore(t)
	b := bustest.On(t, store, nil)
	store.Faults().FailRequests(errCut)
	if _, err := b.Subscribe(t.Context(), "/a", bus.After(0)); !errors.Is(err, errCut) {
		t.Errorf("Subscribe returned %v", err)
	}
	store.Faults().FailRequests(nil)
	subscribe(t, b, "/a", bus.After(0))
}

// warningStore has something for its operator.
type warningStore struct {
	driver.Backend

	warning atomic.Value
}

func (s *warningStore) State(ctx context.Context) (driver.State, error) {
	state, err := s.Backend.State(ctx)
	state.Warning = s.warning.Load().(string)
	return state, err
}

func TestHealth_ShowsWhatTheStoreWarnsOf(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := &warningStore{Backend: bustest.NewStore(t)}
		store.warning.Store("")
		b := bustest.On(t, store, nil)
		subscribe(t, b, "/a", bus.Latest())
		store.warning.Store("the disk is nearly full")
		<-time.After(10 * time.Second)
		if h := b.Health(); h.OK || !slices.Contains(h.Reasons, "the disk is nearly full") {
			t.Errorf("health is %+v", h)
		}
		store.warning.Store("")
		<-time.After(10 * time.Second)
		if h := b.Health(); !h.OK {
			t.Errorf("health is %+v after the trouble is over", h)
		}
	})
}
