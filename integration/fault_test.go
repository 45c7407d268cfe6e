package integration_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/messagebus-go/messagebus/bus"
	"github.com/messagebus-go/messagebus/bus/bustest"
	"github.com/messagebus-go/messagebus/bus/driver"
)

// What the tests of faults share: a ledger of what was published, recorders of what
// subscribers were handed, and a judge who knows both and the promise of package bus.

// faultPatience is how long a test waits for what has to come.
const faultPatience = 90 * time.Second

// faultBound is the liveness bound where a test does not look at the default one.
const faultBound = 3 * time.Second

// slack is what a bound may be exceeded by, on a machine that is busy.
const slack = 25 * time.Second

// An entry is one publish. Its number is its payload.
type entry struct {
	channel      string
	number       int
	id           int64
	err          error
	began, ended time.Time
}

// A ledger numbers the messages that a test publishes, and keeps what became of them.
type ledger struct {
	mu      sync.Mutex
	entries []entry // by number - 1
}

// publish publishes the next number and returns what Publish did.
func (l *ledger) publish(ctx context.Context, b *bus.Bus, channel string, options ...bus.PublishOption) (int64, error) {
	return l.keep(channel, func(number int) (int64, error) { return b.Publish(ctx, channel, number, options...) })
}

// keep enters what came of a publish of the next number, however it is published.
func (l *ledger) keep(channel string, publish func(number int) (id int64, err error)) (int64, error) {
	l.mu.Lock()
	number := len(l.entries) + 1
	l.entries = append(l.entries, entry{channel: channel, number: number, began: time.Now(), err: errStillPublishing})
	l.mu.Unlock()
	id, err := publish(number)
	l.mu.Lock()
	defer l.mu.Unlock()
	e := &l.entries[number-1]
	e.id, e.err, e.ended = id, err, time.Now()
	return id, err
}

var errStillPublishing = fmt.Errorf("the publish has not returned: %w", bus.ErrUnknownOutcome)

// all returns what was published on a channel so far.
func (l *ledger) all(channel string) []entry {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(l.entries), func(e entry) bool { return e.channel != channel })
}

// accepted counts the messages that Publish returned an id for.
func (l *ledger) accepted() (n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, e := range l.entries {
		if e.err == nil {
			n++
		}
	}
	return n
}

// failures returns the errors of all publishes so far, but for those that are expected.
func (l *ledger) failures(expected ...error) (unexpected []error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, e := range l.entries {
		if e.err != nil && !slices.ContainsFunc(expected, func(want error) bool { return errors.Is(e.err, want) }) {
			unexpected = append(unexpected, fmt.Errorf("publish %d: %w", e.number, e.err))
		}
	}
	return unexpected
}

// publishing is a load that goes on until stop is called. Calling it again does nothing.
type publishing struct {
	cancel context.CancelFunc
	work   sync.WaitGroup
}

// keepPublishing publishes on all channels in turn, from so many goroutines, with a
// pause after each message. No publish waits for longer than patience.
func (l *ledger) keepPublishing(t *testing.T, b *bus.Bus, channels []string, publishers int, pause, patience time.Duration) *publishing {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	p := &publishing{cancel: cancel}
	for i := range publishers {
		p.work.Go(func() {
			ticker := time.NewTicker(pause)
			defer ticker.Stop()
			for n := i; ; n++ {
				select {
				case <-ctx.Done():
					return
				case <-ticker.C:
				}
				// Not below ctx: what has begun is to end by itself.
				within, cancel := context.WithTimeout(context.WithoutCancel(ctx), patience)
				_, _ = l.publish(within, b, channels[n%len(channels)]) // kept in the ledger
				cancel()
			}
		})
	}
	t.Cleanup(p.stop)
	return p
}

func (p *publishing) stop() {
	p.cancel()
	p.work.Wait()
}

// A sighting is one thing that a subscriber was handed: a message, or a gap.
type sighting struct {
	id, globalID int64
	number       int
	late         bool
	gap          *bus.GapError
	at           time.Time
}

func (s sighting) String() string {
	if s.gap != nil {
		return fmt.Sprintf("[%s %d..%d]", s.gap.Reason, s.gap.After, s.gap.Next)
	}
	return fmt.Sprintf("%d(%d)", s.id, s.number)
}

// A recorder reads one subscription until its test ends.
type recorder struct {
	t       *testing.T
	channel string
	since   time.Time // it was subscribed then
	sub     *bus.Subscription

	mu   sync.Mutex
	seen []sighting
	more chan struct{} // closed with the next sighting
}

