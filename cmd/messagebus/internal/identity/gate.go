package identity

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/messagebus-go/messagebus/transport"
)

// A Gate is what transport asks: who a request is from, and which channels it
// may have. What it knows can be exchanged while it is in use.
type Gate struct {
	log     *slog.Logger
	setting atomic.Pointer[setting]
	refused throttle
}

type setting struct {
	source Source
	rules  Rules
}

// NewGate returns a gate; source nil: everybody is anonymous. Close it, and not
// the source.
func NewGate(source Source, rules Rules, log *slog.Logger) *Gate {
	g := &Gate{log: log}
	g.Set(source, rules)
	return g
}

// Set exchanges who is asked, and the rules, for later requests, and closes the
// source before.
func (g *Gate) Set(source Source, rules Rules) {
	if old := g.setting.Swap(&setting{source, rules}); old != nil && old.source != nil {
		old.source.Close()
	}
}

// Close closes the source. Later requests may be refused.
func (g *Gate) Close() {
	if source := g.setting.Load().source; source != nil {
		source.Close()
	}
}

// known is the place in a request's context for what only the gate wants to
// know of an identity.
type known struct {
	identified bool
	channels   Patterns
}

type knownKey struct{}

// Wrap gives requests what the gate needs; next is transport's handler.
func (g *Gate) Wrap(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		next.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), knownKey{}, &known{})))
	})
}

// Identify is for transport.Options.
func (g *Gate) Identify(r *http.Request) (transport.Identity, error) {
	id, err := g.ask(r)
	if err != nil {
		g.report(err)
		return transport.Identity{}, err
	}
	if k, ok := r.Context().Value(knownKey{}).(*known); ok {
		k.identified, k.channels = true, id.Channels
	}
	return id.Identity, nil
}

// ask asks the source; again where it was exchanged, and closed, meanwhile.
func (g *Gate) ask(r *http.Request) (Identity, error) {
	for {
		asked := g.setting.Load()
		if asked.source == nil {
			return Identity{}, nil
		}
		id, err := asked.source.Identify(r)
		if err == nil || g.setting.Load() == asked {
			return id, err
		}
	}
}

var errChannel = errors.New("the channel is not allowed")

// Authorize is for transport.Options. A request that it has not seen gets
// nothing.
func (g *Gate) Authorize(r *http.Request, _ transport.Identity, channel string) error {
	k, _ := r.Context().Value(knownKey{}).(*known)
	if k == nil || !k.identified || k.channels != nil && !k.channels.Match(channel) || !g.setting.Load().rules.Permit(channel) {
		return errChannel
	}
	return nil
}

// OnError is for transport.Options: it adds the headers that belong to a
// refusal, and leaves the answer to transport.
func (*Gate) OnError(w http.ResponseWriter, _ *http.Request, err error) bool {
	var refusal *Error
	if !errors.As(err, &refusal) {
		return false
	}
	if refusal.Challenge != "" {
		w.Header().Set("WWW-Authenticate", refusal.Challenge)
	}
	if refusal.RetryAfter > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(int(refusal.RetryAfter/time.Second)))
	}
	return false
}

// report logs why requests are refused, once in a while: anybody can send many.
func (g *Gate) report(err error) {
	var refusal *Error
	if !errors.As(err, &refusal) {
		return
	}
	if others, now := g.refused.pass(time.Now()); now {
		reason := refusal.Cause
		if reason == nil {
			reason = refusal
		}
		g.log.Info("a request is refused", "status", refusal.Status, "reason", reason, "others", others)
	}
}

// throttle lets one event pass every few seconds, and counts the others.
type throttle struct {
	mu    sync.Mutex
	next  time.Time
	count int
}

const reportEvery = 10 * time.Second

func (t *throttle) pass(now time.Time) (others int, pass bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if now.Before(t.next) {
		t.count++
		return 0, false
	}
	others, t.count, t.next = t.count, 0, now.Add(reportEvery)
	return others, true
}
