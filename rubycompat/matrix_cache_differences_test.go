package rubycompat_test

import (
	"fmt"
	"testing"

	"github.com/messagebus-go/messagebus/cache"
)

// cacheDifferenceSubjects are the differences that are wanted of the cache.
func cacheDifferenceSubjects() []subject {
	of := func(rule string, test func(t *testing.T, m meeting)) subject {
		return subject{"differences", rule, "", []way{{sideBySide, met(test)}}}
	}
	return []subject{
		of("own-applied", ownApplied),
		of("unreadable-removes", unreadableRemoves),
		of("no-form-in-go", noFormInGo),
		of("version-of-its-own", versionOfItsOwn),
		of("odd-name-unheard", oddNameUnheard),
	}
}

// operation is a stored set of the cache "live".
func operation(value, origin string) string {
	return fmt.Sprintf(`{"data":{"op":"set","key":%q,"value":%s,"origin":%q,"hash_key":"live"},"user_ids":[-1],"group_ids":null,"client_ids":null}`, key, value, origin)
}

// An operation that carries the origin of the cache that hears it.
func ownApplied(t *testing.T, m meeting) {
	t.Helper()
	c, r := m.caches(t)
	r.must("publish_stored", cacheChannel, operation(`"own"`, text(r.must("cache_identity"))))
	goHas(t, c, cache.StringKey(key), "own")
	allCame(t, c, r, true)
	wantSame(t, "what Ruby has of its own", nil, r.must("cache_get", key))
	r.must("publish_stored", cacheChannel, operation(`"ours"`, c.Origin()))
	goHas(t, c, cache.StringKey(key), "ours")
}

func unreadableRemoves(t *testing.T, m meeting) {
	t.Helper()
	c, r := m.caches(t)
	mustSet(t, c, cache.StringKey(key), "old")
	rubyHas(r, key, `"old"`)
	r.must("publish_stored", cacheChannel, operation(`"no Marshal","marshalled":true`, "other"))
	goHas(t, c, cache.StringKey(key), nil)
	allCame(t, c, r, true)
	wantSame(t, "Ruby", "old", r.must("cache_get", key))
}

func noFormInGo(t *testing.T, m meeting) {
	t.Helper()
	c, r := m.caches(t)
	reader := rubyCache(m.rubyPeer(t), nil)
	r.must("cache_set", key, "old")
	goHas(t, c, cache.StringKey(key), "old")
	r.must("cache_set_ruby", key, `{1 => "one", "1" => "another"}`)
	rubyHas(reader, key, `{1=>"one", "1"=>"another"}`)
	goHas(t, c, cache.StringKey(key), nil)
}

// Another cache of the same process has a version.
func versionOfItsOwn(t *testing.T, m meeting) {
	t.Helper()
	b, r := m.goPeer(t), rubyCache(m.rubyPeer(t), nil)
	c := openCache(t, b)
	made(cache.New(t.Context(), b, "other", &cache.Options[string, any]{AppVersion: "v2"}))(t).Close()
	mustSet(t, c, cache.StringKey(key), "of Go")
	r.must("cache_also", "other", "v2")
	r.must("cache_set", key, "of Ruby")
	versions := []any{}
	for _, message := range r.must("backlog", cacheChannel, 0).([]any) {
		versions = append(versions, message.(object)["data"].(object)["app_version"])
	}
	wantSame(t, "the versions that Go and Ruby send", []any{nil, "v2"}, versions)
}

func oddNameUnheard(t *testing.T, m meeting) {
	t.Helper()
	r := rubyCache(m.rubyPeer(t), nil)
	c := openCache(t, m.goPeer(t).Site("one"))
	r.must("publish_stored", cacheChannel+"$|$one$|$two", operation(`"odd"`, "other"))
	until(t, "Ruby takes the second part for the site", func() bool { return len(r.must("cache_hash", "one").([]any)) == 1 })
	r.must("publish_stored", cacheChannel+"$|$one", operation(`"even"`, "other"))
	goHas(t, c, cache.StringKey(key), "even")
	if applied := c.Stats().Applied; applied != 1 {
		t.Errorf("Go has applied %d operations, want 1", applied)
	}
}
