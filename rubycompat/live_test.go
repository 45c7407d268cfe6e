package rubycompat_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/url"
	"os"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/messagebus-go/messagebus/bus"
	"github.com/messagebus-go/messagebus/bus/driver"
	"github.com/messagebus-go/messagebus/bus/pgbus"
	"github.com/messagebus-go/messagebus/bus/redisbus"
	"github.com/messagebus-go/messagebus/integration/stores"
	"github.com/messagebus-go/messagebus/rubycompat"
)

// gem looks for the gem once.
var gem = sync.OnceValues(func() (string, error) { return rubycompat.Gem(context.Background()) })

// notRun are the live tests for which there was no gem.
var notRun struct {
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
	notRun.mu.Lock()
	notRun.names = append(notRun.names, t.Name())
	notRun.mu.Unlock()
	t.Skipf("not run: %v", err)
}

// reportNotRun prints the live tests that were not run.
func reportNotRun(w io.Writer) {
	notRun.mu.Lock()
	defer notRun.mu.Unlock()
	slices.Sort(notRun.names)
	for _, name := range notRun.names {
		fmt.Fprintf(w, "not run: %s\n", name)
	}
	if version, err := gem(); err == nil {
		fmt.Fprintf(w, "live tests ran with the gem %s\n", version)
	} else if n := len(notRun.names); n > 0 {
		fmt.Fprintf(w, "%d live tests NOT RUN: %v; MESSAGE_BUS_LIB names the folder lib of the gem\n", n, err)
	}
}

// A meeting is a store on which Go and Ruby processes meet.
type meeting struct {
	postgres bool
	ruby     map[string]any // how the gem reaches it
	open     func(t *testing.T) driver.Backend
	url      string
}

// meet runs a live test on each store.
func meet(t *testing.T, test func(t *testing.T, m meeting)) {
	t.Helper()
	t.Parallel()
	t.Run("Redis", func(t *testing.T) {
		t.Parallel()
		needGem(t)
		test(t, onRedis(t))
	})
	t.Run("Postgres", func(t *testing.T) {
		t.Parallel()
		needGem(t)
		test(t, onPostgres(t))
	})
}

func onRedis(t *testing.T) meeting {
	t.Helper()
	server := stores.Redis(t)
	return meeting{
		ruby: map[string]any{"backend": "redis", "redis_config": map[string]any{"url": server.URL()}},
		open: func(t *testing.T) driver.Backend {
			t.Helper()
			b, err := redisbus.New(server.Client(t), nil)
			if err != nil {
				t.Fatal(err)
			}
			return b
		},
	}
}

func onPostgres(t *testing.T) meeting {
	t.Helper()
	address := stores.PostgresShared(t)
	at, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	return meeting{
		postgres: true, url: address,
		ruby: map[string]any{"backend": "postgres", "backend_options": map[string]any{
			"host": at.Hostname(), "port": at.Port(), "user": at.User.Username(), "dbname": at.Path[1:],
		}},
		open: func(t *testing.T) driver.Backend {
			t.Helper()
			pool, err := pgxpool.New(t.Context(), address)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(pool.Close)
			b, err := pgbus.New(pool, nil)
			if err != nil {
				t.Fatal(err)
			}
			return b
		},
	}
}

// goPeer is a bus, and a process of its own as far as the store can see.
func (m meeting) goPeer(t *testing.T) *bus.Bus {
	t.Helper()
	return newBus(t, m.open(t))
}

// A rubyPeer fails its test where it cannot be spoken to.
type rubyPeer struct {
	t *testing.T
	p *rubycompat.Peer
}

func (m meeting) rubyPeer(t *testing.T) rubyPeer {
	t.Helper()
	p, err := rubycompat.Start(t.Context(), "store.rb", m.ruby)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	})
	return rubyPeer{t, p}
}

// call returns what Ruby returns, or what it raised.
func (r rubyPeer) call(op string, named map[string]any, args ...any) (any, error) {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(r.t.Context(), time.Minute)
	defer cancel()
	var answer json.RawMessage
	if err := r.p.Call(ctx, &answer, op, named, args...); err != nil {
		return nil, err
	}
	return parse(answer), nil
}

