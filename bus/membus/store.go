package membus

import (
	"bytes"
	"crypto/rand"
	"fmt"
	"sort"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/messagebus-go/messagebus/bus/driver"
)

// A store is what all its peers share. Its methods need mu to be held; a
// feed's own lock is taken while it is.
type store struct {
	opts Options

	mu        sync.Mutex // protects everything below
	epoch     string
	timeline  int
	globalID  int64
	channels  map[string]*channel // those with messages only
	order     queue[entry]        // ascending by id; may hold ids that are not stored any more
	stored    int                 // messages of all channels
	trimmedTo int64               // the highest id of all channels that was trimmed; 0: none
	forgotten int64               // the highest id trimmed of a channel whose record is gone
	feeds     map[*feed]struct{}
	faults    faultState
}

// An entry says on which channel a global id was published.
type entry struct {
	id int64
	ch *channel
}

func newStore(opts Options) *store {
	return &store{
		opts:     opts,
		epoch:    rand.Text(),
		timeline: 1,
		channels: make(map[string]*channel),
		feeds:    make(map[*feed]struct{}),
	}
}

func (s *store) state() driver.State {
	return driver.State{
		GlobalID: s.globalID,
		Settled:  s.globalID,
		Epoch:    s.epoch,
		Timeline: strconv.Itoa(s.timeline),
		ReadOnly: s.faults.readOnly,
	}
}

func (s *store) publish(name string, data []byte, limits driver.Limits) (driver.Position, error) {
	if s.faults.readOnly {
		return driver.Position{}, driver.ErrReadOnly
	}
	m := s.add(name, data, limits.MaxAge)
	if m.ID%int64(max(limits.ClearEvery, 1)) == 0 {
		s.trimGlobal(limits.MaxGlobalSize)
		s.trimChannel(m.Channel, limits.MaxSize)
	}
	s.expire(m.Channel, time.Now()) // an age of 0 keeps nothing
	s.compact()
	if !take(&s.faults.drops) {
		s.announce(m)
	}
	if take(&s.faults.lostAnswers) {
		return driver.Position{}, fmt.Errorf("publish %s: the answer was lost: %w",
			strconv.Quote(name), driver.ErrUnknownOutcome)
	}
	return driver.Position{GlobalID: m.GlobalID, ID: m.ID}, nil
}

// add gives data its ids and stores it.
func (s *store) add(name string, data []byte, age time.Duration) driver.Message {
	now := time.Now()
	s.expire(name, now)
	ch := s.channels[name]
	if ch == nil {
		ch = &channel{name: strings.Clone(name), unknownTo: s.forgotten}
		s.channels[ch.name] = ch
	}
	ch.expires = now.Add(age)
	s.globalID++
	m := driver.Message{GlobalID: s.globalID, ID: s.globalID, Channel: ch.name, Data: bytes.Clone(data)}
	ch.messages.push(m)
	s.order.push(entry{m.ID, ch})
	s.stored++
	return m
}

// trimGlobal keeps the ids that are less than size below the newest.
func (s *store) trimGlobal(size int) {
	oldest := s.globalID - int64(size)
	items := s.order.items()
	n := sort.Search(len(items), func(i int) bool { return items[i].id > oldest })
	for _, e := range items[:n] {
		s.trim(e.ch, e.ch.after(e.id))
	}
	s.order.drop(n)
}

// trimChannel keeps the newest messages of a channel.
func (s *store) trimChannel(name string, size int) {
	if ch := s.channels[name]; ch != nil {
		s.trim(ch, ch.messages.len()-max(size, 0))
	}
}

// expire drops the channel when it is older than it may be.
func (s *store) expire(name string, now time.Time) {
	if ch := s.channels[name]; ch != nil && ch.expired(now) {
		s.trim(ch, ch.messages.len())
	}
}

// trim drops the n oldest messages of ch, and the record of ch with the last of them.
func (s *store) trim(ch *channel, n int) {
	if n <= 0 {
		return
	}
	ch.trim(n)
	s.stored -= n
	s.trimmedTo = max(s.trimmedTo, ch.trimmedTo)
	if ch.messages.len() == 0 {
		s.forgotten = max(s.forgotten, ch.trimmedTo)
		delete(s.channels, ch.name)
	}
}

// compact bounds order by twice what is stored, however large the global limit
// is. It is amortised: every pass removes at least half of the entries.
func (s *store) compact() {
	const few = 64
	items := s.order.items()
	if len(items) < few || len(items) < 2*s.stored {
		return
	}
	live := items[:0]
	for _, e := range items {
		if _, ok := e.ch.find(e.id); ok {
			live = append(live, e)
		}
	}
	s.order.reset(live)
}

func (s *store) read(ranges []driver.Range) driver.Snapshot {
	now := time.Now()
	pages := make([]driver.Page, len(ranges))
	for i, r := range ranges {
		pages[i] = s.page(r, now)
	}
	return driver.Snapshot{Pages: pages, State: s.state()}
}

func (s *store) page(r driver.Range, now time.Time) driver.Page {
	s.expire(r.Channel, now)
	if ch := s.channels[r.Channel]; ch != nil {
		return ch.page(r)
	}
	if r.Tail <= 0 && r.After < s.forgotten {
		return driver.Page{Loss: driver.LossPossible}
	}
	return driver.Page{}
}

func (s *store) globalBacklog(after int64, limit int) driver.GlobalPage {
	now := time.Now()
	for name := range s.channels {
		s.expire(name, now)
	}
	p := driver.GlobalPage{State: s.state()}
	if after < s.trimmedTo {
		p.Loss = driver.LossCertain
	}
	items := s.order.items()
	from := sort.Search(len(items), func(i int) bool { return items[i].id > after })
	for _, e := range items[from:] {
		if limit > 0 && len(p.Messages) == limit {
			break
		}
		if m, ok := e.ch.find(e.id); ok {
			p.Messages = append(p.Messages, m)
		}
	}
	return p
}

func (s *store) count(names []string) []int {
	now := time.Now()
	counts := make([]int, len(names))
	for i, name := range names {
		s.expire(name, now)
		if ch := s.channels[name]; ch != nil {
			counts[i] = ch.messages.len()
		}
	}
	return counts
}
