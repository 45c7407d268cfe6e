// Package rubymarshal reads and writes Ruby's Marshal format, version 4.8, as
// far as plain data go: what a Ruby process may put into a distributed cache.
//
// The Go types of Ruby's values:
//
//	nil, true, false    nil, bool
//	Integer             int64, or *big.Int where it does not fit
//	Float               float64
//	String, Symbol      *String, Symbol
//	Array, Hash, Set    *Array, *Hash, *Set
//
// Values that are shared in Ruby are shared in Go: two links to one array are
// one *Array. Everything else that Marshal can hold (objects, structs, classes,
// regular expressions, subclasses, instance variables) is refused with an error
// that names it. Blobs are foreign input: no size in them is believed.
package rubymarshal

import (
	"encoding/binary"
	"fmt"
	"unicode/utf16"
	"unicode/utf8"
)

// A Symbol is a Ruby symbol, in UTF-8.
type Symbol string

// A String is a Ruby string: bytes, and how they are to be read.
type String struct {
	Bytes    []byte
	Encoding string // Ruby's name for it: UTF-8, US-ASCII, ASCII-8BIT (no text), Shift_JIS, …
}

// An Array is a Ruby array.
type Array struct{ Items []any }

// A Hash is a Ruby hash, in its order.
type Hash struct {
	Pairs   []Pair
	Default any // what a missing key reads as
}

// A Pair is a key and a value of a Hash.
type Pair struct{ Key, Value any }

// A Set is a Ruby set, in its order.
type Set struct{ Items []any }

// Ruby's names of the encodings that need no name in a blob, or that Text reads.
const (
	UTF8    = "UTF-8"
	ASCII   = "US-ASCII"
	Binary  = "ASCII-8BIT"
	latin1  = "ISO-8859-1"
	utf16LE = "UTF-16LE"
	utf16BE = "UTF-16BE"
	utf32LE = "UTF-32LE"
	utf32BE = "UTF-32BE"
)

// NewString returns a string in UTF-8.
func NewString(text string) *String { return &String{Bytes: []byte(text), Encoding: UTF8} }

// Text returns a string in UTF-8. It fails for bytes that are no text in their
// encoding, and for encodings that need tables: only Unicode's, ASCII, Latin-1
// and binary strings that are valid UTF-8 are read.
func (s *String) Text() (string, error) {
	var text string
	ok := true
	switch s.Encoding {
	case UTF8, ASCII, Binary:
		text, ok = string(s.Bytes), utf8.Valid(s.Bytes)
	case latin1:
		text = fromLatin1(s.Bytes)
	case utf16LE:
		text, ok = fromUTF16(s.Bytes, binary.LittleEndian)
	case utf16BE:
		text, ok = fromUTF16(s.Bytes, binary.BigEndian)
	case utf32LE:
		text, ok = fromUTF32(s.Bytes, binary.LittleEndian)
	case utf32BE:
		text, ok = fromUTF32(s.Bytes, binary.BigEndian)
	default:
		return "", fmt.Errorf("a string in the encoding %q, which is not read; UTF-8 is", s.Encoding)
	}
	if !ok {
		return "", fmt.Errorf("a string of %d bytes that are not valid %s text", len(s.Bytes), s.Encoding)
	}
	return text, nil
}

func fromLatin1(b []byte) string {
	runes := make([]rune, len(b))
	for i, c := range b {
		runes[i] = rune(c)
	}
	return string(runes)
}

func fromUTF16(b []byte, order binary.ByteOrder) (string, bool) {
	units := make([]uint16, 0, len(b)/2)
	for ; len(b) >= 2; b = b[2:] {
		units = append(units, order.Uint16(b))
	}
	text := make([]rune, 0, len(units))
	for i := 0; i < len(units); i++ {
		r := rune(units[i])
		if utf16.IsSurrogate(r) {
			if i++; i == len(units) {
				return "", false
			}
			if r = utf16.DecodeRune(r, rune(units[i])); r == utf8.RuneError {
				return "", false
			}
		}
		text = append(text, r)
	}
	return string(text), len(b) == 0
}

func fromUTF32(b []byte, order binary.ByteOrder) (string, bool) {
	text := make([]rune, 0, len(b)/4)
	for ; len(b) >= 4; b = b[4:] {
		r := rune(order.Uint32(b))
		if !utf8.ValidRune(r) {
			return "", false
		}
		text = append(text, r)
	}
	return string(text), len(b) == 0
}
