package record_test

import (
	"context"
	"encoding/json"
	"errors"
	"os/exec"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/messagebus-go/messagebus/bus"
	"github.com/messagebus-go/messagebus/bus/driver"
	"github.com/messagebus-go/messagebus/bus/pgbus"
	"github.com/messagebus-go/messagebus/bus/redisbus"
	"github.com/messagebus-go/messagebus/integration/command"
	"github.com/messagebus-go/messagebus/integration/stores"
	"github.com/messagebus-go/messagebus/rubycompat"
)

// A meeting is an empty store with a Go bus, and how the gem reaches it.
type meeting struct {
	bus  *bus.Bus
	ruby map[string]any
	url  string
}

func onRedis(t *testing.T) meeting {
	t.Helper()
	server := stores.Redis(t)
	backend, err := redisbus.New(server.Client(t), nil)
	return meet(t, backend, err, server.URL(), map[string]any{"backend": "redis", "redis_config": map[string]any{"url": server.URL()}})
}

func onPostgres(t *testing.T) meeting {
	t.Helper()
	address := stores.PostgresShared(t)
	pool, err := pgxpool.New(t.Context(), address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	backend, err := pgbus.New(pool, nil)
	c := pool.Config().ConnConfig
	return meet(t, backend, err, address, map[string]any{"backend": "postgres", "backend_options": map[string]any{
		"host": c.Host, "port": c.Port, "user": c.User, "dbname": c.Database,
	}})
}

func meet(t *testing.T, backend driver.Backend, err error, url string, ruby map[string]any) meeting {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	b, err := bus.New(backend, &bus.Options{Keepalive: -1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.Close() })
	ruby["keepalive_interval"] = 0
	return meeting{b, ruby, url}
}

// seen is a message as either side sees it. Message ids are compared, and data as JSON.
type seen struct {
	ID        int64  `json:"id"`
	Channel   string `json:"channel"`
	Site      string `json:"site"`
	Data      any    `json:"data"`
	UserIDs   []any  `json:"user_ids"`
	GroupIDs  []any  `json:"group_ids"`
	ClientIDs []any  `json:"client_ids"`
}

// exchanged are messages of every kind of channel, target and payload.
func exchanged() []seen {
	all := []seen{
		{Channel: "/chat", Data: "x", UserIDs: []any{1.0, "1", -1.0}},
		{Channel: "/chat", Data: "x", GroupIDs: []any{3.0, "staff"}},
		{Channel: "/chat", Data: "x", ClientIDs: []any{"c1", "ç|2"}},
		{Channel: "/chat", Data: "x", UserIDs: []any{7.0}, GroupIDs: []any{"g"}},
		{Channel: "/sited", Site: "one", Data: 1.0},
		{Channel: "/sited", Site: "two|parts é", Data: 2.0, UserIDs: []any{5.0}},
		{Channel: "/sited", Data: 3.0},
		{Channel: "/global/news", Data: "for every site"},
		{Channel: "/a|b||c|", Data: "pipes | $|$ $$123$$"},
		{Channel: "/日本/🚀", Data: "grüße 日本語 🚀"},
		{Channel: "/a b\nc\t", Data: "white space"},
	}
	for _, text := range []string{
		`null`, `true`, `0`, `-7.25`, `""`, `"\u0000\"\\/<>&\u2028"`, `[1,"a",null,[true,[]]]`, `{"data":1,"user_ids":[2],"":{"é":[{}]}}`,
	} {
		var data any
		if json.Unmarshal([]byte(text), &data) == nil {
			all = append(all, seen{Channel: "/kinds", Data: data})
		}
	}
	return all
}

// scripts says, for each version that is tried, what the doctor makes of its traces.
var scripts = map[string]string{
	"2.2.4": "version 2.2 to 3.3.5.", "3.0.0": "version 2.2 to 3.3.5.", "3.3.5": "version 2.2 to 3.3.5.",
	"3.4.0": "version 3.3.6 to 4.1.", "4.0.0": "version 3.3.6 to 4.1.", "4.1.0": "version 3.3.6 to 4.1.",
	"4.2.0": "version 4.2 to 4.5.", "4.3.8": "version 4.2 to 4.5.", "4.4.1": "version 4.2 to 4.5.",
}

// TestExchange has other versions of the gem and Go publish to each other, and each see
// all of it: live, in the backlogs, and in the backlog of all channels.
func TestExchange(t *testing.T) {
	for version, trace := range scripts {
		t.Run(version, func(t *testing.T) {
			t.Setenv("MESSAGE_BUS_LIB", libOf(t, version)) // hence one after the other
			t.Run("Redis", func(t *testing.T) {
				m := onRedis(t)
				exchange(t, m)
				wantDiagnosis(t, m.url, trace)
			})
			t.Run("Postgres", func(t *testing.T) {
				m := onPostgres(t)
				exchange(t, m)
				wantDiagnosis(t, m.url, "every version of the gem since 2.0")
			})
		})
	}
}

func exchange(t *testing.T, m meeting) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	ruby, err := rubycompat.Start(ctx, "any_version.rb", m.ruby)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := ruby.Close(); err != nil {
			t.Error(err)
		}
	}()
	call := func(answer any, op string, named map[string]any, args ...any) {
		t.Helper()
		if err := ruby.Call(ctx, answer, op, named, args...); err != nil {
			t.Fatal(err)
		}
	}
	call(nil, "subscribe", nil, "live")
	sub, err := m.bus.SubscribeAll(ctx, bus.LatestGlobal())
	if err != nil {
		t.Fatal(err)
	}
	defer sub.Close()

	var want []seen
	for i, message := range append(exchanged(), exchanged()...) {
		if i < len(exchanged()) {
			message.ID = publishGo(t, m.bus, message)
		} else {
			call(&message.ID, "publish", rubyOptions(message), message.Channel, message.Data)
		}
		want = append(want, message)
	}
	wantRubySees(ctx, t, ruby, want, call)
	wantGoSees(ctx, t, m.bus, sub, want)
}

