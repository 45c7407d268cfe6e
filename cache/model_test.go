package cache_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/messagebus-go/messagebus/bus"
	"github.com/messagebus-go/messagebus/bus/bustest"
	"github.com/messagebus-go/messagebus/bus/driver"
	"github.com/messagebus-go/messagebus/bus/membus"
	"github.com/messagebus-go/messagebus/cache"
)

// A ledger is what the store holds, by what was published alone: every operation
// in the order of its global id. Values are never used twice.
type ledger struct {
	mu       sync.Mutex
	faults   *membus.Faults
	globalID int64
	life     int // counts resets and failovers
	entries  []ledgerEntry
	known    map[int]ledgerEntry // by value, also what was lost
	database map[string]int      // what loaders read; changed before its key is deleted
	values   int
}

type ledgerEntry struct {
	globalID int64
	life     int
	op, key  string
	value    int
}

// publish stores through inner, and writes the operation down in the same moment.
func (l *ledger) publish(ctx context.Context, inner driver.Backend, channel string, data []byte, limits driver.Limits) (driver.Position, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	at, err := inner.Publish(ctx, channel, data, limits)
	if err != nil && !errors.Is(err, driver.ErrUnknownOutcome) {
		return at, err
	}
	var envelope struct {
		Data struct {
			Op    string `json:"op"`
			Key   string `json:"key"`
			Value int    `json:"value"`
		} `json:"data"`
	}
	if err := json.Unmarshal(data, &envelope); err != nil {
		return at, err
	}
	l.globalID++
	e := ledgerEntry{l.globalID, l.life, envelope.Data.Op, envelope.Data.Key, envelope.Data.Value}
	l.entries = append(l.entries, e)
	if e.op == "set" {
		l.known[e.value] = e
	}
	return at, err
}

func (l *ledger) reset() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.faults.Reset()
	l.life++
	l.globalID, l.entries = 0, nil
}

func (l *ledger) failOver(lost int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.faults.FailOver(lost)
	l.life++
	l.globalID = max(0, l.globalID-int64(lost))
	for len(l.entries) > 0 && l.entries[len(l.entries)-1].globalID > l.globalID {
		l.entries = l.entries[:len(l.entries)-1]
	}
}

// newValue returns one that was never used.
func (l *ledger) newValue() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.values++
	return l.values
}

// last returns the last operation on a key.
func (l *ledger) last(key string) (e ledgerEntry, ok bool) {
	for _, e := range slices.Backward(l.entries) {
		if e.op == "clear" || e.key == key {
			return e, true
		}
	}
	return e, false
}

// holds reports whether an operation is in the store.
func (l *ledger) holds(e ledgerEntry) bool { return slices.Contains(l.entries, e) }

// slow is a store on a slow network: requests, answers and announcements take a
// random while, so that an own operation may be heard of before its answer.
type slow struct {
	driver.Backend

	ledger *ledger
	mu     sync.Mutex
	random *rand.Rand
	most   time.Duration
}

func (s *slow) wait() {
	s.mu.Lock()
	d := time.Duration(s.random.Int64N(int64(s.most) + 1))
	s.mu.Unlock()
	if d > s.most/2 { // half of them take no time
		<-time.After(d)
	}
}

func (s *slow) Publish(ctx context.Context, channel string, data []byte, limits driver.Limits) (driver.Position, error) {
	s.wait()
	at, err := s.ledger.publish(context.WithoutCancel(ctx), s.Backend, channel, data, limits)
	s.wait()
	return at, err
}

func (s *slow) Listen(ctx context.Context) (driver.Stream, error) {
	stream, err := s.Backend.Listen(ctx)
	return slowStream{stream, s}, err
}

type slowStream struct {
	driver.Stream

	slow *slow
}

func (s slowStream) Next(ctx context.Context) (driver.Message, error) {
	m, err := s.Stream.Next(ctx)
	if err == nil {
		s.slow.wait()
	}
	return m, err
}

// A process is one peer of a history.
type process struct {
	*cache.Cache[string, int]

	name   string
	lossy  bool // entries may go without a word: bounds, doubts
	doubts sync.Map
	seen   map[string]int // the value that was read last; guarded by the one reader
}

// may reports whether a key may be missing although it was written.
func (p *process) mayLack() bool {
	doubt := false
	p.doubts.Range(func(any, any) bool { doubt = true; return false })
	return p.lossy || doubt || p.Stats().Stale > 0
}

var (
	written = []string{"a", "b", "c", "d"} // set, deleted
	loaded  = []string{"x", "y"}           // loaded from the database, deleted when it changes
)

// A story is one random history.
type story struct {
	*ledger

	t         *testing.T
	random    *rand.Rand
	store     *membus.Backend
	processes []*process
	writers   sync.WaitGroup
	unsent    map[string]bool // keys whose invalidation could not be published yet
	unsentMu  sync.Mutex
}

