package drivertest

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/messagebus-go/messagebus/bus/driver"
	"github.com/messagebus-go/messagebus/bus/leakcheck"
	"github.com/messagebus-go/messagebus/bus/membus"
)

func TestMain(m *testing.M) { leakcheck.Main(m) }

// A breakage changes what a good store does. Functions that are nil change
// nothing. One breakage is made for each store and is shared by its peers.
type breakage struct {
	options membus.Options
	publish func(b *membus.Backend, r publishRequest) (driver.Position, error)
	read    func(b *membus.Backend, ranges []driver.Range) (driver.Snapshot, error)
	global  func(b *membus.Backend, after int64, limit int) (driver.GlobalPage, error)
	state   func(driver.State) driver.State
	listen  func(b *membus.Backend) (driver.Stream, error)
	close   func(b *membus.Backend) error
	count   func(counts []int) []int

	interrupt, wipe func(*membus.Faults)
	ignoreContext   bool
}

type publishRequest struct {
	ctx     context.Context
	channel string
	data    []byte
	limits  driver.Limits
}

func (r publishRequest) to(b *membus.Backend) (driver.Position, error) {
	return b.Publish(r.ctx, r.channel, r.data, r.limits)
}

// A brokenPeer is a good peer with a breakage.
type brokenPeer struct {
	*membus.Backend
	how breakage
}

func (p brokenPeer) Publish(ctx context.Context, channel string, data []byte, l driver.Limits) (driver.Position, error) {
	r := publishRequest{ctx, channel, data, l}
	if p.how.ignoreContext {
		r.ctx = context.WithoutCancel(ctx)
	}
	if p.how.publish != nil {
		return p.how.publish(p.Backend, r)
	}
	return r.to(p.Backend)
}

func (p brokenPeer) Read(ctx context.Context, ranges []driver.Range) (s driver.Snapshot, err error) {
	if p.how.read != nil {
		s, err = p.how.read(p.Backend, ranges)
	} else {
		s, err = p.Backend.Read(ctx, ranges)
	}
	s.State = p.changed(s.State)
	return s, err
}

func (p brokenPeer) GlobalBacklog(ctx context.Context, after int64, limit int) (g driver.GlobalPage, err error) {
	if p.how.global != nil {
		g, err = p.how.global(p.Backend, after, limit)
	} else {
		g, err = p.Backend.GlobalBacklog(ctx, after, limit)
	}
	g.State = p.changed(g.State)
	return g, err
}

func (p brokenPeer) State(ctx context.Context) (driver.State, error) {
	s, err := p.Backend.State(ctx)
	return p.changed(s), err
}

func (p brokenPeer) changed(s driver.State) driver.State {
	if p.how.state != nil {
		return p.how.state(s)
	}
	return s
}

func (p brokenPeer) Listen(ctx context.Context) (driver.Stream, error) {
	if p.how.listen != nil {
		return p.how.listen(p.Backend)
	}
	return p.Backend.Listen(ctx)
}

func (p brokenPeer) Count(ctx context.Context, channels []string) ([]int, error) {
	counts, err := p.Backend.Count(ctx, channels)
	if p.how.count != nil {
		counts = p.how.count(counts)
	}
	return counts, err
}

func (p brokenPeer) Close() error {
	if p.how.close != nil {
		return p.how.close(p.Backend)
	}
	return p.Backend.Close()
}

// brokenHarness makes a new breakage for each store.
func brokenHarness(how func() breakage) Harness {
	return Harness{Open: func(tb testing.TB) Store {
		br := how()
		b, err := membus.New(&br.options)
		if err != nil {
			tb.Fatal(err)
		}
		return Store{
			Dial: func(testing.TB) driver.Backend { return brokenPeer{b.Dial(), br} },
			Interrupt: func(testing.TB) {
				if br.interrupt != nil {
					br.interrupt(b.Faults())
					return
				}
				b.Faults().CutFeeds(errors.New("cut"))
			},
			Wipe: func(testing.TB) {
				if br.wipe != nil {
					br.wipe(b.Faults())
					return
				}
				b.Faults().Reset()
			},
		}
	}}
}

