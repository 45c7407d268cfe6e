package pgbus

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/messagebus-go/messagebus/bus/driver"
)

// A crowd are publishers of a server that does not answer the first of them, behind
// whom the others wait.
type crowd struct {
	*testing.T

	peer     *Backend
	server   *fakeServer
	arrived  chan struct{} // takes the requests that are not answered
	release  func()        // has them answered
	requests atomic.Int32
	errs     chan error // of all publishers
}

// newCrowd has group answer the request after those that are held up.
func newCrowd(t *testing.T, group func(*session, []string)) *crowd {
	t.Helper()
	held := make(chan struct{})
	c := &crowd{T: t, arrived: make(chan struct{}, mostRequests), release: sync.OnceFunc(func() { close(held) }), errs: make(chan error, 64)}
	c.peer, c.server = newBackend(t, func(s *session) {
		for {
			request, ok := s.request()
			if !ok {
				return
			}
			switch n := c.requests.Add(1); {
			case n <= mostRequests:
				c.arrived <- struct{}{}
				<-held
				s.stored(request)
			case n == mostRequests+1:
				group(s, request)
			default:
				s.stored(request)
			}
		}
	})
	t.Cleanup(c.release)
	for range mostRequests {
		c.publish(context.Background())
		<-c.arrived
	}
	return c
}

// stored answers all statements of a publish, or of some.
func (s *session) stored(statements []string) {
	for _, sql := range statements {
		if sql == insertSQL {
			s.inserted()
		} else {
			s.done()
		}
	}
	s.ready()
}

func (c *crowd) publish(ctx context.Context) {
	go func() {
		_, err := c.peer.Publish(ctx, "/a", []byte(`"x"`), driver.Limits{ClearEvery: 1})
		c.errs <- err
	}()
}

// publishWaiting has some more publish, and returns when they wait.
func (c *crowd) publishWaiting(ctx context.Context, publishers int) {
	c.Helper()
	before := c.waiting()
	for range publishers {
		c.publish(ctx)
	}
	again := time.NewTicker(time.Millisecond)
	defer again.Stop()
	for c.waiting() < before+publishers {
		<-again.C
	}
}

func (c *crowd) waiting() int {
	c.peer.line.mu.Lock()
	defer c.peer.line.mu.Unlock()
	return len(c.peer.line.waiting)
}

// want waits for some publishers to end as they have to.
func (c *crowd) want(publishers int, ok func(error) bool) {
	c.Helper()
	for range publishers {
		if err := <-c.errs; !ok(err) {
			c.Errorf("publish: %v", err)
		}
	}
}

func isNil(err error) bool     { return err == nil }
func isUnknown(err error) bool { return errors.Is(err, driver.ErrUnknownOutcome) }

func TestPublish_SendsThoseWhoWaitTogether(t *testing.T) {
	t.Parallel()
	const publishers = 10
	c := newCrowd(t, (*session).stored)
	c.publishWaiting(context.Background(), publishers)
	c.release()
	c.want(mostRequests+publishers, isNil)
	if n := c.requests.Load(); n != mostRequests+1 {
		t.Errorf("%d requests, want one for the %d who waited", n-mostRequests, publishers)
	}
	if inserts, trims := c.server.sent(insertSQL), c.server.sent(trimSQL); inserts != mostRequests+publishers || trims != mostRequests+1 {
		t.Errorf("%d inserts and %d trims, want %d and %d", inserts, trims, mostRequests+publishers, mostRequests+1)
	}
}

func TestPublish_ThatFailsWithOthersForCertainIsSentByItself(t *testing.T) {
	t.Parallel()
	const publishers = 10
	c := newCrowd(t, func(s *session, _ []string) { s.inserted(); s.fail("ERROR", "23514"); s.ready() })
	c.publishWaiting(context.Background(), publishers)
	c.release()
	c.want(mostRequests+publishers, isNil)
	if n := c.requests.Load(); n != mostRequests+1+publishers {
		t.Errorf("%d requests, want one for all, and then one for each", n-mostRequests)
	}
}

