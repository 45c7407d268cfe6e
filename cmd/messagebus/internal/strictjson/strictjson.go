// Package strictjson reads JSON objects of people and programs that may be wrong:
// what encoding/json would change, ignore or guess is an error here.
package strictjson

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/messagebus-go/messagebus/bus"
)

// Members says for each accepted member of a JSON object what reads its value.
type Members map[string]func(json.RawMessage) error

// Decode reads one JSON object strictly: members by their exact names, each at
// most once, none that is not known, nothing after it.
func (m Members) Decode(raw []byte) error {
	return each(raw, func(name string, value json.RawMessage) error {
		read := m[name]
		if read == nil {
			return fmt.Errorf("unknown member %q; accepted are: %s", clip(name), strings.Join(slices.Sorted(maps.Keys(m)), ", "))
		}
		if err := read(value); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		return nil
	})
}

// Object reads one JSON object with whatever members it has, each at most once.
func Object(raw []byte) (map[string]json.RawMessage, error) {
	all := map[string]json.RawMessage{}
	return all, each(raw, func(name string, value json.RawMessage) error {
		all[name] = value
		return nil
	})
}

// each calls read for the members of one JSON object, each at most once.
func each(raw []byte, read func(name string, value json.RawMessage) error) error {
	if err := Check(raw); err != nil {
		return err
	}
	decoder := json.NewDecoder(bytes.NewReader(raw))
	if first, err := decoder.Token(); err != nil || first != json.Delim('{') {
		return errors.New("it must be a JSON object")
	}
	seen := map[string]bool{}
	for decoder.More() {
		name, value, err := nextMember(decoder)
		switch {
		case err != nil:
			return err
		case seen[name]:
			return fmt.Errorf("member %q stands there twice", clip(name))
		}
		seen[name] = true
		if err := read(name, value); err != nil {
			return err
		}
	}
	return nil
}

func nextMember(decoder *json.Decoder) (name string, value json.RawMessage, err error) {
	token, err := decoder.Token()
	if err != nil {
		return "", nil, fmt.Errorf("not JSON: %w", err)
	}
	name, _ = token.(string)
	if err := decoder.Decode(&value); err != nil {
		return "", nil, fmt.Errorf("not JSON: %w", err)
	}
	return name, value, nil
}

// Check refuses what encoding/json would change in silence: invalid UTF-8
// and halves of surrogate pairs become U+FFFD. It refuses what is no JSON as well.
func Check(raw []byte) error {
	switch {
	case len(bytes.TrimSpace(raw)) == 0:
		return errors.New("it is empty")
	case !utf8.Valid(raw):
		return errors.New("it is not valid UTF-8")
	}
	var value json.RawMessage
	if err := json.Unmarshal(raw, &value); err != nil {
		return fmt.Errorf("not JSON: %w", err)
	}
	if half := loneSurrogate(raw); half != "" {
		return fmt.Errorf("%s is half of a surrogate pair", half)
	}
	return nil
}

// loneSurrogate returns the first half pair in valid JSON; empty: there is none.
func loneSurrogate(raw []byte) string {
	for i := 0; i < len(raw); i++ {
		if raw[i] != '\\' {
			continue
		}
		switch high := hexRune(raw[i:]); {
		case high < 0xd800 || high > 0xdfff:
			i++
		case high < 0xdc00 && isLow(hexRune(raw[i+6:])):
			i += 11
		default:
			return string(raw[i : i+6])
		}
	}
	return ""
}

func isLow(r uint64) bool { return r >= 0xdc00 && r <= 0xdfff }

// hexRune reads \uXXXX at the start of b; 0 when something else stands there.
func hexRune(b []byte) uint64 {
	if len(b) < 6 || b[0] != '\\' || b[1] != 'u' {
		return 0
	}
	n, err := strconv.ParseUint(string(b[2:6]), 16, 32)
	if err != nil {
		return 0
	}
	return n
}

// IsNull reports whether raw is null.
func IsNull(raw json.RawMessage) bool { return string(bytes.TrimSpace(raw)) == "null" }

// Into returns a reader that stores what decode returns.
func Into[T any](target *T, decode func(json.RawMessage) (T, error)) func(json.RawMessage) error {
	return func(raw json.RawMessage) error {
		value, err := decode(raw)
		if err == nil {
			*target = value
		}
		return err
	}
}

// OrNull returns a reader that stores a pointer to what decode returns; null
// is as good as absent.
func OrNull[T any](target **T, decode func(json.RawMessage) (T, error)) func(json.RawMessage) error {
	return func(raw json.RawMessage) error {
		if IsNull(raw) {
			return nil
		}
		value, err := decode(raw)
		if err == nil {
			*target = &value
		}
		return err
	}
}

// String takes a string.
func String(raw json.RawMessage) (string, error) {
	var s *string
	if err := json.Unmarshal(raw, &s); err != nil || s == nil {
		return "", fmt.Errorf("%s is no string", clip(string(raw)))
	}
	return *s, nil
}

// ID takes an integer or a string and keeps its type.
func ID(raw json.RawMessage) (bus.ID, error) {
	if s, err := String(raw); err == nil {
		return bus.StringID(s), nil
	}
	n, err := strconv.ParseInt(string(bytes.TrimSpace(raw)), 10, 64)
	if err != nil {
		return bus.ID{}, fmt.Errorf("%s is no id; an id is an integer of 64 bits or a string", clip(string(raw)))
	}
	return bus.IntID(n), nil
}

// IDs takes a list of ids; null gives none.
func IDs(raw json.RawMessage) ([]bus.ID, error) {
	return list(raw, `integers and strings, such as [1,"a"]`, ID)
}

// Strings takes a list of strings; null gives none.
func Strings(raw json.RawMessage) ([]string, error) {
	return list(raw, `strings, such as ["a"]`, String)
}

// list reads a JSON list; null gives none.
func list[T any](raw json.RawMessage, what string, decode func(json.RawMessage) (T, error)) ([]T, error) {
	if err := Check(raw); err != nil {
		return nil, fmt.Errorf("it must be a JSON list of %s: %w", what, err)
	}
	if IsNull(raw) {
		return nil, nil
	}
	var items []json.RawMessage
	if err := json.Unmarshal(raw, &items); err != nil {
		return nil, fmt.Errorf("%s is no JSON list of %s", clip(string(raw)), what)
	}
	all := make([]T, len(items))
	for i, item := range items {
		value, err := decode(item)
		if err != nil {
			return nil, err
		}
		all[i] = value
	}
	return all, nil
}

// Count returns a reader of whole numbers from 0 to most.
func Count(most int64) func(json.RawMessage) (int64, error) {
	return func(raw json.RawMessage) (int64, error) {
		n, err := strconv.ParseInt(string(bytes.TrimSpace(raw)), 10, 64)
		if err != nil || n < 0 || n > most {
			return 0, fmt.Errorf("%s is no whole number from 0 to %d", clip(string(raw)), most)
		}
		return n, nil
	}
}

func clip(s string) string { return Clip(s, 60) }

// Clip cuts a foreign value for an error, to at most so many bytes and an
// ellipsis.
func Clip(s string, most int) string {
	if len(s) <= most {
		return s
	}
	return strings.ToValidUTF8(s[:most], "") + "…"
}
