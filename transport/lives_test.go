package transport_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/messagebus-go/messagebus/bus"
	"github.com/messagebus-go/messagebus/bus/bustest"
	"github.com/messagebus-go/messagebus/bus/driver"
	"github.com/messagebus-go/messagebus/bus/membus"
	"github.com/messagebus-go/messagebus/transport"
)

// marks are what a client says of its positions beside the last ids.
type marks struct {
	of   map[string]marked
	met  string          // the epoch of an answer of which nothing was taken yet
	told map[string]bool // whose epochs a gap of that answer has named
}

type marked struct {
	epoch string
	gid   int // 0: not known
}

func newMarks() *marks { return &marks{of: make(map[string]marked), told: make(map[string]bool)} }

// text is the member __pos.
func (m *marks) text() string {
	epochs := make(map[string]map[string]int)
	for channel, at := range m.of {
		if epochs[at.epoch] == nil {
			epochs[at.epoch] = make(map[string]int)
		}
		epochs[at.epoch][channel] = at.gid
	}
	text, _ := json.Marshal(epochs) //nolint:errchkjson // texts and numbers
	return "~" + string(text)
}

// meet is told the epoch in which an answer begins.
func (m *marks) meet(epoch string) {
	if m != nil {
		m.met = epoch
		clear(m.told)
	}
}

// begin is called when the gaps with which an answer begins have been taken.
func (m *marks) begin(channels []string) {
	if m == nil || m.met == "" {
		return
	}
	for _, channel := range channels {
		if !m.told[channel] {
			m.of[channel] = marked{m.met, m.of[channel].gid}
		}
	}
	m.met = ""
}

// stand notes the global id that belongs to the last id of a channel.
func (m *marks) stand(channel string, gid int) {
	if m != nil {
		m.of[channel] = marked{m.of[channel].epoch, gid}
	}
}

func (r *reader) takeGaps(gaps map[string]*toldGap) {
	for channel, gap := range gaps {
		at := marked{gap.Epoch, r.marks.of[channel].gid}
		if gap.Reason == string(bus.GapReset) {
			at.gid, r.last[channel] = 0, max(gap.Next-1, 0)
		}
		r.marks.of[channel], r.marks.told[channel] = at, true
		r.heard[channel] = append(r.heard[channel], heard{gap: gap})
	}
}

// A distantStore takes its time to be read. Its channels have ids of their own, as those of Redis
// have, or share them.
type distantStore struct {
	driver.Backend

	faults *membus.Faults
	own    bool
	loose  bool       // its publishers need not wait for each other, which they do
	mu     sync.Mutex // guards below
	random *rand.Rand
	given  map[string][]int64 // the global ids of the messages of a channel
	ids    map[string]int64   // of messages, by their data
}

func newDistantStore(tb testing.TB, own bool, random *rand.Rand) *distantStore {
	tb.Helper()
	store := bustest.NewStore(tb)
	return &distantStore{Backend: store, faults: store.Faults(), own: own, random: random, given: map[string][]int64{}, ids: map[string]int64{}}
}

func (s *distantStore) wait() {
	s.mu.Lock()
	d := time.Duration(s.random.IntN(40)-20) * time.Millisecond
	s.mu.Unlock()
	if d > 0 {
		<-time.After(d)
	}
}

func (s *distantStore) Publish(ctx context.Context, channel string, data []byte, limits driver.Limits) (driver.Position, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	id := int64(len(s.given[channel]) + 1)
	s.ids[string(data)] = id
	at, err := s.Backend.Publish(ctx, channel, data, limits)
	s.given[channel] = append(s.given[channel], at.GlobalID)
	if s.own {
		at.ID = id
	}
	return at, err
}

// number gives messages that were read the ids of their channel.
func (s *distantStore) number(messages ...*driver.Message) {
	for _, m := range messages {
		if s.own && m.GlobalID != 0 {
			m.ID = s.ids[string(m.Data)]
		}
	}
}

func (s *distantStore) numberAll(messages []driver.Message) {
	for i := range messages {
		s.number(&messages[i])
	}
}

func (s *distantStore) Read(ctx context.Context, ranges []driver.Range) (driver.Snapshot, error) {
	s.wait()
	defer s.wait()
	s.mu.Lock()
	defer s.mu.Unlock()
	asked := make([]driver.Range, len(ranges))
	for i, r := range ranges {
		if s.own {
			r.After = s.globalID(r.Channel, r.After)
		}
		asked[i] = r
	}
	snapshot, err := s.Backend.Read(ctx, asked)
	for i := range snapshot.Pages {
		page := &snapshot.Pages[i]
		s.numberAll(page.Messages)
		s.number(&page.Anchor)
		if s.own {
			page.LastID = int64(len(s.given[ranges[i].Channel]))
		}
	}
	return snapshot, err
}

