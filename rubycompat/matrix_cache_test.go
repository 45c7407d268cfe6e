package rubycompat_test

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"reflect"
	"slices"
	"sync"
	"testing"

	"github.com/messagebus-go/messagebus/bus"
	"github.com/messagebus-go/messagebus/cache"
)

// cacheSubjects are one distributed cache with peers of both kinds.
func cacheSubjects() []subject {
	of := func(name string, ways ...way) subject { return subject{group: "cache", name: name, ways: ways} }
	return append([]subject{
		of("set", fromGo(setByGo), fromRuby(setByRuby)),
		of("delete", fromGo(deleteByGo), fromRuby(deleteByRuby)),
		of("clear", fromGo(clearByGo), fromRuby(clearByRuby)),
		of("keys of every type", fromGo(keysByGo), fromRuby(keysByRuby)),
		of("app versions", fromGo(versionsByGo), fromRuby(versionsByRuby)),
		of("sites", fromGo(sitesByGo), fromRuby(sitesByRuby)),
		of("one cache of all sites", fromGo(allSitesByGo), fromRuby(allSitesByRuby)),
		of("a thousand operations at once", both(thousandOperations)),
	}, valueSubjects()...)
}

// openCache opens the cache "live" in a Go process that hears of changes.
func openCache(t *testing.T, b *bus.Bus, adjust ...func(*cache.Options[cache.AnyKey, any])) *anyCache {
	t.Helper()
	options := &cache.Options[cache.AnyKey, any]{}
	for _, change := range adjust {
		change(options)
	}
	c := made(cache.New(t.Context(), b, "live", options))(t)
	t.Cleanup(func() { c.Close() })
	return c
}

// rubyCache opens it in a Ruby process.
func rubyCache(r rubyPeer, named map[string]any) rubyPeer {
	r.t.Helper()
	r.mustWith("cache_open", named, "live")
	return r
}

func (m meeting) caches(t *testing.T) (*anyCache, rubyPeer) {
	t.Helper()
	r := rubyCache(m.rubyPeer(t), nil)
	return openCache(t, m.goPeer(t)), r
}

func mustSet(t *testing.T, c *anyCache, key cache.AnyKey, value any) {
	t.Helper()
	if err := c.Set(t.Context(), key, value); err != nil {
		t.Fatal(err)
	}
}

// goHas and rubyHas wait for a value; nil: for its absence.
func goHas(t *testing.T, c *anyCache, key cache.AnyKey, want any) {
	t.Helper()
	until(t, fmt.Sprintf("Go has %v under %v", want, key), func() bool {
		got, ok := c.Get(key)
		return ok == (want != nil) && reflect.DeepEqual(got, want)
	})
}

func rubyHas(r rubyPeer, key, inspected string) {
	r.t.Helper()
	until(r.t, fmt.Sprintf("Ruby has %s under %s", inspected, key), func() bool { return r.must("cache_inspect", key) == inspected })
}

const key = "k"

func setByGo(t *testing.T, m meeting) {
	t.Helper()
	c, r := m.caches(t)
	mustSet(t, c, cache.StringKey(key), "one")
	rubyHas(r, key, `"one"`)
	mustSet(t, c, cache.StringKey(key), "two")
	rubyHas(r, key, `"two"`)
}

func setByRuby(t *testing.T, m meeting) {
	t.Helper()
	c, r := m.caches(t)
	r.must("cache_set", key, "one")
	goHas(t, c, cache.StringKey(key), "one")
	r.must("cache_set", key, "two")
	goHas(t, c, cache.StringKey(key), "two")
}

func deleteByGo(t *testing.T, m meeting) {
	t.Helper()
	c, r := m.caches(t)
	r.must("cache_set", key, "one")
	goHas(t, c, cache.StringKey(key), "one")
	if err := c.Delete(t.Context(), cache.StringKey(key)); err != nil {
		t.Fatal(err)
	}
	rubyHas(r, key, "nil")
	wantSame(t, "Ruby's hash", []any{}, r.must("cache_hash"))
}

func deleteByRuby(t *testing.T, m meeting) {
	t.Helper()
	c, r := m.caches(t)
	mustSet(t, c, cache.StringKey(key), "one")
	rubyHas(r, key, `"one"`)
	r.must("cache_delete", key)
	goHas(t, c, cache.StringKey(key), nil)
}

func clearByGo(t *testing.T, m meeting) {
	t.Helper()
	c, r := m.caches(t)
	r.must("cache_set", key, "by Ruby")
	mustSet(t, c, cache.StringKey("own"), "by Go")
	goHas(t, c, cache.StringKey(key), "by Ruby")
	rubyHas(r, "own", `"by Go"`)
	if err := c.Clear(t.Context()); err != nil {
		t.Fatal(err)
	}
	until(t, "Ruby has nothing", func() bool { return len(r.must("cache_hash").([]any)) == 0 })
}

