package rubycompat_test

import (
	"encoding/json"
	"fmt"
	"reflect"
	"testing"
	"time"

	"github.com/messagebus-go/messagebus/cache"
)

func valueSubjects() []subject {
	of := func(name string, ways ...way) subject { return subject{group: "cache", name: name, ways: ways} }
	return []subject{
		of("every value of the recording", fromGo(recordedByGo), fromRuby(recordedByRuby)),
		of("values of Go's types", fromGo(typesByGo), fromRuby(typesByRuby)),
	}
}

// recordedValues are the values of golden/cache.json, as Ruby's source and as what a
// peer of the gem holds.
type recordedValue struct {
	cacheCase

	Source string `json:"ruby"`
}

func recordedValues(t *testing.T) (all []recordedValue) {
	t.Helper()
	for _, c := range load[recordedValue](t, cacheRecording) {
		if c.Kind == "value" {
			all = append(all, c)
		}
	}
	if len(all) < 100 {
		t.Errorf("%d values are recorded", len(all))
	}
	return all
}

// rubyClasses are the classes that the sources of recorded values name.
const rubyClasses = `
require "bigdecimal"
module Golden
  Point = Struct.new(:x, :y)
  Thing = Class.new { def initialize(a) = @a = a }
  Empty, Mixin, Error = Class.new, Module.new, Class.new(StandardError)
  MyString, MyArray, MyHash, MySet = Class.new(String), Class.new(Array), Class.new(Hash), Class.new(Set)
  UserMarshal = Class.new { def marshal_dump = 1; def marshal_load(_) = nil }
  OldDump = Class.new { def _dump(_) = "x"; def self._load(_) = new }
end
`

// recordedByGo sends what Go can send as Ruby would.
func recordedByGo(t *testing.T, m meeting) {
	t.Helper()
	c, r := m.caches(t)
	sent := 0
	for _, v := range recordedValues(t) {
		g := v.Describe.inGo()
		if !g.exact || g.why != "" || v.Refuse || v.tooLarge(m) {
			continue
		}
		name := cache.StringKey(v.Name)
		if err := c.Set(t.Context(), name, g.value); err != nil {
			if v.outcome(t).Peer != nil {
				t.Errorf("%s: %v", v.Name, err)
			}
			continue
		}
		sent++
		until(t, "Ruby has "+v.Name, func() bool { return r.must("cache_has", v.Name) == true })
		if r.must("cache_is", v.Name, v.Source) != true {
			t.Errorf("%s: Ruby has %s, want %s", v.Name, r.must("cache_inspect", v.Name), v.Source)
		}
	}
	notef(t, "%d values", sent)
}

// tooLarge says whether a value has no room in a notice.
func (v recordedValue) tooLarge(m meeting) bool {
	return m.postgres && v.Describe.Text != nil && len(*v.Describe.Text) > 7000
}

// recordedOutcome is what became of a value in Ruby.
type recordedOutcome struct {
	Marshalled bool            `json:"marshalled"`
	Peer       *described      `json:"peer"` // nil: no Ruby peer could read it
	Raises     json.RawMessage `json:"raises"`
}

func (v recordedValue) outcome(t *testing.T) (o recordedOutcome) {
	t.Helper()
	if err := json.Unmarshal(v.Cache, &o); err != nil {
		t.Fatal(err)
	}
	return o
}

// recordedByRuby sends all that Ruby can send.
func recordedByRuby(t *testing.T, m meeting) {
	t.Helper()
	c, r := m.caches(t)
	r.must("evaluate", rubyClasses)
	read, refused := 0, 0
	for _, v := range recordedValues(t) {
		if v.tooLarge(m) {
			continue
		}
		sent := v.outcome(t)
		_, err := r.call("cache_set_ruby", nil, v.Name, v.Source)
		if (sent.Raises != nil) != (err != nil) {
			t.Errorf("%s: Ruby: %v", v.Name, err)
		}
		if err != nil {
			continue
		}
		r.must("cache_set", "last", v.Name)
		goHas(t, c, cache.StringKey("last"), v.Name)
		got, ok := c.Get(cache.StringKey(v.Name))
		switch g := heldInGo(sent.Peer); {
		case v.Refuse && sent.Marshalled, g.why != "":
			if refused++; ok && !v.MayRefuse {
				t.Errorf("%s: Go holds %#v, which it has no form for (%s)", v.Name, got, g.why)
			}
		case v.Describe.Type == "other":
			if _, isText := got.(string); !ok || !isText {
				t.Errorf("%s: Go holds %#v, want what Ruby writes for it", v.Name, got)
			}
			read++
		case !ok && v.MayRefuse:
			refused++
		default:
			if read++; !ok || !reflect.DeepEqual(got, g.value) {
				t.Errorf("%s: Go holds %#v (%v), want %#v", v.Name, got, ok, g.value)
			}
		}
	}
	notef(t, "%d values were read, %d refused", read, refused)
}

// heldInGo is what Go makes of what a Ruby peer holds, if it could read it.
func heldInGo(d *described) goValue {
	if d == nil {
		return goValue{why: "no Ruby peer reads it"}
	}
	return d.inGo()
}

type person struct {
	Name  string     `json:"name"`
	Age   int        `json:"age,omitempty"`
	Born  *time.Time `json:"born"`
	inner int
}

// typedCache is a cache of one Go type that shares its name with others of the test.
func typedCache[V any](t *testing.T, m meeting) *cache.Cache[string, V] {
	t.Helper()
	c := made(cache.New[string, V](t.Context(), m.goPeer(t), "live", nil))(t)
	t.Cleanup(func() { c.Close() })
	return c
}

