package cache

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"

	"github.com/messagebus-go/messagebus/cache/internal/rubymarshal"
)

// A Codec turns values into bytes and back, for caches that only Go peers share.
// All peers must use the same one. A Ruby peer sees a value as a string: the
// bytes in Base64. Both methods must be safe for concurrent use. A panic in Decode is
// taken for an error; one in Encode is the caller's of Set.
type Codec[V any] interface {
	Encode(value V) ([]byte, error)
	Decode(data []byte) (V, error)
}

// values turns the values of one cache into what travels, and back.
type values[V any] struct {
	codec    Codec[V]
	nullable bool // V can hold null
	untyped  bool // V is any
	structs  *structs
}

func newValues[V any](codec Codec[V]) values[V] {
	t := reflect.TypeFor[V]()
	v := values[V]{codec: codec, structs: new(structs)}
	switch t.Kind() {
	case reflect.Pointer, reflect.Map, reflect.Slice:
		v.nullable = true
	case reflect.Interface:
		v.nullable, v.untyped = true, t.NumMethod() == 0
	default:
	}
	return v
}

// encode returns a value as JSON and whether that is Base64 of Marshal. What is
// no array, map or struct travels as plain JSON, as from the gem.
func (vs values[V]) encode(value V) (raw json.RawMessage, marshalled bool, err error) {
	if vs.codec != nil {
		b, err := vs.codec.Encode(value)
		return quote(base64.StdEncoding.EncodeToString(b)), false, err
	}
	tree, err := vs.structs.tree(reflect.ValueOf(&value).Elem(), 0)
	if err != nil {
		return nil, false, err
	}
	switch tree.(type) {
	case *rubymarshal.Array, *rubymarshal.Hash:
		blob, err := rubymarshal.Encode(tree)
		return quote(pack(blob)), true, err
	default:
		raw, err := appendJSON(nil, tree, nil)
		return raw, false, err
	}
}

// decode reads what travels. absent: it is null, and V cannot hold that. A panic of
// a Codec, or of a method of V, is an error: what a peer sends must not end this
// process.
func (vs values[V]) decode(raw json.RawMessage, marshalled bool) (value V, absent bool, err error) {
	defer func() {
		if p := recover(); p != nil {
			var none V
			value, err = none, fmt.Errorf("a panic: %v", p)
		}
	}()
	switch {
	case vs.codec != nil:
		value, err = vs.decodeBytes(raw, marshalled)
		return value, false, err
	case marshalled:
		return vs.decodeMarshal(raw)
	default:
		return vs.decodeJSON(raw)
	}
}

func (vs values[V]) decodeBytes(raw json.RawMessage, marshalled bool) (value V, err error) {
	text, ok := unquote(raw)
	if !ok || marshalled {
		return value, errors.New("a value that no Codec wrote")
	}
	b, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		return value, fmt.Errorf("a value that no Codec wrote: %w", err)
	}
	return vs.codec.Decode(b)
}

func (vs values[V]) decodeMarshal(raw json.RawMessage) (value V, absent bool, err error) {
	text, ok := unquote(raw)
	if !ok {
		return value, false, fmt.Errorf("a marshalled value that is no string: %s", shorten(string(raw)))
	}
	tree, err := rubymarshal.Decode(unpack(text))
	if err != nil {
		return value, false, err
	}
	room := maxText
	if vs.untyped {
		plain, err := untype(tree, &room)
		value, _ = plain.(V) // V is any: only nil is not of it
		return value, false, err
	}
	text2, err := appendJSON(make([]byte, 0, len(text)), tree, &room)
	if err != nil {
		return value, false, err
	}
	return vs.decodeJSON(text2)
}

func (vs values[V]) decodeJSON(raw json.RawMessage) (value V, absent bool, err error) {
	switch {
	case !vs.nullable && string(raw) == "null":
		return value, true, nil
	case vs.untyped:
		plain, err := parseAny(raw)
		value, _ = plain.(V)
		return value, false, err
	}
	if p, is := any(&value).(*string); is { // the quickest way for the commonest type
		if s, ok := unquote(raw); ok {
			*p = s
			return value, false, nil
		}
	}
	err = json.Unmarshal(raw, &value)
	return value, false, err
}

// parseAny is parseJSON for text that is valid JSON, and quick for scalars.
func parseAny(raw json.RawMessage) (any, error) {
	switch c := raw[0]; {
	case c == '"':
		if s, ok := unquote(raw); ok {
			return s, nil
		}
	case c == '-' || c >= '0' && c <= '9':
		return parseNumber(string(raw))
	}
	return parseJSON(raw)
}

// lineLength is where Ruby's pack breaks Base64 into lines.
const lineLength = 60

// pack writes Base64 as Ruby's pack("m") does.
func pack(b []byte) string {
	text := base64.StdEncoding.EncodeToString(b)
	out := make([]byte, 0, len(text)+len(text)/lineLength+1)
	for len(text) > lineLength {
		out = append(append(out, text[:lineLength]...), '\n')
		text = text[lineLength:]
	}
	return string(append(append(out, text...), '\n'))
}

// unpack reads Base64 as Ruby's unpack("m") does: what does not belong to it is
// passed over, and padding ends it.
func unpack(text string) []byte {
	clean := make([]byte, 0, len(text))
	for i := range len(text) {
		c := text[i]
		if c == '=' {
			break
		}
		if c >= '0' && c <= '9' || c|0x20 >= 'a' && c|0x20 <= 'z' && c < 0x80 || c == '+' || c == '/' {
			clean = append(clean, c)
		}
	}
	if len(clean)%4 == 1 {
		clean = clean[:len(clean)-1]
	}
	n, _ := base64.RawStdEncoding.Decode(clean, clean) // only letters of it are left
	return clean[:n]
}