func clearByRuby(t *testing.T, m meeting) {
	t.Helper()
	c, r := m.caches(t)
	r.must("cache_set", key, "by Ruby")
	mustSet(t, c, cache.StringKey("own"), "by Go")
	goHas(t, c, cache.StringKey(key), "by Ruby")
	r.must("cache_clear")
	until(t, "Go has nothing", func() bool { return len(maps.Collect(c.All())) == 0 })
}

// everyKey are keys as JSON, in the spelling of Ruby.
var everyKey = []string{`"k"`, `""`, `"1"`, `1`, `-7`, `1.0`, `1.5`, `true`, `false`, `null`, `[1,"a"]`, `{"a":[null]}`, `"grüße 🚀"`}

func keysByGo(t *testing.T, m meeting) {
	t.Helper()
	c, r := m.caches(t)
	for _, text := range everyKey {
		mustSet(t, c, made(cache.ParseKey([]byte(text)))(t), text)
	}
	until(t, "Ruby has all", func() bool { return len(r.must("cache_hash").([]any)) == len(everyKey) })
	for _, text := range everyKey {
		wantSame(t, "under "+text, text, r.must("cache_get", parse([]byte(text))))
	}
}

func keysByRuby(t *testing.T, m meeting) {
	t.Helper()
	c, r := m.caches(t)
	for _, text := range everyKey {
		r.must("cache_set", parse([]byte(text)), text)
	}
	for _, text := range everyKey {
		goHas(t, c, made(cache.ParseKey([]byte(text)))(t), text)
	}
}

// allCame sets a last key and waits for it: what was sent before has come too.
func allCame(t *testing.T, c *anyCache, r rubyPeer, fromGo bool) {
	t.Helper()
	if fromGo {
		mustSet(t, c, cache.StringKey("last"), "last")
		rubyHas(r, "last", `"last"`)
		return
	}
	r.must("cache_set", "last", "last")
	goHas(t, c, cache.StringKey("last"), "last")
}

func versioned(version any) func(*cache.Options[cache.AnyKey, any]) {
	return func(o *cache.Options[cache.AnyKey, any]) { o.AppVersion = version }
}

func versionsByGo(t *testing.T, m meeting) {
	t.Helper()
	r := rubyCache(m.rubyPeer(t), map[string]any{"app_version": "7"})
	b := m.goPeer(t)
	same := openCache(t, b, versioned("7"))
	for name, other := range map[string]any{"none": nil, "number": 7, "other": "8"} {
		mustSet(t, openCache(t, b, versioned(other)), cache.StringKey(name), name)
	}
	allCame(t, same, r, true)
	wantSame(t, "Ruby takes its own version alone", []any{[]any{"last", "last"}}, r.must("cache_hash"))
	free := rubyCache(m.rubyPeer(t), nil)
	mustSet(t, same, cache.StringKey(key), "versioned")
	rubyHas(free, key, `"versioned"`)
}

func versionsByRuby(t *testing.T, m meeting) {
	t.Helper()
	same := rubyCache(m.rubyPeer(t), map[string]any{"app_version": "7"})
	c, free := openCache(t, m.goPeer(t), versioned("7")), openCache(t, m.goPeer(t))
	for name, named := range map[string]map[string]any{
		"none": nil, "number": {"app_version": 7}, "other": {"app_version": "8"},
	} {
		rubyCache(m.rubyPeer(t), named).must("cache_set", name, name)
	}
	allCame(t, c, same, false)
	if held := maps.Collect(c.All()); len(held) != 1 {
		t.Errorf("Go with a version holds %v", held)
	}
	goHas(t, free, cache.StringKey("last"), "last")
	if held := maps.Collect(free.All()); len(held) != 4 {
		t.Errorf("Go without a version holds %v", held)
	}
}

func sitesByGo(t *testing.T, m meeting) {
	t.Helper()
	one, none := rubyCache(m.siteRuby(t, "one"), nil), rubyCache(m.rubyPeer(t), nil)
	b := m.goPeer(t)
	mustSet(t, openCache(t, b), cache.StringKey(key), "of none")
	mustSet(t, openCache(t, b.Site("two")), cache.StringKey(key), "of two")
	mustSet(t, openCache(t, b.Site("one")), cache.StringKey(key), "of one")
	rubyHas(one, key, `"of one"`)
	rubyHas(none, key, `"of none"`)
	for site, want := range map[string]string{"one": "of one", "two": "of two", "default": "of none"} {
		until(t, "Ruby has that of "+site, func() bool {
			return fmt.Sprint(none.must("cache_hash", site)) == fmt.Sprintf("[[%s %s]]", key, want)
		})
	}
}

