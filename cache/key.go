package cache

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"math/big"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// Key is what a cache may be keyed by.
//
// Keys keep their JSON type between peers, and Ruby tells 1, 1.0, "1" and nil
// apart. A cache with string keys holds the entries under strings alone, one
// with integer keys those under integers that fit: operations on any other key
// do not concern it, and are counted in Stats.OtherKeys. Ruby's symbols travel as
// strings. AnyKey holds every key that a peer can have.
type Key interface {
	~string |
		~int | ~int8 | ~int16 | ~int32 | ~int64 |
		~uint | ~uint8 | ~uint16 | ~uint32 | ~uint64 |
		AnyKey
}

// An AnyKey is a key of any JSON type. Two are equal, by ==, where Ruby takes
// them for one: 1, 1.0 and "1" are three keys, 1.0 and 1e0 are one. The zero
// AnyKey is null.
type AnyKey struct{ text string } // canonical JSON; empty: null

// StringKey returns a key that is a string, which must be valid UTF-8.
func StringKey(s string) AnyKey { return AnyKey{string(quote(s))} }

// IntKey returns a key that is an integer.
func IntKey(n int64) AnyKey { return AnyKey{strconv.FormatInt(n, 10)} }

// NullKey returns the key null, which is Ruby's nil.
func NullKey() AnyKey { return AnyKey{} }

// ParseKey reads a key from JSON, arrays and objects included. It fails on text
// that is not JSON or not Unicode, on numbers with a fraction or exponent that a
// double cannot hold, and on integers of more than 65,536 digits.
func ParseKey(text []byte) (AnyKey, error) {
	v, err := parseJSON(text)
	if err == nil {
		err = checkUnicode(text)
	}
	if err != nil {
		return AnyKey{}, fmt.Errorf("cache: key %s: %w", shorten(string(text)), err)
	}
	if v == nil {
		return AnyKey{}, nil
	}
	return AnyKey{string(appendCanonical(nil, v))}, nil
}

// String returns the key as JSON, in the one form that equal keys share.
func (k AnyKey) String() string {
	if k.text == "" {
		return "null"
	}
	return k.text
}

// MarshalJSON implements json.Marshaler.
func (k AnyKey) MarshalJSON() ([]byte, error) { return []byte(k.String()), nil }

// UnmarshalJSON implements json.Unmarshaler.
func (k *AnyKey) UnmarshalJSON(text []byte) (err error) {
	*k, err = ParseKey(text)
	return err
}

var (
	errNotJSON  = errors.New("not JSON")
	errOverflow = errors.New("a number that a double cannot hold")
)

// maxDigits bounds one integer: reading it takes the square of the time.
const maxDigits = 64 << 10

// parseJSON reads one JSON value: nil, bool, int64, *big.Int, float64, string,
// []any, map[string]any.
func parseJSON(text []byte) (any, error) {
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.UseNumber()
	var v any
	if err := decoder.Decode(&v); err != nil {
		return nil, fmt.Errorf("%w: %w", errNotJSON, err)
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("%w: more after the value", errNotJSON)
	}
	return withNumbers(v)
}

// withNumbers replaces every json.Number by a number.
func withNumbers(v any) (_ any, err error) {
	switch v := v.(type) {
	case json.Number:
		return parseNumber(string(v))
	case []any:
		for i := range v {
			if v[i], err = withNumbers(v[i]); err != nil {
				return nil, err
			}
		}
	case map[string]any:
		for name := range v {
			if v[name], err = withNumbers(v[name]); err != nil {
				return nil, err
			}
		}
	}
	return v, nil
}

// parseNumber tells integers from floats as Ruby does: by a point or an exponent.
func parseNumber(text string) (any, error) {
	if strings.ContainsAny(text, ".eE") {
		f, err := strconv.ParseFloat(text, 64)
		if math.IsInf(f, 0) || err != nil {
			return nil, fmt.Errorf("%w: %s", errOverflow, shorten(text))
		}
		return f, nil
	}
	if n, err := strconv.ParseInt(text, 10, 64); err == nil {
		return n, nil
	}
	if len(text) > maxDigits {
		return nil, fmt.Errorf("an integer of %d digits; at most %d are read", len(text), maxDigits)
	}
	n, ok := new(big.Int).SetString(text, 10)
	if !ok {
		return nil, fmt.Errorf("%w: the number %s", errNotJSON, shorten(text))
	}
	return n, nil
}

// appendCanonical appends the one JSON form of a value of parseJSON.
func appendCanonical(b []byte, v any) []byte {
	switch v := v.(type) {
	case nil:
		return append(b, "null"...)
	case bool:
		return strconv.AppendBool(b, v)
	case int64:
		return strconv.AppendInt(b, v, 10)
	case *big.Int:
		return v.Append(b, 10)
	case float64:
		return appendFloat(b, v+0) // -0.0 + 0 is 0.0, the same key
	case string:
		return append(b, quote(v)...)
	case []any:
		b = append(b, '[')
		for i, item := range v {
			if i > 0 {
				b = append(b, ',')
			}
			b = appendCanonical(b, item)
		}
		return append(b, ']')
	case map[string]any:
		b = append(b, '{')
		for i, name := range slices.Sorted(maps.Keys(v)) {
			if i > 0 {
				b = append(b, ',')
			}
			b = appendCanonical(append(append(b, quote(name)...), ':'), v[name])
		}
		return append(b, '}')
	}
	return b
}

