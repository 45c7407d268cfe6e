package rubycompat_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/messagebus-go/messagebus/bus"
	"github.com/messagebus-go/messagebus/bus/driver"
	"github.com/messagebus-go/messagebus/bus/membus"
	"github.com/messagebus-go/messagebus/cache"
)

const (
	cacheRecording = "cache.json"
	cacheChannel   = "/distributed_hash"
	ownOrigin      = "ORIGIN-SELF"
)

// anyCache holds whatever a Ruby peer can have.
type anyCache = cache.Cache[cache.AnyKey, any]

// A cacheCase is one case of golden/cache.json. Which members it has depends on its
// kind.
type cacheCase struct {
	Name      string     `json:"name"`
	Kind      string     `json:"kind"`
	What      string     `json:"what"`
	Refuse    bool       `json:"refuse"`
	MayRefuse bool       `json:"may_refuse"`
	Describe  *described `json:"describe"`
	Blob      []byte     `json:"marshal_base64"`
	Repeat    *struct {
		Prefix []byte `json:"prefix_base64"`
		Unit   []byte `json:"unit_base64"`
		Times  int    `json:"times"`
		Suffix []byte `json:"suffix_base64"`
	} `json:"marshal_repeat"`

	Cache   json.RawMessage `json:"cache"` // of the kinds operation, value and api
	Manager []string        `json:"manager"`

	Steps []cacheStep               `json:"steps"`
	Peer  map[string][][2]described `json:"peer"`

	Caches      []cacheSettings `json:"caches"`
	OwnOriginOf string          `json:"own_origin_of"`
	Messages    []struct {
		Channel string                               `json:"channel"`
		Data    string                               `json:"data"`
		Base64  []byte                               `json:"data_base64"`
		Holds   map[string]map[string][][2]described `json:"holds"`
	} `json:"messages"`
}

type cacheSettings struct {
	Label       string          `json:"label"`
	Name        json.RawMessage `json:"name"` // a string, or a described one
	Namespace   bool            `json:"namespace"`
	AppVersion  json.RawMessage `json:"app_version"`
	PublishSite json.RawMessage `json:"publish_site"`
	LookupSite  json.RawMessage `json:"lookup_site"`
	AlsoCreated json.RawMessage `json:"also_created"`
	BusOff      bool            `json:"bus_off"`
}

type cacheStep struct {
	Op        string          `json:"op"`
	Key       described       `json:"key"`
	Value     described       `json:"value"`
	Returns   described       `json:"returns"`
	Raises    json.RawMessage `json:"raises"`
	Published []struct {
		Channel string `json:"channel"`
		Data    string `json:"data"`
	} `json:"published"`
}

// TestGoldenCache replays the recorded operations, messages and values of the gem's
// DistributedCache.
func TestGoldenCache(t *testing.T) {
	t.Parallel()
	for _, c := range load[cacheCase](t, cacheRecording) {
		t.Run(c.Name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) { replayCache(t, c) })
		})
	}
}

// replayCache lets a case play. A deviation is where it is not as recorded; the
// rule of the case may say what is wanted in place of that.
func replayCache(t *testing.T, c cacheCase) {
	t.Helper()
	e, excepted := exceptionFor(t, cacheRecording, c.Name)
	var deviations []string
	switch c.Kind {
	case "api":
		deviations = c.replayAPI()
	case "operation":
		deviations = c.replayOperation(t, e.Rule)
	case "receive":
		deviations = c.replayReceive(t, e.Rule)
	case "value":
		deviations = c.replayValue(t)
	case "bytes":
		deviations = c.replayBytes(t)
	default:
		t.Fatalf("kind %q is not known", c.Kind)
	}
	byRule := slices.DeleteFunc(slices.Clone(deviations), func(d string) bool { return !strings.HasPrefix(d, "rule "+e.Rule+":") })
	switch {
	case len(byRule) != len(deviations):
		t.Fatalf("%s\n%s", c.What, strings.Join(deviations, "\n"))
	case excepted && len(byRule) == 0:
		t.Fatal("it comes out as recorded; take it out of golden/differences.json")
	}
	count(cacheRecording, e.Rule)
}

// by is a deviation that is wanted.
func by(rule, format string, args ...any) string {
	return "rule " + rule + ": " + fmt.Sprintf(format, args...)
}

