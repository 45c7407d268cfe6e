package bus

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
)

// An ID is a user or group id: an integer or a string, which keeps its JSON
// type, so that 1 and "1" are two users. It is comparable and can be the key
// of a map. The zero ID is JSON's null and means nobody.
//
// Messages of other publishers may carry floats and other JSON values as ids;
// they are kept, and compare as Ruby compares them (see SameUser).
type ID struct {
	kind idKind
	num  int64
	text string // a string's value; the JSON text of idFloat and idOther
}

type idKind uint8

const (
	idNull idKind = iota
	idInt
	idString
	idFloat
	idOther // any other JSON value: equal to its like, matched by no client
)

// IntID returns the ID for an integer.
func IntID(n int64) ID { return ID{kind: idInt, num: n} }

// StringID returns the ID for a string, which may be empty.
func StringID(s string) ID { return ID{kind: idString, text: s} }

// IsZero reports whether id is nobody's.
func (id ID) IsZero() bool { return id.kind == idNull }

// User returns id in the form in which user ids compare as Ruby's == has them:
// 7 and 7.0 are one user, "7" is another. Group ids compare as they are
// (Ruby's eql?: 3 is not 3.0).
func (id ID) User() ID {
	if id.kind != idFloat {
		return id
	}
	f, err := strconv.ParseFloat(id.text, 64)
	if err != nil {
		return id
	}
	if f == math.Trunc(f) && f >= -1<<63 && f < 1<<63 {
		return IntID(int64(f))
	}
	return ID{kind: idFloat, text: strconv.FormatFloat(f, 'g', -1, 64)}
}

// String returns the JSON form of id, for people and logs.
func (id ID) String() string { return string(id.appendJSON(nil)) }

// MarshalJSON implements json.Marshaler.
func (id ID) MarshalJSON() ([]byte, error) { return id.appendJSON(nil), nil }

func (id ID) appendJSON(b []byte) []byte {
	switch id.kind {
	case idInt:
		return strconv.AppendInt(b, id.num, 10)
	case idString:
		return appendJSONString(b, id.text)
	case idFloat, idOther:
		return append(b, id.text...)
	default:
		return append(b, "null"...)
	}
}

// UnmarshalJSON implements json.Unmarshaler. It takes any JSON value; whether
// a value may be published as a target is Publish's to decide.
func (id *ID) UnmarshalJSON(b []byte) error {
	b = bytes.TrimSpace(b)
	if len(b) == 0 {
		return errors.New("bus: id: empty; an id is an integer or a string")
	}
	switch c := b[0]; {
	case c == '"':
		var s string
		if err := json.Unmarshal(b, &s); err != nil {
			return fmt.Errorf("bus: id %s: %w", b, err)
		}
		*id = StringID(s)
	case c == 'n':
		*id = ID{}
	case c == '-' || c >= '0' && c <= '9':
		*id = numberID(string(b))
	default:
		*id = ID{kind: idOther, text: string(b)}
	}
	return nil
}

// numberID keeps the kind of a JSON number. An integer beyond 64 bits is kept
// as text: it equals its like only.
func numberID(s string) ID {
	if n, err := strconv.ParseInt(s, 10, 64); err == nil {
		return IntID(n)
	}
	if strings.ContainsAny(s, ".eE") {
		return ID{kind: idFloat, text: s}
	}
	return ID{kind: idOther, text: s}
}

// publishable reports whether id may be a target of a publish.
func (id ID) publishable() bool { return id.kind == idInt || id.kind == idString }
