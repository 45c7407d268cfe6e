package rubycompat_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/messagebus-go/messagebus/bus"
)

// A listener collects what a subscription gets.
type listener struct {
	t      *testing.T
	peer   *peer
	sub    *bus.Subscription
	render func(bus.Message) object
	end    fence
	ended  chan struct{}

	mu       sync.Mutex // guards below
	messages []bus.Message
	gaps     []*bus.GapError
	more     chan struct{} // replaced whenever there is more
}

// A fence is where a last message is published, to see that nothing came before it
// that should not.
type fence struct {
	view    *bus.Bus
	channel string
}

// publish publishes a fence, twice: where two stores share a pub/sub channel, ids of
// the other one hide as many of this one's.
func (f fence) publish(ctx context.Context, data string) error {
	var err error
	sent := 0
	for range 10 { // connections may have been cut
		if _, err = f.view.Publish(ctx, f.channel, data); err == nil {
			if sent++; sent == 2 {
				return nil
			}
		}
	}
	return err
}

// fenceData is the payload of such a message.
const fenceData = "rubycompat fence"

func newListener(t *testing.T, p *peer, sub *bus.Subscription, render func(bus.Message) object, end fence) *listener {
	t.Helper()
	l := &listener{
		t: t, peer: p, sub: sub, render: render, end: end,
		ended: make(chan struct{}), more: make(chan struct{}),
	}
	go l.run()
	t.Cleanup(func() {
		sub.Close()
		<-l.ended
	})
	return l
}

func (l *listener) run() {
	defer close(l.ended)
	for {
		m, err := l.sub.Next(context.Background())
		gap, isGap := errors.AsType[*bus.GapError](err)
		_, isUndecodable := errors.AsType[*bus.DecodeError](err)
		if err != nil && !isGap && !isUndecodable {
			return
		}
		l.mu.Lock()
		switch {
		case isGap:
			l.gaps = append(l.gaps, gap)
		case err == nil:
			l.messages = append(l.messages, m)
		}
		close(l.more)
		l.more = make(chan struct{})
		l.mu.Unlock()
	}
}

// take waits for count messages, and returns all there are.
func (l *listener) take(count int) []any {
	l.wait(func() bool { return len(l.messages) >= count })
	return l.takeAll(func(bus.Message) bool { return true })
}

// takeButFences returns all there are but fences.
func (l *listener) takeButFences() []any {
	return l.takeAll(func(m bus.Message) bool {
		var data string
		return m.Decode(&data) != nil || !strings.HasSuffix(data, fenceData)
	})
}

func (l *listener) takeAll(kept func(bus.Message) bool) []any {
	l.mu.Lock()
	defer l.mu.Unlock()
	taken := []any{}
	for _, m := range l.messages {
		if kept(m) {
			taken = append(taken, l.render(m))
		}
	}
	l.messages = nil
	return taken
}

// wait waits until a condition holds, which is looked at with l.mu held; not forever.
func (l *listener) wait(holds func() bool) bool {
	late := time.NewTimer(patience)
	defer late.Stop()
	for {
		l.mu.Lock()
		done, more := holds(), l.more
		l.mu.Unlock()
		if done {
			return true
		}
		select {
		case <-more:
		case <-l.ended:
			return false
		case <-late.C:
			return false
		}
	}
}

// drain ends every subscription that lives: a last message goes through each, and
// what came before it and was not asked for is left over.
func (st *stage) drain() map[string][]any {
	left := map[string][]any{}
	for name, l := range st.listeners {
		if isOver(l) {
			left[name] = l.take(0)
			continue
		}
		l.fenceOff(name)
		left[name] = l.takeButFences()
	}
	return left
}

// fenceOff waits until everything that was published before has come.
func (l *listener) fenceOff(name string) {
	fence := name + " " + fenceData
	if err := l.end.publish(l.t.Context(), fence); err != nil {
		l.t.Logf("no fence for subscriber %s: %v", name, err)
		return
	}
	if !l.wait(func() bool { return l.hasFence(fence) }) {
		l.t.Errorf("subscriber %s does not hear what is published at the end", name)
	}
}

func isOver(l *listener) bool {
	select {
	case <-l.ended:
		return true
	default:
		return l.peer.destroyed
	}
}

// hasFence reports whether a fence has come. l.mu must be held.
func (l *listener) hasFence(fence string) bool {
	for _, m := range l.messages {
		if isFence(m, fence) {
			return true
		}
	}
	return false
}

func isFence(m bus.Message, fence string) bool { return string(m.Data) == fmt.Sprintf("%q", fence) }
