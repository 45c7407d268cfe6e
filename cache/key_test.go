package cache

import (
	"encoding/json"
	"testing"
)

type shortKey string

// FuzzKey reads keys of every type from any JSON. What a key is written as must be
// the same key to every reader.
func FuzzKey(f *testing.F) {
	for _, seed := range []string{
		`"dog"`, `"1"`, `1`, `1.0`, `1e0`, `-0`, `-0.0`, `null`, `true`, `[1,"a",{"b":null}]`, `{"b":1,"a":2.50}`,
		`"a\u0000\ud83d\ude00\ud800"`, `18446744073709551615`, `18446744073709551616`, `-9223372036854775809`, `1e400`, `4.9e-324`,
		`300`, `-1`, ` 7 `, `"\/"`, `{"a":1,"a":2}`, `1 2`, `1]`, `[`, ``, "\"\xff\"",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		key, err := ParseKey(text)
		if err == nil {
			isOne(t, text, key)
		}
		if !json.Valid(text) || checkUnicode(text) != nil {
			if err == nil {
				t.Fatalf("%q is not to be read, and reads as %s", text, key)
			}
			return // no message has it
		}
		holds[AnyKey](t, text)
		holds[string](t, text)
		holds[shortKey](t, text)
		holds[int8](t, text)
		holds[int64](t, text)
		holds[uint8](t, text)
		holds[uint64](t, text)
	})
}

// isOne fails unless a key has one form, which is JSON and reads as that key.
func isOne(t *testing.T, text []byte, key AnyKey) {
	t.Helper()
	written, err := json.Marshal(key)
	if err != nil || !json.Valid([]byte(key.String())) {
		t.Fatalf("%q reads as %s, which is written as %s, %v", text, key, written, err)
	}
	for _, form := range [][]byte{written, []byte(key.String())} {
		if again, err := ParseKey(form); err != nil || again != key {
			t.Fatalf("%q reads as %s, and %s as %s, %v", text, key, form, again, err)
		}
	}
}

// holds fails if a cache with keys of type K holds a key, and tells peers of
// another one.
func holds[K Key](t *testing.T, text []byte) {
	t.Helper()
	all := newKeys[K]()
	key, ok := all.decode(trim(text))
	if !ok {
		return
	}
	written, err := all.encode(key)
	if err != nil {
		t.Fatalf("%q reads as %#v, which cannot be written: %v", text, key, err)
	}
	want, err := ParseKey(text)
	if err != nil {
		t.Fatalf("%q reads as %#v, and else as nothing: %v", text, key, err)
	}
	if got, err := ParseKey(written); err != nil || got != want {
		t.Fatalf("%q reads as %#v, which is written as %s; that is %s, %v, want %s", text, key, written, got, err, want)
	}
}

// trim returns a value as an operation has it, without what is around it.
func trim(text []byte) json.RawMessage {
	s := scanner{data: text}
	return s.value()
}
