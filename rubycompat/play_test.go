package rubycompat_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/messagebus-go/messagebus/bus"
)

// patience is how long something may take that is waited for.
const patience = 15 * time.Second

// A stage is where one story is played.
type stage struct {
	t         *testing.T
	server    server
	peers     map[string]*peer
	first     *peer
	listeners map[string]*listener
	held      object // what was announced during the step, where the step looked already
}

// play carries out the steps of a story, and notes what came of each.
func play(t *testing.T, s *story, on server) result {
	t.Helper()
	st := &stage{t: t, server: on, peers: map[string]*peer{}, listeners: map[string]*listener{}}
	for _, settings := range s.buses {
		p := newPeer(t, on, settings)
		p.keepalive = s.asksForKeepalive()
		st.peers[settings.name] = p
		if st.first == nil {
			st.first = p
		}
	}
	var got result
	for _, step := range s.steps {
		outcome := st.do(step)
		seen := on.announced()
		if st.held != nil {
			seen, st.held = st.held, nil
		}
		maps.Copy(outcome, seen)
		got.steps = append(got.steps, outcome)
	}
	got.leftover = st.drain()
	return got
}

// asksForKeepalive reports whether the keepalive of a story must come soon.
func (s *story) asksForKeepalive() bool {
	return slices.ContainsFunc(s.steps, func(st step) bool { return st.op == "keepalive" })
}

// do carries out one step.
func (st *stage) do(s step) object {
	p := st.first
	if on := s.in.text("on"); on != "" {
		p = st.peers[on]
	}
	if p.reason != "" {
		return object{"ruby-only": p.reason}
	}
	if op, ok := busOps[s.op]; ok {
		return op(p, s.in)
	}
	if op, ok := stageOps[s.op]; ok {
		return op(st, p, s)
	}
	outcome, known := st.server.do(s.op, s.in)
	if !known {
		st.t.Fatalf("op %q is not known", s.op)
	}
	return outcome
}

// busOps are the methods of one bus.
var busOps = map[string]func(p *peer, in members) object{
	"publish":        (*peer).publish,
	"fill":           (*peer).fill,
	"backlog":        (*peer).backlog,
	"global_backlog": (*peer).globalBacklog,
	"last_id":        (*peer).lastID,
	"last_ids":       (*peer).lastIDs,
	"last_message":   (*peer).lastMessage,
	"reset!":         (*peer).reset,
	"destroy":        (*peer).destroy,
	"off":            (*peer).turnOff,
	"on":             (*peer).turnOn,
	"listening":      (*peer).listening,
	"queued":         (*peer).queued,

	"backend.publish":                        (*peer).publishStored,
	"backend.backlog":                        (*peer).storedBacklog,
	"backend.global_backlog":                 (*peer).storedGlobalBacklog,
	"backend.last_id":                        (*peer).storedLastID,
	"backend.last_ids":                       (*peer).storedLastIDs,
	"backend.get_message":                    (*peer).getMessage,
	"backend.reset!":                         (*peer).reset,
	"backend.max_backlog_size=":              configure("max_backlog_size"),
	"backend.max_global_backlog_size=":       configure("max_global_backlog_size"),
	"backend.max_backlog_age=":               configure("max_backlog_age"),
	"backend.clear_every=":                   configure("clear_every"),
	"backend.max_in_memory_publish_backlog=": configure("max_in_memory_publish_backlog"),
}

// stageOps are those that concern more than a bus.
var stageOps = map[string]func(st *stage, p *peer, s step) object{
	"subscribe":                    (*stage).subscribe,
	"local_subscribe":              (*stage).subscribe,
	"backend.subscribe":            (*stage).subscribeStored,
	"backend.global_subscribe":     (*stage).subscribeGlobal,
	"backend.global_unsubscribe":   (*stage).unsubscribe,
	"backend.expire_all_backlogs!": (*stage).expireAll,
	"received":                     (*stage).received,
	"subscription-ended":           (*stage).subscriptionEnded,
	"wait-flush":                   (*stage).waitFlush,
	"keepalive":                    (*stage).runKeepalive,
}

// subscribe subscribes to a channel, or to all where none is named.
func (st *stage) subscribe(p *peer, s step) object {
	channel, from := argument(s.in, 0), lastID(argument(s.in, 1))
	if channel == nil {
		return st.subscribeAll(p, s, from, openedMessage)
	}
	view := p.site(nil)
	sub, err := view.Subscribe(st.t.Context(), text(channel), position(from))
	return st.listen(p, s, sub, err, openedMessage, fence{view, text(channel)})
}

// subscribeStored subscribes to a stored name.
func (st *stage) subscribeStored(p *peer, s step) object {
	channel, site, sited := strings.Cut(text(argument(s.in, 0)), "$|$")
	view := p.root()
	if sited {
		view = view.Site(site)
	}
	sub, err := view.Subscribe(st.t.Context(), channel, position(lastID(argument(s.in, 1))))
	return st.listen(p, s, sub, err, unopenedMessage, fence{view, channel})
}