func (s *distantStore) globalID(channel string, id int64) int64 {
	given := s.given[channel]
	switch {
	case id <= 0:
		return id
	case id > int64(len(given)):
		return math.MaxInt64
	}
	return given[id-1]
}

func (s *distantStore) GlobalBacklog(ctx context.Context, after int64, most int) (driver.GlobalPage, error) {
	s.wait()
	s.mu.Lock()
	defer s.mu.Unlock()
	page, err := s.Backend.GlobalBacklog(ctx, after, most)
	s.numberAll(page.Messages)
	return page, err
}

func (s *distantStore) Listen(ctx context.Context) (driver.Stream, error) {
	s.wait()
	stream, err := s.Backend.Listen(ctx)
	return distantStream{stream, s}, err
}

type distantStream struct {
	driver.Stream

	store *distantStore
}

func (s distantStream) Next(ctx context.Context) (driver.Message, error) {
	m, err := s.Stream.Next(ctx)
	s.store.mu.Lock()
	defer s.store.mu.Unlock()
	s.store.number(&m)
	return m, err
}

func (s *distantStore) Traits() driver.Traits {
	traits := driver.Traits{DenseGlobalIDs: !s.loose, SharedIDs: !s.own}
	if s.loose {
		traits.SettleHole = 250 * time.Millisecond
	}
	return traits
}

// failOver is to a server that lacks the newest messages.
func (s *distantStore) failOver(lost int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults.FailOver(lost)
	state, _ := s.State(context.Background())
	for channel, given := range s.given {
		for len(given) > 0 && given[len(given)-1] > state.GlobalID {
			given = given[:len(given)-1]
		}
		s.given[channel] = given
	}
}

func (s *distantStore) reset() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults.Reset()
	clear(s.given)
}

// A chronicle is what the store has been through.
type chronicle struct {
	store  *distantStore
	bus    *bus.Bus
	random *rand.Rand
	lives  map[string]int // by epoch
	gid    int
	all    []*told
}

// told is a message, and in which life the store lost it; 0: it is stored.
type told struct {
	posted

	id, gid int
	lost    int
}

// begin notes that the store has begun a life in which it has what is up to a global id.
func (c *chronicle) begin(tb testing.TB, gid int) {
	tb.Helper()
	state, err := c.store.State(tb.Context())
	if err != nil {
		tb.Fatal(err)
	}
	life := len(c.lives)
	c.lives[state.Epoch+"~"+state.Timeline], c.gid = life, gid
	for _, m := range c.all {
		if m.lost == 0 && m.gid > gid {
			m.lost = life
		}
	}
}

func (c *chronicle) publish(tb testing.TB) {
	tb.Helper()
	m := &told{posted: randomPosted(c.random)}
	b := c.bus
	if m.site != "" {
		b = b.Site(m.site)
	}
	id, err := b.Publish(tb.Context(), m.channel, len(c.all), m.options()...)
	if err != nil {
		tb.Fatal(err)
	}
	c.gid++
	m.id, m.gid = int(id), c.gid
	c.all = append(c.all, m)
}

// strike breaks something.
func (c *chronicle) strike(tb testing.TB) {
	tb.Helper()
	switch n := c.random.IntN(8); {
	case n < 5:
		lost := c.random.IntN(20)
		c.store.failOver(lost)
		c.begin(tb, max(c.gid-lost, 0))
	case n < 6:
		c.store.reset()
		c.begin(tb, 0)
	default:
		c.store.faults.CutFeeds(errors.New("cut"))
	}
}

func (c *chronicle) run(tb testing.TB) {
	tb.Helper()
	c.begin(tb, 0)
	for range 300 {
		c.publish(tb)
		switch n := c.random.IntN(60); {
		case n < 2:
			c.strike(tb)
		case n < 8:
			<-time.After(time.Duration(c.random.IntN(4000)) * time.Millisecond)
		case n < 30:
			<-time.After(time.Duration(c.random.IntN(30)) * time.Millisecond)
		}
	}
}

// TestModel_AStoreThatLosesMessagesLosesNothingElse has the clients of the other model, most of which send
// positions, while the store is reset, and fails over to servers that lack the newest messages and give their
// ids again. MESSAGEBUS_HISTORIES asks for more of them.
func TestModel_AStoreThatLosesMessagesLosesNothingElse(t *testing.T) {
	t.Parallel()
	histories := 24
	if more, err := strconv.Atoi(os.Getenv("MESSAGEBUS_HISTORIES")); err == nil {
		histories = more
	}
	for seed := range histories {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) { runLives(t, uint64(seed)) })
		})
	}
}

