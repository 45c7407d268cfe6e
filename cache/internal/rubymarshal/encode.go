package rubymarshal

import (
	"errors"
	"fmt"
	"math"
	"math/big"
	"slices"
	"strconv"
	"unicode/utf8"
)

// Encode writes a value of the types that Decode returns. A pointer that comes
// twice is written once and linked to, as Ruby does. It fails for other types,
// for symbols that are not UTF-8, unknown encodings, containers nested deeper than
// 256, and sizes beyond a gibibyte. The bytes of strings are written as they are.
func Encode(v any) ([]byte, error) {
	e := encoder{out: []byte(version)}
	if err := e.value(v); err != nil {
		return nil, fmt.Errorf("marshal: %w", err)
	}
	return e.out, nil
}

type encoder struct {
	out     []byte
	depth   int
	count   int // values that have a number so far
	symbols map[Symbol]int
	objects map[any]int // pointers
	names   map[string]int
}

func (e *encoder) value(v any) error {
	if e.depth++; e.depth > maxDepth {
		return fmt.Errorf("it is nested deeper than %d", maxDepth)
	}
	defer func() { e.depth-- }()
	switch v := v.(type) {
	case nil:
		e.out = append(e.out, '0')
	case bool:
		e.bool(v)
	case int64:
		e.int(v)
	case float64:
		e.float(v)
	case Symbol:
		return e.symbol(v)
	default:
		return e.shared(v)
	}
	return nil
}

func (e *encoder) bool(v bool) {
	if v {
		e.out = append(e.out, 'T')
		return
	}
	e.out = append(e.out, 'F')
}

// shared writes a pointer, or a link to where it was written before.
func (e *encoder) shared(v any) error {
	switch v.(type) {
	case *big.Int, *String, *Array, *Hash, *Set:
	default:
		return fmt.Errorf("the Go type %T has no form in Ruby here", v)
	}
	if n, ok := e.objects[v]; ok {
		e.out = append(e.out, '@')
		return e.long(n)
	}
	if e.objects == nil {
		e.objects = map[any]int{}
	}
	e.objects[v] = e.count
	e.count++
	switch v := v.(type) {
	case *big.Int:
		return e.bigInt(v)
	case *String:
		return e.string(v)
	case *Array:
		return e.list('[', v.Items)
	case *Hash:
		return e.hash(v)
	case *Set:
		return e.set(v)
	}
	return nil
}

// long writes an integer of up to four bytes.
func (e *encoder) long(n int) error {
	switch {
	case n > math.MaxInt32>>1 || n < math.MinInt32>>1:
		return errors.New("something of more than a gibibyte")
	case n == 0:
		e.out = append(e.out, 0)
	case 0 < n && n < 123:
		e.out = append(e.out, byte(n+5))
	case -124 < n && n < 0:
		e.out = append(e.out, byte(n-5))
	default:
		e.longBytes(n)
	}
	return nil
}

func (e *encoder) longBytes(n int) {
	at, end := len(e.out), 0
	if n < 0 {
		end = -1
	}
	e.out = append(e.out, 0)
	for ; n != end; n >>= 8 {
		e.out = append(e.out, byte(n))
	}
	size := len(e.out) - at - 1
	if end < 0 {
		size = -size
	}
	e.out[at] = byte(size)
}

// Ruby writes integers of 31 bits in the short form, whatever its word.
const maxShort, minShort = 1<<30 - 1, -1 << 30

func (e *encoder) int(n int64) {
	if n >= minShort && n <= maxShort {
		e.out = append(e.out, 'i')
		_ = e.long(int(n)) // it fits
		return
	}
	e.count++
	_ = e.bigInt(big.NewInt(n)) // it fits
}

func (e *encoder) bigInt(n *big.Int) error {
	if n.IsInt64() && n.Int64() >= minShort && n.Int64() <= maxShort {
		return errors.New("a big.Int with a small value; it must be an int64")
	}
	sign := byte('+')
	if n.Sign() < 0 {
		sign = '-'
	}
	low := n.Bytes()
	slices.Reverse(low)
	if len(low)%2 == 1 {
		low = append(low, 0)
	}
	e.out = append(e.out, 'l', sign)
	if err := e.long(len(low) / 2); err != nil {
		return err
	}
	e.out = append(e.out, low...)
	return nil
}

