// Package modelstore has models of Redis and of Postgres in memory: stores that behave
// towards package bus as the real ones do, and that break on demand, on a clock that a
// test may own. A model knows what a driver can see, and nothing else of the server.
package modelstore

import (
	"errors"
	"sync"
	"time"

	"github.com/messagebus-go/messagebus/bus/driver"
)

// A Store is a server and its peers; what it stores is up to the model.
type Store struct {
	model   model
	latency func() time.Duration

	mu       sync.Mutex // guards below, and the model
	readOnly bool
	timeline int      // of the server that is asked
	begins   int      // how often a server has begun with the data
	past     []func() // what brings back what was stored after each of the newest changes
	peers    []*Peer
}

// A model is what a kind of store does. Its methods need Store.mu to be held.
type model interface {
	traits() driver.Traits

	// publish stores and announces.
	publish(channel string, data []byte, limits driver.Limits) driver.Position

	// What follows is done step by step; between two of them time passes.
	askState(answer *driver.State) []step
	read(ranges []driver.Range, answer *driver.Snapshot) []step
	globalBacklog(after int64, most int, answer *driver.GlobalPage) []step
	prepare() []step // for a peer that listens

	// save returns what brings back the stored data as they are now.
	save() (restore func())

	// begun is called when a server has begun with its data: after a crash, or in the
	// place of another one.
	begun()
}

// A step is one thing that a server does at once. Its error is an answer.
type step func() error

// init is called once. latency is asked how long each way through the network takes;
// nil: no time.
func (s *Store) init(m model, latency func() time.Duration) {
	if latency == nil {
		latency = func() time.Duration { return 0 }
	}
	s.model, s.latency, s.timeline = m, latency, 1
	s.forget()
}

// Dial returns a further peer.
func (s *Store) Dial() *Peer {
	s.mu.Lock()
	defer s.mu.Unlock()
	p := &Peer{store: s, streams: map[*stream]struct{}{}}
	s.peers = append(s.peers, p)
	return p
}

// maxLost is how many changes a failover can lose.
const maxLost = 40

// changed keeps what is stored now. s.mu must be held.
func (s *Store) changed() {
	s.past = append(s.past, s.model.save())
	if len(s.past) > maxLost+1 {
		s.past = s.past[1:]
	}
}

// forget makes what is stored now the earliest that a failover goes back to. s.mu must
// be held.
func (s *Store) forget() { s.past = []func(){s.model.save()} }

// SetReadOnly makes the server refuse writes, or take them again.
func (s *Store) SetReadOnly(on bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.readOnly = on
}

var (
	errTookOver = errors.New("another server took over")
	errCrashed  = errors.New("the server has crashed")
)

// FailOver puts another server in the place of the one that was asked, which lacks the
// newest changes, at most so many, and gives their ids again.
func (s *Store) FailOver(lost int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	at := max(len(s.past)-1-lost, 0)
	s.past[at]()
	s.timeline++
	s.begins++
	s.model.begun()
	s.forget()
	s.cutAll(errTookOver)
}

// Crash ends the server, which begins again with all that it had.
func (s *Store) Crash() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.begins++
	s.model.begun()
	s.changed()
	s.cutAll(errCrashed)
}

// Interrupt cuts the connections of all peers.
func (s *Store) Interrupt() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.cutAll(errCut)
}

// cutAll needs s.mu to be held.
func (s *Store) cutAll(err error) {
	for _, p := range s.peers {
		p.cut(err)
	}
}

// Announce announces something that cannot be decoded.
func (s *Store) Announce(data string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.announce(func() driver.Message { return driver.Message{Data: []byte(data)} })
}

// announce puts a message on all streams, which open it when they have it. s.mu must be held.
func (s *Store) announce(open func() driver.Message) {
	for _, p := range s.peers {
		for f := range p.streams {
			f.put(open)
		}
	}
}