// every reports true on each nth call.
func every(n int64) func() bool {
	var calls atomic.Int64
	return func() bool { return calls.Add(1)%n == 0 }
}

// onRanges breaks Read by changing the question.
func onRanges(f func(*driver.Range)) func() breakage {
	return func() breakage {
		return breakage{read: func(b *membus.Backend, ranges []driver.Range) (driver.Snapshot, error) {
			ranges = slices.Clone(ranges)
			for i := range ranges {
				f(&ranges[i])
			}
			return b.Read(context.Background(), ranges)
		}}
	}
}

// onSnapshot breaks Read by changing the answer.
func onSnapshot(f func(s *driver.Snapshot, ranges []driver.Range)) func() breakage {
	return func() breakage {
		return breakage{read: func(b *membus.Backend, ranges []driver.Range) (driver.Snapshot, error) {
			s, err := b.Read(context.Background(), ranges)
			if err == nil {
				f(&s, ranges)
			}
			return s, err
		}}
	}
}

func onPages(f func(p *driver.Page)) func() breakage {
	return onSnapshot(func(s *driver.Snapshot, _ []driver.Range) {
		for i := range s.Pages {
			f(&s.Pages[i])
		}
	})
}

func onLimits(f func(*driver.Limits)) func() breakage {
	return onPublish(func() func(*membus.Backend, publishRequest) (driver.Position, error) {
		return func(b *membus.Backend, r publishRequest) (driver.Position, error) {
			f(&r.limits)
			return r.to(b)
		}
	})
}

func onPublish(f func() func(*membus.Backend, publishRequest) (driver.Position, error)) func() breakage {
	return func() breakage { return breakage{publish: f()} }
}

// onStream breaks every stream by itself.
func onStream(f func(s driver.Stream, b *membus.Backend) driver.Stream) func() breakage {
	return func() breakage {
		return breakage{listen: func(b *membus.Backend) (driver.Stream, error) {
			s, err := b.Listen(context.Background())
			if err != nil {
				return nil, err
			}
			return f(s, b), nil
		}}
	}
}

// A brokenStream replaces what it has functions for.
type brokenStream struct {
	driver.Stream
	next  func(context.Context) (driver.Message, error)
	ping  func(context.Context) error
	close func() error
}

func (s brokenStream) Next(ctx context.Context) (driver.Message, error) {
	if s.next != nil {
		return s.next(ctx)
	}
	return s.Stream.Next(ctx)
}

func (s brokenStream) Ping(ctx context.Context) error {
	if s.ping != nil {
		return s.ping(ctx)
	}
	return s.Stream.Ping(ctx)
}

func (s brokenStream) Close() error {
	if s.close != nil {
		return s.close()
	}
	return s.Stream.Close()
}

func onNext(f func(driver.Message) driver.Message) func() breakage {
	return onStream(func(s driver.Stream, _ *membus.Backend) driver.Stream {
		return brokenStream{Stream: s, next: func(ctx context.Context) (driver.Message, error) {
			m, err := s.Next(ctx)
			return f(m), err
		}}
	})
}

func TestSuite_PassesAnIntactStore(t *testing.T) {
	t.Parallel()
	h := brokenHarness(func() breakage { return breakage{} })
	for _, topic := range topics() {
		for _, name := range slices.Sorted(maps.Keys(topic.claims)) {
			t.Run(topic.name+"/"+name, func(t *testing.T) {
				t.Parallel()
				if failure := record(t, h, topic.claims[name]); failure != "" {
					t.Error(failure)
				}
			})
		}
	}
}