func (e *encoder) float(f float64) {
	e.count++
	text := strconv.FormatFloat(f, 'g', -1, 64)
	switch {
	case math.IsNaN(f):
		text = "nan"
	case math.IsInf(f, 1):
		text = "inf"
	case math.IsInf(f, -1):
		text = "-inf"
	}
	e.out = append(e.out, 'f')
	_ = e.bytes(text) // it is short
}

func (e *encoder) bytes(s string) error {
	if err := e.long(len(s)); err != nil {
		return err
	}
	e.out = append(e.out, s...)
	return nil
}

func (e *encoder) symbol(s Symbol) error {
	if n, ok := e.symbols[s]; ok {
		e.out = append(e.out, ';')
		return e.long(n)
	}
	if !utf8.ValidString(string(s)) {
		return fmt.Errorf("the symbol %q, which is not UTF-8", shorten(string(s)))
	}
	encoded := !isASCII([]byte(s))
	if encoded {
		e.out = append(e.out, 'I')
	}
	if e.symbols == nil {
		e.symbols = map[Symbol]int{}
	}
	e.symbols[s] = len(e.symbols)
	e.out = append(e.out, ':')
	if err := e.bytes(string(s)); err != nil || !encoded {
		return err
	}
	return e.encoding(UTF8)
}

func (e *encoder) string(s *String) error {
	if s.Encoding == Binary {
		e.out = append(e.out, '"')
		return e.bytes(string(s.Bytes))
	}
	e.out = append(e.out, 'I', '"')
	if err := e.bytes(string(s.Bytes)); err != nil {
		return err
	}
	return e.encoding(s.Encoding)
}

// encoding writes the one instance variable that tells the encoding.
func (e *encoder) encoding(name string) error {
	_ = e.long(1)
	if name == UTF8 || name == ASCII {
		if err := e.symbol("E"); err != nil {
			return err
		}
		e.bool(name == UTF8)
		return nil
	}
	if !encodings[name] {
		return fmt.Errorf("the unknown encoding %q", shorten(name))
	}
	if err := e.symbol("encoding"); err != nil {
		return err
	}
	if n, ok := e.names[name]; ok {
		e.out = append(e.out, '@')
		return e.long(n)
	}
	if e.names == nil {
		e.names = map[string]int{}
	}
	e.names[name] = e.count
	e.count++
	e.out = append(e.out, '"')
	return e.bytes(name)
}

func (e *encoder) list(kind byte, items []any) error {
	e.out = append(e.out, kind)
	if err := e.long(len(items)); err != nil {
		return err
	}
	for _, v := range items {
		if err := e.value(v); err != nil {
			return err
		}
	}
	return nil
}

func (e *encoder) hash(h *Hash) error {
	kind := byte('{')
	if h.Default != nil {
		kind = '}'
	}
	e.out = append(e.out, kind)
	if err := e.long(len(h.Pairs)); err != nil {
		return err
	}
	for _, p := range h.Pairs {
		if err := errors.Join(e.value(p.Key), e.value(p.Value)); err != nil {
			return err
		}
	}
	if h.Default == nil {
		return nil
	}
	return e.value(h.Default)
}

// set writes an object with a hash in it, as Ruby's Set is one.
func (e *encoder) set(s *Set) error {
	e.out = append(e.out, 'o')
	if err := e.symbol("Set"); err != nil {
		return err
	}
	_ = e.long(1)
	if err := e.symbol("@hash"); err != nil {
		return err
	}
	e.count++
	e.out = append(e.out, '}')
	if err := e.long(len(s.Items)); err != nil {
		return err
	}
	for _, v := range s.Items {
		if err := e.value(v); err != nil {
			return err
		}
		e.bool(true)
	}
	e.bool(false)
	return nil
}