func publishGo(t *testing.T, b *bus.Bus, m seen) int64 {
	t.Helper()
	if m.Site != "" {
		b = b.Site(m.Site)
	}
	var options []bus.PublishOption
	if ids := busIDs(m.UserIDs); ids != nil {
		options = append(options, bus.ToUsers(ids...))
	}
	if ids := busIDs(m.GroupIDs); ids != nil {
		options = append(options, bus.ToGroups(ids...))
	}
	if m.ClientIDs != nil {
		clients := make([]string, len(m.ClientIDs))
		for i, id := range m.ClientIDs {
			clients[i] = id.(string)
		}
		options = append(options, bus.ToClients(clients...))
	}
	id, err := b.Publish(t.Context(), m.Channel, m.Data, options...)
	if err != nil {
		t.Fatalf("%q: %v", m.Channel, err)
	}
	return id
}

func busIDs(values []any) (ids []bus.ID) {
	for _, v := range values {
		switch v := v.(type) {
		case float64:
			ids = append(ids, bus.IntID(int64(v)))
		case string:
			ids = append(ids, bus.StringID(v))
		}
	}
	return ids
}

func rubyOptions(m seen) map[string]any {
	options := map[string]any{}
	if m.Site != "" {
		options["site_id"] = m.Site
	}
	for name, ids := range map[string][]any{"user_ids": whole(m.UserIDs), "group_ids": whole(m.GroupIDs), "client_ids": m.ClientIDs} {
		if ids != nil {
			options[name] = ids
		}
	}
	return options
}

// whole makes integers of numbers.
func whole(values []any) (all []any) {
	for _, v := range values {
		if f, ok := v.(float64); ok {
			v = int64(f)
		}
		all = append(all, v)
	}
	return all
}