// record subscribes, to see what is published from now on, and reads.
func record(t *testing.T, b *bus.Bus, channel string) *recorder {
	t.Helper()
	sub, err := b.Subscribe(t.Context(), channel, bus.Latest())
	if err != nil {
		t.Fatal(err)
	}
	r := &recorder{t: t, channel: channel, since: time.Now(), sub: sub, more: make(chan struct{})}
	var reading sync.WaitGroup
	reading.Go(r.read)
	t.Cleanup(func() { sub.Close(); reading.Wait() })
	return r
}

func (r *recorder) read() {
	for m, err := range r.sub.Messages(context.Background()) {
		s := sighting{id: m.ID, globalID: m.GlobalID, late: m.Late, at: time.Now()}
		if !errors.As(err, &s.gap) {
			if err == nil {
				err = m.Decode(&s.number)
			}
			if err != nil {
				r.t.Errorf("%s: %v", r.channel, err)
			}
		}
		r.mu.Lock()
		r.seen = append(r.seen, s)
		close(r.more)
		r.more = make(chan struct{})
		r.mu.Unlock()
	}
}

// sightings returns what was seen so far.
func (r *recorder) sightings() []sighting {
	seen, _ := r.now()
	return seen
}

func (r *recorder) now() ([]sighting, <-chan struct{}) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.seen), r.more
}

// await waits until what was seen satisfies done, and ends the test where it never does.
func (r *recorder) await(what string, done func([]sighting) bool) {
	r.t.Helper()
	timeout := time.NewTimer(faultPatience)
	defer timeout.Stop()
	for {
		seen, more := r.now()
		if done(seen) {
			return
		}
		select {
		case <-more:
		case <-timeout.C:
			r.t.Fatalf("%s: waited %v for %s; saw %v", r.channel, faultPatience, what, seen)
		}
	}
}

// awaitNumber waits for the message with a number.
func (r *recorder) awaitNumber(number int) {
	r.t.Helper()
	r.await(fmt.Sprintf("message %d", number), func(seen []sighting) bool {
		return slices.ContainsFunc(seen, func(s sighting) bool { return s.gap == nil && s.number == number })
	})
}

// gaps returns the gaps that were seen, of some reasons, or of all.
func (r *recorder) gaps(reasons ...bus.GapReason) (found []*bus.GapError) {
	for _, s := range r.sightings() {
		if s.gap != nil && (len(reasons) == 0 || slices.Contains(reasons, s.gap.Reason)) {
			found = append(found, s.gap)
		}
	}
	return found
}

// eventually waits for a condition, and ends the test where it does not come true in
// time. It returns how long it took.
func eventually(t *testing.T, within time.Duration, what string, condition func() bool) time.Duration {
	t.Helper()
	began := time.Now()
	again := time.NewTicker(10 * time.Millisecond)
	defer again.Stop()
	for !condition() {
		<-again.C
		if time.Since(began) > within {
			t.Fatalf("waited %v for %s", within, what)
		}
	}
	return time.Since(began)
}

// awaitHealth waits until a bus is well, or is not, and returns how long it took.
func awaitHealth(t *testing.T, b *bus.Bus, within time.Duration, well bool) time.Duration {
	t.Helper()
	defer func() {
		if t.Failed() {
			t.Logf("health: %+v", b.Health())
		}
	}()
	return eventually(t, within, fmt.Sprintf("health to be well: %v", well), func() bool { return b.Health().OK == well })
}

// A verdict is what judge counts.
type verdict struct {
	acknowledged int // messages that Publish returned an id for
	lost         int // of them, those that are neither stored nor were seen; each inside a reported gap
	unknown      int // messages with an unknown outcome
	unknownSaved int // of them, those that are stored or were seen
}

// judge publishes a last message on every recorder's channel, waits until each
// recorder has it, and holds all that was seen against the promise. b must be well, and
// the store must not have trimmed anything.
func (l *ledger) judge(t *testing.T, b *bus.Bus, recorders ...*recorder) verdict {
	t.Helper()
	total := verdict{}
	for _, of := range byChannel(recorders) {
		channel := of[0].channel
		if _, err := l.publish(t.Context(), b, channel); err != nil {
			t.Fatalf("the last publish on %s: %v", channel, err)
		}
		entries := l.all(channel)
		for _, r := range of {
			r.awaitNumber(entries[len(entries)-1].number)
		}
		c := court{entries: entries, stored: l.stored(t, b, channel)}
		for i, r := range of {
			for _, broken := range c.try(r) {
				t.Errorf("subscriber %d of %s: %v; it saw %v", i, channel, broken, r.sightings())
			}
		}
		total.add(c.count(of))
	}
	return total
}

func byChannel(recorders []*recorder) map[string][]*recorder {
	grouped := map[string][]*recorder{}
	for _, r := range recorders {
		grouped[r.channel] = append(grouped[r.channel], r)
	}
	return grouped
}