func TestBrokenStoresFail(t *testing.T) {
	t.Parallel()
	stores := brokenStores()
	failures := make(map[string]chan string, len(stores))
	for name, broken := range stores {
		// All at once and not as parallel subtests: they wait more than they work.
		claim, failure := claimNamed(t, broken.claim), make(chan string, 1)
		h := brokenHarness(broken.how)
		h.Patience = 3 * time.Second
		go func() { failure <- record(t, h, claim) }()
		failures[name] = failure
	}
	for name, broken := range stores {
		t.Run(name, func(t *testing.T) {
			failure := <-failures[name]
			if failure == "" {
				t.Fatalf("the suite did not notice in %s", broken.claim)
			}
			if !strings.Contains(failure, broken.says) {
				t.Errorf("%s %s\nwant a failure that says %q", broken.claim, failure, broken.says)
			}
		})
	}
}

func claimNamed(t *testing.T, name string) func(*env) {
	t.Helper()
	topicName, claim, _ := strings.Cut(name, "/")
	for _, topic := range topics() {
		if f := topic.claims[claim]; topic.name == topicName && f != nil {
			return f
		}
	}
	t.Fatalf("the suite has no claim %s", name)
	return nil
}

func TestHarness_NilFunctionsFailWithTheirName(t *testing.T) {
	t.Parallel()
	good := brokenHarness(func() breakage { return breakage{} })
	open := func(tb testing.TB) Store { return Store{Dial: good.Open(tb).Dial} }
	for _, test := range []struct {
		claim, says string
		h           Harness
	}{
		{"recovery/InterruptEndsStreams", "Store.Interrupt is nil", Harness{Open: open}},
		{"recovery/WipeRestartsIDsInANewEpoch", "Store.Wipe is nil", Harness{Open: open}},
		{"recovery/InterruptEndsStreams", "skipped: not run: Features.NoInterrupt",
			Harness{Open: open, Features: Features{NoInterrupt: true}}},
		{"recovery/WipeRestartsIDsInANewEpoch", "skipped: not run: Features.NoWipe",
			Harness{Open: open, Features: Features{NoWipe: true}}},
		{"publish/GivesAscendingIDs", "Harness.Open is nil", Harness{}},
		{"publish/GivesAscendingIDs", "Store.Dial is nil", Harness{Open: func(testing.TB) Store { return Store{} }}},
	} {
		test.h.Patience = 2 * time.Second
		if failure := record(t, test.h, claimNamed(t, test.claim)); !strings.Contains(failure, test.says) {
			t.Errorf("%s: %q, want a failure that says %q", test.claim, failure, test.says)
		}
	}
}

// A brokenStore names the claim that must find it, and what the failure says.
type brokenStore struct {
	how         func() breakage
	claim, says string
}

func brokenStores() map[string]brokenStore {
	all := make(map[string]brokenStore)
	for _, some := range []map[string]brokenStore{brokenPublishes(), brokenReads(), brokenStreams(), brokenLives()} {
		maps.Copy(all, some)
	}
	return all
}