// TestCache_KeepsItsPromisesUnderFaults runs random histories of several peers and
// checks convergence, reading one's own writes, reads that never go back, and that
// nothing that was loaded is older than the change that made it void.
// MESSAGEBUS_HISTORIES asks for more of them.
func TestCache_KeepsItsPromisesUnderFaults(t *testing.T) {
	t.Parallel()
	histories := 100
	if more, err := strconv.Atoi(os.Getenv("MESSAGEBUS_HISTORIES")); err == nil {
		histories = more
	}
	for seed := range histories {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) { tell(t, uint64(seed)) })
		})
	}
}

func tell(t *testing.T, seed uint64) {
	store := bustest.NewStore(t)
	s := &story{
		ledger: &ledger{faults: store.Faults(), known: map[int]ledgerEntry{}, database: map[string]int{}},
		t:      t, random: rand.New(rand.NewPCG(seed, 2)), store: store, unsent: map[string]bool{},
	}
	for range 2 + s.random.IntN(3) {
		s.join()
	}
	for range 40 + s.random.IntN(60) {
		s.step()
		s.readAll()
	}
	s.recover()
	s.checkAll()
	for i := range 3 {
		s.writeEverything(i)
		s.rest()
		s.checkAll()
	}
	s.checkEqual()
}

// join starts one more process.
func (s *story) join() {
	s.t.Helper()
	backend := &slow{
		Backend: s.store.Dial(), ledger: s.ledger,
		random: rand.New(rand.NewPCG(s.random.Uint64(), 3)), most: time.Duration(s.random.IntN(3)*20) * time.Millisecond,
	}
	opts := &cache.Options[string, int]{WarmStart: s.random.IntN(2) == 0}
	if s.random.IntN(2) == 0 {
		opts.OnGap = cache.GapResync
	}
	p := &process{name: fmt.Sprint(len(s.processes)), seen: map[string]int{}}
	switch s.random.IntN(4) {
	case 0:
		opts.MaxEntries, p.lossy = 3, true
	case 1:
		opts.TTL, p.lossy = 10*time.Second, true
	}
	b := bustest.On(s.t, backend, &bus.Options{Keepalive: -1, MaxBacklogSize: 10 + s.random.IntN(100)})
	p.lossy = p.lossy || len(s.processes) > 1 // it was not there from the start
	p.Cache = open(s.t, b, opts)
	s.processes = append(s.processes, p)
}

func pick[T any](random *rand.Rand, all []T) T { return all[random.IntN(len(all))] }

// step does one random thing.
func (s *story) step() {
	s.t.Helper()
	p := pick(s.random, s.processes)
	key := pick(s.random, written)
	switch n := s.random.IntN(100); {
	case n < 40:
		for range 1 + s.random.IntN(3) { // at once
			p := pick(s.random, s.processes)
			s.writers.Go(func() { s.set(p, key) })
		}
	case n < 48:
		s.writers.Go(func() { s.doubtful(p, key, p.Delete(s.t.Context(), key)) })
	case n < 50:
		s.writers.Go(func() { s.doubtful(p, "", p.Clear(s.t.Context())) })
	case n < 60:
		key := pick(s.random, loaded)
		delay := time.Duration(s.random.IntN(100)) * time.Millisecond
		s.writers.Go(func() { s.load(p, key, delay) })
	case n < 68:
		key := pick(s.random, loaded)
		s.writers.Go(func() { s.invalidate(p, key) })
	case n < 70:
		if len(s.processes) < 5 {
			s.join()
		}
	case n < 76:
		s.fault()
	default:
		<-time.After(time.Duration(s.random.IntN(500)) * time.Millisecond)
	}
}

// fault lets something go wrong, for a while.
func (s *story) fault() {
	while := time.Duration(s.random.IntN(20)) * time.Second
	switch s.random.IntN(9) {
	case 0:
		s.faults.CutFeeds(errDown)
	case 1:
		s.faults.Silence(true)
		<-time.After(while)
		s.faults.Silence(false)
	case 2, 3:
		s.faults.FailRequests(errDown)
		s.faults.CutFeeds(errDown)
		<-time.After(while * time.Duration(1+s.random.IntN(4))) // beyond MaxStaleness, too
		s.faults.FailRequests(nil)
	case 4:
		s.settle()
		s.faults.DropNext(1 + s.random.IntN(3))
	case 5:
		s.settle()
		s.reset()
	case 6:
		s.settle()
		s.failOver(s.random.IntN(4))
	case 7:
		s.faults.LoseAnswers(1 + s.random.IntN(2))
	case 8:
		s.faults.Trim("/distributed_hash", s.random.IntN(5))
	}
}

// settle lets the bus check its feed: a message that was never announced and a
// reset within one check cannot be told apart before the next.
func (s *story) settle() {
	s.faults.DropNext(0)
	<-time.After(11 * time.Second)
}