// typesByGo shows what Ruby reads of values of Go's types.
func typesByGo(t *testing.T, m meeting) {
	t.Helper()
	born := time.Date(2001, 2, 3, 4, 5, 6, 700, time.UTC)
	r := rubyCache(m.rubyPeer(t), nil)
	c := typedCache[any](t, m)
	for i, v := range []struct {
		value  any
		inRuby string
	}{
		{[]int{1, 2}, `[1, 2]`},
		{[]string{}, `[]`},
		{[]string(nil), `nil`},
		{[2]bool{true, false}, `[true, false]`},
		{map[string]int{"a": 1}, `{"a"=>1}`},
		{map[int]string{1: "x"}, `{1=>"x"}`},
		{map[string]any(nil), `nil`},
		{person{Name: "Ann", Age: 44, Born: &born, inner: 1}, `{"name"=>"Ann", "age"=>44, "born"=>"2001-02-03T04:05:06.0000007Z"}`},
		{&person{Name: "Bob"}, `{"name"=>"Bob", "born"=>nil}`},
		{(*person)(nil), `nil`},
		{[]person{{Name: "Ann"}}, `[{"name"=>"Ann", "born"=>nil}]`},
		{born, `"2001-02-03T04:05:06.0000007Z"`},
		{1500 * time.Millisecond, `1500000000`},
		{int8(-7), `-7`},
		{uint64(1<<64 - 1), `18446744073709551615`},
		{1.5, `1.5`},
		{1.0, `1.0`},
		{float32(0.1), `0.1`},
		{1e300, `1.0e+300`},
		{json.Number("12345678901234567890123"), `12345678901234567890123`},
		{json.RawMessage(`{"raw":[1.0]}`), `{"raw"=>[1.0]}`},
		{[]byte("bytes"), `"Ynl0ZXM="`},
		{"grüße\n", `"grüße\n"`},
		{true, `true`},
		{nil, `nil`},
		{[]any{nil, 1, "x", map[string]any{"a": []int{1}}}, `[nil, 1, "x", {"a"=>[1]}]`},
	} {
		name := fmt.Sprint(i)
		if err := c.Set(t.Context(), name, v.value); err != nil {
			t.Errorf("%T: %v", v.value, err)
			continue
		}
		until(t, fmt.Sprintf("Ruby has the %T", v.value), func() bool { return r.must("cache_has", name) == true })
		if got := r.must("cache_inspect", name); got != v.inRuby {
			t.Errorf("%T %v: Ruby reads %s, want %s", v.value, v.value, got, v.inRuby)
		}
	}
}

// A reading is what a Go type makes of a Ruby value; nil: it cannot hold it, and the
// key is absent.
type reading struct {
	ruby string
	want any
}

// typesByRuby shows what Go's types read of Ruby's values.
func typesByRuby(t *testing.T, m meeting) {
	t.Helper()
	r := rubyCache(m.rubyPeer(t), nil)
	born := time.Date(2001, 2, 3, 4, 5, 6, 0, time.UTC)
	readAs[int](t, m, r, reading{`44`, 44}, reading{`44.0`, nil}, reading{`4.5`, nil}, reading{`2**70`, nil}, reading{`"44"`, nil}, reading{`nil`, nil})
	readAs[float64](t, m, r, reading{`1`, 1.0}, reading{`1.5`, 1.5}, reading{`2**70`, float64(1 << 70)})
	readAs[string](t, m, r, reading{`"x"`, "x"}, reading{`:sym`, "sym"}, reading{`1..2`, "1..2"}, reading{`1`, nil}, reading{`["x"]`, nil})
	readAs[[]int](t, m, r, reading{`[1, 2]`, []int{1, 2}}, reading{`Set[3]`, []int{3}}, reading{`[]`, []int{}}, reading{`["x"]`, nil})
	readAs[map[string]int](t, m, r, reading{`{a: 1, "b" => 2, 3 => 4}`, map[string]int{"a": 1, "b": 2, "3": 4}}, reading{`[1]`, nil})
	readAs[person](t, m, r,
		reading{`{name: "Ann", "age" => 44}`, person{Name: "Ann", Age: 44}},
		reading{`{"name" => "Bob", "born" => "2001-02-03T04:05:06Z", "more" => 1}`, person{Name: "Bob", Born: &born}},
		reading{`{"name" => 7}`, nil})
	readAs[time.Time](t, m, r, reading{`"2001-02-03T04:05:06Z"`, born}, reading{`Time.utc(2001, 2, 3, 4, 5, 6)`, nil})
	readAs[*int](t, m, r, reading{`7`, new(7)}, reading{`nil`, (*int)(nil)})
	readAs[bool](t, m, r, reading{`true`, true}, reading{`nil`, nil})
	readAs[[]byte](t, m, r, reading{`"Ynl0ZXM="`, []byte("bytes")})
}

func readAs[V any](t *testing.T, m meeting, r rubyPeer, readings ...reading) {
	t.Helper()
	c := typedCache[V](t, m)
	for i, want := range readings {
		name := fmt.Sprint(i)
		r.must("cache_set_ruby", name, want.ruby)
		until(t, "Go has applied or refused it", func() bool { return c.Stats().Applied+c.Stats().Undecodable > uint64(i) })
		if got, ok := c.Get(name); ok != (want.want != nil) || ok && !reflect.DeepEqual(any(got), want.want) {
			t.Errorf("%s as %T: %v (%v), want %v", want.ruby, got, got, ok, want.want)
		}
	}
}
