package rubycompat_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/messagebus-go/messagebus/bus"
)

// publishSubjects are what one side publishes and the other sees: live, in the
// backlogs, and by its ids.
func publishSubjects() []subject {
	var all []subject
	for _, p := range []struct {
		name    string
		parcels []parcel
	}{
		{"user ids", targeted("user_ids", []any{1, "1", -1}, []any{"ü"}, []any{9223372036854775807})},
		{"group ids", targeted("group_ids", []any{3, "staff"}, []any{0})},
		{"client ids", targeted("client_ids", []any{"c1", "ç|2"}, []any{""})},
		{"all kinds of targets at once", []parcel{{channel: "/targets", data: `"x"`, targets: map[string]any{
			"user_ids": []any{7}, "group_ids": []any{"g"}, "client_ids": []any{"c"},
		}}}},
		{"sites", []parcel{
			{channel: "/sited", site: "one", data: `1`},
			{channel: "/sited", site: "two|parts é", data: `2`, targets: map[string]any{"user_ids": []any{5}}},
			{channel: "/sited", data: `3`},
			{channel: "/sited", site: "one", data: `4`},
		}},
		{"global channels", []parcel{
			{channel: "/global/news", site: "one", data: `"for every site"`},
			{channel: "/global/news", data: `"again"`, targets: map[string]any{"client_ids": []any{"c"}}},
			{channel: "/globally", site: "one", data: `"a channel like others"`},
		}},
		{"unicode in channels", channels("/日本/🚀", "/grüße", "/e\u0301", "/\u2028")},
		{"pipes in channels", channels("/a|b||c|", "|", "/a$|b", "/a $$ 123 $$")},
		{"white space in channels", channels("/a b\nc\t", " ", "/a\r\n|\r\n")},
		{"other odd channels", channels("no slash", "//", "/global", `/"quoted"\`, strings.Repeat("/long", 400))},
		{"null and booleans", payloads(`null`, `true`, `false`)},
		{"integers", payloads(`0`, `-7`, `9007199254740993`, `9223372036854775807`, `-9223372036854775808`, `18446744073709551617`)},
		{"floats", payloads(`1.5`, `-0.25`, `1.0e-05`, `1.0e+16`, `0.3333333333333333`, `5.0e-324`, `1.7976931348623157e+308`)},
		{"strings", payloads(`""`, `"a\"b\\c/d"`, `"\u0000\u0001\b\t\n\f\r\u001f"`, `"</script>&'"`, `"{\"a\":1}"`, `"pipes | $|$ $$123$$"`, `"\r\n|\r\n"`)},
		{"unicode in strings", payloads(`"grüße 日本語 🚀"`, "\"\u2028\u2029\u0085\ufeff\u007f\"", `"e\u0301 \ud83d\ude80"`)},
		{"arrays", payloads(`[]`, `[1,"a",null,[true,[]]]`, `[`+strings.Repeat(`0,`, 2000)+`0]`)},
		{"objects", payloads(`{}`, `{"data":1,"user_ids":[2],"":{"é\n":[{}]}}`, `{"b":1,"a":2}`)},
		// The envelope is a level, and Ruby reads 100 at the most.
		{"deep nesting", payloads(strings.Repeat(`[`, 98)+strings.Repeat(`]`, 98), strings.Repeat(`{"a":`, 98)+`1`+strings.Repeat(`}`, 98))},
	} {
		all = append(all, subject{group: "publish", name: p.name, ways: []way{
			fromGo(func(t *testing.T, m meeting) { rubySees(t, m, p.parcels) }),
			fromRuby(func(t *testing.T, m meeting) { goSees(t, m, p.parcels) }),
		}})
	}
	return append(all,
		subject{group: "publish", name: "a megabyte", only: onRedis, ways: []way{
			fromGo(func(t *testing.T, m meeting) { rubySees(t, m, megabyte()) }),
			fromRuby(func(t *testing.T, m meeting) { goSees(t, m, megabyte()) }),
		}},
		subject{group: "publish", name: "a megabyte, too large for a notice", only: onPostgres, ways: []way{
			fromGo(largeFromGo), fromRuby(largeFromRuby),
		}},
	)
}

// A parcel is a message that one side sends to the other.
type parcel struct {
	channel string
	site    any // nil: none
	data    string
	targets map[string]any
}

func targeted(kind string, lists ...[]any) (all []parcel) {
	for _, list := range lists {
		all = append(all, parcel{channel: "/targets", data: `"x"`, targets: map[string]any{kind: list}})
	}
	return all
}

func channels(names ...string) (all []parcel) {
	for _, name := range names {
		all = append(all, parcel{channel: name, data: `true`}, parcel{channel: name, site: "s|1", data: `false`})
	}
	return all
}

func payloads(all ...string) (parcels []parcel) {
	for _, data := range all {
		parcels = append(parcels, parcel{channel: "/kinds", data: data})
	}
	return parcels
}

func megabyte() []parcel {
	return payloads(`"` + strings.Repeat("é", 1<<19) + `"`)
}

// publishGo publishes a parcel from Go.
func publishGo(t *testing.T, b *bus.Bus, p parcel) int64 {
	t.Helper()
	var options []bus.PublishOption
	for name, ids := range p.targets {
		raw := made(json.Marshal(ids))(t)
		option, _ := targetOption(name, raw)
		options = append(options, option)
	}
	id, err := onSite(b, p.site).Publish(t.Context(), p.channel, json.RawMessage(p.data), options...)
	if err != nil {
		t.Fatalf("%q: %v", p.channel, err)
	}
	return id
}

// onSite is the view of a bus for a site; nil: none.
func onSite(b *bus.Bus, site any) *bus.Bus {
	if name, ok := site.(string); ok {
		return b.Site(name)
	}
	return b
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
	if strings.HasPrefix(p.channel, "/global/") {
		return nil
	}
	return p.site
}

// sent is parcels that were published on an empty store, and as what they must be seen.
type sent struct {
	all    []any
	places map[parcelPlace][]any // of one channel and site
}

type parcelPlace struct{ channel, site any }

func send(parcels []parcel, publish func(parcel) int64) sent {
	s := sent{places: map[parcelPlace][]any{}}
	for i, p := range parcels {
		seen := p.opened(int64(i+1), publish(p))
		s.all = append(s.all, seen)
		place := parcelPlace{p.channel, p.storedSite()}
		s.places[place] = append(s.places[place], seen)
	}
	return s
}

// rubySees publishes from Go, and looks at it from Ruby in every way there is.
func rubySees(t *testing.T, m meeting, parcels []parcel) {
	t.Helper()
	b, r := m.goPeer(t), m.rubyPeer(t)
	r.must("subscribe", "live")
	s := send(parcels, func(p parcel) int64 { return publishGo(t, b, p) })

	wantSame(t, "live", s.all, r.received("live", len(s.all)))
	wantSame(t, "global backlog", s.all, r.must("global_backlog", 0))
	wantSame(t, "global backlog after the first", s.all[1:], r.must("global_backlog", 1))
	for place, messages := range s.places {
		name := fmt.Sprint(place)
		first, last := messages[0].(object), messages[len(messages)-1].(object)
		wantSame(t, "backlog "+name, messages, r.must("backlog", place.channel, 0, place.site))
		wantSame(t, "backlog after the first "+name, messages[1:], r.must("backlog", place.channel, first["message_id"], place.site))
		wantSame(t, "last id "+name, last["message_id"], r.must("last_id", place.channel, place.site))
		ids := r.mustWith("last_ids", map[string]any{"site_id": place.site}, place.channel, "/nothing")
		wantSame(t, "last ids "+name, object{text(place.channel): last["message_id"], "/nothing": number(0)}, ids)
		if place.site == nil {
			wantSame(t, "last message "+name, last, r.must("last_message", place.channel))
			r.must("subscribe", "replay", place.channel, 0)
			wantSame(t, "replay "+name, messages, r.received("replay", len(messages)))
		}
	}
}

// goSees publishes from Ruby, and looks at it from Go in every way there is.
func goSees(t *testing.T, m meeting, parcels []parcel) {
	t.Helper()
	b, r := m.goPeer(t), m.rubyPeer(t)
	sub := made(b.SubscribeAll(t.Context(), bus.LatestGlobal()))(t)
	s := send(parcels, func(p parcel) int64 { return publishRuby(t, r, p) })

	live := make([]any, len(s.all))
	for i := range live {
		live[i] = next(t, sub)
	}
	wantSame(t, "live", s.all, live)
	everything, err := b.GlobalBacklog(t.Context(), 0)
	wantSame(t, "global backlog", object{"returns": s.all}, openedMessages(everything, err))
	everything, err = b.GlobalBacklog(t.Context(), 1)
	wantSame(t, "global backlog after the first", object{"returns": s.all[1:]}, openedMessages(everything, err))
	for place, messages := range s.places {
		goSeesPlace(t, onSite(b, place.site), place, messages)
	}
}

func goSeesPlace(t *testing.T, b *bus.Bus, place parcelPlace, messages []any) {
	t.Helper()
	name, channel := fmt.Sprint(place), text(place.channel)
	first, last := messages[0].(object), messages[len(messages)-1].(object)
	backlog, err := b.Backlog(t.Context(), channel, 0)
	wantSame(t, "backlog "+name, object{"returns": messages}, openedMessages(backlog, err))
	backlog, err = b.Backlog(t.Context(), channel, int64(integer(first["message_id"])))
	wantSame(t, "backlog after the first "+name, object{"returns": messages[1:]}, openedMessages(backlog, err))
	wantSame(t, "last id "+name, last["message_id"], number(made(b.LastID(t.Context(), channel))(t)))
	ids := made(b.LastIDs(t.Context(), channel, "/nothing"))(t)
	wantSame(t, "last ids "+name, object{channel: last["message_id"], "/nothing": number(0)},
		object{channel: number(ids[channel]), "/nothing": number(ids["/nothing"])})
	if message, ok, err := b.LastMessage(t.Context(), channel); !ok || err != nil {
		t.Errorf("last message %s: %v, %v", name, ok, err)
	} else {
		wantSame(t, "last message "+name, last, openedMessage(message))
	}
	sub := made(b.Subscribe(t.Context(), channel, bus.After(0)))(t)
	defer sub.Close()
	for _, want := range messages {
		wantSame(t, "subscription "+name, want, next(t, sub))
	}
}

// A message too large for a notice: Ruby peers see the row and hear nothing, whoever
// publishes it, and Go peers hear of it.
func largeFromGo(t *testing.T, m meeting) {
	t.Helper()
	b, r := m.goPeer(t), m.rubyPeer(t)
	r.must("subscribe", "live", "/kinds")
	sub := made(b.Subscribe(t.Context(), "/kinds", bus.Latest()))(t)
	large := megabyte()[0]
	want := large.opened(1, publishGo(t, b, large))
	wantSame(t, "another Go process", want, next(t, sub))
	small := parcel{channel: "/kinds", data: `"small"`}
	publishGo(t, b, small)
	wantSame(t, "Ruby, live", []any{small.opened(2, 2)}, r.received("live", 1))
	wantSame(t, "Ruby, backlog", []any{want, small.opened(2, 2)}, r.must("backlog", "/kinds", 0))
}

// Ruby raises when it has stored the row. The next message shows Go the hole.
func largeFromRuby(t *testing.T, m meeting) {
	t.Helper()
	b, r := m.goPeer(t), m.rubyPeer(t)
	sub := made(b.Subscribe(t.Context(), "/kinds", bus.Latest()))(t)
	large, small := megabyte()[0], parcel{channel: "/kinds", data: `"small"`}
	if _, err := r.call("publish", nil, large.channel, json.RawMessage(large.data)); !isRubyError(err, "PG::InvalidParameterValue") {
		t.Errorf("Ruby's publish: %v, want PG::InvalidParameterValue, as ever", err)
	}
	publishRuby(t, r, small)
	wantSame(t, "Go, the large one", large.opened(1, 1), next(t, sub))
	wantSame(t, "Go, the small one", small.opened(2, 2), next(t, sub))
}
