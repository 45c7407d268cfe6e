package cache

import (
	"bytes"
	"encoding"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"math/big"
	"reflect"
	"slices"
	"strconv"
	"sync"
	"unicode/utf8"

	"github.com/messagebus-go/messagebus/cache/internal/rubymarshal"
)

// Go values become Ruby's by the rules of encoding/json: the same field names,
// options, embedding and methods. What differs is what JSON cannot say: a float64
// of 100 stays a float, and a map keyed by integers has integer keys.

// Bounds of what is written and read.
const (
	maxNesting = 90      // Ruby's JSON reads 100 levels; the envelope takes some
	maxText    = 8 << 20 // bytes of JSON that a blob may unfold into: links make small blobs large
)

var (
	jsonMarshaler = reflect.TypeFor[json.Marshaler]()
	textMarshaler = reflect.TypeFor[encoding.TextMarshaler]()
	jsonNumber    = reflect.TypeFor[json.Number]()
)

// structs remembers which fields a struct type has.
type structs struct{ known sync.Map } // reflect.Type: []field

// tree returns a Go value as a tree of Ruby values.
func (ss *structs) tree(v reflect.Value, depth int) (any, error) {
	if depth > maxNesting {
		return nil, fmt.Errorf("it is nested deeper than %d, or holds itself", maxNesting)
	}
	if !v.IsValid() {
		return nil, nil //nolint:nilnil // nil is the value: Ruby's
	}
	if tree, done, err := special(v); done {
		return tree, err
	}
	switch v.Kind() {
	case reflect.Bool:
		return v.Bool(), nil
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		return v.Int(), nil
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64, reflect.Uintptr:
		return integer(new(big.Int).SetUint64(v.Uint())), nil
	case reflect.Float32, reflect.Float64:
		return float(v)
	case reflect.String:
		return text(v.String())
	case reflect.Pointer, reflect.Interface:
		return ss.tree(v.Elem(), depth+1)
	case reflect.Slice:
		if v.IsNil() {
			return nil, nil //nolint:nilnil // nil is the value: Ruby's
		}
		if v.Type().Elem().Kind() == reflect.Uint8 {
			return rubymarshal.NewString(base64.StdEncoding.EncodeToString(v.Bytes())), nil
		}
		return ss.list(v, depth)
	case reflect.Array:
		return ss.list(v, depth)
	case reflect.Map:
		return ss.hash(v, depth)
	case reflect.Struct:
		return ss.object(v, depth)
	default:
		return nil, fmt.Errorf("a value of type %s cannot be shared", v.Type())
	}
}

// special handles types that say themselves what they are as JSON or text.
func special(v reflect.Value) (tree any, done bool, err error) {
	if k := v.Kind(); (k == reflect.Pointer || k == reflect.Interface) && v.IsNil() {
		return nil, true, nil
	}
	if v.Kind() != reflect.Pointer && v.CanAddr() && reflect.PointerTo(v.Type()).Implements(jsonMarshaler) {
		v = v.Addr()
	}
	switch t := v.Type(); {
	case t.Implements(jsonMarshaler), t == jsonNumber:
		raw, err := json.Marshal(v.Interface())
		if err != nil {
			return nil, true, err
		}
		tree, err := fromJSON(raw)
		return tree, true, err
	case t.Implements(textMarshaler):
		m, _ := reflect.TypeAssert[encoding.TextMarshaler](v)
		b, err := m.MarshalText()
		if err != nil {
			return nil, true, err
		}
		tree, err := text(string(b))
		return tree, true, err
	}
	return nil, false, nil
}

func integer(n *big.Int) any {
	if n.IsInt64() {
		return n.Int64()
	}
	return n
}

func float(v reflect.Value) (any, error) {
	f := v.Float()
	if math.IsNaN(f) || math.IsInf(f, 0) {
		return nil, fmt.Errorf("the float %v, which no Ruby peer can read", f)
	}
	if v.Kind() == reflect.Float32 { // its own digits, and not those that a double adds
		return strconv.ParseFloat(strconv.FormatFloat(f, 'g', -1, 32), 64)
	}
	return f, nil
}

func text(s string) (any, error) {
	if !utf8.ValidString(s) {
		return nil, fmt.Errorf("the string %q is not valid UTF-8", shorten(s))
	}
	return rubymarshal.NewString(s), nil
}

func (ss *structs) list(v reflect.Value, depth int) (any, error) {
	items := make([]any, v.Len())
	for i := range items {
		var err error
		if items[i], err = ss.tree(v.Index(i), depth+1); err != nil {
			return nil, err
		}
	}
	return &rubymarshal.Array{Items: items}, nil
}

