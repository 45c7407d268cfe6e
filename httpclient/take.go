package httpclient

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
)

// A lateMessage came behind others with higher ids, or comes again.
type lateMessage struct {
	to      *Subscription
	message Message
	dropped int64 // not 0: those with ids from the message's to this one were too many to keep
}

// mostLate is how many of them are kept of one part, of MaxMessageBytes together.
const mostLate = 64

// vouched reports whether the server is one of this project, which tells resets itself.
func (r *run) vouched() bool { return r.epoch != "" }

// mostEpoch is how long the name of an epoch may be. It is kept for each subscription, and
// goes into each request.
const mostEpoch = 256

// head takes what the head of the answer tells.
func (r *run) head(header http.Header) error {
	r.epoch = header.Get(epochHeader)
	if len(r.epoch) > mostEpoch {
		return excerpted("the name of an epoch is too long", []byte(r.epoch))
	}
	refused := refusedChannels(header.Get(refusedHeader))
	for _, s := range r.subscriptions() {
		r.wanting = !s.place.meet(r.epoch) || r.wanting
		was := s.refused
		s.refused = refused[s.channel]
		if s.refused && !was {
			s.offer(item{err: &RefusedError{s.channel}}, s.place, r.stop)
		}
	}
	return nil
}

// refusedChannels reads the list of those that the client may not have.
func refusedChannels(list string) map[string]bool {
	names := make(map[string]bool)
	for name := range strings.SplitSeq(list, ",") {
		if name, err := url.QueryUnescape(strings.TrimSpace(name)); err == nil {
			names[name] = true
		}
	}
	return names
}

func (r *run) subscriptions() []*Subscription {
	r.client.mu.Lock()
	defer r.client.mu.Unlock()
	return r.client.subs
}

// message implements sink.
func (r *run) message(raw []byte) error {
	m, err := parseMessage(raw)
	if err != nil {
		return err
	}
	return r.take(&m)
}

// partEnd implements sink.
func (r *run) partEnd() error {
	r.begin()
	if err := r.takeLate(false); err != nil {
		return err
	}
	r.watch.endFirst()
	r.client.countGood()
	if r.parts++; r.parts == 1 {
		r.endBacklog()
	}
	if r.wanting {
		return errWanting
	}
	return nil
}

func (r *run) endBacklog() {
	for _, s := range r.subscriptions() {
		next := s.place
		if next.endBacklog() {
			s.move(next)
			r.moved = true
		}
	}
}

// take hands on what one message brings.
func (r *run) take(m *wireMessage) error {
	if string(m.channel) == gapChannel {
		return r.takeGaps(m.data)
	}
	r.begin()
	switch {
	case string(m.channel) == statusChannel:
		return r.takeStatus(m.data)
	case m.id >= 0 && m.globalID >= 0:
		return r.takeMessage(m)
	case bytes.HasPrefix(m.channel, []byte("/__")):
		return nil // of a newer server
	}
	return excerpted("a message has an id below 0", m.channel)
}

// begin is called when the gaps that come first have been told.
func (r *run) begin() {
	if r.begun {
		return
	}
	r.begun = true
	for _, s := range r.subscriptions() {
		s.place.begin(r.epoch)
	}
}

func (r *run) takeMessage(m *wireMessage) error {
	subs := r.client.subscriptionsTo(m.channel)
	if len(subs) == 0 && !r.plan.asks(m.channel) {
		r.reportOdd(excerpted("there is a message of a channel that was not asked for", m.channel))
	}
	told := false
	for _, s := range subs {
		if r.passes(s, m.id) {
			continue
		}
		v := s.place.judge(m.id, m.globalID, r.vouched())
		if v == seen {
			s.place.arrive(m.globalID)
			continue
		}
		message := Message{Channel: s.channel, ID: m.id, GlobalID: m.globalID, Data: bytes.Clone(m.data)}
		if v == doubtful {
			r.keepLate(s, message)
			continue
		}
		if v == restarted {
			r.gap(s, &GapError{s.channel, s.place.wire, m.id, GapReset}, s.place, &told)
		}
		next := s.place
		next.take(m.id, m.globalID, r.vouched())
		next.arrive(m.globalID)
		if s.offer(item{message: message}, next, r.stop) {
			r.moved = true
		}
	}
	return r.goOn()
}

// passes has a subscription ask for itself that the answer passes.
func (r *run) passes(s *Subscription, id int64) bool {
	if !r.vouched() || !s.place.passes(id) {
		return false
	}
	s.place.askAlone()
	r.wanting = true
	return true
}

// goOn returns an error when the client is to stop.
func (r *run) goOn() error {
	select {
	case <-r.stop:
		return errStopped
	default:
		return nil
	}
}