func (r rubyPeer) must(op string, args ...any) any {
	r.t.Helper()
	answer, err := r.call(op, nil, args...)
	if err != nil {
		r.t.Fatal(err)
	}
	return answer
}

// received returns what a subscriber got, at least so many messages.
func (r rubyPeer) received(subscriber string, count int) []any {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(r.t.Context(), time.Minute)
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

// A parcel is a message that one side sends to the other.
type parcel struct {
	channel string
	site    any // nil: none
	data    string
	targets map[string]any
}

// parcels are every kind of channel, target and payload.
func parcels() []parcel {
	all := []parcel{
		{channel: "/targets", data: `"x"`, targets: map[string]any{"user_ids": []any{1, "1", -1}}},
		{channel: "/targets", data: `"x"`, targets: map[string]any{"group_ids": []any{3, "staff"}}},
		{channel: "/targets", data: `"x"`, targets: map[string]any{"client_ids": []any{"c1", "ç|2"}}},
		{channel: "/targets", data: `"x"`, targets: map[string]any{
			"user_ids": []any{7}, "group_ids": []any{"g"}, "client_ids": []any{"c"},
		}},
		{channel: "/sited", site: "one", data: `1`},
		{channel: "/sited", site: "two|parts é", data: `2`, targets: map[string]any{"user_ids": []any{5}}},
		{channel: "/sited", data: `3`},
		{channel: "/global/news", site: "one", data: `"for every site"`},
		{channel: "/a|b||c|", data: `"pipes | $|$ $$123$$"`},
		{channel: "/日本/🚀", data: `"grüße 日本語 🚀"`},
		{channel: "/a b\nc\t", data: `"white space"`},
		{channel: "no slash", data: `true`},
	}
	for _, data := range []string{
		`null`, `true`, `false`, `0`, `-7`, `9223372036854775807`, `18446744073709551617`,
		`1.5`, `-0.25`, `1.0e-05`, `1.0e+16`, `0.3333333333333333`,
		`""`, `"a\"b\\c/d"`, `"\u0000\u0001\b\t\n\f\r\u001f"`, `"</script>&'"`, "\"\u2028\u2029\u0085\ufeff\u007f\"", `"{\"a\":1}"`,
		`[]`, `[1,"a",null,[true,[]]]`, `{}`, `{"data":1,"user_ids":[2],"":{"é\n":[{}]}}`,
	} {
		all = append(all, parcel{channel: "/kinds", data: data})
	}
	return all
}

// publishGo publishes a parcel from Go.
func publishGo(t *testing.T, b *bus.Bus, p parcel) int64 {
	t.Helper()
	if site, ok := p.site.(string); ok {
		b = b.Site(site)
	}
	var options []bus.PublishOption
	for name, ids := range p.targets {
		raw, err := json.Marshal(ids)
		if err != nil {
			t.Fatal(err)
		}
		option, _ := targetOption(name, raw)
		options = append(options, option)
	}
	id, err := b.Publish(t.Context(), p.channel, json.RawMessage(p.data), options...)
	if err != nil {
		t.Fatalf("%q: %v", p.channel, err)
	}
	return id
}

// publishRuby publishes a parcel from Ruby.
func publishRuby(t *testing.T, r rubyPeer, p parcel) int64 {
	t.Helper()
	named := map[string]any{}
	maps.Copy(named, p.targets)
	if p.site != nil {
		named["site_id"] = p.site
	}
	answer, err := r.call("publish", named, p.channel, json.RawMessage(p.data))
	if err != nil {
		t.Fatalf("%q: %v", p.channel, err)
	}
	return int64(integer(answer))
}

// opened is a parcel as either side must see it.
func (p parcel) opened(globalID, id int64) object {
	seen := object{
		"global_id": number(globalID), "message_id": number(id), "channel": p.channel, "site_id": p.storedSite(),
		"data": parse(json.RawMessage(p.data)), "user_ids": nil, "group_ids": nil, "client_ids": nil,
	}
	for name, ids := range p.targets {
		seen[name] = asParsed(ids)
	}
	return seen
}

// asParsed gives a list the form that decoded JSON has.
func asParsed(ids any) any {
	list := slices.Clone(ids.([]any))
	for i, id := range list {
		if n, ok := id.(int); ok {
			list[i] = number(n)
		}
	}
	return list
}

// storedSite is nil for channels that belong to every site.
func (p parcel) storedSite() any {
	if len(p.channel) > 8 && p.channel[:8] == "/global/" {
		return nil
	}
	return p.site
}

// sent is parcels that were published, and as what they must be seen.
type sent struct {
	all    []any
	places map[parcelPlace][]any // of one channel and site
}

type parcelPlace struct{ channel, site any }

func send(publish func(parcel) int64) sent {
	s := sent{places: map[parcelPlace][]any{}}
	for i, p := range parcels() {
		seen := p.opened(int64(i+1), publish(p))
		s.all = append(s.all, seen)
		place := parcelPlace{p.channel, p.storedSite()}
		s.places[place] = append(s.places[place], seen)
	}
	return s
}

func wantSame(t *testing.T, what string, want, got any) {
	t.Helper()
	if d := difference(want, got); d != "" {
		t.Errorf("%s: %s", what, d)
	}
}

func TestLive_RubySeesWhatGoPublishes(t *testing.T) {
	meet(t, func(t *testing.T, m meeting) {
		t.Helper()
		b, r := m.goPeer(t), m.rubyPeer(t)
		r.must("subscribe", "live")
		s := send(func(p parcel) int64 { return publishGo(t, b, p) })

		wantSame(t, "live", s.all, r.received("live", len(s.all)))
		wantSame(t, "global backlog", s.all, r.must("global_backlog", 0))
		for place, messages := range s.places {
			name := fmt.Sprint(place)
			wantSame(t, "backlog "+name, messages, r.must("backlog", place.channel, 0, place.site))
			wantSame(t, "last id "+name, messages[len(messages)-1].(object)["message_id"], r.must("last_id", place.channel, place.site))
		}
	})
}

func TestLive_GoSeesWhatRubyPublishes(t *testing.T) {
	meet(t, func(t *testing.T, m meeting) {
		t.Helper()
		b, r := m.goPeer(t), m.rubyPeer(t)
		r.must("last_id", "/") // the first use creates a table
		sub, err := b.SubscribeAll(t.Context(), bus.LatestGlobal())
		if err != nil {
			t.Fatal(err)
		}
		s := send(func(p parcel) int64 { return publishRuby(t, r, p) })

		live := make([]any, len(s.all))
		for i := range live {
			live[i] = next(t, sub)
		}
		wantSame(t, "live", s.all, live)
		everything, err := b.GlobalBacklog(t.Context(), 0)
		wantSame(t, "global backlog", object{"returns": s.all}, openedMessages(everything, err))
		for place, messages := range s.places {
			wantGoSees(t, b, place, messages)
		}
	})
}

func wantGoSees(t *testing.T, b *bus.Bus, place parcelPlace, messages []any) {
	t.Helper()
	if site, ok := place.site.(string); ok {
		b = b.Site(site)
	}
	name, channel := fmt.Sprint(place), text(place.channel)
	backlog, err := b.Backlog(t.Context(), channel, 0)
	wantSame(t, "backlog "+name, object{"returns": messages}, openedMessages(backlog, err))
	last, err := b.LastID(t.Context(), channel)
	if err != nil {
		t.Error(err)
	}
	wantSame(t, "last id "+name, messages[len(messages)-1].(object)["message_id"], number(last))
	sub, err := b.Subscribe(t.Context(), channel, bus.After(0))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range messages {
		wantSame(t, "subscription "+name, want, next(t, sub))
	}
}

// next returns the next message. A gap that is possible and no more is passed over:
// a store may not know that nothing was lost. That nothing was is for the caller to
// see, who counts the messages.
func next(t *testing.T, sub *bus.Subscription) object {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
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
