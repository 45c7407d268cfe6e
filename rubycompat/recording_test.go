package rubycompat_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// The recordings of the gem are described in golden/README-stores.md.

// object is a JSON object as the replay handles it.
type object = map[string]any

// longText is a string of which the recording keeps the outline alone.
type longText struct {
	bytes        int
	sha256       string
	starts, ends string
}

// load reads one member of each case of a recording.
func load[T any](tb testing.TB, name string) []T {
	tb.Helper()
	text, err := os.ReadFile(filepath.Join("golden", name))
	if err != nil {
		tb.Fatal(err)
	}
	var recording struct {
		Cases []T `json:"cases"`
	}
	if err := json.Unmarshal(text, &recording); err != nil {
		tb.Fatalf("golden/%s: %v", name, err)
	}
	if len(recording.Cases) == 0 {
		tb.Fatalf("golden/%s has no cases", name)
	}
	return recording.Cases
}

// members splits a JSON object, and keeps the spelling of what is in it.
type members map[string]json.RawMessage

// value returns a member with what stands for other values put in its place; nil
// where it is null or missing.
func (m members) value(name string) any {
	if raw, ok := m[name]; ok {
		return parse(raw)
	}
	return nil
}

// String writes the members as they were recorded, in the order of their names.
func (m members) String() string {
	var b strings.Builder
	for _, name := range slices.Sorted(maps.Keys(m)) {
		fmt.Fprintf(&b, " %s: %s", name, m[name])
	}
	return b.String()
}

// text returns a member that is a string; empty where there is none.
func (m members) text(name string) string {
	s, _ := m.value(name).(string)
	return s
}

// parse decodes a recorded value. Numbers keep their spelling.
func parse(raw json.RawMessage) any {
	decoder := json.NewDecoder(bytes.NewReader(raw))
	decoder.UseNumber()
	var v any
	if err := decoder.Decode(&v); err != nil {
		return fmt.Errorf("recorded value %s: %w", raw, err) // equal to nothing
	}
	return expand(v)
}

// expand replaces the objects that stand for values which JSON has not, or which
// are too long for the recording.
func expand(v any) any {
	switch v := v.(type) {
	case []any:
		for i := range v {
			v[i] = expand(v[i])
		}
	case object:
		if special, ok := standsFor(v); ok {
			return special
		}
		for name := range v {
			v[name] = expand(v[name])
		}
	}
	return v
}

func standsFor(v object) (any, bool) {
	if len(v) == 2 && v["repeat"] != nil && v["times"] != nil {
		return strings.Repeat(v["repeat"].(string), integer(v["times"])), true
	}
	if len(v) != 1 {
		return nil, false
	}
	for name, is := range v {
		switch name {
		case "base64":
			b, err := base64.StdEncoding.DecodeString(fmt.Sprint(is))
			return string(b), err == nil
		case "float":
			f, ok := map[any]float64{"NaN": math.NaN(), "Infinity": math.Inf(1), "-Infinity": math.Inf(-1)}[is]
			return f, ok
		case "nested":
			return nested(integer(is)), true
		case "long":
			outline, ok := is.(object)
			return longText{
				bytes: integer(outline["bytes"]), sha256: fmt.Sprint(outline["sha256"]),
				starts: fmt.Sprint(outline["starts"]), ends: fmt.Sprint(outline["ends"]),
			}, ok
		}
	}
	return nil, false
}

// nested is arrays in arrays, so many levels of them.
func nested(depth int) any {
	v := []any{}
	for range depth - 1 {
		v = []any{v}
	}
	return v
}

func integer(v any) int {
	number, _ := v.(json.Number)
	n, _ := number.Int64()
	return int(n)
}

// payload is a recorded member as data to publish: its very spelling, where it is
// not a value that JSON has not.
func payload(raw json.RawMessage) any {
	if raw == nil {
		return nil
	}
	if v := parse(raw); stoodFor(v, raw) {
		return v
	}
	return raw
}

// stoodFor reports whether expanding changed a value.
func stoodFor(v any, raw json.RawMessage) bool {
	again, err := json.Marshal(v)
	if err != nil {
		return true // NaN
	}
	var a, b any
	return json.Unmarshal(again, &a) != nil || json.Unmarshal(raw, &b) != nil || difference(a, b) != ""
}
