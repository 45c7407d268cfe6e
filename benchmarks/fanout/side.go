package main

import (
	"context"
	"encoding/json"
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"github.com/messagebus-go/messagebus/benchmarks/internal/measure"
	"github.com/messagebus-go/messagebus/bus"
)

// roleVariable makes this program one of its processes: a role, as JSON.
const roleVariable = "MESSAGEBUS_BENCHMARK_FANOUT"

// A role is what a process of this program is.
type role struct {
	Kind    string `json:"kind"` // ours, bare, crowd
	In      place  `json:"in"`
	Profile string `json:"profile"` // file for it; empty: none
}

// A side is one of the servers that are compared, with the crowd of its clients and
// a bus that publishes to it.
type side struct {
	node

	in        place
	siblings  []node // further servers on the same store, over which clients are spread as well
	crowd     *measure.Process
	publisher *bus.Bus
	clients   int
	loses     bool // it may not deliver everything
}

// A node is one server.
type node struct {
	server  *measure.Process
	address string
}

func (s *side) nodes() []node { return append([]node{s.node}, s.siblings...) }

// side starts a server of that kind, ours, bare or gem, in a place of its own, and
// an empty crowd. All of it ends with tb.
func (r *rig) side(ctx context.Context, tb testing.TB, kind string) (*side, error) {
	tb.Helper()
	r.places++
	s := &side{in: newPlace(r.redis, r.places), loses: kind == "gem"}
	var err error
	if s.node, err = r.start(ctx, tb, kind, s.in); err != nil {
		return nil, err
	}
	if s.crowd, err = startRole(ctx, tb, role{Kind: "crowd"}); err != nil {
		return nil, err
	}
	if s.publisher, err = newPublisher(tb, s.in); err != nil {
		return nil, err
	}
	return s, nil
}

// start starts one server.
func (r *rig) start(ctx context.Context, tb testing.TB, kind string, in place) (n node, err error) {
	tb.Helper()
	if kind == "gem" {
		n.server, err = startGem(ctx, tb, in)
	} else {
		n.server, err = startRole(ctx, tb, role{kind, in, r.profile(kind)})
	}
	if err != nil {
		return n, err
	}
	return n, n.server.Ask(question{Ask: "address"}, &n.address)
}

// fleet is a side of so many of this project's servers on one store.
func (r *rig) fleet(ctx context.Context, tb testing.TB, servers int) (*side, error) {
	tb.Helper()
	s, err := r.side(ctx, tb, "ours")
	if err != nil {
		return nil, err
	}
	for range servers - 1 {
		n, err := r.start(ctx, tb, "ours", s.in)
		if err != nil {
			return nil, err
		}
		s.siblings = append(s.siblings, n)
	}
	return s, nil
}

// profile names the file for the profile of the next server.
func (r *rig) profile(kind string) string {
	if r.profiles == "" {
		return ""
	}
	return filepath.Join(r.profiles, fmt.Sprintf("%s-%d.pprof", kind, r.places))
}

func startRole(ctx context.Context, tb testing.TB, r role) (*measure.Process, error) {
	tb.Helper()
	text, err := json.Marshal(r)
	if err != nil {
		return nil, err
	}
	return measure.StartSelf(ctx, tb, roleVariable, string(text))
}

func newPublisher(tb testing.TB, in place) (*bus.Bus, error) {
	tb.Helper()
	b, end, err := openBus(in, nil)
	if err != nil {
		return nil, err
	}
	tb.Cleanup(func() { _ = end() }) // of all that used it
	return b, nil
}

// connect adds clients: do says of which kind.
func (s *side) connect(clients int, do command) error {
	s.clients += clients
	nodes := s.nodes()
	for i, n := range nodes {
		do.Do, do.Address, do.Loses = "connect", n.address, s.loses
		do.Clients = clients*(i+1)/len(nodes) - clients*i/len(nodes)
		if err := s.crowd.Ask(do, nil); err != nil {
			return err
		}
	}
	return nil
}

// used is the processor time that all servers of the side have used.
func (s *side) used() (all time.Duration, err error) {
	for _, n := range s.nodes() {
		one, err := n.server.CPU()
		if err != nil {
			return 0, err
		}
		all += one
	}
	return all, nil
}

// A flow is what is published in one round.
type flow struct {
	rate     int // messages a second
	messages int
	channel  func(message int) string
	readers  int // of each message
	// waits: until one message has come, the next is not published. A server that
	// cannot keep up would have several in one answer otherwise.
	waits bool
}

// onJoint is a flow on the channel of all clients.
func (s *side) onJoint(rate, messages int) flow {
	return flow{rate: rate, messages: messages, channel: func(int) string { return joint }, readers: s.clients}
}

// onOwn is a flow on the channels of the clients in turn.
func (s *side) onOwn(rate, messages int) flow {
	return flow{rate: rate, messages: messages, channel: func(i int) string { return ownChannel(i % s.clients) }, readers: 1}
}

// A round is what came of a flow.
type round struct {
	cpu        time.Duration // of the servers
	deliveries int64
	outcome
}

// perDelivery is the processor time of a delivery in microseconds.
func (r round) perDelivery() float64 { return r.cpu.Seconds() * 1e6 / float64(r.deliveries) }

func milliseconds(d time.Duration) float64 { return d.Seconds() * 1e3 }

// run carries out a round.
func (s *side) run(ctx context.Context, f flow) (r round, err error) {
	r.deliveries = int64(f.messages * f.readers)
	first := r.deliveries
	if f.waits {
		first = int64(f.readers)
	}
	if err := s.crowd.Ask(command{Do: "begin", Count: first}, nil); err != nil {
		return r, err
	}
	before, err := s.used()
	if err != nil {
		return r, err
	}
	if err := s.publish(ctx, f); err != nil {
		return r, err
	}
	if err := s.crowd.Ask(command{Do: "finish"}, &r.outcome); err != nil {
		return r, err
	}
	if s.loses {
		r.deliveries = r.Received - r.Missed
	} else if r.Received != r.deliveries {
		return r, fmt.Errorf("%d of %d deliveries have come", r.Received, r.deliveries)
	}
	after, err := s.used()
	r.cpu = after - before
	return r, err
}

// publish publishes evenly. What is late is made up for at once.
func (s *side) publish(ctx context.Context, f flow) error {
	timer := time.NewTimer(0)
	defer timer.Stop()
	begin := time.Now()
	for i := range f.messages {
		if early := time.Duration(i)*time.Second/time.Duration(f.rate) - time.Since(begin); early > 0 {
			timer.Reset(early)
			select {
			case <-timer.C:
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		if _, err := s.publisher.Publish(ctx, f.channel(i), timed()); err != nil {
			return err
		}
		if f.waits && i < f.messages-1 {
			if err := s.crowd.Ask(command{Do: "await", Count: int64(f.readers)}, nil); err != nil {
				return err
			}
		}
	}
	return nil
}