func brokenPublishes() map[string]brokenStore {
	return map[string]brokenStore{
		"repeats an id": {onPublish(repeatAnID), "publish/GivesAscendingIDs", "was given after"},
		"returns another position": {
			onPublish(func() func(*membus.Backend, publishRequest) (driver.Position, error) {
				return func(b *membus.Backend, r publishRequest) (driver.Position, error) {
					p, err := r.to(b)
					return driver.Position{GlobalID: p.GlobalID + 1, ID: p.ID + 1}, err
				}
			}),
			"publish/ReturnsThePositionOfTheStoredMessage", "backlog: message 0",
		},
		"publishes twice": {
			onPublish(func() func(*membus.Backend, publishRequest) (driver.Position, error) {
				third := every(3)
				return func(b *membus.Backend, r publishRequest) (driver.Position, error) {
					if third() {
						_, _ = r.to(b)
					}
					return r.to(b)
				}
			}),
			"stream/DeliversEverythingInOrder", "stream: message 2",
		},
		"stores but does not announce": {
			onPublish(func() func(*membus.Backend, publishRequest) (driver.Position, error) {
				third := every(3)
				return func(b *membus.Backend, r publishRequest) (driver.Position, error) {
					if third() {
						b.Faults().DropNext(1)
					}
					return r.to(b)
				}
			}),
			"stream/EveryPeerSeesTheSame", "the stream gave 20 of 30 messages",
		},
		"announces but does not store": {
			onPages(func(p *driver.Page) {
				p.Messages = slices.DeleteFunc(p.Messages, func(m driver.Message) bool { return m.ID%7 == 3 })
			}),
			"publish/ReturnsThePositionOfTheStoredMessage", "backlog: message 2",
		},
		"keeps the caller's slice": {keepsSlice, "publish/DoesNotKeepTheCallersSlice", `after!`},
		"stores nothing though it says so": {
			onPublish(func() func(*membus.Backend, publishRequest) (driver.Position, error) {
				return func(b *membus.Backend, r publishRequest) (driver.Position, error) {
					s, err := b.State(r.ctx)
					return driver.Position{GlobalID: s.GlobalID + 1, ID: s.GlobalID + 1}, err
				}
			}),
			"publish/IsSeenByAllPeers", "0 messages, want 2",
		},
		"stores after the context has ended": {
			func() breakage { return breakage{ignoreContext: true} },
			"publish/StoresNothingWhenTheContextHasEnded", "no error",
		},
		"trims one too many": {
			onLimits(func(l *driver.Limits) { l.MaxSize-- }), "trim/KeepsTheNewestMaxSize", "at most 3 kept",
		},
		"trims one too few of all": {
			onLimits(func(l *driver.Limits) { l.MaxGlobalSize++ }), "trim/KeepsTheNewestMaxGlobalSize", "the newest 4",
		},
		"trims at every publish": {
			onLimits(func(l *driver.Limits) { l.ClearEvery = 1 }), "trim/HappensEveryClearEvery", "trimmed at multiples of 4",
		},
		"ignores the age": {
			onLimits(func(l *driver.Limits) { l.MaxAge = time.Hour }), "trim/AgeExpires", "older than their channel's age",
		},
		"takes 0 for no limit": {
			onLimits(func(l *driver.Limits) { l.MaxSize = cmp.Or(l.MaxSize, 1000) }),
			"trim/ZeroKeepsNothingButIsAnnounced", "size 0: backlog",
		},
	}
}

func repeatAnID() func(*membus.Backend, publishRequest) (driver.Position, error) {
	fifth := every(5)
	var last driver.Position
	return func(b *membus.Backend, r publishRequest) (driver.Position, error) {
		p, err := r.to(b)
		if fifth() {
			return last, err
		}
		last = p
		return p, err
	}
}

// keepsSlice answers with the slices that Publish was given.
func keepsSlice() breakage {
	var mu sync.Mutex
	kept := make(map[int64][]byte)
	restore := func(m *driver.Message) {
		mu.Lock()
		defer mu.Unlock()
		m.Data = kept[m.ID]
	}
	br := onNext(func(m driver.Message) driver.Message { restore(&m); return m })()
	br.read = onPages(func(p *driver.Page) {
		for i := range p.Messages {
			restore(&p.Messages[i])
		}
	})().read
	br.publish = func(b *membus.Backend, r publishRequest) (driver.Position, error) {
		p, err := r.to(b)
		mu.Lock()
		defer mu.Unlock()
		kept[p.ID] = r.data
		return p, err
	}
	return br
}