func (ss *structs) hash(v reflect.Value, depth int) (any, error) {
	if v.IsNil() {
		return nil, nil //nolint:nilnil // nil is the value: Ruby's
	}
	h := &rubymarshal.Hash{Pairs: make([]rubymarshal.Pair, 0, v.Len())}
	for _, k := range v.MapKeys() {
		key, err := mapKey(k)
		if err != nil {
			return nil, err
		}
		value, err := ss.tree(v.MapIndex(k), depth+1)
		if err != nil {
			return nil, err
		}
		h.Pairs = append(h.Pairs, rubymarshal.Pair{Key: key, Value: value})
	}
	slices.SortFunc(h.Pairs, func(a, b rubymarshal.Pair) int { return compareKeys(a.Key, b.Key) })
	return h, nil
}

func mapKey(k reflect.Value) (any, error) {
	if k.Kind() != reflect.String && k.Type().Implements(textMarshaler) {
		tree, _, err := special(k)
		return tree, err
	}
	switch k.Kind() {
	case reflect.String:
		return text(k.String())
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		return k.Int(), nil
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return integer(new(big.Int).SetUint64(k.Uint())), nil
	default:
		return nil, fmt.Errorf("a map with keys of type %s; they must be strings or integers", k.Type())
	}
}

// compareKeys puts the keys of one map into an order: integers by value, or
// strings.
func compareKeys(a, b any) int {
	if s, ok := a.(*rubymarshal.String); ok {
		t, _ := b.(*rubymarshal.String)
		return bytes.Compare(s.Bytes, t.Bytes)
	}
	x, _ := number(a)
	y, _ := number(b)
	return x.Cmp(y)
}

func (ss *structs) object(v reflect.Value, depth int) (any, error) {
	h := &rubymarshal.Hash{}
	for _, f := range ss.fields(v.Type()) {
		member, err := v.FieldByIndexErr(f.index)
		if err != nil || f.omit(member) { // a nil pointer on the way to an embedded field
			continue
		}
		value, err := ss.tree(member, depth+1)
		if err == nil && f.quoted {
			value, err = quoted(value)
		}
		if err != nil {
			return nil, fmt.Errorf("field %s of %s: %w", f.name, v.Type(), err)
		}
		h.Pairs = append(h.Pairs, rubymarshal.Pair{Key: rubymarshal.NewString(f.name), Value: value})
	}
	return h, nil
}

// quoted is the option "string" of encoding/json.
func quoted(v any) (any, error) {
	switch v.(type) {
	case nil, *rubymarshal.Array, *rubymarshal.Hash:
		return v, nil
	}
	b, err := appendJSON(nil, v, nil)
	return rubymarshal.NewString(string(b)), err
}

// fromJSON returns JSON as a tree, with its members in order.
func fromJSON(raw []byte) (any, error) {
	if err := checkUnicode(raw); err != nil {
		return nil, err
	}
	decoder := json.NewDecoder(bytes.NewReader(raw))
	decoder.UseNumber()
	return fromTokens(decoder, 0)
}

func fromTokens(d *json.Decoder, depth int) (any, error) {
	token, err := d.Token()
	if err != nil {
		return nil, err
	}
	if depth > maxNesting {
		return nil, fmt.Errorf("it is nested deeper than %d", maxNesting)
	}
	switch token := token.(type) {
	case json.Delim:
		if token == '[' {
			return arrayFromTokens(d, depth)
		}
		return hashFromTokens(d, depth)
	case json.Number:
		return parseNumber(string(token))
	case string:
		return text(token)
	default:
		return token, nil
	}
}

func arrayFromTokens(d *json.Decoder, depth int) (any, error) {
	a := &rubymarshal.Array{}
	for d.More() {
		v, err := fromTokens(d, depth+1)
		if err != nil {
			return nil, err
		}
		a.Items = append(a.Items, v)
	}
	_, err := d.Token()
	return a, err
}

func hashFromTokens(d *json.Decoder, depth int) (any, error) {
	h := &rubymarshal.Hash{}
	for d.More() {
		key, err := fromTokens(d, depth+1)
		if err != nil {
			return nil, err
		}
		v, err := fromTokens(d, depth+1)
		if err != nil {
			return nil, err
		}
		h.Pairs = append(h.Pairs, rubymarshal.Pair{Key: key, Value: v})
	}
	_, err := d.Token()
	return h, err
}

var errUnfolds = fmt.Errorf("a value that unfolds into more than %d bytes", maxText)

// spend takes n from room; nil: there is no bound.
func spend(room *int, n int) error {
	if room == nil {
		return nil
	}
	if *room -= n; *room < 0 {
		return errUnfolds
	}
	return nil
}