// stored returns the numbers that the store holds of a channel, with their ids; one
// that it holds twice ends the test.
func (l *ledger) stored(t *testing.T, b *bus.Bus, channel string) map[int]int64 {
	t.Helper()
	messages, err := b.Backlog(t.Context(), channel, 0)
	if err != nil {
		t.Fatal(err)
	}
	ids := map[int]int64{}
	for _, m := range messages {
		var number int
		if err := m.Decode(&number); err != nil {
			t.Fatal(err)
		}
		if other, twice := ids[number]; twice {
			t.Fatalf("%s: message %d is stored twice, as %d and %d", channel, number, other, m.ID)
		}
		ids[number] = m.ID
	}
	return ids
}

func (v *verdict) add(other verdict) {
	v.acknowledged += other.acknowledged
	v.lost += other.lost
	v.unknown += other.unknown
	v.unknownSaved += other.unknownSaved
}

// A court knows all of one channel but what its subscribers saw.
type court struct {
	entries []entry
	stored  map[int]int64 // number to id
}

// try returns how the sightings of a subscriber break the promise.
func (c court) try(r *recorder) (broken []error) {
	seen := r.sightings()
	broken = append(c.falseSightings(seen), disorder(seen)...)
	numbers := map[int]bool{}
	for _, s := range seen {
		numbers[s.number] = true
	}
	for _, e := range c.entries {
		id, stored := c.stored[e.number]
		switch {
		case numbers[e.number] || e.began.Before(r.since):
		case stored && !inside(seen, id):
			broken = append(broken, fmt.Errorf("message %d is stored as %d and never came, in no gap", e.number, id))
		case e.err == nil && !stored && !inside(seen, e.id) && !c.forgotten(seen, e):
			broken = append(broken, fmt.Errorf("message %d was acknowledged as %d and is lost, in no gap", e.number, e.id))
		}
	}
	return broken
}

// falseSightings are messages that nobody published, or published otherwise.
func (c court) falseSightings(seen []sighting) (broken []error) {
	known := map[int]entry{}
	for _, e := range c.entries {
		known[e.number] = e
	}
	for _, s := range seen {
		e, ok := known[s.number]
		switch {
		case s.gap != nil:
		case !ok:
			broken = append(broken, fmt.Errorf("%v was never published here", s))
		case e.err == nil && e.id != s.id:
			broken = append(broken, fmt.Errorf("%v was acknowledged as %d", s, e.id))
		case e.err != nil && !errors.Is(e.err, bus.ErrUnknownOutcome) && !errors.Is(e.err, bus.ErrQueued):
			broken = append(broken, fmt.Errorf("%v came, although its publish failed: %w", s, e.err))
		}
	}
	return broken
}

// disorder are messages that came twice or too late. A reset begins anew.
func disorder(seen []sighting) (broken []error) {
	last, numbers := sighting{}, map[int]bool{}
	for _, s := range seen {
		switch {
		case s.gap != nil && s.gap.Reason == bus.GapReset:
			last, numbers = sighting{}, map[int]bool{}
			continue
		case s.gap != nil && s.gap.Reason == bus.GapFailover:
			last = sighting{} // the other server's global ids may be behind
			continue
		case s.gap != nil:
			continue
		case numbers[s.number]:
			broken = append(broken, fmt.Errorf("%v came twice", s))
		case !s.late && s.globalID <= last.globalID:
			broken = append(broken, fmt.Errorf("%v with the global id %d came after %v with %d", s, s.globalID, last, last.globalID))
		}
		numbers[s.number] = true
		if !s.late {
			last = s
		}
	}
	return broken
}

// inside reports whether an id is in the open interval of a gap. A reset has none.
func inside(seen []sighting, id int64) bool {
	return slices.ContainsFunc(seen, func(s sighting) bool {
		return s.gap != nil && s.gap.Reason != bus.GapReset && id > s.gap.After && id < s.gap.Next
	})
}

// forgotten reports whether a message that is gone was published on a server or in a
// life of the store that a subscriber was told is over: after the last one that it saw
// of that life, and before it was told.
func (c court) forgotten(seen []sighting, e entry) bool {
	last := entry{}
	for _, s := range seen {
		switch {
		case s.gap == nil:
			last = c.entry(s.number)
		case s.gap.Reason == bus.GapReset || s.gap.Reason == bus.GapFailover:
			if e.ended.After(last.began) && e.began.Before(s.at) {
				return true
			}
		}
	}
	return false
}

func (c court) entry(number int) entry {
	i := slices.IndexFunc(c.entries, func(e entry) bool { return e.number == number })
	return c.entries[max(i, 0)]
}