func brokenReads() map[string]brokenStore {
	return map[string]brokenStore{
		"after is inclusive": {
			onRanges(func(r *driver.Range) { r.After-- }), "backlog/AfterIsExclusive", "is not after",
		},
		"after skips one": {
			onRanges(func(r *driver.Range) { r.After++ }), "backlog/AfterIsExclusive", "after message 0",
		},
		"tail ends at max": {
			onPages(func(p *driver.Page) { p.Messages = p.Messages[:min(1, len(p.Messages))] }),
			"backlog/TailIsTheNewest", "tail 3",
		},
		"max gives the newest": {
			onRanges(func(r *driver.Range) { r.Tail = cmp.Or(r.Tail, r.Max) }), "backlog/MaxIsTheOldest", "max 3",
		},
		"no anchor": {
			onPages(func(p *driver.Page) { p.Anchor.Data = nil }), "backlog/AnchorIsTheMessageAtAfter", "anchor of id",
		},
		"last id is the store's": {
			onSnapshot(func(s *driver.Snapshot, _ []driver.Range) {
				for i := range s.Pages {
					s.Pages[i].LastID = s.State.GlobalID
				}
			}),
			"backlog/LastIDIsTheChannelsOwn", "last id 5, want 3",
		},
		"what is trimmed is still counted": {
			func() breakage {
				most := map[int]int{}
				return breakage{count: func(counts []int) []int {
					for i := range counts {
						most[i] = max(most[i], counts[i])
						counts[i] = most[i]
					}
					return counts
				}}
			},
			"backlog/CountIsWhatIsStored", "after a trim: counted are",
		},
		"counts are reversed": {
			func() breakage {
				return breakage{count: func(counts []int) []int {
					slices.Reverse(counts)
					return counts
				}}
			},
			"backlog/CountIsWhatIsStored", "after 5 and 2 messages: counted are",
		},
		"empty channels are not counted": {
			func() breakage {
				return breakage{count: func(counts []int) []int {
					return slices.DeleteFunc(counts, func(n int) bool { return n == 0 })
				}}
			},
			"backlog/CountIsWhatIsStored", "before the first message: counted are",
		},
		"pages are reversed": {
			onSnapshot(func(s *driver.Snapshot, _ []driver.Range) { slices.Reverse(s.Pages) }),
			"backlog/PagesAreAlignedWithRanges", "is of the channel",
		},
		"empty pages are left out": {
			onSnapshot(func(s *driver.Snapshot, _ []driver.Range) {
				s.Pages = slices.DeleteFunc(s.Pages, func(p driver.Page) bool { return len(p.Messages) == 0 })
			}),
			"backlog/PagesAreAlignedWithRanges", "5 pages for 6 ranges",
		},
		"a site is cut off": {
			onPages(func(p *driver.Page) {
				for i, m := range p.Messages {
					p.Messages[i].Channel, _, _ = strings.Cut(m.Channel, "$|$")
				}
			}),
			"publish/KeepsChannelNames", "is of the channel",
		},
		"data ends at a pipe": {
			onNext(func(m driver.Message) driver.Message {
				data, _, _ := strings.Cut(string(m.Data), "|")
				m.Data = []byte(data)
				return m
			}),
			"publish/KeepsDataByteForByte", "stream: message 1",
		},
		"global backlog ignores after": {
			func() breakage {
				return breakage{global: func(b *membus.Backend, _ int64, limit int) (driver.GlobalPage, error) {
					return b.GlobalBacklog(context.Background(), 0, limit)
				}}
			},
			"backlog/GlobalIsAllChannelsInOrder", "after the fifth",
		},
		"never reports a loss": {
			onPages(func(p *driver.Page) { p.Loss = driver.LossNone }), "trim/LossIsReported", "loss none, want certain",
		},
		"always reports a loss": {
			onSnapshot(func(s *driver.Snapshot, ranges []driver.Range) {
				for i, r := range ranges {
					if r.Tail == 0 {
						s.Pages[i].Loss = driver.LossCertain
					}
				}
			}),
			"trim/NoLossWhereNothingIsMissing", "loss certain, want none",
		},
		"state is of a later moment than the pages": {
			func() breakage { return breakage{read: tornRead} },
			"concurrency/ReadIsASnapshot", "is missing",
		},
	}
}

// tornRead asks for the state after it has read, when another publish has come.
func tornRead(b *membus.Backend, ranges []driver.Range) (driver.Snapshot, error) {
	ctx := context.Background()
	s, err := b.Read(ctx, ranges)
	if err == nil {
		s.State, err = stateAfter(ctx, b, s.State.GlobalID)
	}
	return s, err
}

