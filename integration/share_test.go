package integration_test

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/chromedp/chromedp"

	"github.com/messagebus-go/messagebus/bus"
	"github.com/messagebus-go/messagebus/integration/browser"
)

// tabs are windows of one user, on pages that share a connection.
type tabs struct {
	t       *testing.T
	site    *site
	browser *browser.Browser
	owner   *browser.Window // has the storage, and no client
	query   string
	open    []*browser.Window
	opened  int
}

func openTabs(t *testing.T, s *site, n int, query string) *tabs {
	t.Helper()
	b := browser.Start(t)
	owner := b.Open(t, "owner", browser.Options{})
	owner.Visit("http://" + s.proxy.Address() + "/client/index.js")
	all := &tabs{t: t, site: s, browser: b, owner: owner, query: query}
	for range n {
		all.add(query)
	}
	return all
}

func (a *tabs) add(query string) *browser.Window {
	a.t.Helper()
	a.opened++
	w := a.browser.Open(a.t, fmt.Sprintf("tab-%d", a.opened), browser.Options{Beside: a.owner})
	w.Visit(fmt.Sprintf("http://%s/shared.html?%s&own=%d", a.site.proxy.Address(), query, a.opened))
	a.open = append(a.open, w)
	return w
}

func (a *tabs) kill(i int) {
	a.open[i].Close()
	a.open = append(a.open[:i], a.open[i+1:]...)
}

// haveAll waits until every tab has the numbers from 1 to n, and checks that
// each came once and in order.
func (a *tabs) haveAll(n int) {
	a.t.Helper()
	for _, w := range a.open {
		w.WaitFor(fmt.Sprintf("globalThis.received?.length >= %d", n))
	}
	for i, w := range a.open {
		wrong := browser.Eval[[][3]int64](w, "received.filter(([number], i) => number !== i + 1)")
		if len(wrong) > 0 {
			a.t.Fatalf("tab %d of %d has %v in the wrong place", i, len(a.open), wrong[0])
		}
		if gaps := browser.Eval[int](w, "gaps.filter(({ reason }) => reason !== 'possible').length"); gaps != 0 {
			a.t.Errorf("tab %d was told of %d gaps where nothing was lost", i, gaps)
		}
	}
}

func (a *tabs) publish(from, n int) {
	a.t.Helper()
	for number := from; number < from+n; number++ {
		if _, err := a.site.bus.Publish(a.t.Context(), "/numbers", number, bus.MaxBacklogSize(20_000)); err != nil {
			a.t.Fatal(err)
		}
	}
}

func TestShare_TwentyTabsOnOneConnectionOfWhichSomeAreKilled(t *testing.T) {
	t.Parallel()
	const (
		count  = 20
		rounds = 12
		each   = 25
	)
	s := startSite(t)
	seed := rand.Uint64()
	random := rand.New(rand.NewPCG(seed, 1))
	t.Logf("seed %d", seed)
	all := openTabs(t, s, count, "")
	all.publish(1, each)
	all.haveAll(each)
	ids := map[string]bool{}
	for _, w := range all.open {
		ids[browser.Eval[string](w, "client.clientId")] = true
	}
	if len(ids) != 1 {
		t.Errorf("the tabs have %d client ids", len(ids))
	}
	until(t, "one request is held for all tabs", func() bool { return s.messages.Held() == 1 })
	before := s.polls.Load()
	for round := 1; round <= rounds; round++ {
		victim := random.IntN(len(all.open))
		if round%3 == 0 {
			victim = 0 // the oldest has the connection
		}
		published := make(chan struct{})
		go func() {
			defer close(published)
			for number := round*each + 1; number <= (round+1)*each; number++ {
				if _, err := s.bus.Publish(t.Context(), "/numbers", number, bus.MaxBacklogSize(20_000)); err != nil {
					t.Error(err)
				}
			}
		}()
		all.kill(victim)
		if round%2 == 0 {
			all.add("")
		}
		if round%4 == 0 {
			s.proxy.Cut()
		}
		<-published
		all.haveAll((round + 1) * each)
	}
	until(t, "one request is held for all tabs", func() bool { return s.messages.Held() == 1 })
	// A request for each change of leader and of channels, and for what was cut; twenty tabs by themselves
	// would have asked twenty times as often.
	if polls := s.polls.Load() - before; polls > rounds*10 {
		t.Errorf("%d requests in %d rounds", polls, rounds)
	}
}

func TestShare_AMessageForTheClientOfAllReachesTheTabThatWantsIt(t *testing.T) {
	t.Parallel()
	s := startSite(t)
	all := openTabs(t, s, 3, "")
	all.publish(1, 1)
	all.haveAll(1)
	client := browser.Eval[string](all.open[2], "client.clientId")
	if _, err := s.bus.Publish(t.Context(), "/own/3", "for the third", bus.ToClients(client)); err != nil {
		t.Fatal(err)
	}
	all.open[2].WaitFor(`globalThis.own === "for the third"`)
	for i, w := range all.open[:2] {
		if own := browser.Eval[bool](w, "globalThis.own !== undefined"); own {
			t.Errorf("tab %d got the message of another", i+1)
		}
	}
}

func TestShare_TabsOfDifferentIdentitiesShareNothing(t *testing.T) {
	t.Parallel()
	s := startSite(t)
	all := openTabs(t, s, 2, "identity=ann")
	all.add("identity=ben")
	all.publish(1, 5)
	all.haveAll(5)
	until(t, "each identity has a request", func() bool { return s.messages.Held() == 2 })
	ann, ben := browser.Eval[string](all.open[0], "client.clientId"), browser.Eval[string](all.open[2], "client.clientId")
	if other := browser.Eval[string](all.open[1], "client.clientId"); ann != other || ann == ben {
		t.Errorf("the client ids of two tabs of Ann are %s and %s, that of Ben is %s", ann, other, ben)
	}
}

// Without locks, as on pages without TLS, a worker has the connection.
func TestShare_ThroughAWorkerWhereThereAreNoLocks(t *testing.T) {
	t.Parallel()
	s := startSite(t)
	all := openTabs(t, s, 4, "worker")
	all.publish(1, 50)
	all.haveAll(50)
	until(t, "one request is held for all tabs", func() bool { return s.messages.Held() == 1 })
	all.kill(0)
	all.add("worker")
	s.proxy.Cut()
	all.publish(51, 50)
	all.haveAll(100)
}

func TestShare_ATabThatLeftAndCameBackHasEverything(t *testing.T) {
	t.Parallel()
	s := startSite(t)
	all := openTabs(t, s, 2, "")
	all.publish(1, 10)
	all.haveAll(10)
	for i, w := range all.open {
		w.Visit("http://" + s.proxy.Address() + "/client/index.js")
		all.publish(10*i+11, 10)
		w.Do(chromedp.NavigateBack())
		all.haveAll(10*i + 20)
	}
}