// appendJSON appends a tree as JSON, of at most room bytes.
func appendJSON(b []byte, tree any, room *int) ([]byte, error) {
	start := len(b)
	switch v := tree.(type) {
	case float64:
		if math.IsNaN(v) || math.IsInf(v, 0) {
			return nil, fmt.Errorf("the float %v, which JSON has not", v)
		}
		b = appendFloat(b, v)
	case nil, bool, int64, *big.Int:
		b = appendCanonical(b, v)
	case rubymarshal.Symbol:
		b = append(b, quote(string(v))...)
	case *rubymarshal.String:
		s, err := v.Text()
		if err != nil {
			return nil, err
		}
		b = append(b, quote(s)...)
	case *rubymarshal.Array:
		return appendItems(b, v.Items, room)
	case *rubymarshal.Set:
		return appendItems(b, v.Items, room)
	case *rubymarshal.Hash:
		return appendPairs(b, v, room)
	}
	return b, spend(room, len(b)-start)
}

func appendItems(b []byte, items []any, room *int) (_ []byte, err error) {
	b = append(b, '[')
	for i, v := range items {
		if i > 0 {
			b = append(b, ',')
		}
		if b, err = appendJSON(b, v, room); err != nil {
			return nil, err
		}
	}
	return append(b, ']'), spend(room, len(items)+2)
}

func appendPairs(b []byte, h *rubymarshal.Hash, room *int) ([]byte, error) {
	names, err := memberNames(h)
	if err != nil {
		return nil, err
	}
	b = append(b, '{')
	for i, p := range h.Pairs {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(append(b, quote(names[i])...), ':')
		if b, err = appendJSON(b, p.Value, room); err != nil {
			return nil, err
		}
		if err = spend(room, len(names[i])+4); err != nil {
			return nil, err
		}
	}
	return append(b, '}'), spend(room, 2)
}

// memberNames are the keys of a hash as strings. Two that would be the same one
// are refused, and so are keys that are no strings, symbols or integers.
func memberNames(h *rubymarshal.Hash) ([]string, error) {
	names := make([]string, len(h.Pairs))
	strings := 0
	for i, p := range h.Pairs {
		switch key := p.Key.(type) {
		case *rubymarshal.String:
			s, err := key.Text()
			if err != nil {
				return nil, err
			}
			names[i] = s
			strings++
		case rubymarshal.Symbol:
			names[i] = string(key)
		case int64, *big.Int:
			names[i] = string(appendCanonical(nil, key))
		default:
			return nil, fmt.Errorf("a hash with the key %s; strings, symbols and integers are read", rubyType(key))
		}
	}
	if strings < len(names) && twice(names) { // strings alone were compared already
		return nil, errors.New("a hash with keys that differ in type alone, such as 1 and \"1\"")
	}
	return names, nil
}

func twice(names []string) bool {
	seen := make(map[string]bool, len(names))
	for _, name := range names {
		if seen[name] {
			return true
		}
		seen[name] = true
	}
	return false
}

func rubyType(v any) string {
	switch v := v.(type) {
	case nil:
		return "nil"
	case bool, float64:
		return fmt.Sprint(v)
	case *rubymarshal.Array:
		return "of type Array"
	case *rubymarshal.Hash:
		return "of type Hash"
	case *rubymarshal.Set:
		return "of type Set"
	}
	return fmt.Sprintf("%v", v)
}

// untype returns a tree as plain Go values: nil, bool, int64, *big.Int, float64,
// string, []any and map[string]any.
func untype(tree any, room *int) (any, error) {
	const each = 16
	if err := spend(room, each); err != nil {
		return nil, err
	}
	switch v := tree.(type) {
	case rubymarshal.Symbol:
		return string(v), spend(room, len(v))
	case *rubymarshal.String:
		s, err := v.Text()
		return s, errors.Join(err, spend(room, len(s)))
	case *rubymarshal.Array:
		return untypeItems(v.Items, room)
	case *rubymarshal.Set:
		return untypeItems(v.Items, room)
	case *rubymarshal.Hash:
		return untypePairs(v, room)
	default:
		return v, nil
	}
}

func untypeItems(items []any, room *int) (any, error) {
	list := make([]any, 0, min(len(items), 16))
	for _, item := range items {
		v, err := untype(item, room)
		if err != nil {
			return nil, err
		}
		list = append(list, v)
	}
	return list, nil
}

func untypePairs(h *rubymarshal.Hash, room *int) (any, error) {
	names, err := memberNames(h)
	if err != nil {
		return nil, err
	}
	m := make(map[string]any)
	for i, p := range h.Pairs {
		v, err := untype(p.Value, room)
		if err != nil {
			return nil, err
		}
		m[names[i]] = v
	}
	return m, nil
}
