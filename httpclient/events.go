package httpclient

import (
	"bytes"
	"fmt"
	"strconv"
	"time"
)

// An eventSink takes what stands in a stream of server-sent events.
type eventSink interface {
	// event takes an event. The bytes are the parser's.
	event(e *event) error

	// beat takes a sign of life.
	beat()
}

// An event is one of a stream, as far as it matters here.
type event struct {
	hasID   bool
	hasData bool
	data    []byte
	retry   time.Duration // when the server wants to be asked again; 0: it does not say
}

// An eventParser takes the events out of the bytes of a stream, however they are split
// (WHATWG HTML, section 9.2.6).
type eventParser struct {
	most   int // bytes of one line, and of the data of one event
	sink   eventSink
	line   []byte // as far as it has come
	ended  bool   // the last byte was a carriage return
	next   event
	events int
}

// feed implements reader.
func (p *eventParser) feed(b []byte) error {
	for len(b) > 0 {
		if p.ended && b[0] == '\n' {
			b = b[1:]
		}
		p.ended = false
		i := bytes.IndexAny(b, "\r\n")
		if i < 0 {
			p.line = append(p.line, b...)
			return p.checkSize()
		}
		p.line = append(p.line, b[:i]...)
		p.ended = b[i] == '\r'
		b = b[i+1:]
		if err := p.takeLine(); err != nil {
			return err
		}
	}
	return nil
}

// end implements reader. An event that has begun is dropped.
func (p *eventParser) end() error {
	if p.events == 0 {
		return &malformed{"the answer", "it has ended before its first event"}
	}
	return nil
}

func (p *eventParser) checkSize() error {
	if len(p.line) > p.most || len(p.next.data) > p.most {
		return &malformed{"the answer", fmt.Sprintf("an event is longer than the %d bytes of MaxMessageBytes", p.most)}
	}
	return nil
}

func (p *eventParser) takeLine() error {
	err := p.checkSize()
	if err == nil {
		err = p.field()
	}
	if p.line = p.line[:0]; cap(p.line) > mostBuffer {
		p.line = nil // or an idle client would keep its longest event
	}
	return err
}

func (p *eventParser) field() error {
	if len(p.line) == 0 {
		return p.dispatch()
	}
	name, value, _ := bytes.Cut(p.line, []byte(":"))
	value = bytes.TrimPrefix(value, []byte(" "))
	switch string(name) {
	case "": // a comment
		p.sink.beat()
	case "id":
		p.next.hasID = true
	case "data":
		if p.next.hasData {
			p.next.data = append(p.next.data, '\n')
		}
		p.next.data, p.next.hasData = append(p.next.data, value...), true
	case "retry":
		if ms, err := strconv.ParseUint(string(value), 10, 31); err == nil {
			p.next.retry = time.Duration(ms) * time.Millisecond
		}
	}
	return p.checkSize()
}

func (p *eventParser) dispatch() error {
	e := p.next
	if p.next = (event{data: e.data[:0]}); cap(e.data) > mostBuffer {
		p.next.data = nil
	}
	if !e.hasID && !e.hasData && e.retry == 0 {
		return nil // the end of a comment
	}
	p.events++
	return p.sink.event(&e)
}

// event implements eventSink. The backlog is a part, which ends with the event that says
// when to ask again, and so is each event after it.
func (r *run) event(e *event) error {
	if e.hasData {
		m, err := parseMessage(e.data)
		if err == nil {
			err = r.take(&m)
		}
		if err == nil {
			err = r.takeLate(!e.hasID) // who comes late has no id of its own
		}
		if err != nil {
			return err
		}
	}
	if e.retry > 0 {
		r.retry = e.retry
	}
	if r.retry == 0 {
		return nil
	}
	return r.partEnd()
}

// beat implements eventSink.
func (r *run) beat() {
	now := time.Now()
	if !r.lastBeat.IsZero() {
		r.client.patience.learnBeat(now.Sub(r.lastBeat))
	}
	r.lastBeat = now
}
