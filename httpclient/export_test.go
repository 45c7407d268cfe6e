package httpclient

import (
	"fmt"
	"time"
)

// Heard is what a parser has said.
type Heard []string

func (h *Heard) message(raw []byte) error {
	*h = append(*h, string(raw))
	return nil
}

func (h *Heard) partEnd() error {
	*h = append(*h, ".")
	return nil
}

func (h *Heard) event(e *event) error {
	*h = append(*h, fmt.Sprintf("%t %t %q %v", e.hasID, e.hasData, e.data, e.retry))
	return nil
}

func (h *Heard) beat() { *h = append(*h, ":") }

// Parse feeds pieces to the parser of an answer.
func Parse(most int, pieces ...[]byte) (Heard, error) {
	var h Heard
	err := feedAll(&parser{most: most, sink: &h}, pieces)
	return h, err
}

// ParseEvents feeds pieces to the parser of server-sent events.
func ParseEvents(most int, pieces ...[]byte) (Heard, error) {
	var h Heard
	err := feedAll(&eventParser{most: most, sink: &h}, pieces)
	return h, err
}

func feedAll(r reader, pieces [][]byte) error {
	for _, piece := range pieces {
		if err := r.feed(piece); err != nil {
			return err
		}
	}
	return r.end()
}

// ParseMessage returns the ids, channel and data of a message.
func ParseMessage(raw []byte) (globalID, id int64, channel, data string, err error) {
	m, err := parseMessage(raw)
	return m.globalID, m.id, string(m.channel), string(m.data), err
}

// Outcomes of a request.
const (
	Moved, Quiet, Buffered, Failed, Refused = moved, quiet, buffered, failed, refused
	Hold, Poll, LookUp                      = hold, poll, lookUp
)

// Schedule returns a function that decides when the next request goes out.
func Schedule(t Timing, random func() float64) func(o outcome, m mode, elapsed, wait time.Duration) time.Duration {
	s := &schedule{timing: &t, random: random}
	return func(o outcome, m mode, elapsed, wait time.Duration) time.Duration {
		return s.next(result{outcome: o, elapsed: elapsed, wait: wait}, m)
	}
}