// set writes, and reads what it has written.
func (s *story) set(p *process, key string) {
	value, before := s.newValue(), s.lifeNow()
	err := p.Set(s.t.Context(), key, value)
	got, ok := p.Get(key)
	s.doubtful(p, key, err)
	if err != nil && !errors.Is(err, bus.ErrUnknownOutcome) {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	own := s.known[value]
	if s.life != before || got == value && ok {
		return
	}
	last, _ := s.last(key)
	switch {
	case ok && s.known[got].globalID < own.globalID:
		s.t.Errorf("process %s wrote %d to %s (id %d) and reads %d (id %d)", p.name, value, key, own.globalID, got, s.known[got].globalID)
	case !ok && last.globalID == own.globalID && !p.mayLack():
		s.t.Errorf("process %s wrote %d to %s (id %d), the last on it, and reads nothing", p.name, value, key, own.globalID)
	}
}

func (s *story) lifeNow() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.life
}

func (s *story) doubtful(p *process, key string, err error) {
	if errors.Is(err, bus.ErrUnknownOutcome) {
		p.doubts.Store(key, true)
	}
}

// load reads the database, slowly.
func (s *story) load(p *process, key string, delay time.Duration) {
	_, _ = p.Load(s.t.Context(), key, func(context.Context) (int, error) {
		s.mu.Lock()
		value := s.database[key]
		s.mu.Unlock()
		<-time.After(delay)
		return value, nil
	})
}

// invalidate changes the database, and then tells the peers.
func (s *story) invalidate(p *process, key string) {
	s.mu.Lock()
	s.database[key]++
	s.mu.Unlock()
	if err := p.Delete(s.t.Context(), key); err != nil {
		s.unsentMu.Lock()
		defer s.unsentMu.Unlock()
		s.unsent[key] = true
	}
}

// readAll reads every key in every process: reads must not go back.
func (s *story) readAll() {
	for _, p := range s.processes {
		for _, key := range written {
			if value, ok := p.Get(key); ok {
				s.read(p, key, value)
			}
		}
	}
}

func (s *story) read(p *process, key string, value int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now, ok := s.known[value]
	if !ok || now.key != key {
		s.t.Errorf("process %s reads %d from %s, which nobody wrote there", p.name, value, key)
	}
	if last, ok := s.known[p.seen[key]]; ok && s.holds(last) && (now.life < last.life || now.life == last.life && now.globalID < last.globalID) {
		s.t.Errorf("process %s reads %d (life %d, id %d) from %s after %d (life %d, id %d)",
			p.name, value, now.life, now.globalID, key, last.value, last.life, last.globalID)
	}
	p.seen[key] = value
}

// recover ends all faults, and waits until everybody is well.
func (s *story) recover() {
	s.faults.FailRequests(nil)
	s.faults.Silence(false)
	s.faults.DropNext(0)
	s.faults.LoseAnswers(0)
	s.writers.Wait()
	for key := range s.unsent {
		for pick(s.random, s.processes).Delete(s.t.Context(), key) != nil {
			<-time.After(time.Second)
		}
	}
	s.rest()
}

func (s *story) rest() {
	s.writers.Wait()
	<-time.After(2 * time.Minute)
	synctest.Wait()
}

// writeEverything writes every key, from several processes at once.
func (s *story) writeEverything(round int) {
	for _, key := range written {
		for range 1 + round {
			p := pick(s.random, s.processes)
			s.writers.Go(func() { s.set(p, key) })
		}
	}
	for _, key := range loaded {
		p := pick(s.random, s.processes)
		s.writers.Go(func() { s.load(p, key, time.Second) })
		s.writers.Go(func() { s.invalidate(p, key) })
	}
}

// checkAll looks for anything that is not as the store has it.
func (s *story) checkAll() {
	s.t.Helper()
	for _, p := range s.processes {
		if err := p.Err(); err != nil {
			s.t.Errorf("process %s: Err: %v", p.name, err)
		}
		for _, key := range written {
			s.check(p, key)
		}
		for _, key := range loaded {
			if value, ok := p.Get(key); ok && value != s.database[key] {
				s.t.Errorf("process %s: %s is %d, and %d in the database", p.name, key, value, s.database[key])
			}
		}
	}
}

func (s *story) check(p *process, key string) {
	s.t.Helper()
	value, ok := p.Get(key)
	last, _ := s.last(key)
	switch {
	case ok && (last.op != "set" || last.value != value):
		s.t.Errorf("process %s: %s is %d; the last operation on it is %+v", p.name, key, value, last)
	case !ok && last.op == "set" && !p.mayLack():
		s.t.Errorf("process %s lacks %s; the last operation on it is %+v", p.name, key, last)
	}
}

// checkEqual looks whether all hold what was written last by everybody.
func (s *story) checkEqual() {
	s.t.Helper()
	for _, p := range s.processes {
		for _, key := range written {
			last, _ := s.last(key)
			value, ok := p.Get(key)
			if !ok && p.lossy {
				continue
			}
			if !ok || value != last.value {
				s.t.Errorf("process %s: at the end %s is %d (%v); written last was %d", p.name, key, value, ok, last.value)
			}
		}
	}
}