// stateAfter waits a short while for a publish beyond id.
func stateAfter(ctx context.Context, b *membus.Backend, id int64) (driver.State, error) {
	deadline := time.After(50 * time.Millisecond)
	for {
		s, err := b.State(ctx)
		if err != nil || s.GlobalID > id {
			return s, err
		}
		select {
		case <-deadline:
			return s, nil
		default:
			runtime.Gosched()
		}
	}
}

func brokenStreams() map[string]brokenStore {
	return map[string]brokenStore{
		"drops one message": {
			onStream(func(s driver.Stream, _ *membus.Backend) driver.Stream {
				seventh := every(7)
				return brokenStream{Stream: s, next: func(ctx context.Context) (driver.Message, error) {
					if seventh() {
						if _, err := s.Next(ctx); err != nil {
							return driver.Message{}, err
						}
					}
					return s.Next(ctx)
				}}
			}),
			"stream/DeliversEverythingInOrder", "of 60 messages, then: context deadline exceeded",
		},
		"swaps two messages": {onStream(swapTwo), "stream/DeliversEverythingInOrder", "stream: message 3 of 60"},
		"repeats a message": {
			onStream(func(s driver.Stream, _ *membus.Backend) driver.Stream {
				ninth := every(9)
				var last driver.Message
				return brokenStream{Stream: s, next: func(ctx context.Context) (m driver.Message, err error) {
					if ninth() {
						return last, nil
					}
					last, err = s.Next(ctx)
					return last, err
				}}
			}),
			"concurrency/EveryStreamSeesEveryMessageOnce", "stream 0: message 8",
		},
		"is live with its first Next only": {lateListen, "stream/IsLiveOnceListenReturns", "the stream gave 0 of 1"},
		"leaves a gap between backlog and stream": {
			lateListen, "concurrency/ListenAndReadLeaveNoGap", "joiner",
		},
		"mixes up channels": {
			onNext(func(m driver.Message) driver.Message {
				m.Channel = strings.ToLower(m.Channel)
				return m
			}),
			"publish/KeepsChannelNames", "stream: message",
		},
		"Close does not unblock Next": {
			onStream(func(s driver.Stream, _ *membus.Backend) driver.Stream {
				return brokenStream{Stream: s, close: func() error { return nil }}
			}),
			"stream/CloseUnblocksNext", "closed meanwhile",
		},
		"an ended context ends the stream": {
			onStream(func(s driver.Stream, _ *membus.Backend) driver.Stream {
				return brokenStream{Stream: s, next: func(ctx context.Context) (driver.Message, error) {
					m, err := s.Next(ctx)
					if err != nil {
						_ = s.Close()
					}
					return m, err
				}}
			}),
			"stream/NextGoesOnAfterItsContextEnds", "then: closed",
		},
		"Ping fails beside Next": {
			onStream(func(s driver.Stream, _ *membus.Backend) driver.Stream {
				return brokenStream{Stream: s, ping: func(context.Context) error { return errors.New("busy") }}
			}),
			"stream/PingSucceedsBesideNext", "busy",
		},
		"skips what does not fit its buffer": {
			func() breakage {
				br := onStream(skipOverflow)()
				br.options.FeedMessages = 100
				return br
			},
			"stream/NeverSkipsWhenUnread", "neither ended nor gave message",
		},
		"a closed peer ends all streams": {
			func() breakage {
				return breakage{close: func(b *membus.Backend) error {
					b.Faults().CutFeeds(driver.ErrClosed)
					return b.Close()
				}}
			},
			"stream/PeerCloseEndsItsStreamsOnly", "the stream gave 0 of 1",
		},
	}
}

// swapTwo gives the fifth message before the fourth.
func swapTwo(s driver.Stream, _ *membus.Backend) driver.Stream {
	var held []driver.Message
	n := 0
	return brokenStream{Stream: s, next: func(ctx context.Context) (driver.Message, error) {
		if len(held) > 0 {
			m := held[0]
			held = nil
			return m, nil
		}
		m, err := s.Next(ctx)
		if n++; err == nil && n == 4 {
			held = append(held, m)
			return s.Next(ctx)
		}
		return m, err
	}}
}