func runLives(t *testing.T, seed uint64) {
	t.Helper()
	rnd := rand.New(rand.NewPCG(seed, 11))
	store := newDistantStore(t, rnd.IntN(2) == 0, rand.New(rand.NewPCG(seed, 12)))
	store.loose = !store.own && rnd.IntN(2) == 0
	hold := transport.LongPollOptions{Hold: 3 * time.Second, MaxAge: 4 * time.Second, Heartbeat: time.Second}
	long := rnd.IntN(2) == 0
	if long {
		hold.Hold, hold.MaxAge = 24*time.Hour, 24*time.Hour
	}
	r := newRigOn(t, store, socketOptions(transport.Options{Identify: byHeaders, LongPoll: hold, Limits: transport.LimitOptions{MaxQueuedBytes: 1500}}))
	if rnd.IntN(2) == 0 {
		r.handler.ReadAtOnce(1)
	}
	r.handler.IndexFrom(2 + rnd.IntN(2)*100) // not at all, in some
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var running sync.WaitGroup
	wanderers := make([]*wanderer, modelUsers*modelClients)
	for i := range wanderers {
		w := &wanderer{
			reader: newReader(i/modelClients, i%modelClients, "/a", "/b", "/c", "/global/g"),
			stays:  long && rnd.IntN(2) == 0, random: rand.New(rand.NewPCG(seed, uint64(100+i))),
		}
		if rnd.IntN(3) > 0 {
			w.marks = newMarks()
		}
		wanderers[i] = w
		running.Go(func() { w.run(ctx, r) })
	}
	c := &chronicle{store: store, bus: r.bus, random: rnd, lives: make(map[string]int)}
	c.run(t)
	<-time.After(10 * time.Minute) // for everybody to catch up
	stop()
	running.Wait()
	for _, w := range wanderers {
		w.check(t, c)
	}
}

// A wanderer is a client that comes and goes, or stays.
type wanderer struct {
	*reader

	stays  bool
	random *rand.Rand
}

func (w *wanderer) run(ctx context.Context, on *rig) {
	for ctx.Err() == nil {
		if w.stays {
			w.visit(ctx, on, 1+w.random.IntN(3), 1<<30, 1, func() {})
			continue
		}
		session, leave := ctx, context.CancelFunc(func() {})
		if w.random.IntN(2) == 0 {
			session, leave = context.WithTimeout(ctx, time.Duration(w.random.IntN(20_000))*time.Millisecond)
		}
		w.session(session, on, w.random)
		leave()
		if w.random.IntN(3) == 0 {
			sleep(ctx, time.Duration(w.random.IntN(8000))*time.Millisecond)
		}
	}
}

// check: a client that is told of gaps, or that never left, has all that is stored for it. What was lost
// before it came is behind a gap. All is in order, from one reset to the next.
func (w *wanderer) check(t *testing.T, c *chronicle) {
	t.Helper()
	for _, channel := range w.channels {
		if err := w.checkChannel(channel, c); err != nil {
			t.Errorf("client %d of user %d of site %q, told %v, stays %v, on %s: %v\n%s", w.client, w.user, w.site, w.marks != nil, w.stays, channel, err, w.story(channel, c))
		}
	}
}

func (w *wanderer) checkChannel(channel string, c *chronicle) error {
	has := make(map[int]bool)
	last, told, back := -1, 0, 0
	for _, h := range w.heard[channel] {
		switch {
		case h.gap == nil:
			m := c.all[h.n]
			if m.channel != channel || !w.mayHave(m.posted) || m.id != h.id || m.gid != h.gid {
				return fmt.Errorf("got %+v", h)
			}
			if h.n <= last {
				back++
			}
			last, has[h.n] = h.n, true
		case h.gap.Reason == string(bus.GapReset):
			last, told = -1, c.lives[h.gap.Epoch]
		case h.gap.Reason == string(bus.GapFailover):
			told = c.lives[h.gap.Epoch]
		default:
			return fmt.Errorf("gap %+v, and nothing was trimmed", h.gap)
		}
	}
	if w.marks != nil && back > 0 {
		return errors.New("not in order")
	}
	for n, m := range c.all {
		if m.channel != channel || !w.mayHave(m.posted) || has[n] {
			continue
		}
		switch {
		case m.lost == 0 && (w.stays || w.marks != nil):
			return fmt.Errorf("lacks %d", n)
		case m.lost > told && w.marks != nil:
			return fmt.Errorf("is not told that %d was lost in life %d", n, m.lost)
		}
	}
	return nil
}

// story is what came, and what is and was stored.
func (w *wanderer) story(channel string, c *chronicle) string {
	var b strings.Builder
	for _, h := range w.heard[channel] {
		if h.gap == nil {
			fmt.Fprintf(&b, "%d(%d,%d) ", h.n, h.id, h.gid)
		} else {
			fmt.Fprintf(&b, "\n  %s %d %d into life %d: ", h.gap.Reason, h.gap.After, h.gap.Next, c.lives[h.gap.Epoch])
		}
	}
	b.WriteString("\nof:\n")
	for n, m := range c.all {
		if m.channel == channel && w.mayHave(m.posted) {
			fmt.Fprintf(&b, "%d(%d,%d;%d) ", n, m.id, m.gid, m.lost)
		}
	}
	return b.String()
}