func TestPublish_OfUnknownOutcomeWithOthersIsNotRepeated(t *testing.T) {
	t.Parallel()
	const publishers = 10
	c := newCrowd(t, func(s *session, _ []string) { s.inserted(); s.cut() })
	c.publishWaiting(context.Background(), publishers)
	c.release()
	unknown := 0
	c.want(mostRequests+publishers, func(err error) bool {
		if isUnknown(err) {
			unknown++
		}
		return err == nil || isUnknown(err)
	})
	if unknown != publishers {
		t.Errorf("%d publishes have an unknown outcome, want the %d that were sent together", unknown, publishers)
	}
	if n := c.server.sent(insertSQL); n != mostRequests+publishers {
		t.Errorf("%d inserts, want one of each", n)
	}
}

func TestPublish_ThatGivesUpWaitingIsNotSent(t *testing.T) {
	t.Parallel()
	c := newCrowd(t, (*session).stored)
	ctx, cancel := context.WithCancel(context.Background())
	c.publishWaiting(ctx, 3)
	cancel()
	c.want(3, func(err error) bool { return errors.Is(err, context.Canceled) && !isUnknown(err) })
	c.release()
	c.want(mostRequests, isNil)
	if n := c.server.sent(insertSQL); n != mostRequests {
		t.Errorf("%d inserts, want those of the %d who did not give up", n, mostRequests)
	}
}

// A server that stops to answer must not keep those who come later from publishing
// once it answers again.
func TestPublish_ThatIsSentWithOthersEndsWithItsContextAndTheLastEndsTheRequest(t *testing.T) {
	t.Parallel()
	asked := make(chan struct{})
	c := newCrowd(t, func(s *session, _ []string) { close(asked); s.request(); s.cut() })
	first, cancelFirst := context.WithCancel(context.Background())
	second, cancelSecond := context.WithCancel(context.Background())
	defer cancelSecond()
	c.publishWaiting(first, 3)
	c.publishWaiting(second, 4)
	c.release()
	c.want(mostRequests, isNil)
	<-asked
	cancelFirst()
	c.want(3, func(err error) bool { return isUnknown(err) && errors.Is(err, context.Canceled) })
	c.publish(context.Background())
	c.want(1, isNil) // beside the request that is stuck
	cancelSecond()
	c.want(4, isUnknown)
	again := time.NewTicker(time.Millisecond)
	defer again.Stop()
	for { // the stuck request ends, as nobody wants it
		c.peer.line.mu.Lock()
		left := c.peer.line.requests
		c.peer.line.mu.Unlock()
		if left == 0 {
			return
		}
		<-again.C
	}
}

func TestNeedsTrim_UnlessALaterOneDoesTheSame(t *testing.T) {
	t.Parallel()
	limits := driver.Limits{MaxSize: 10, ClearEvery: 1}
	with := func(channel string, change func(*driver.Limits)) *publication {
		p := &publication{channel: channel, limits: limits}
		change(&p.limits)
		return p
	}
	same := func(*driver.Limits) {}
	larger := func(l *driver.Limits) { l.MaxSize = 20 }
	seldom := func(l *driver.Limits) { l.ClearEvery = 2 }
	for name, test := range map[string]struct {
		all  []*publication
		want bool
	}{
		"alone":              {[]*publication{with("/a", same)}, true},
		"the same":           {[]*publication{with("/a", same), with("/b", same), with("/a", same)}, false},
		"another channel":    {[]*publication{with("/a", same), with("/b", same)}, true},
		"other limits":       {[]*publication{with("/a", same), with("/a", larger)}, true},
		"its id may say not": {[]*publication{with("/a", seldom), with("/a", seldom)}, true},
	} {
		if got := needsTrim(test.all); got != test.want {
			t.Errorf("%s: %v, want %v", name, got, test.want)
		}
	}
}
