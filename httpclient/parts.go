package httpclient

import (
	"fmt"
	"strconv"
)

// A sink takes what stands in an answer, in its order. An error ends the reading.
type sink interface {
	// message takes one message, as JSON that is yet to be checked. The bytes are
	// the parser's.
	message(raw []byte) error

	// partEnd says that all of a part was handed over.
	partEnd() error
}

// A parser takes the messages out of the bytes of an answer, however they are
// split. It takes an answer that is one JSON array as well as one that is many,
// with a separator between them. Each message is handed over as soon as its
// last byte has come, so that no part, however long, is held in memory: a
// backlog comes as one.
type parser struct {
	most    int // bytes of one message
	sink    sink
	state   parserState
	depth   int    // of the brackets that are open in the message
	text    bool   // inside a string of it
	escaped bool   // behind a backslash there
	begun   []byte // what has come of it
	parts   int    // that are over
}

// A parserState is where in an answer the parser is.
type parserState uint8

const (
	beforeArray parserState = iota
	beforeFirst             // message of an array
	inMessage
	afterMessage
	beforeNext
	afterArray
)

// A malformed is what makes bytes no answer of a message bus.
type malformed struct{ what, got string }

func (e *malformed) Error() string { return fmt.Sprintf("%s: %s", e.what, e.got) }

// excerpted is malformed with the beginning of what came.
func excerpted(what string, got []byte) *malformed {
	const most = 60
	if len(got) > most {
		return &malformed{what, strconv.Quote(string(got[:most])) + "…"}
	}
	return &malformed{what, strconv.Quote(string(got))}
}

// feed takes the next bytes. After an error the parser is of no use.
func (p *parser) feed(b []byte) error {
	for i := 0; i < len(b); {
		if p.state == inMessage {
			n, err := p.inside(b[i:])
			if err != nil {
				return err
			}
			i += n
			continue
		}
		if err := p.between(b[i:]); err != nil {
			return err
		}
		if p.state != inMessage { // whose first byte is its own
			i++
		}
	}
	return nil
}

// end says that no more bytes will come.
func (p *parser) end() error {
	switch {
	case p.state == beforeArray && p.parts == 0:
		return &malformed{"the answer", "it has ended before its first part"}
	case p.state == beforeArray, p.state == afterArray:
		return nil
	}
	return errBrokeOff
}

var errBrokeOff = &malformed{"the answer", "it has broken off inside a part"}

// between takes one byte that is not of a message.
func (p *parser) between(b []byte) error {
	c := b[0]
	if isSpace(c) {
		return nil
	}
	switch {
	case c == '[' && p.state == beforeArray:
		p.state = beforeFirst
	case c == '{' && (p.state == beforeFirst || p.state == beforeNext):
		p.state = inMessage
	case c == ',' && p.state == afterMessage:
		p.state = beforeNext
	case c == ']' && (p.state == beforeFirst || p.state == afterMessage):
		p.state = afterArray
		p.parts++
		return p.sink.partEnd()
	case c == '|' && p.state == afterArray:
		p.state = beforeArray
	default:
		return excerpted("the answer is no array of messages", b)
	}
	return nil
}

// inside takes bytes of a message, up to its end at most.
func (p *parser) inside(b []byte) (n int, err error) {
	end := p.endOfMessage(b)
	if size := len(p.begun) + end; size > p.most {
		return 0, &malformed{"the answer", fmt.Sprintf("a message is longer than the %d bytes of MaxMessageBytes", p.most)}
	}
	if p.depth > 0 {
		p.begun = append(p.begun, b[:end]...)
		return end, nil
	}
	raw := b[:end]
	if len(p.begun) > 0 {
		raw = append(p.begun, raw...)
		p.begun = nil // or an idle client would keep its longest message
	}
	p.state = afterMessage
	return end, p.sink.message(raw)
}

// endOfMessage returns how many bytes of b belong to the message; its end is
// among them if depth is 0 then.
func (p *parser) endOfMessage(b []byte) int {
	for i, c := range b {
		switch {
		case p.escaped:
			p.escaped = false
		case p.text:
			p.text, p.escaped = c != '"', c == '\\'
		case c == '"':
			p.text = true
		case c == '{' || c == '[':
			p.depth++
		case c == '}' || c == ']':
			if p.depth--; p.depth == 0 {
				return i + 1
			}
		}
	}
	return len(b)
}

func isSpace(c byte) bool { return c == ' ' || c == '\n' || c == '\r' || c == '\t' }
