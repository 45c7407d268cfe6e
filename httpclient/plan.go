package httpclient

import (
	"encoding/json"
	"net/url"
	"strconv"
)

// What stands in a request beside the channels. To a Ruby server the positions are
// a channel on which there is nothing.
const (
	sequenceField  = "__seq"
	positionsField = "__pos"
)

// A plan is what one request asks for.
type plan struct {
	fields []field

	// lookUp: some subscription is not served, or only finds out where its channel
	// stands. The request is to be answered at once, and the next to follow it.
	lookUp bool
}

// A field is a channel of a request.
type field struct {
	channel string
	from    Position
}

// planFor decides on one position for each channel, in the order in which they were
// subscribed, and aims every subscription at it.
func planFor(subs []*Subscription) plan {
	var p plan
	chosen := make([]*place, 0, len(subs))
	at := make(map[string]int, len(subs))
	for _, s := range subs {
		i, named := at[s.channel]
		switch {
		case !named:
			at[s.channel] = len(chosen)
			p.fields = append(p.fields, field{channel: s.channel})
			chosen = append(chosen, &s.place)
		case s.place.comesFirst(chosen[i]):
			chosen[i] = &s.place
		}
	}
	for i := range p.fields {
		p.fields[i].from = chosen[i].position()
	}
	for _, s := range subs {
		s.place.aim(p.fields[at[s.channel]].from)
		p.lookUp = p.lookUp || s.place.looksUp() || s.place.reach == unserved
	}
	return p
}

// asks reports whether a channel was asked for.
func (p *plan) asks(channel []byte) bool {
	for i := range p.fields {
		if p.fields[i].channel == string(channel) {
			return true
		}
	}
	return false
}

// body is the plan as the JSON of a request.
func (p *plan) body(sequence int64) []byte {
	b := []byte{'{'}
	for i := range p.fields {
		b = strconv.AppendInt(append(appendText(b, p.fields[i].channel), ':'), p.fields[i].from.id, 10)
		b = append(b, ',')
	}
	b = strconv.AppendInt(append(appendText(b, sequenceField), ':'), sequence, 10)
	b = append(appendText(append(b, ','), positionsField), ':')
	return append(appendText(b, p.positions()), '}')
}

// query is the plan as the query of an address.
func (p *plan) query(sequence int64) string {
	var b []byte
	for i := range p.fields {
		b = append(append(b, url.QueryEscape(p.fields[i].channel)...), '=')
		b = append(strconv.AppendInt(b, p.fields[i].from.id, 10), '&')
	}
	b = strconv.AppendInt(append(b, sequenceField+"="...), sequence, 10)
	b = append(b, "&"+positionsField+"="...)
	return string(append(b, url.QueryEscape(p.positions())...))
}

// positions are what else is known of where the channels stand: a tilde, and a JSON
// object of epochs, each of channels and global ids. Whoever sends it is told of gaps.
func (p *plan) positions() string {
	epochs := make(map[string]map[string]int64)
	for i := range p.fields {
		from := &p.fields[i].from
		if from.epoch == "" || from.id < 0 {
			continue
		}
		if epochs[from.epoch] == nil {
			epochs[from.epoch] = make(map[string]int64)
		}
		epochs[from.epoch][p.fields[i].channel] = from.globalID
	}
	return "~" + string(encode(epochs))
}

func appendText(b []byte, text string) []byte { return append(b, encode(text)...) }

// encode returns the JSON of a value that always has one.
func encode(v any) []byte {
	b, _ := json.Marshal(v) //nolint:errchkjson // texts and numbers
	return b
}
