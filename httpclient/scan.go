package httpclient

import (
	"bytes"
	"strconv"
	"strings"
)

// A scanner reads a message as servers of this project and of the gem write it: without
// white space, its members in their order. It goes over the bytes once, where encoding/json
// goes over them twice before anything is known of them. It accepts nothing that encoding/json
// refuses; what it does not accept may be good all the same, and is looked at by parseMessage.
type scanner struct {
	text []byte
	at   int // of what is read next
}

// deepest is how deep data may be nested here: each level is a call.
const deepest = 100

func scanMessage(raw []byte) (m wireMessage, ok bool) {
	s := scanner{text: raw}
	ok = s.literal(`{"global_id":`) && s.id(&m.globalID) &&
		s.literal(`,"message_id":`) && s.id(&m.id) &&
		s.literal(`,"channel":`) && s.plainText(&m.channel) &&
		s.literal(`,"data":`) && s.data(&m.data) &&
		s.literal(`}`) && s.at == len(raw)
	return m, ok
}

// The methods report whether what they are named after stood there, and are then behind it.

func (s *scanner) literal(text string) bool {
	end := s.at + len(text)
	if end > len(s.text) || string(s.text[s.at:end]) != text {
		return false
	}
	s.at = end
	return true
}

func (s *scanner) byte(c byte) bool {
	if s.at >= len(s.text) || s.text[s.at] != c {
		return false
	}
	s.at++
	return true
}

func (s *scanner) id(id *int64) (ok bool) {
	begin := s.at
	if !s.number() {
		return false
	}
	*id, ok = wireID(s.text[begin:s.at])
	return ok
}

// plainText is a string without escapes.
func (s *scanner) plainText(text *[]byte) bool {
	begin := s.at + 1
	if !s.string() {
		return false
	}
	*text = s.text[begin : s.at-1]
	return bytes.IndexByte(*text, '\\') < 0
}

func (s *scanner) data(data *[]byte) bool {
	begin := s.at
	if !s.value(deepest) {
		return false
	}
	*data = s.text[begin:s.at]
	return true
}

func (s *scanner) value(deep int) bool {
	if s.at >= len(s.text) || deep == 0 {
		return false
	}
	switch s.text[s.at] {
	case '"':
		return s.string()
	case '{':
		return s.object(deep)
	case '[':
		return s.array(deep)
	case 't':
		return s.literal("true")
	case 'f':
		return s.literal("false")
	case 'n':
		return s.literal("null")
	}
	return s.number()
}

func (s *scanner) object(deep int) bool {
	s.at++
	if s.byte('}') {
		return true
	}
	for s.string() && s.byte(':') && s.value(deep-1) {
		if !s.byte(',') {
			return s.byte('}')
		}
	}
	return false
}

func (s *scanner) array(deep int) bool {
	s.at++
	if s.byte(']') {
		return true
	}
	for s.value(deep - 1) {
		if !s.byte(',') {
			return s.byte(']')
		}
	}
	return false
}

// number is one without an exponent.
func (s *scanner) number() bool {
	s.byte('-')
	if !s.byte('0') && !s.digits() {
		return false
	}
	if s.byte('.') && !s.digits() {
		return false
	}
	return s.at == len(s.text) || s.text[s.at]|0x20 != 'e'
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
	for c := range table {
		table[c] = c >= ' ' && c != '"' && c != '\\'
	}
	return table
}()

func (s *scanner) string() bool {
	if !s.byte('"') {
		return false
	}
	for {
		for s.at < len(s.text) && plain[s.text[s.at]] {
			s.at++
		}
		switch {
		case s.byte('"'):
			return true
		case !s.escape():
			return false
		}
	}
}

func (s *scanner) escape() bool {
	if !s.byte('\\') || s.at >= len(s.text) {
		return false
	}
	c := s.text[s.at]
	s.at++
	if c == 'u' {
		return s.hex()
	}
	return strings.IndexByte(`"\/bfnrt`, c) >= 0
}

// hex is the number of an escape.
func (s *scanner) hex() bool {
	const digits = 4
	for range digits {
		if s.at >= len(s.text) || strings.IndexByte("0123456789abcdefABCDEF", s.text[s.at]) < 0 {
			return false
		}
		s.at++
	}
	return true
}

// wireID is an integer of at least -1.
func wireID(value []byte) (int64, bool) {
	n, err := strconv.ParseInt(string(value), 10, 64)
	return n, err == nil && n >= -1
}
