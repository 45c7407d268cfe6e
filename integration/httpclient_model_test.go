package integration_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/messagebus-go/messagebus/httpclient"
)

// A random test: channels are subscribed and unsubscribed, connections cut, the client paused
// and stopped, from outside and from callbacks, and every subscription gets just what was
// published behind its position.
func TestHTTPClient_RandomSubscriptionsGetWhatWasPublishedFromTheirPosition(t *testing.T) {
	t.Parallel()
	for seed := range uint64(4) {
		for name, way := range ways {
			t.Run(fmt.Sprintf("%s %d", name, seed), func(t *testing.T) {
				t.Parallel()
				inBubble(t, nil, func(b *bubble) { newModel(b, way, seed).run() })
			})
		}
	}
}

// A model knows what was published, and what each subscription should get of it.
type model struct {
	*bubble

	client  *httpclient.Client
	errors  *errorLog
	random  *rand.Rand
	inside  *rand.Rand         // of the callbacks, which have a goroutine of their own
	byRoom  map[string][]int64 // the ids that were published, ascending
	mu      sync.Mutex         // guards below
	entries []*modelled
}

// A modelled is a subscription, and what it should get.
type modelled struct {
	channel string
	after   int64 // the message id
	sub     *httpclient.Subscription
	got     []int64
	ended   bool
	over    bool // by a callback, in whose goroutine nothing comes any more
}

func newModel(b *bubble, way httpclient.Options, seed uint64) *model {
	m := &model{bubble: b, random: rand.New(rand.NewPCG(seed, 6)), inside: rand.New(rand.NewPCG(seed, 7)), byRoom: map[string][]int64{}}
	m.client, m.errors = b.client(way)
	return m
}

func (m *model) run() {
	for range 150 {
		m.step()
		if m.random.IntN(2) == 0 {
			settle(time.Duration(m.random.IntN(40_000)) * time.Millisecond)
		}
	}
	settle(10 * time.Minute)
	m.check()
}

func (m *model) channel() string { return fmt.Sprintf("/%d", m.random.IntN(20)) }

func (m *model) step() {
	channel := m.channel()
	switch n := m.random.IntN(20); {
	case n < 8:
		for range 1 + m.random.IntN(30) {
			m.publish(m.channel())
		}
	case n < 12:
		m.subscribe(channel, m.someID(channel))
	case n < 14:
		m.endOne()
	case n < 15:
		m.unsubscribe(channel)
	case n < 18:
		m.cut()
	case n < 19:
		m.client.Pause()
		settle(time.Duration(m.random.IntN(60)) * time.Second)
		m.client.Resume()
	default:
		m.client.Stop()
		settle(time.Duration(m.random.IntN(2000)) * time.Millisecond)
		m.client.Start()
	}
}

func (m *model) publish(channel string) {
	m.Helper()
	id, err := m.bus.Publish(context.Background(), channel, "x")
	if err != nil {
		m.Fatal(err)
	}
	m.byRoom[channel] = append(m.byRoom[channel], id)
}

// someID is one that was published, or 0.
func (m *model) someID(channel string) int64 {
	ids := m.byRoom[channel]
	if len(ids) == 0 || m.random.IntN(2) == 0 {
		return 0
	}
	return ids[m.random.IntN(len(ids))]
}

func (m *model) subscribe(channel string, after int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	e := &modelled{channel: channel, after: after}
	var err error
	if e.sub, err = m.client.Subscribe(channel, httpclient.After(after), func(got httpclient.Message) { m.take(e, got.ID) }); err != nil {
		m.Error(err)
	}
	m.entries = append(m.entries, e)
}

// take is the callback. Some of them do something to their client.
func (m *model) take(e *modelled, id int64) {
	if e.over {
		m.Errorf("%s: message %d after the end", e.channel, id)
	}
	m.mu.Lock()
	e.got = append(e.got, id)
	m.mu.Unlock()
	switch n := m.inside.IntN(200); {
	case n < 2:
		m.end(e)
		e.over = true
	case n < 4:
		m.subscribe(e.channel, id)
	case n < 6:
		m.client.Stop()
		m.client.Start()
	case n < 8:
		m.client.Pause()
		time.AfterFunc(time.Duration(m.inside.IntN(5000))*time.Millisecond, m.client.Resume)
	case n < 9:
		m.unsubscribe(e.channel)
		e.over = true
	}
}

func (m *model) endOne() {
	m.mu.Lock()
	all := m.entries
	m.mu.Unlock()
	if len(all) > 0 {
		m.end(all[m.random.IntN(len(all))])
	}
}

func (m *model) end(e *modelled) {
	_ = e.sub.Close()
	m.mu.Lock()
	defer m.mu.Unlock()
	e.ended = true
}

func (m *model) unsubscribe(channel string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.client.Unsubscribe(channel)
	for _, e := range m.entries {
		e.ended = e.ended || e.channel == channel
	}
}

func (m *model) check() {
	m.Helper()
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, e := range m.entries {
		e.check(m.T, m.byRoom[e.channel])
	}
	for _, err := range m.errors.all() {
		if _, gap := errors.AsType[*httpclient.GapError](err); gap {
			m.Errorf("%v", err)
		}
	}
	for channel, at := range m.client.Positions() {
		if ids := m.byRoom[channel]; len(ids) > 0 {
			if id, _ := at.ID(); id != ids[len(ids)-1] {
				m.Errorf("position of %s is %d, published up to %d", channel, id, ids[len(ids)-1])
			}
		}
	}
}

// check: all messages behind the position, or where it has ended the first of them.
func (e *modelled) check(t *testing.T, published []int64) {
	t.Helper()
	i, _ := slices.BinarySearch(published, e.after+1)
	want := published[i:]
	if e.ended && len(e.got) < len(want) {
		want = want[:len(e.got)]
	}
	if !slices.Equal(e.got, want) {
		t.Errorf("%s from %d: got %v, want %v", e.channel, e.after, e.got, want)
	}
}