// lateListen listens when Next is called for the first time.
func lateListen() breakage {
	return breakage{listen: func(b *membus.Backend) (driver.Stream, error) {
		s, err := b.Listen(context.Background())
		if err != nil {
			return nil, err
		}
		begun := false
		next := func(ctx context.Context) (driver.Message, error) {
			if !begun {
				begun = true
				if now, err := b.State(ctx); err == nil {
					_, _ = stateAfter(ctx, b, now.GlobalID)
				}
				if late, err := b.Listen(ctx); err == nil {
					_ = s.Close()
					s = late
				}
			}
			return s.Next(ctx)
		}
		return brokenStream{Stream: s, next: next, close: func() error { return nil }}, nil
	}}
}

// skipOverflow listens again where the stream should end.
func skipOverflow(s driver.Stream, b *membus.Backend) driver.Stream {
	next := func(ctx context.Context) (driver.Message, error) {
		m, err := s.Next(ctx)
		if errors.Is(err, driver.ErrFeedOverflow) {
			if s, err = b.Listen(ctx); err != nil {
				return m, err
			}
			return s.Next(ctx)
		}
		return m, err
	}
	return brokenStream{Stream: s, next: next, ping: func(context.Context) error { return nil }}
}

func brokenLives() map[string]brokenStore {
	deaf := func() breakage {
		br := onStream(func(s driver.Stream, _ *membus.Backend) driver.Stream {
			return brokenStream{Stream: s, ping: func(context.Context) error { return nil }}
		})()
		br.interrupt = func(f *membus.Faults) {
			f.Silence(true)
			f.Silence(false)
		}
		return br
	}
	return map[string]brokenStore{
		"a feed dies silently":                 {deaf, "recovery/InterruptEndsStreams", "did not return an error of its own"},
		"Ping of a dead feed says it is alive": {deaf, "recovery/InterruptFailsPing", "want an error of its own"},
		"an interrupt loses the newest message": {
			func() breakage { return breakage{interrupt: func(f *membus.Faults) { f.FailOver(1) }} },
			"recovery/BacklogSurvivesAnInterrupt", "backlog: message 2",
		},
		"an interrupt changes the timeline": {
			func() breakage { return breakage{interrupt: func(f *membus.Faults) { f.FailOver(0) }} },
			"recovery/InterruptKeepsTheEpoch", "after an interrupt",
		},
		"ids restart without a new epoch": {
			func() breakage {
				return breakage{state: func(s driver.State) driver.State {
					s.Epoch = "always"
					return s
				}}
			},
			"recovery/WipeRestartsIDsInANewEpoch", "want a new epoch",
		},
		"a wipe leaves the ids": {
			func() breakage { return breakage{wipe: func(*membus.Faults) {}} },
			"recovery/WipeRestartsIDsInANewEpoch", "must restart ids",
		},
		"every peer has an epoch of its own": {
			func() breakage {
				var n atomic.Int64
				return breakage{state: func(s driver.State) driver.State {
					s.Epoch = fmt.Sprint(n.Add(1))
					return s
				}}
			},
			"backlog/StateIsHowFarTheStoreHasCome", "the epoch",
		},
		"state lags behind": {
			func() breakage {
				return breakage{state: func(s driver.State) driver.State {
					s.GlobalID = max(0, s.GlobalID-1)
					s.Settled = s.GlobalID
					return s
				}}
			},
			"backlog/NoRangesGiveTheState", "want global id 1",
		},
		"settles what was not given": {
			func() breakage {
				return breakage{state: func(s driver.State) driver.State {
					s.Settled = s.GlobalID + 1
					return s
				}}
			},
			"backlog/NoRangesGiveTheState", "settled up to 2, though the last id given is 1",
		},
		"a closed peer goes on": {
			func() breakage { return breakage{close: func(*membus.Backend) error { return nil }} },
			"publish/FailsOnAClosedPeerAndWorksForTheOthers", "want driver.ErrClosed",
		},
	}
}
