package driver

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// A Message is one message as it is stored: Channel is the stored name, with
// its site, and Data the envelope, not decoded.
type Message struct {
	GlobalID, ID int64
	Channel      string
	Data         []byte
}

// pipeEscape stands for a pipe in the channel of an encoded message
// (message_bus 4.5.2, lib/message_bus/message.rb).
const pipeEscape = "$$123$$"

var errMissingSeparator = errors.New("fewer than three separators")

// Encode returns the stored form `<global id>|<message id>|<channel>|<data>`,
// in which every pipe of the channel is escaped.
func (m Message) Encode() []byte {
	channel := strings.ReplaceAll(m.Channel, "|", pipeEscape)
	const ids = len("-9223372036854775808|") * 2
	b := make([]byte, 0, ids+len(channel)+1+len(m.Data))
	b = strconv.AppendInt(b, m.GlobalID, 10)
	b = append(b, '|')
	b = strconv.AppendInt(b, m.ID, 10)
	b = append(b, '|')
	b = append(b, channel...)
	b = append(b, '|')
	return append(b, m.Data...)
}

// Decode reads the stored form as leniently as the gem does: ids as Ruby's
// to_i reads them, the escape of the pipe wherever it stands. Message.Data
// shares memory with b. Ids beyond 64 bits are cut to the nearest that fits.
func Decode(b []byte) (Message, error) {
	global, rest, ok1 := bytes.Cut(b, []byte{'|'})
	id, rest, ok2 := bytes.Cut(rest, []byte{'|'})
	channel, data, ok3 := bytes.Cut(rest, []byte{'|'})
	if !ok1 || !ok2 || !ok3 {
		return Message{}, fmt.Errorf("decode stored message %s: %w; the form is <global id>|<message id>|<channel>|<data>",
			quoteStart(b), errMissingSeparator)
	}
	return Message{
		GlobalID: parseID(global),
		ID:       parseID(id),
		Channel:  strings.ReplaceAll(string(channel), pipeEscape, "|"),
		Data:     data,
	}, nil
}

// parseID is ParseInt, without its price for what nearly all ids are: a few digits.
func parseID(b []byte) int64 {
	const surelyFits = 18 // digits
	if len(b) == 0 || len(b) > surelyFits {
		return ParseInt(string(b))
	}
	n := int64(0)
	for _, c := range b {
		if !isDigit(c) {
			return ParseInt(string(b))
		}
		n = 10*n + int64(c-'0')
	}
	return n
}

// quoteStart quotes the first bytes of a foreign value for an error.
func quoteStart(b []byte) string {
	const most = 40
	if len(b) <= most {
		return strconv.Quote(string(b))
	}
	return strconv.Quote(string(b[:most])) + "…"
}

// ParseInt reads an integer as Ruby's String#to_i does: leading white space, a
// sign, the prefix 0d, digits with single underscores between them, and whatever
// follows is ignored. Nothing to read is 0. Beyond 64 bits it is the largest or smallest
// number that fits.
func ParseInt(s string) int64 {
	s = strings.TrimLeft(s, " \t\n\v\f\r")
	sign := ""
	if s != "" && (s[0] == '-' || s[0] == '+') {
		sign, s = s[:1], s[1:]
	}
	if len(s) > 2 && (s[:2] == "0d" || s[:2] == "0D") && isDigit(s[2]) {
		s = s[2:]
	}
	n, _ := strconv.ParseInt(sign+leadingDigits(s), 10, 64) // on a range error n is the nearest
	return n
}

// leadingDigits returns the digits that s begins with, without its underscores
// and leading zeros: 20 at most, which is more than 64 bits can hold.
func leadingDigits(s string) string {
	digits := make([]byte, 0, 20)
	for i := 0; i < len(s) && len(digits) < cap(digits); i++ {
		switch {
		case s[i] == '0' && len(digits) == 0:
		case isDigit(s[i]):
			digits = append(digits, s[i])
		case s[i] == '_' && i > 0 && s[i-1] != '_':
		default:
			return string(digits)
		}
	}
	return string(digits)
}

func isDigit(c byte) bool { return c >= '0' && c <= '9' }