// appendFloat appends a float so that it cannot be taken for an integer.
func appendFloat(b []byte, f float64) []byte {
	start := len(b)
	b = strconv.AppendFloat(b, f, 'g', -1, 64)
	if !bytes.ContainsAny(b[start:], ".e") {
		b = append(b, ".0"...)
	}
	return b
}

// quote returns s as a JSON string, in Ruby's spelling.
func quote(s string) []byte {
	b := make([]byte, 0, len(s)+2)
	b = append(b, '"')
	for i := range len(s) {
		switch c := s[i]; {
		case c == '"' || c == '\\':
			b = append(b, '\\', c)
		case c >= 0x20:
			b = append(b, c)
		case c == '\n':
			b = append(b, `\n`...)
		case c == '\r':
			b = append(b, `\r`...)
		case c == '\t':
			b = append(b, `\t`...)
		case c == '\b':
			b = append(b, `\b`...)
		case c == '\f':
			b = append(b, `\f`...)
		default:
			b = fmt.Appendf(b, `\u%04x`, c)
		}
	}
	return append(b, '"')
}

// unquote reads a JSON string; false where raw is something else.
func unquote(raw []byte) (string, bool) {
	if len(raw) < 2 || raw[0] != '"' {
		return "", false
	}
	if inside := raw[1 : len(raw)-1]; bytes.IndexByte(inside, '\\') < 0 {
		return string(inside), true
	}
	var s string
	err := json.Unmarshal(raw, &s)
	return s, err == nil
}

// checkUnicode refuses valid JSON that encoding/json would read as other text:
// strings that are not UTF-8, and escapes of halves of surrogate pairs.
func checkUnicode(text []byte) error {
	if !utf8.Valid(text) {
		return errors.New("text that is not valid UTF-8")
	}
	for i := bytes.IndexByte(text, '\\'); i >= 0 && i < len(text); i++ {
		switch first, isUnit := unit(text[i:]); {
		case text[i] == '\\' && !isUnit:
			i++ // what it stands before is no beginning of another one
		case isUnit && utf16.IsSurrogate(first):
			i += unitLength
			if second, _ := unit(text[i:]); utf16.DecodeRune(first, second) == utf8.RuneError {
				return fmt.Errorf("half of a surrogate pair: %s", text[i-unitLength:i])
			}
			i += unitLength - 1
		case isUnit:
			i += unitLength - 1
		}
	}
	return nil
}

const unitLength = len(`\u0000`)

// unit reads an escape by number at the start of text, which is valid JSON.
func unit(text []byte) (r rune, ok bool) {
	if !bytes.HasPrefix(text, []byte(`\u`)) {
		return 0, false
	}
	n, err := strconv.ParseUint(string(text[2:unitLength]), 16, 16)
	return rune(n), err == nil
}

// shorten is for what stands in errors.
func shorten(s string) string { return clip(s, 60) }

func clip(s string, most int) string {
	if len(s) <= most {
		return s
	}
	return strings.ToValidUTF8(s[:most], "") + "…"
}

// keys turns the keys of one cache into JSON and back.
type keys[K Key] struct {
	encode func(K) (json.RawMessage, error)
	decode func(json.RawMessage) (K, bool) // false: a key that K does not hold
}

func newKeys[K Key]() keys[K] {
	kind := reflect.TypeFor[K]().Kind()
	switch {
	case reflect.TypeFor[K]() == reflect.TypeFor[AnyKey]():
		return keys[K]{encodeAny[K], decodeAny[K]}
	case kind == reflect.String:
		return keys[K]{encodeString[K], decodeString[K]}
	case kind >= reflect.Uint:
		return keys[K]{encodeUint[K], decodeUint[K]}
	default:
		return keys[K]{encodeInt[K], decodeInt[K]}
	}
}

func encodeAny[K Key](key K) (json.RawMessage, error) {
	k, _ := any(key).(AnyKey)
	text := k.String()
	return json.RawMessage(text), checkText(text)
}

func decodeAny[K Key](raw json.RawMessage) (key K, ok bool) {
	k, err := ParseKey(raw)
	key, ok = any(k).(K)
	return key, ok && err == nil
}

func encodeString[K Key](key K) (json.RawMessage, error) {
	s := reflect.ValueOf(key).String()
	return quote(s), checkText(s)
}

func checkText(s string) error {
	if !utf8.ValidString(s) {
		return fmt.Errorf("%q is not valid UTF-8", shorten(s))
	}
	return nil
}

func decodeString[K Key](raw json.RawMessage) (key K, ok bool) {
	s, ok := unquote(raw)
	if p, same := any(&key).(*string); same {
		*p = s
	} else {
		reflect.ValueOf(&key).Elem().SetString(s)
	}
	return key, ok
}

func encodeInt[K Key](key K) (json.RawMessage, error) {
	return strconv.AppendInt(nil, reflect.ValueOf(key).Int(), 10), nil
}

func decodeInt[K Key](raw json.RawMessage) (key K, ok bool) {
	v := reflect.ValueOf(&key).Elem()
	n, err := strconv.ParseInt(string(raw), 10, 64)
	if err != nil || v.OverflowInt(n) {
		return key, false
	}
	v.SetInt(n)
	return key, true
}

func encodeUint[K Key](key K) (json.RawMessage, error) {
	return strconv.AppendUint(nil, reflect.ValueOf(key).Uint(), 10), nil
}

func decodeUint[K Key](raw json.RawMessage) (key K, ok bool) {
	v := reflect.ValueOf(&key).Elem()
	n, err := strconv.ParseUint(string(raw), 10, 64)
	if err != nil || v.OverflowUint(n) {
		return key, string(raw) == "-0"
	}
	v.SetUint(n)
	return key, true
}
