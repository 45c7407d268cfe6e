package rubycompat_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/messagebus-go/messagebus/bus"
	"github.com/messagebus-go/messagebus/rubycompat"
)

// gem looks for the gem once.
var gem = sync.OnceValues(func() (string, error) { return rubycompat.Gem(context.Background()) })

// withoutGem are the live tests for which there was no gem.
var withoutGem struct {
	mu    sync.Mutex
	names []string
}

// needGem ends a live test where there is no gem. That is not passed over in
// silence: the end of the run names each, and it is a failure where a gem is demanded.
func needGem(t *testing.T) {
	t.Helper()
	_, err := gem()
	if err == nil {
		return
	}
	if os.Getenv("MESSAGEBUS_REQUIRE_RUBY") != "" {
		t.Fatalf("%v; MESSAGE_BUS_LIB names the folder lib of the gem", err)
	}
	withoutGem.mu.Lock()
	withoutGem.names = append(withoutGem.names, t.Name())
	withoutGem.mu.Unlock()
	t.Skipf("not run: %v", err)
}

// reportWithoutGem prints the live tests that were not run.
func reportWithoutGem(w io.Writer) {
	withoutGem.mu.Lock()
	defer withoutGem.mu.Unlock()
	slices.Sort(withoutGem.names)
	for _, name := range withoutGem.names {
		fmt.Fprintf(w, "not run: %s\n", name)
	}
	if version, err := gem(); err == nil {
		fmt.Fprintf(w, "live tests ran with the gem %s\n", version)
	} else if n := len(withoutGem.names); n > 0 {
		fmt.Fprintf(w, "%d live tests NOT RUN: %v; MESSAGE_BUS_LIB names the folder lib of the gem\n", n, err)
	}
}

// A rubyPeer fails its test where it cannot be spoken to.
type rubyPeer struct {
	t *testing.T
	p *rubycompat.Peer
}

func (m meeting) rubyPeer(t *testing.T) rubyPeer {
	t.Helper()
	return startRuby(t, "store.rb", m.ruby)
}

func startRuby(t *testing.T, program string, configuration any) rubyPeer {
	t.Helper()
	p := made(rubycompat.Start(t.Context(), program, configuration))(t)
	t.Cleanup(func() {
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	})
	return rubyPeer{t, p}
}

// livePatience is how long anything may take that is bound to come.
const livePatience = 2 * time.Minute

// call returns what Ruby returns, or what it raised.
func (r rubyPeer) call(op string, named map[string]any, args ...any) (any, error) {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(r.t.Context(), livePatience)
	defer cancel()
	var answer json.RawMessage
	if err := r.p.Call(ctx, &answer, op, named, args...); err != nil {
		return nil, err
	}
	return parse(answer), nil
}

func (r rubyPeer) must(op string, args ...any) any {
	r.t.Helper()
	return r.mustWith(op, nil, args...)
}

func (r rubyPeer) mustWith(op string, named map[string]any, args ...any) any {
	r.t.Helper()
	answer, err := r.call(op, named, args...)
	if err != nil {
		r.t.Fatal(err)
	}
	return answer
}

// received returns what a subscriber got, at least so many messages.
func (r rubyPeer) received(subscriber string, count int) []any {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(r.t.Context(), livePatience)
	defer cancel()
	found, err := r.p.Messages(ctx, subscriber, count)
	if err != nil {
		r.t.Fatal(err)
	}
	messages := make([]any, len(found))
	for i, text := range found {
		messages[i] = parse(text)
	}
	return messages
}

func isRubyError(err error, class string) bool {
	raised, ok := errors.AsType[*rubycompat.RubyError](err)
	return ok && raised.Class == class
}

// next returns the next message. A gap that is possible and no more is passed over:
// a store may not know that nothing was lost. That nothing was is for the caller to
// see, who counts the messages.
func next(t *testing.T, sub *bus.Subscription) object {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), livePatience)
	defer cancel()
	for {
		m, err := sub.Next(ctx)
		if gap, ok := errors.AsType[*bus.GapError](err); ok && gap.Reason == bus.GapPossible {
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		return openedMessage(m)
	}
}

// nextGap returns the reason of the gap that must come next.
func nextGap(t *testing.T, sub *bus.Subscription) bus.GapReason {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), livePatience)
	defer cancel()
	m, err := sub.Next(ctx)
	gap, ok := errors.AsType[*bus.GapError](err)
	if !ok {
		t.Fatalf("%s and %v, want a gap", show(openedMessage(m)), err)
	}
	return gap.Reason
}

// until waits for something that others do.
func until(t *testing.T, what string, f func() bool) {
	t.Helper()
	deadline := time.NewTimer(livePatience)
	defer deadline.Stop()
	again := time.NewTicker(5 * time.Millisecond)
	defer again.Stop()
	for !f() {
		select {
		case <-again.C:
		case <-deadline.C:
			t.Fatalf("not within %v: %s", livePatience, what)
		}
	}
}

func wantSame(t *testing.T, what string, want, got any) {
	t.Helper()
	if d := difference(want, got); d != "" {
		t.Errorf("%s: %s", what, d)
	}
}

func wantData(t *testing.T, who string, messages any, want ...string) {
	t.Helper()
	var got []string
	for _, m := range messages.([]any) {
		got = append(got, text(m.(object)["data"]))
	}
	if !slices.Equal(got, want) {
		t.Errorf("%s: %q, want %q", who, got, want)
	}
}