// count is the verdict on what was published on the channel.
func (c court) count(recorders []*recorder) (v verdict) {
	somewhere := map[int]bool{}
	for number := range c.stored {
		somewhere[number] = true
	}
	for _, r := range recorders {
		for _, s := range r.sightings() {
			somewhere[s.number] = true
		}
	}
	for _, e := range c.entries {
		switch {
		case e.err == nil:
			v.acknowledged++
			if !somewhere[e.number] {
				v.lost++
			}
		case errors.Is(e.err, bus.ErrUnknownOutcome):
			v.unknown++
			if somewhere[e.number] {
				v.unknownSaved++
			}
		}
	}
	return v
}

// faultPeers are one peer that publishes and another one with three subscribers.
type faultPeers struct {
	*testing.T
	ledger

	publisher, reader *bus.Bus
	recorders         []*recorder
	feedDowns         atomic.Int64 // of the reader
}

var faultChannels = []string{"/a", "/b|c"}

func newFaultPeers(t *testing.T, publisher, reader driver.Backend, adjust ...func(*bus.Options)) *faultPeers {
	t.Helper()
	f := &faultPeers{T: t}
	count := func(o *bus.Options) {
		o.Trace = &bus.Trace{FeedDown: func(error) { f.feedDowns.Add(1) }}
	}
	f.publisher = faultBus(t, publisher, adjust...)
	f.reader = faultBus(t, reader, append(adjust, count)...)
	f.subscribe()
	return f
}

// faultBus is a bus that keeps all that it publishes.
func faultBus(t *testing.T, peer driver.Backend, adjust ...func(*bus.Options)) *bus.Bus {
	t.Helper()
	options := &bus.Options{MaxBacklogSize: 1e6, MaxGlobalBacklogSize: 1e6, Keepalive: -1, LivenessBound: faultBound}
	for _, change := range adjust {
		change(options)
	}
	return bustest.On(t, peer, options)
}

// subscribe makes three subscribers, once the feed is open: on a new store that is slow
// to open it they would be told of a reset.
func (f *faultPeers) subscribe() {
	f.Helper()
	opened, err := f.reader.Subscribe(f.Context(), "/opened", bus.Latest())
	if err != nil {
		f.Fatal(err)
	}
	awaitHealth(f.T, f.reader, faultPatience, true)
	opened.Close()
	for _, channel := range append(faultChannels, faultChannels[0]) {
		f.recorders = append(f.recorders, record(f.T, f.reader, channel))
	}
}

// load publishes until stop is called.
func (f *faultPeers) load(publishers int, pause time.Duration) *publishing {
	f.Helper()
	return f.keepPublishing(f.T, f.publisher, faultChannels, publishers, pause, 2*time.Second)
}

// publishAll publishes some messages on each channel, which have to be accepted.
func (f *faultPeers) publishAll(each int) {
	f.Helper()
	for range each {
		for _, channel := range faultChannels {
			if _, err := f.publish(f.Context(), f.publisher, channel); err != nil {
				f.Fatal(err)
			}
		}
	}
}

// awaitPublished waits until so many more messages are accepted.
func (f *faultPeers) awaitPublished(more int) {
	f.Helper()
	before := f.accepted()
	eventually(f.T, faultPatience, fmt.Sprintf("%d more messages to be accepted", more), func() bool { return f.accepted() >= before+more })
}

// awaitSeen waits until every subscriber has the last message of its channel that was
// accepted so far.
func (f *faultPeers) awaitSeen() {
	f.Helper()
	for _, r := range f.recorders {
		last := 0
		for _, e := range f.all(r.channel) {
			if e.err == nil {
				last = e.number
			}
		}
		if last > 0 {
			r.awaitNumber(last)
		}
	}
}

// verdict judges all subscribers when the reader is well again.
func (f *faultPeers) verdict() verdict {
	f.Helper()
	awaitHealth(f.T, f.reader, faultPatience, true)
	return f.judge(f.T, f.publisher, f.recorders...)
}

// wantGaps checks the reasons of all gaps that each subscriber was told of.
func (f *faultPeers) wantGaps(want ...bus.GapReason) {
	f.Helper()
	for _, r := range f.recorders {
		var got []bus.GapReason
		for _, gap := range r.gaps() {
			// A gap that is only possible may be a false alarm.
			if gap.Reason != bus.GapPossible || slices.Contains(want, bus.GapPossible) {
				got = append(got, gap.Reason)
			}
		}
		if fmt.Sprint(got) != fmt.Sprint(want) {
			f.Errorf("%s: gaps %v, want the reasons %v", r.channel, r.gaps(), want)
		}
	}
}

func (f *faultPeers) wantNoLoss(v verdict) {
	f.Helper()
	if v.lost > 0 || v.acknowledged == 0 {
		f.Errorf("%d of %d acknowledged messages are lost", v.lost, v.acknowledged)
	}
}

// wantFailures checks that no publish failed in another way.
func (f *faultPeers) wantFailures(expected ...error) {
	f.Helper()
	for _, err := range f.failures(expected...) {
		f.Error(err)
	}
}
