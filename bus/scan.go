package bus

import (
	"bytes"
	"encoding/json"
	"strconv"
	"strings"
	"unicode/utf8"
)

// A scanner reads the JSON that publishers write nearly always, in one pass. It
// never accepts what encoding/json and checkJSON refuse. What it does not
// accept may be good all the same, and is for them to judge: white space,
// numbers with an exponent, surrogates in escapes.
type scanner struct {
	text []byte
	at   int // of what is read next
}

// surelyFit reports whether b is a payload as it should be stored, compact and
// nested no deeper than most. false: it must be looked at closely.
func surelyFit(b []byte, most int) bool {
	s := scanner{text: b}
	return s.value(most) && s.at == len(b)
}

// longestNumber cannot overflow a double without an exponent: bytes.
const longestNumber = 300

// The methods report whether what they are named after stood there, and are
// then behind it.

// value may be nested so deep.
func (s *scanner) value(deep int) bool {
	if s.at >= len(s.text) {
		return false
	}
	switch s.text[s.at] {
	case '"':
		return s.string()
	case '{':
		return deep > 0 && s.members('}', func() bool { return s.string() && s.byte(':') && s.value(deep-1) })
	case '[':
		return deep > 0 && s.members(']', func() bool { return s.value(deep - 1) })
	case 't':
		return s.literal("true")
	case 'f':
		return s.literal("false")
	case 'n':
		return s.literal("null")
	default:
		return s.number()
	}
}

// members are those of an object or an array, with its ends.
func (s *scanner) members(end byte, one func() bool) bool {
	s.at++
	if s.byte(end) {
		return true
	}
	for one() {
		if !s.byte(',') {
			return s.byte(end)
		}
	}
	return false
}

func (s *scanner) byte(c byte) bool {
	if s.at >= len(s.text) || s.text[s.at] != c {
		return false
	}
	s.at++
	return true
}

func (s *scanner) literal(word string) bool {
	if !bytes.HasPrefix(s.text[s.at:], []byte(word)) {
		return false
	}
	s.at += len(word)
	return true
}

func (s *scanner) number() bool {
	begin := s.at
	s.byte('-')
	if !s.byte('0') && !s.digits() {
		return false
	}
	if s.byte('.') && !s.digits() {
		return false
	}
	exponent := s.at < len(s.text) && s.text[s.at]|0x20 == 'e'
	return !exponent && s.at-begin < longestNumber
}

// digits are one or more.
func (s *scanner) digits() bool {
	begin := s.at
	for s.at < len(s.text) && '0' <= s.text[s.at] && s.text[s.at] <= '9' {
		s.at++
	}
	return s.at > begin
}

// plain are the bytes that stand for themselves in a string.
var plain = func() (table [256]bool) {
	for c := byte(' '); c < utf8.RuneSelf; c++ {
		table[c] = c != '"' && c != '\\'
	}
	return table
}()

func plainLength(b []byte) int {
	for i, c := range b {
		if !plain[c] {
			return i
		}
	}
	return len(b)
}

func (s *scanner) string() bool {
	if !s.byte('"') {
		return false
	}
	for {
		s.at += plainLength(s.text[s.at:])
		switch {
		case s.byte('"'):
			return true
		case !s.escape() && !s.rune():
			return false
		}
	}
}

func (s *scanner) escape() bool {
	if len(s.text)-s.at < 2 || s.text[s.at] != '\\' {
		return false
	}
	switch s.text[s.at+1] {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		s.at += 2
		return true
	case 'u':
		return s.hex()
	default:
		return false
	}
}

// hex is an escape by number that stands for a character of its own.
func (s *scanner) hex() bool {
	const length = len(`\u0000`)
	if len(s.text)-s.at < length {
		return false
	}
	r := rune(0)
	for _, c := range s.text[s.at+2 : s.at+length] {
		digit := strings.IndexByte("0123456789abcdef", c|0x20)
		if digit < 0 || c < '0' {
			return false
		}
		r = r<<4 | rune(digit)
	}
	if !utf8.ValidRune(r) { // half of a surrogate pair
		return false
	}
	s.at += length
	return true
}

// rune is a character beyond ASCII.
func (s *scanner) rune() bool {
	r, size := utf8.DecodeRune(s.text[s.at:])
	if r < utf8.RuneSelf || r == utf8.RuneError && size <= 1 {
		return false
	}
	s.at += size
	return true
}

// scanEnvelope reads an envelope as Publish and the gem write it.
func scanEnvelope(b []byte) (payload json.RawMessage, to targets, ok bool) {
	s := scanner{text: b}
	if !s.literal(envelopeStart) || !s.value(maxDepth) {
		return nil, targets{}, false
	}
	payload = b[len(envelopeStart):s.at]
	ok = s.literal(envelopeUsers) && scanList(&s, &to.users, s.id) &&
		s.literal(envelopeGroups) && scanList(&s, &to.groups, s.id) &&
		s.literal(envelopeClients) && scanList(&s, &to.clients, s.plainText) &&
		s.literal(envelopeEnd) && s.at == len(b)
	return payload, to, ok
}

// scanList reads a list or null.
func scanList[T any](s *scanner, list *[]T, one func() (T, bool)) bool {
	if s.literal("null") {
		return true
	}
	if s.at >= len(s.text) || s.text[s.at] != '[' {
		return false
	}
	*list = []T{}
	return s.members(']', func() bool {
		element, ok := one()
		*list = append(*list, element)
		return ok
	})
}

// id is an integer or a string.
func (s *scanner) id() (ID, bool) {
	if text, ok := s.plainText(); ok {
		return StringID(text), true
	}
	begin := s.at
	if !s.number() {
		return ID{}, false
	}
	n, err := strconv.ParseInt(string(s.text[begin:s.at]), 10, 64)
	return IntID(n), err == nil
}

// plainText is a string without escapes.
func (s *scanner) plainText() (string, bool) {
	begin := s.at
	if !s.string() {
		s.at = begin
		return "", false
	}
	inside := s.text[begin+1 : s.at-1]
	return string(inside), bytes.IndexByte(inside, '\\') < 0
}