func sitesByRuby(t *testing.T, m meeting) {
	t.Helper()
	b := m.goPeer(t)
	caches := map[string]*anyCache{
		"of one": openCache(t, b.Site("one")), "of two": openCache(t, b.Site("two")), "of none": openCache(t, b),
	}
	byDefault := openCache(t, b.Site("default"))
	rubyCache(m.rubyPeer(t), nil).must("cache_set", key, "of none")
	for _, site := range []string{"one", "two"} {
		rubyCache(m.siteRuby(t, site), nil).must("cache_set", key, "of "+site)
	}
	for want, c := range caches {
		goHas(t, c, cache.StringKey(key), want)
	}
	goHas(t, byDefault, cache.StringKey(key), "of none")
}

var everywhere = map[string]any{"namespace": false}

func ofAllSites(o *cache.Options[cache.AnyKey, any]) { o.AllSites = true }

// The gem keeps what it sets itself in one place, and what it hears in that of the
// message's site.
func allSitesByGo(t *testing.T, m meeting) {
	t.Helper()
	r := rubyCache(m.rubyPeer(t), everywhere)
	b := m.goPeer(t)
	mustSet(t, openCache(t, b.Site("one"), ofAllSites), cache.StringKey("a"), "of one")
	mustSet(t, openCache(t, b, ofAllSites), cache.StringKey("b"), "of none")
	rubyHas(r, "a", `"of one"`)
	rubyHas(r, "b", `"of none"`)
}

func allSitesByRuby(t *testing.T, m meeting) {
	t.Helper()
	c := openCache(t, m.goPeer(t), ofAllSites)
	rubyCache(m.siteRuby(t, "one"), everywhere).must("cache_set", "a", "of one")
	rubyCache(m.rubyPeer(t), everywhere).must("cache_set", "b", "of none")
	goHas(t, c, cache.StringKey("a"), "of one")
	goHas(t, c, cache.StringKey("b"), "of none")
}

// thousandOperations of two Go processes and a Ruby one: the Go processes agree, and
// all three do on what is written last, with nobody else writing.
func thousandOperations(t *testing.T, m meeting) {
	t.Helper()
	a, r := m.caches(t)
	b := openCache(t, m.goPeer(t))
	random := rand.New(rand.NewPCG(7, 7))
	keys := []string{"a", "b", "c", "d", "e", "f", "g", "h"}
	do := func(who int, key string, value int) {
		var err error
		switch k := cache.StringKey(key); {
		case who == 2 && value%5 == 0:
			_, err = r.call("cache_delete", nil, key)
		case who == 2:
			_, err = r.call("cache_set", nil, key, value)
		case value%5 == 0:
			err = []*anyCache{a, b}[who].Delete(t.Context(), k)
		default:
			err = []*anyCache{a, b}[who].Set(t.Context(), k, int64(value))
		}
		if err != nil {
			t.Error(err)
		}
	}
	for round := range 250 {
		var all sync.WaitGroup
		for i := range 4 {
			who, key := random.IntN(3), keys[random.IntN(len(keys))]
			all.Go(func() { do(who, key, 1+4*round+i) })
		}
		all.Wait()
	}
	meetAt(t, a, b, r, "first")
	if x, y := maps.Collect(a.All()), maps.Collect(b.All()); !reflect.DeepEqual(x, y) {
		t.Errorf("the Go processes hold %v and %v", x, y)
	}
	for i, key := range keys {
		do(random.IntN(3), key, 5001+i)
		meetAt(t, a, b, r, "after "+key)
	}
	want := maps.Collect(a.All())
	if got := maps.Collect(b.All()); !reflect.DeepEqual(got, want) {
		t.Errorf("the Go processes hold %v and %v", want, got)
	}
	held := map[cache.AnyKey]any{}
	for _, pair := range r.must("cache_hash").([]any) {
		held[cache.StringKey(fmt.Sprint(pair.([]any)[0]))] = pair.([]any)[1]
	}
	for _, k := range slices.Collect(maps.Keys(want)) {
		if fmt.Sprint(want[k]) != fmt.Sprint(held[k]) {
			t.Errorf("%v is %v in Ruby, and %v in Go", k, held[k], want[k])
		}
	}
	if len(held) != len(want) {
		t.Errorf("Ruby holds %v, Go %v", held, want)
	}
}

// meetAt waits until everybody has heard all there is to hear.
func meetAt(t *testing.T, a, b *anyCache, r rubyPeer, name string) {
	t.Helper()
	marker := cache.StringKey("marker")
	mustSet(t, a, marker, name)
	until(t, "all have the marker "+name, func() bool {
		x, _ := b.Get(marker)
		return x == name && r.must("cache_get", "marker") == name
	})
	// a itself has heard its own operation, not only remembered it.
	until(t, "the sender has heard the marker", func() bool { return a.Stats().Applied >= b.Stats().Applied })
}