// counterparts are what Go has for each public method of the gem's class. Those of
// the manager are the bus's, or are done by New.
var counterparts = map[string]string{
	"[]": "Get", "[]=": "Set", "clear": "Clear", "delete": "Delete", "hash": "All", "identity": "Origin", "key": "Name",
}

func (c cacheCase) replayAPI() (deviations []string) {
	var methods []string
	_ = json.Unmarshal(c.Cache, &methods) // compared below
	if !slices.Equal(methods, slices.Sorted(maps.Keys(counterparts))) {
		deviations = append(deviations, fmt.Sprintf("the gem has the methods %v", methods))
	}
	for _, name := range counterparts {
		if _, has := reflect.TypeFor[*anyCache]().MethodByName(name); !has {
			deviations = append(deviations, "there is no method "+name)
		}
	}
	return deviations
}

// A cacheStage is a store with what a replay needs of it.
type cacheStage struct {
	store *membus.Backend
	wire  *recordedPublishes
}

func newCacheStage(t *testing.T) cacheStage {
	t.Helper()
	store, err := membus.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	return cacheStage{store, &recordedPublishes{Backend: store}}
}

// open makes a cache as settings say, in a process of its own, on a site of Go.
func (s cacheStage) open(t *testing.T, store driver.Backend, settings cacheSettings, site *string) *anyCache {
	t.Helper()
	b, err := bus.New(store, &bus.Options{Keepalive: -1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.Close() })
	view := b
	if site != nil {
		view = b.Site(*site)
	}
	opts := &cache.Options[cache.AnyKey, any]{AllSites: !settings.Namespace, AppVersion: stringOrNumber(settings.AppVersion)}
	c, err := cache.New(t.Context(), view, settings.name(), opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func (s cacheSettings) name() string {
	if name, is := stringOrNumber(s.Name).(string); is {
		return name
	}
	return ""
}

// stringOrNumber reads a setting, be it described or plain.
func stringOrNumber(raw json.RawMessage) any {
	var d described
	if json.Unmarshal(raw, &d) == nil && d.Type != "" {
		return d.inGo().value
	}
	var s string
	if json.Unmarshal(raw, &s) == nil && len(raw) > 0 && raw[0] == '"' {
		return s
	}
	if n, err := strconv.Atoi(string(raw)); err == nil {
		return n
	}
	return nil
}

// recordedPublishes keeps what was handed to the store.
type recordedPublishes struct {
	driver.Backend

	channels, envelopes []string
}

func (r *recordedPublishes) Publish(ctx context.Context, channel string, data []byte, limits driver.Limits) (driver.Position, error) {
	r.channels, r.envelopes = append(r.channels, channel), append(r.envelopes, string(data))
	return r.Backend.Publish(ctx, channel, data, limits)
}

// put puts a recorded message on the bus.
func (s cacheStage) put(t *testing.T, channel string, data []byte) {
	t.Helper()
	limits := driver.Limits{MaxSize: 100, MaxGlobalSize: 100, MaxAge: time.Hour, ClearEvery: 1}
	if _, err := s.store.Publish(t.Context(), channel, data, limits); err != nil {
		t.Fatal(err)
	}
	synctest.Wait()
}

// replayOperation does what a Ruby process did, and looks at what was published,
// and at what this process and a peer then hold.
func (c cacheCase) replayOperation(t *testing.T, rule string) (deviations []string) {
	var settings cacheSettings
	if err := json.Unmarshal(c.Cache, &settings); err != nil {
		t.Fatal(err)
	}
	site := siteSetting(settings.PublishSite)
	s := newCacheStage(t)
	here := s.open(t, s.wire, settings, site)
	peer := s.open(t, s.store.Dial(), settings, site)
	if rule == "ruby-only" {
		return append(c.receivePublished(t, s, peer), by(rule, "not replayed as operations"))
	}
	for _, step := range c.Steps {
		s.wire.channels, s.wire.envelopes = nil, nil
		deviations = append(deviations, step.play(t, s, here, rule)...)
		synctest.Wait()
	}
	want := heldBy(c.Peer, settings, site)
	deviations = append(deviations, compareHeld("the peer", want, peer, nil)...)
	for _, step := range c.Steps {
		if step.Op == "delete_quietly" { // here alone
			key, _ := step.Key.key()
			delete(want, key)
		}
	}
	return append(deviations, compareHeld("this process", want, here, nil)...)
}

// siteSetting is the site of a lookup: nil where there is none; one that answers
// nil makes the empty one.
func siteSetting(raw json.RawMessage) *string {
	var name string
	if json.Unmarshal(raw, &name) != nil || string(raw) == "null" {
		return nil
	}
	if name == "nil" {
		name = ""
	}
	return &name
}

// heldBy is what a recording says that caches of a site hold.
func heldBy(all map[string][][2]described, settings cacheSettings, site *string) map[cache.AnyKey]described {
	name := "default"
	if site != nil && *site != "" && settings.Namespace {
		name = *site
	}
	held := map[cache.AnyKey]described{}
	for _, p := range all[name] {
		if key, err := p[0].key(); err == nil {
			held[key] = p[1]
		}
	}
	return held
}

// compareHeld compares what a cache holds, lost keys left out, with a recording.
func compareHeld(who string, want map[cache.AnyKey]described, c *anyCache, lost map[cache.AnyKey]bool) (deviations []string) {
	got := maps.Collect(c.All())
	for key, d := range want {
		v, held := got[key]
		delete(got, key)
		if lost[key] {
			if held {
				deviations = append(deviations, fmt.Sprintf("%s: key %v is %v; it must have been removed", who, key, v))
			}
			continue
		}
		if wanted := d.inGo(); !held || !reflect.DeepEqual(v, wanted.value) {
			deviations = append(deviations, fmt.Sprintf("%s: key %v is %#v (%v), want %#v %s", who, key, v, held, wanted.value, wanted.why))
		}
	}
	for key, v := range got {
		deviations = append(deviations, fmt.Sprintf("%s: key %v is %v; it must not be there", who, key, v))
	}
	return deviations
}

// play does one step.
func (step cacheStep) play(t *testing.T, s cacheStage, c *anyCache, rule string) (deviations []string) {
	key, err := step.Key.key()
	if err != nil {
		t.Fatal(err)
	}
	switch step.Op {
	case "set":
		err = c.Set(t.Context(), key, step.Value.inGo().value)
	case "delete":
		err = c.Delete(t.Context(), key)
	case "delete_quietly":
		c.Forget(key)
	case "clear":
		err = c.Clear(t.Context())
	case "get":
		v, _ := c.Get(key)
		if want := step.Returns.inGo().value; !reflect.DeepEqual(v, want) {
			return []string{fmt.Sprintf("get %v: %v, want %v", key, v, want)}
		}
	default:
		t.Fatalf("op %q is not known", step.Op)
	}
	switch {
	case step.Raises != nil && err == nil:
		return []string{fmt.Sprintf("%s %v: no error", step.Op, key)}
	case step.Raises != nil:
		return nil
	case err != nil && rule == "unreadable-refused" && len(s.wire.envelopes) == 0:
		return []string{by(rule, "%v", err)}
	case err != nil:
		return []string{err.Error()}
	}
	return step.comparePublished(s, c, rule)
}

func (step cacheStep) comparePublished(s cacheStage, c *anyCache, rule string) (deviations []string) {
	if len(step.Published) != len(s.wire.envelopes) {
		return []string{fmt.Sprintf("%s: %q were published, want %d messages", step.Op, s.wire.envelopes, len(step.Published))}
	}
	for i, want := range step.Published {
		got := strings.ReplaceAll(s.wire.envelopes[i], c.Origin(), ownOrigin)
		if s.wire.channels[i] != want.Channel {
			deviations = append(deviations, fmt.Sprintf("channel %q, want %q", s.wire.channels[i], want.Channel))
		}
		if rule == "version-of-its-own" {
			without := strings.Replace(want.Data, `,"app_version":"v2"`, "", 1)
			if got == without && without != want.Data {
				deviations = append(deviations, by(rule, "the version of another cache is not sent"))
				continue
			}
		}
		if got != want.Data && withoutFloats(got) != withoutFloats(want.Data) {
			deviations = append(deviations, fmt.Sprintf("published %s, want %s", got, want.Data))
		}
	}
	return deviations
}

// withoutFloats writes floats in one way: there are many for each.
func withoutFloats(envelope string) string {
	before, rest, ok := strings.Cut(envelope, `"value":`)
	text, after, found := strings.Cut(rest, `,"marshalled"`)
	f, err := strconv.ParseFloat(text, 64)
	if !ok || !found || err != nil || !strings.ContainsAny(text, ".e") {
		return envelope
	}
	return fmt.Sprintf("%s\"value\":float %g,\"marshalled\"%s", before, f, after)
}

// receivePublished puts on the bus what Ruby published, in place of doing it: a Go
// peer must then hold what a Ruby peer held.
func (c cacheCase) receivePublished(t *testing.T, s cacheStage, peer *anyCache) []string {
	t.Helper()
	var settings cacheSettings
	if err := json.Unmarshal(c.Cache, &settings); err != nil {
		t.Fatal(err)
	}
	for _, step := range c.Steps {
		for _, p := range step.Published {
			s.put(t, p.Channel, []byte(p.Data))
		}
	}
	if strings.HasPrefix(c.Name, "name-symbol") {
		return nil // a Ruby peer whose name is a symbol takes nothing
	}
	return compareHeld("the peer", heldBy(c.Peer, settings, siteSetting(settings.PublishSite)), peer, nil)
}

// replayReceive puts recorded messages on the bus, and looks after each at what
// caches hold: for each that Ruby made there is one of every site here.
func (c cacheCase) replayReceive(t *testing.T, rule string) (deviations []string) {
	s := newCacheStage(t)
	caches := map[string]map[string]*anyCache{}
	sites := []string{"default", "one", "two", "mine", "other"}
	for _, settings := range c.Caches {
		caches[settings.Label] = map[string]*anyCache{}
		for _, site := range sites {
			view := &site
			if site == "default" {
				view = nil
			}
			if site == "default" || settings.Namespace {
				caches[settings.Label][site] = s.open(t, s.store.Dial(), settings, view)
			}
		}
	}
	own := caches[c.OwnOriginOf]["default"].Origin()
	lost := map[cache.AnyKey]bool{}
	for i, m := range c.Messages {
		before := undecodables(caches)
		data := m.Base64
		if data == nil {
			data = []byte(m.Data)
		}
		s.put(t, m.Channel, bytes.ReplaceAll(data, []byte(ownOrigin), []byte(own)))
		if rule == "unreadable-removes" {
			if key, ok := namedKey(data); ok {
				lost[key] = undecodables(caches) > before
			}
		}
		for label, bySite := range m.Holds {
			for site, held := range caches[label] {
				want := heldBy(bySite, cacheSettings{Namespace: true}, &site)
				who := fmt.Sprintf("message %d: %s of site %s", i, label, site)
				found := compareHeld(who, want, held, lost)
				if rule != "unreadable-removes" && rule != "" && len(found) > 0 {
					found = c.judge(rule, found, data)
				}
				deviations = append(deviations, found...)
			}
		}
	}
	for key := range lost {
		if rule == "unreadable-removes" {
			deviations = append(deviations, by(rule, "%v was removed", key))
		}
	}
	return deviations
}

// judge replaces deviations by those that a rule wants.
func (c cacheCase) judge(rule string, found []string, data []byte) []string {
	wanted := map[string]func() bool{
		// What came from the cache itself is applied like everything else.
		"own-applied": func() bool { return strings.Contains(string(bytes.Join(c.data(), nil)), ownOrigin) },
		// The cache that has no version takes what its manager in Ruby does not.
		"version-of-its-own": func() bool {
			return len(found) == 1 && strings.Contains(found[0], `key "a" is 1; it must not be there`)
		},
		// Ruby takes the second part of the name for the site.
		"odd-name-unheard": func() bool { return len(found) == 1 && strings.Contains(found[0], `one: key "d" is <nil> (false)`) },
	}
	if check := wanted[rule]; check == nil || !check() {
		return found
	}
	return []string{by(rule, "after %s: %s", data, strings.Join(found, "; "))}
}

func (c cacheCase) data() (all [][]byte) {
	for _, m := range c.Messages {
		all = append(all, []byte(m.Data))
	}
	return all
}

func undecodables(caches map[string]map[string]*anyCache) (n uint64) {
	for _, bySite := range caches {
		for _, c := range bySite {
			n += c.Stats().Undecodable
		}
	}
	return n
}

// namedKey reads the key of a message that may not be valid JSON.
func namedKey(data []byte) (cache.AnyKey, bool) {
	_, rest, _ := strings.Cut(string(data), `"key":"`)
	name, _, ok := strings.Cut(rest, `"`)
	return cache.StringKey(name), ok
}

// replayValue receives what Ruby sent for a value, and sends it where Go can.
func (c cacheCase) replayValue(t *testing.T) (deviations []string) {
	var sent struct {
		Marshalled bool            `json:"marshalled"`
		JSON       string          `json:"value_json"`
		Peer       *described      `json:"peer"`
		Raises     json.RawMessage `json:"raises"`
	}
	if err := json.Unmarshal(c.Cache, &sent); err != nil {
		t.Fatal(err)
	}
	s := newCacheStage(t)
	settings := cacheSettings{Name: json.RawMessage(`"animals"`), Namespace: true}
	here := s.open(t, s.wire, settings, nil)
	if sent.Raises != nil {
		if c.Describe.Type == "string" && here.Set(t.Context(), cache.StringKey("v"), c.Describe.inGo().value) == nil {
			return []string{"Set: no error"}
		}
		return nil
	}
	s.put(t, cacheChannel, operationOf(sent.JSON, sent.Marshalled))
	deviations = c.compareReceived(here, sent.Peer, sent.Marshalled)
	if g := c.Describe.inGo(); g.exact && g.why == "" && !c.Refuse && sent.Peer != nil {
		deviations = append(deviations, c.compareSent(t, s, here, g.value, sent.JSON, sent.Marshalled)...)
	}
	return deviations
}

func operationOf(value string, marshalled bool) []byte {
	return fmt.Appendf(nil, `{"data":{"op":"set","key":"v","value":%s,"marshalled":%v,"origin":"OTHER","hash_key":"animals"},"user_ids":[-1],"group_ids":null,"client_ids":null}`, value, marshalled)
}

// compareReceived looks whether the key "v" is as recorded.
func (c cacheCase) compareReceived(held *anyCache, want *described, marshalled bool) []string {
	v, ok := held.Get(cache.StringKey("v"))
	refused := held.Stats().Undecodable == 1 && !ok
	if marshalled && c.Refuse || want == nil {
		if !refused {
			return []string{fmt.Sprintf("it is read as %#v; it must be refused", v)}
		}
		return nil
	}
	g := want.inGo()
	switch {
	case ok && g.why == "" && reflect.DeepEqual(v, g.value):
		return nil
	case refused && c.MayRefuse:
		return nil
	case refused && g.why != "":
		return []string{by("no-form-in-go", "%s", g.why)}
	}
	return []string{fmt.Sprintf("it is read as %#v (%v), want %#v %s", v, ok, g.value, g.why)}
}

// compareSent sends a value and compares the text. Floats and large integers that
// are inside of something have several spellings.
func (c cacheCase) compareSent(t *testing.T, s cacheStage, here *anyCache, value any, want string, marshalled bool) []string {
	t.Helper()
	if err := here.Set(t.Context(), cache.StringKey("v"), value); err != nil {
		return []string{err.Error()}
	}
	synctest.Wait()
	if v, ok := here.Get(cache.StringKey("v")); !ok || !reflect.DeepEqual(v, value) {
		return []string{fmt.Sprintf("it comes back as %#v", v)}
	}
	got := strings.ReplaceAll(s.wire.envelopes[0], here.Origin(), "OTHER")
	wanted := string(operationOf(want, marshalled))
	if got == wanted || withoutFloats(got) == withoutFloats(wanted) || marshalled && bytes.ContainsAny(c.Blob, "fl@") {
		return nil
	}
	return []string{fmt.Sprintf("sent %s, want %s", got, wanted)}
}

// replayBytes receives a blob.
func (c cacheCase) replayBytes(t *testing.T) []string {
	blob := c.Blob
	if c.Repeat != nil {
		blob = slices.Concat(c.Repeat.Prefix, bytes.Repeat(c.Repeat.Unit, c.Repeat.Times), c.Repeat.Suffix)
	}
	s := newCacheStage(t)
	held := s.open(t, s.wire, cacheSettings{Name: json.RawMessage(`"animals"`), Namespace: true}, nil)
	s.put(t, cacheChannel, operationOf(strconv.Quote(base64.StdEncoding.EncodeToString(blob)), true))
	return c.compareReceived(held, c.Describe, true)
}
