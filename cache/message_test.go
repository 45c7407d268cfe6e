package cache

import (
	"bytes"
	"encoding/json"
	"testing"
)

// FuzzOperation compares the quick reader of operations with encoding/json.
func FuzzOperation(f *testing.F) {
	for _, seed := range []string{
		`{"op":"set","key":"dog","value":"woof","marshalled":false,"origin":"x","hash_key":"animals"}`,
		`{"op":"set","key":["a",{"b":"]}"}],"value":{"x":[1.5e3,-2,null]},"marshalled":"","hash_key":"a\u006e"}`,
		` { "\u006fp" : "clear" , "key":1,"key":2 } `, `{}`, `[]`, `null`, `"op"`, `{"":{}}`, `{"op":null,"app_version":7.0}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		damagedOperation(append([]byte(`{"data":{"op":`), data...)) // must end
		o, err := parseOperation(data)                              // must end
		if !json.Valid(data) || checkUnicode(data) != nil {
			return // no message has it
		}
		members := map[string]json.RawMessage{}
		if bytes.HasPrefix(bytes.TrimLeft(data, " \t\r\n"), []byte("{")) != (err == nil) {
			t.Fatalf("%s: %v", data, err)
		}
		if err != nil {
			return
		}
		if err := json.Unmarshal(data, &members); err != nil {
			t.Fatal(err)
		}
		for name, got := range map[string]json.RawMessage{"key": o.Key, "value": o.Value, "hash_key": o.name, "app_version": o.version} {
			want, ok := members[name]
			if !ok {
				want = json.RawMessage("null")
			}
			if !bytes.Equal(got, want) {
				t.Fatalf("%s: %s is %s, want %s", data, name, got, want)
			}
		}
		var op string
		if json.Unmarshal(members["op"], &op) == nil && op != string(o.Op) {
			t.Fatalf("%s: op is %q, want %q", data, o.Op, op)
		}
	})
}

// FuzzValue reads any value as any type: never more than an error.
func FuzzValue(f *testing.F) {
	for _, seed := range []string{`"BAhbB2kGaQc="`, `"BAh7BkkiBmEGOgZFVGkG\n"`, `1`, `"x"`, `null`, `{"a":[1]}`} {
		f.Add([]byte(seed), true)
		f.Add([]byte(seed), false)
	}
	untyped, typed, numbers := newValues[any](nil), newValues[map[string][]float64](nil), newKeys[AnyKey]()
	f.Fuzz(func(t *testing.T, raw []byte, marshalled bool) {
		if !json.Valid(raw) {
			raw, _ = json.Marshal(string(raw))
		}
		_, _, _ = typed.decode(raw, marshalled)
		if key, ok := numbers.decode(raw); ok {
			again, ok := numbers.decode([]byte(key.String()))
			if !ok || again != key {
				t.Fatalf("the key %s reads back as %s", key, again)
			}
		}
		v, _, err := untyped.decode(raw, marshalled)
		if err != nil {
			return
		}
		sent, packed, err := untyped.encode(v)
		if err != nil {
			return // nested too deep to be sent
		}
		if _, _, err := untyped.decode(sent, packed); err != nil {
			t.Fatalf("%s reads as %#v, is sent as %s, and then: %v", raw, v, sent, err)
		}
	})
}
