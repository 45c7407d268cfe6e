package main

import (
	"bytes"
	"strings"
	"time"
)

// A payload is what is published: when, on the clock that all processes of a
// machine have in common, and some text.
type payload struct {
	At   int64  `json:"at,omitempty"` // nanoseconds; 0: it is not timed
	Text string `json:"text"`
}

const text = "a message of an ordinary size, for a chat between people who write to each other"

func timed() payload { return payload{At: time.Now().UnixNano(), Text: text} }

// bulky are a client's that may stop reading.
func bulky() payload { return payload{Text: strings.Repeat("x", 64<<10)} }

// A delivery is a message as a client reads it.
type delivery struct{ id, at int64 }

var (
	beforeID = []byte(`"message_id":`)
	beforeAt = []byte(`"data":{"at":`)
)

// deliveries calls f for each timed message in a line of an answer. Status
// messages, and those that are not timed, are left out.
func deliveries(line []byte, f func(delivery)) {
	for {
		_, rest, found := bytes.Cut(line, beforeID)
		if !found {
			return
		}
		id, rest := number(rest)
		next := bytes.Index(rest, beforeID)
		if next < 0 {
			next = len(rest)
		}
		if _, after, timed := bytes.Cut(rest[:next], beforeAt); timed {
			at, _ := number(after)
			f(delivery{id, at})
		}
		line = rest
	}
}

// number reads a number that begins b, 0 if there is none.
func number(b []byte) (n int64, rest []byte) {
	for i, c := range b {
		if c < '0' || c > '9' {
			return n, b[i:]
		}
		n = 10*n + int64(c-'0')
	}
	return n, nil
}