func (st *stage) subscribeGlobal(p *peer, s step) object {
	return st.subscribeAll(p, s, lastID(argument(s.in, 0)), unopenedMessage)
}

func (st *stage) subscribeAll(p *peer, s step, from int64, render func(bus.Message) object) object {
	at := bus.LatestGlobal()
	if from >= 0 {
		at = bus.AfterGlobal(from)
	}
	sub, err := p.root().SubscribeAll(st.t.Context(), at)
	return st.listen(p, s, sub, err, render, fence{p.root(), "/rubycompat-fence"})
}

// lastID is -1, from now on, where none is given.
func lastID(v any) int64 {
	if v == nil {
		return -1
	}
	return id(v)
}

func position(from int64) bus.Position {
	if from < 0 {
		return bus.Latest()
	}
	return bus.After(from)
}

func (st *stage) listen(p *peer, s step, sub *bus.Subscription, err error, render func(bus.Message) object, end fence) object {
	if err != nil {
		return failed(err)
	}
	if !p.isLive() {
		return failed(fmt.Errorf("no live feed within %v", patience))
	}
	l := newListener(st.t, p, sub, render, end)
	if name := s.in.text("subscriber"); name != "" {
		st.listeners[name] = l
	}
	return object{}
}

// isLive waits until the feed of a bus is live, as the recorder did. What is published
// before comes from the backlog, but for what another store announces on this one's
// pub/sub channel.
func (p *peer) isLive() bool {
	retry := time.NewTicker(time.Millisecond)
	defer retry.Stop()
	late := time.After(patience)
	for {
		down := slices.ContainsFunc(p.root().Health().Reasons, func(reason string) bool {
			return strings.HasPrefix(reason, "no live feed")
		})
		if !down {
			return true
		}
		select {
		case <-late:
			return false
		case <-retry.C:
		}
	}
}

// unsubscribe ends this process's subscriptions of the bus. That is all that Go does:
// the gem ends everybody's.
func (st *stage) unsubscribe(p *peer, _ step) object {
	for _, l := range st.listeners {
		if l.peer == p {
			l.sub.Close()
		}
	}
	return object{}
}

// expireAll has no counterpart; the server does what the gem would have it do.
func (st *stage) expireAll(p *peer, s step) object {
	outcome, known := st.server.do(s.op, s.in)
	if !known {
		outcome = p.reset(s.in)
	}
	outcome["ruby-only"] = "to drop all backlogs"
	return outcome
}

// received waits for as many messages as are wanted.
func (st *stage) received(_ *peer, s step) object {
	l, ok := st.listeners[s.in.text("subscriber")]
	if !ok {
		return object{"messages": []any{}}
	}
	switch want := s.want["messages"].(type) {
	case []any:
		return object{"messages": l.take(len(want))}
	case matcher:
		if want.count > 0 {
			return object{"messages": l.take(want.count)}
		}
	}
	l.fenceOff("received")
	return object{"messages": l.takeButFences()}
}

func (st *stage) subscriptionEnded(_ *peer, s step) object {
	ended := st.listeners[s.in.text("subscriber")].ended
	if s.want["returns"] == true {
		select {
		case <-ended:
		case <-time.After(patience):
		}
	}
	select {
	case <-ended:
		return object{"returns": true}
	default:
		return object{"returns": false}
	}
}

// waitFlush waits until nothing waits in memory.
func (st *stage) waitFlush(p *peer, _ step) object {
	retry := time.NewTicker(5 * time.Millisecond)
	defer retry.Stop()
	late := time.After(patience)
	for p.root().Health().Queued > 0 {
		select {
		case <-late:
			return failed(fmt.Errorf("%d messages still wait after %v", p.root().Health().Queued, patience))
		case <-retry.C:
		}
	}
	return object{}
}

// runKeepalive waits for the keepalive that comes next.
func (st *stage) runKeepalive(p *peer, s step) object {
	if s.in["queued_after"] != nil && string(s.in["queued_after"]) == "null" {
		return object{"ruby-only": "a keepalive interval that means none; here it is a negative one"}
	}
	late := time.After(patience)
	retry := time.NewTicker(5 * time.Millisecond)
	defer retry.Stop()
	for {
		if outcome := st.server.announced(); len(announcements(outcome)) > 0 {
			st.held = outcome
			return object{}
		}
		select {
		case <-late:
			return failed(fmt.Errorf("no keepalive of %v within %v", p.settings.name, patience))
		case <-retry.C:
		}
	}
}

// announcements is the list in the outcome of a server, whatever it calls it.
func announcements(outcome object) []any {
	for _, v := range outcome {
		if all, ok := v.([]any); ok {
			return all
		}
	}
	return nil
}
