package membus

import (
	"crypto/rand"
	"errors"

	"github.com/messagebus-go/messagebus/bus/driver"
)

var errFailedOver = errors.New("the store failed over")

// Faults does to a store what networks and servers do to real ones, for tests.
// It acts on the store as a whole, and so on all peers. All methods are safe
// for concurrent use and take effect before they return.
type Faults struct{ s *store }

// faultState is guarded by store.mu.
type faultState struct {
	readOnly    bool
	fail        error         // what requests return; nil: none
	lostAnswers int           // publishes to come whose answer is lost
	drops       int           // publishes to come that are not announced
	silence     chan struct{} // not nil while silent; closed at the end of it
}

// Faults returns the fault controls of the store.
func (b *Backend) Faults() *Faults { return &Faults{b.store} }

// CutFeeds ends all streams with err, as broken connections.
func (f *Faults) CutFeeds(err error) {
	f.s.mu.Lock()
	defer f.s.mu.Unlock()
	f.s.cutFeeds(err)
}

func (s *store) cutFeeds(err error) {
	for fd := range s.feeds {
		s.endFeed(fd, err)
	}
}

// Silence makes half-open connections of all streams: they get nothing more
// and do not end, and Ping waits for its context. While it is on, Listen waits
// too. Off, Listen works again; the streams of before stay dead.
func (f *Faults) Silence(on bool) {
	f.s.mu.Lock()
	defer f.s.mu.Unlock()
	if on == (f.s.faults.silence != nil) {
		return
	}
	if !on {
		close(f.s.faults.silence)
		f.s.faults.silence = nil
		return
	}
	f.s.faults.silence = make(chan struct{})
	for fd := range f.s.feeds {
		fd.mu.Lock()
		fd.dead = true
		fd.mu.Unlock()
	}
}

// SetReadOnly makes Publish return driver.ErrReadOnly, and State say so.
func (f *Faults) SetReadOnly(on bool) {
	f.s.mu.Lock()
	defer f.s.mu.Unlock()
	f.s.faults.readOnly = on
}

// FailRequests makes Publish, Read, GlobalBacklog, State and Listen return err
// and do nothing, until it is called with nil. Streams are not touched.
func (f *Faults) FailRequests(err error) {
	f.s.mu.Lock()
	defer f.s.mu.Unlock()
	f.s.faults.fail = err
}

// LoseAnswers makes the next n publishes return an error that wraps
// driver.ErrUnknownOutcome, after they have stored and announced.
func (f *Faults) LoseAnswers(n int) {
	f.s.mu.Lock()
	defer f.s.mu.Unlock()
	f.s.faults.lostAnswers = n
}

// DropNext makes the next n publishes store, but not announce.
func (f *Faults) DropNext(n int) {
	f.s.mu.Lock()
	defer f.s.mu.Unlock()
	f.s.faults.drops = n
}

// take counts n down and reports whether it was above zero.
func take(n *int) bool {
	if *n <= 0 {
		return false
	}
	*n--
	return true
}

// Announce puts m on all streams as it is, and stores nothing. A driver
// announces what it cannot decode with a GlobalID of 0. Readers share m.Data.
func (f *Faults) Announce(m driver.Message) {
	f.s.mu.Lock()
	defer f.s.mu.Unlock()
	f.s.announce(m)
}

// Trim drops all but the newest keep messages of a channel.
func (f *Faults) Trim(channel string, keep int) {
	f.s.mu.Lock()
	defer f.s.mu.Unlock()
	f.s.trimChannel(channel, keep)
}

// Reset drops everything: ids begin again at 1 and the epoch is a new one.
// Streams go on, as those of Redis do after FLUSHALL.
func (f *Faults) Reset() {
	f.s.mu.Lock()
	defer f.s.mu.Unlock()
	s := f.s
	s.epoch = rand.Text()
	s.globalID, s.trimmedTo, s.forgotten, s.stored = 0, 0, 0, 0
	s.channels = make(map[string]*channel)
	s.order = queue[entry]{}
}

// FailOver ends all streams and goes back to before the newest lost publishes,
// as a replica that had not received them: they are gone and their ids are
// given again. What was trimmed stays trimmed. The timeline is a new one.
func (f *Faults) FailOver(lost int) {
	f.s.mu.Lock()
	defer f.s.mu.Unlock()
	s := f.s
	s.timeline++
	s.rewind(max(s.globalID-int64(lost), 0))
	s.cutFeeds(errFailedOver)
}

// rewind makes id the last one given.
func (s *store) rewind(id int64) {
	s.globalID = id
	s.trimmedTo = min(s.trimmedTo, id)
	s.forgotten = min(s.forgotten, id)
	for name, ch := range s.channels {
		keep := ch.after(id)
		s.stored -= ch.messages.len() - keep
		ch.messages.truncate(keep)
		ch.trimmedTo = min(ch.trimmedTo, id)
		ch.unknownTo = min(ch.unknownTo, id)
		if keep == 0 {
			s.forgotten = max(s.forgotten, ch.trimmedTo)
			delete(s.channels, name)
		}
	}
	items := s.order.items()
	n := len(items)
	for n > 0 && items[n-1].id > id {
		n--
	}
	s.order.truncate(n)
}