// gap tells a subscription of a gap, behind which it stands at next. Callbacks of one
// channel are told once.
func (r *run) gap(s *Subscription, e *GapError, next place, told *bool) {
	if s.fn != nil && *told {
		s.move(next)
		return
	}
	*told = *told || s.fn != nil
	s.offer(item{err: e}, next, r.stop)
}

// keepLate keeps a message until the part is over: a status then says whether it is late.
func (r *run) keepLate(s *Subscription, m Message) {
	if r.statuses == nil {
		r.statuses = make(map[string]int64)
	}
	r.lateBytes += len(m.Data)
	if len(r.late) < mostLate && r.lateBytes <= r.client.options.MaxMessageBytes {
		r.late = append(r.late, lateMessage{to: s, message: m})
		return
	}
	for i := range r.late {
		if l := &r.late[i]; l.to == s && l.dropped != 0 {
			l.message.ID, l.dropped = min(l.message.ID, m.ID), max(l.dropped, m.ID)
			return
		}
	}
	m.Data = nil
	r.late = append(r.late, lateMessage{to: s, message: m, dropped: m.ID})
}

// takeLate hands on messages behind which the server puts the channel back to where the
// subscription stands, or all. The others come again.
func (r *run) takeLate(all bool) error {
	for _, l := range r.late {
		at, told := r.statuses[l.message.Channel]
		if !all && (!told || at != l.to.place.wire) {
			continue
		}
		it := item{message: l.message}
		if l.dropped != 0 {
			it = item{err: &GapError{l.message.Channel, l.message.ID - 1, l.dropped + 1, GapPossible}}
		}
		if l.to.offer(it, l.to.place, r.stop) {
			l.to.place.takeLate(l.message.GlobalID)
			r.moved = true
		}
	}
	r.late, r.lateBytes, r.statuses = nil, 0, nil
	return r.goOn()
}

func (r *run) takeStatus(data []byte) error {
	var stands map[string]int64
	if json.Unmarshal(data, &stands) != nil { // it may have read some of it
		r.reportOdd(excerpted("a status cannot be read", data))
	}
	for channel, last := range stands {
		subs := r.client.subscriptionsTo([]byte(channel))
		if r.statuses != nil && len(subs) > 0 {
			r.statuses[channel] = last
		}
		told := false
		for _, s := range subs {
			if !r.passes(s, last) {
				r.settle(s, max(last, 0), &told)
			}
		}
	}
	return r.goOn()
}

func (r *run) settle(s *Subscription, last int64, told *bool) {
	next := s.place
	settled, reset := next.settle(last, r.vouched())
	switch {
	case reset:
		r.gap(s, &GapError{s.channel, s.place.wire, last + 1, GapReset}, next, told)
	case settled:
		s.move(next)
	}
	r.moved = r.moved || settled
}

// A wireGap is what a server tells of a channel.
type wireGap struct {
	After  int64     `json:"after"`
	Next   int64     `json:"next"`
	Reason GapReason `json:"reason"`
	Epoch  string    `json:"epoch"`
}

func (r *run) takeGaps(data []byte) error {
	var gaps map[string]wireGap
	if err := json.Unmarshal(data, &gaps); err != nil {
		return excerpted("a gap cannot be read", data) // to go on would be a loss in silence
	}
	for channel, g := range gaps {
		if len(g.Epoch) > mostEpoch {
			return excerpted("the name of an epoch is too long", []byte(g.Epoch))
		}
		told := false
		for _, s := range r.client.subscriptionsTo([]byte(channel)) {
			r.takeGap(s, g, &told)
		}
	}
	return r.goOn()
}

func (r *run) takeGap(s *Subscription, g wireGap, told *bool) {
	if s.place.reach == unserved {
		return
	}
	next := s.place
	next.enter(g.Epoch)
	switch {
	case g.Reason == GapFailover && s.place.reach == further:
		s.place.askAlone() // it may have seen what the new server lacks
		r.wanting = true
		return
	case g.Reason == GapReset:
		next.restart(g.Next)
	case g.Reason == GapFailover:
		next.goBack(g.Next)
	case s.place.reach == further && g.Next <= s.place.wire+1: // it has what is lost to others
		s.move(next)
		return
	}
	e := &GapError{s.channel, g.After, g.Next, g.Reason}
	if s.place.wire >= 0 {
		e.After = max(s.place.wire, 0)
	}
	r.gap(s, e, next, told)
	r.moved = true
}

// reportOdd reports what is passed over, once in an answer.
func (r *run) reportOdd(problem *malformed) {
	if !r.odd {
		r.odd = true
		r.client.report(&AnswerError{URL: r.client.shown, Problem: problem.Error()})
	}
}
