package cache

import (
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"strings"
)

// channel is where all caches of all peers speak (message_bus 4.5.2,
// lib/message_bus/distributed_cache.rb).
const channel = "/distributed_hash"

// An Op is what an operation does.
type Op string

// The operations. The first three travel between peers; OpDrop is a cache's own.
const (
	OpSet    Op = "set"
	OpDelete Op = "delete"
	OpClear  Op = "clear"
	OpDrop   Op = "drop" // everything was let go of, because changes may have been missed
)

// operation is what travels: the members that a peer sent, in JSON.
type operation struct {
	Op         Op
	Key        json.RawMessage
	Value      json.RawMessage
	Marshalled bool
	Origin     string // of the peer's cache; empty where it is no string
	name       json.RawMessage
	version    json.RawMessage
}

// outgoing has the members in the gem's order.
type outgoing struct {
	Op         Op              `json:"op"`
	Key        json.RawMessage `json:"key,omitempty"`
	Value      json.RawMessage `json:"value,omitempty"`
	Marshalled *bool           `json:"marshalled,omitempty"`
	Origin     string          `json:"origin"`
	Name       string          `json:"hash_key"`
	AppVersion json.RawMessage `json:"app_version,omitempty"`
}

var errNotObject = errors.New("the payload is not a JSON object")

// parseOperation reads the payload of a message, which is valid JSON. A member
// that is missing is null; of equal ones the last counts; others are ignored.
func parseOperation(data json.RawMessage) (operation, error) {
	null := json.RawMessage("null")
	o := operation{Key: null, Value: null, name: null, version: null}
	isObject := eachMember(data, func(name, value []byte) {
		switch string(name) {
		case "op":
			text, _ := unquote(value)
			o.Op = Op(text)
		case "key":
			o.Key = value
		case "value":
			o.Value = value
		case "marshalled":
			o.Marshalled = string(value) != "false" && string(value) != "null" // as Ruby judges truth
		case "origin":
			o.Origin, _ = unquote(value)
		case "hash_key":
			o.name = value
		case "app_version":
			o.version = value
		}
	})
	if !isObject {
		return o, fmt.Errorf("%w: %s", errNotObject, shorten(string(data)))
	}
	return o, nil
}

// eachMember calls f with the name and the value of each member of an object,
// both as they are written; false where data are no object. data must be valid
// JSON.
func eachMember(data []byte, f func(name, value []byte)) bool {
	s := scanner{data: data}
	if !s.skip('{') {
		return false
	}
	for !s.skip('}') {
		name := s.value()
		s.skip(':')
		value := s.value()
		s.skip(',')
		if len(name) < 2 || len(value) == 0 {
			return false
		}
		text := name[1 : len(name)-1]
		if unquoted, ok := unquote(name); ok && len(unquoted) != len(text) {
			text = []byte(unquoted)
		}
		f(text, value)
	}
	return true
}

// scanner cuts JSON into values without looking into them.
type scanner struct {
	data []byte
	at   int
}

func (s *scanner) space() {
	for s.at < len(s.data) && (s.data[s.at] == ' ' || s.data[s.at] == '\n' || s.data[s.at] == '\t' || s.data[s.at] == '\r') {
		s.at++
	}
}

// skip passes white space and then c, if it is there.
func (s *scanner) skip(c byte) bool {
	s.space()
	if s.at < len(s.data) && s.data[s.at] == c {
		s.at++
		return true
	}
	return false
}

// value passes one value and returns it; empty where the data end before.
func (s *scanner) value() []byte {
	s.space()
	start, depth := s.at, 0
	for s.at < len(s.data) {
		switch c := s.data[s.at]; c {
		case '"':
			s.string()
		case '[', '{':
			depth++
			s.at++
		case ']', '}':
			depth--
			s.at++
		case ',', ':', ' ', '\n', '\t', '\r':
			s.at++
			continue // the end of a number is found below
		default:
			s.word()
		}
		if depth <= 0 {
			return s.data[start:s.at]
		}
	}
	return nil
}

// string passes a string.
func (s *scanner) string() {
	for s.at++; s.at < len(s.data); s.at++ {
		switch s.data[s.at] {
		case '\\':
			s.at++
		case '"':
			s.at++
			return
		}
	}
	s.at = len(s.data)
}

// word passes a number, true, false or null, or one byte of something else.
func (s *scanner) word() {
	for s.at++; s.at < len(s.data); s.at++ {
		c := s.data[s.at]
		if (c < '0' || c > '9') && (c|0x20 < 'a' || c|0x20 > 'z') && c != '+' && c != '-' && c != '.' {
			return
		}
	}
}

// address is by which operations are told from those of other caches.
type address struct {
	name    string
	quoted  string          // name as JSON
	version json.RawMessage // canonical; nil: any
	parsed  any             // version
}

func newAddress(name string, version any) (address, error) {
	a := address{name: name, quoted: string(quote(name))}
	if version == nil {
		return a, nil
	}
	text, err := json.Marshal(version)
	if err != nil {
		return a, fmt.Errorf("AppVersion %v: %w", version, err)
	}
	switch a.parsed, err = parseJSON(text); a.parsed.(type) {
	case string, int64, *big.Int, float64:
	default:
		return a, fmt.Errorf("AppVersion is %v; it must be a string or a number (%w)", version, errors.Join(errors.ErrUnsupported, err))
	}
	a.version = appendCanonical(nil, a.parsed)
	return a, nil
}

// takes reports whether an operation is for a cache of this name and version.
func (a address) takes(o operation) bool {
	if string(o.name) != a.quoted {
		if name, ok := unquote(o.name); !ok || name != a.name {
			return false
		}
	}
	return a.version == nil || a.sameVersion(o.version)
}

// sameVersion compares as Ruby's == does: 7 is 7.0, and never "7".
func (a address) sameVersion(raw json.RawMessage) bool {
	v, err := parseJSON(raw)
	if err != nil {
		return false
	}
	x, isNumber := number(a.parsed)
	y, areNumbers := number(v)
	if isNumber && areNumbers {
		return x.Cmp(y) == 0
	}
	s, isString := v.(string)
	return isString && s == a.parsed
}

func number(v any) (*big.Float, bool) {
	switch v := v.(type) {
	case int64:
		return new(big.Float).SetInt64(v), true
	case *big.Int:
		return new(big.Float).SetInt(v), true
	case float64:
		return big.NewFloat(v), true
	}
	return nil, false
}

// damagedOperation reads what it can of an envelope that is not valid JSON: a
// Ruby peer writes NaN, for one, which none can read. isOne is whether it begins
// like an operation, and key is the key that it names, nil where it cannot be
// read.
func damagedOperation(envelope []byte) (op Op, key json.RawMessage, isOne bool) {
	const start, next = `{"data":{"op":`, `,"key":`
	rest, isOne := strings.CutPrefix(string(envelope), start)
	if !isOne {
		return "", nil, false
	}
	s := scanner{data: []byte(rest)}
	text, _ := unquote(s.value())
	after, ok := strings.CutPrefix(rest[s.at:], next)
	if !ok {
		return Op(text), nil, true
	}
	s = scanner{data: []byte(after)}
	if key = s.value(); !json.Valid(key) {
		key = nil
	}
	return Op(text), key, true
}
