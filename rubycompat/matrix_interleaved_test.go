package rubycompat_test

import (
	"cmp"
	"fmt"
	"slices"
	"sync"
	"testing"

	"github.com/messagebus-go/messagebus/bus"
	"github.com/messagebus-go/messagebus/bus/pgbus"
)

// interleavedSubjects are processes of both kinds that publish on the same channels, at
// full speed and at once. What the gem loses or reorders by itself is shown by processes
// of Ruby alone.
func interleavedSubjects() []subject {
	of := func(name string, only store, ways ...way) subject { return subject{"interleaved", name, only, ways} }
	return []subject{
		of("4 Go and 4 Ruby publishers", "", both(func(t *testing.T, m meeting) {
			if m.postgres {
				m.execute(t, pgbus.Schema())
				m.execute(t, pgbus.OrderingTrigger())
			}
			publishInterleaved(t, m, 4, 4).judge(t)
		})),
		of("4 Go and 4 Ruby publishers, no trigger", onPostgres, both(func(t *testing.T, m meeting) {
			publishInterleaved(t, m, 4, 4).judge(t)
		})),
		of("8 Ruby publishers, Ruby alone", "", both(func(t *testing.T, m meeting) {
			publishInterleaved(t, m, 0, 8).judge(t)
		})),
	}
}

const eachPublishes = 200 // so that no backlog is trimmed

var sharedChannels = []string{"/busy/1", "/busy|2", "/busy/3"}

// interleaving is what was published, and what subscribers of both kinds got of it.
type interleaving struct {
	m      meeting
	stored map[string][]object // by channel
	byGo   map[string][]object // by subscriber and channel
	byRuby map[string][]object
}

// publishInterleaved lets so many processes publish, each of them on all channels by
// turns.
func publishInterleaved(t *testing.T, m meeting, gos, rubies int) interleaving {
	t.Helper()
	var publishers []rubyPeer
	for range rubies {
		publishers = append(publishers, m.rubyPeer(t))
	}
	listeners := publishers[:2]
	for _, r := range listeners {
		for _, channel := range sharedChannels {
			r.must("subscribe", channel, channel)
		}
	}
	type subscription struct {
		name, channel string
		sub           *bus.Subscription
	}
	var subs []subscription
	for i := range 2 {
		b := m.goPeer(t)
		for _, channel := range sharedChannels {
			sub := made(b.Subscribe(t.Context(), channel, bus.Latest()))(t)
			subs = append(subs, subscription{fmt.Sprintf("Go %d, %s", i, channel), channel, sub})
		}
	}
	var work sync.WaitGroup
	for i := range gos {
		begin := m.goPublisher(t, fmt.Sprint("go ", i))
		work.Go(func() {
			if err := begin(); err != nil {
				t.Error(err)
			}
		})
	}
	for i, r := range publishers {
		work.Go(func() {
			if _, err := r.call("publish_around", nil, sharedChannels, fmt.Sprint("ruby ", i), eachPublishes); err != nil {
				t.Error(err)
			}
		})
	}
	work.Wait()

	got := interleaving{m: m, stored: map[string][]object{}, byGo: map[string][]object{}, byRuby: map[string][]object{}}
	reader := m.goPeer(t)
	for _, channel := range sharedChannels {
		for _, message := range goBacklog(t, reader, channel).([]any) {
			got.stored[channel] = append(got.stored[channel], message.(object))
		}
	}
	for _, s := range subs {
		for range got.stored[s.channel] {
			got.byGo[s.name] = append(got.byGo[s.name], next(t, s.sub))
		}
	}
	for i, r := range listeners {
		for _, channel := range sharedChannels {
			name := fmt.Sprintf("Ruby %d, %s", i, channel)
			for _, message := range r.received(channel, len(got.stored[channel])) {
				got.byRuby[name] = append(got.byRuby[name], message.(object))
			}
		}
	}
	total := 0
	for _, messages := range got.stored {
		total += len(messages)
	}
	if want := (gos + rubies) * eachPublishes; total != want {
		t.Errorf("%d messages are stored, %d were published", total, want)
	}
	return got
}

// judge wants every subscriber to have got every message once. Those of Go have got them
// in order, but for late ones, which only Ruby publishers without the trigger can cause.
// Those of Ruby get what is published by Go in order.
func (i interleaving) judge(t *testing.T) {
	t.Helper()
	late := 0
	for name, messages := range i.byGo {
		i.wantEachOnce(t, name, messages)
		late += outOfOrder(messages)
	}
	disordered, ofGo := 0, 0
	for name, messages := range i.byRuby {
		i.wantEachOnce(t, name, messages)
		disordered += outOfOrder(messages)
		ofGo += outOfOrder(slices.DeleteFunc(slices.Clone(messages), func(m object) bool { return text(m["data"])[:2] != "go" }))
	}
	if ofGo > 0 {
		t.Errorf("Ruby subscribers got %d messages of Go out of order", ofGo)
	}
	if late > 0 && !(i.m.postgres && !i.m.hasTrigger(t)) {
		t.Errorf("Go subscribers got %d messages out of order", late)
	}
	if disordered > 0 && !i.m.postgres {
		t.Errorf("Ruby subscribers got %d messages out of order", disordered)
	}
	notef(t, "nobody missed a message or got one twice; out of order: %d with Go subscribers, %d with Ruby ones, none of them Go's", late, disordered)
}

func (i interleaving) wantEachOnce(t *testing.T, name string, messages []object) {
	t.Helper()
	sorted := slices.SortedFunc(slices.Values(messages), func(a, b object) int {
		return cmp.Compare(integer(a["message_id"]), integer(b["message_id"]))
	})
	if len(messages) > 0 {
		wantSame(t, name, asList(i.stored[text(messages[0]["channel"])]), asList(sorted))
	}
}

func asList(messages []object) []any {
	all := make([]any, len(messages))
	for i, m := range messages {
		all[i] = m
	}
	return all
}

// outOfOrder counts the messages behind which a later one came first.
func outOfOrder(messages []object) (n int) {
	highest := 0
	for _, m := range messages {
		if id := integer(m["global_id"]); id > highest {
			highest = id
		} else {
			n++
		}
	}
	return n
}

func (m meeting) hasTrigger(t *testing.T) bool {
	t.Helper()
	return m.execute(t, "SELECT count(*) FROM pg_trigger WHERE tgrelid = 'message_bus'::regclass AND NOT tgisinternal") != "0"
}