func wantRubySees(ctx context.Context, t *testing.T, ruby *rubycompat.Peer, want []seen, call func(any, string, map[string]any, ...any)) {
	t.Helper()
	heard, err := ruby.Messages(ctx, "live", len(want))
	if err != nil {
		t.Fatal(err)
	}
	live := make([]seen, len(heard))
	for i, text := range heard {
		if err := json.Unmarshal(text, &live[i]); err != nil {
			t.Fatal(err)
		}
	}
	wantSame(t, "Ruby, live", want, live)
	var all []seen
	call(&all, "global_backlog", nil)
	wantSame(t, "Ruby, all channels", want, all)
	for place, messages := range byPlace(want) {
		var backlog []seen
		call(&backlog, "backlog", nil, place.channel, site(place.site))
		wantSame(t, "Ruby, "+place.channel+" of "+place.site, messages, backlog)
		var last int64
		call(&last, "last_id", nil, place.channel, site(place.site))
		if last != messages[len(messages)-1].ID {
			t.Errorf("Ruby, %+v: the last id is %d", place, last)
		}
	}
}

// site is what Ruby calls none.
func site(name string) any {
	if name == "" {
		return nil
	}
	return name
}

type place struct{ channel, site string }

func byPlace(messages []seen) map[place][]seen {
	places := map[place][]seen{}
	for _, m := range messages {
		at := place{m.Channel, m.Site}
		places[at] = append(places[at], m)
	}
	return places
}

func wantGoSees(ctx context.Context, t *testing.T, b *bus.Bus, sub *bus.Subscription, want []seen) {
	t.Helper()
	var live []seen
	for len(live) < len(want) {
		m, err := sub.Next(ctx)
		if gap, ok := errors.AsType[*bus.GapError](err); ok && gap.Reason == bus.GapPossible {
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		live = append(live, ofGo(t, m))
	}
	wantSame(t, "Go, live", want, live)
	all, err := b.GlobalBacklog(ctx, 0)
	wantSame(t, "Go, all channels", want, ofGoAll(t, all, err))
	for place, messages := range byPlace(want) {
		view := b
		if place.site != "" {
			view = b.Site(place.site)
		}
		backlog, err := view.Backlog(ctx, place.channel, 0)
		wantSame(t, "Go, "+place.channel+" of "+place.site, messages, ofGoAll(t, backlog, err))
	}
}

func ofGoAll(t *testing.T, messages []bus.Message, err error) []seen {
	t.Helper()
	if gap, ok := errors.AsType[*bus.GapError](err); err != nil && (!ok || gap.Reason != bus.GapPossible) {
		t.Error(err)
	}
	all := make([]seen, len(messages))
	for i, m := range messages {
		all[i] = ofGo(t, m)
	}
	return all
}

func ofGo(t *testing.T, m bus.Message) seen {
	t.Helper()
	text, err := json.Marshal(map[string]any{
		"id": m.ID, "channel": m.Channel, "site": m.Site, "data": m.Data,
		"user_ids": m.UserIDs, "group_ids": m.GroupIDs, "client_ids": m.ClientIDs,
	})
	if err != nil {
		t.Fatal(err)
	}
	var s seen
	if err := json.Unmarshal(text, &s); err != nil {
		t.Fatal(err)
	}
	return s
}

func wantSame(t *testing.T, who string, want, got []seen) {
	t.Helper()
	if len(want) != len(got) {
		t.Errorf("%s: %d messages, want %d", who, len(got), len(want))
		return
	}
	for i := range want {
		if !reflect.DeepEqual(want[i], got[i]) {
			t.Errorf("%s: message %d is %+v, want %+v", who, i, got[i], want[i])
		}
	}
}

// wantDiagnosis has "messagebus doctor" look at the store.
func wantDiagnosis(t *testing.T, url, says string) {
	t.Helper()
	output, err := exec.CommandContext(t.Context(), command.Binary(t), "doctor", "--json", "--store", url).Output()
	if err != nil || !slices.ContainsFunc(strings.Split(string(output), "\n"), func(line string) bool { return strings.Contains(line, says) }) {
		t.Errorf("the doctor does not say %q (%v):\n%s", says, err, output)
	}
}
