package transport

import (
	"bytes"
	"encoding/json"
	"math"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/messagebus-go/messagebus/bus/driver"
)

// asksOf collects the channels of one body.
type asksOf struct {
	asks      []ask
	at        map[string]int // index in asks
	seq       int64
	positions string // the member for positions; empty: none
	limits    *LimitOptions
}

// seqField is the member of a body that is no channel.
const seqField = "__seq"

// parseBody reads the channels and what else the client says out of a body. The
// last of equal channels wins, at the place of the first.
func parseBody(method, contentType string, body []byte, limits *LimitOptions) (*asksOf, error) {
	all := &asksOf{at: make(map[string]int), limits: limits}
	var err error
	if strings.Contains(contentType, "application/json") { // anywhere and by case, as the gem does
		err = all.readJSON(body)
	} else {
		err = readParams(method, contentType, body, all.addField)
	}
	if err == nil {
		err = all.mark()
	}
	return all, err
}

// mark adds to the channels what the member for positions says of them.
func (all *asksOf) mark() error {
	if all.positions == "" {
		return nil
	}
	marks, err := parsePositions(all.positions)
	if err != nil {
		return err
	}
	for channel, m := range marks {
		if i, ok := all.at[channel]; ok {
			all.asks[i].mark = &m
		}
	}
	return nil
}

// add takes one channel. An empty name is no channel: nothing can be published
// on it.
func (all *asksOf) add(a ask) error {
	if a.channel == "" {
		return nil
	}
	if err := all.checkChannel(a.channel); err != nil {
		return err
	}
	if i, ok := all.at[a.channel]; ok {
		all.asks[i] = a
		return nil
	}
	if most := all.limits.MaxChannels; len(all.asks) >= most {
		return badRequest("more than %d channels", most)
	}
	all.at[a.channel] = len(all.asks)
	all.asks = append(all.asks, a)
	return nil
}

// checkChannel refuses names under which nothing can be published, before
// anybody is asked who may have them.
func (all *asksOf) checkChannel(name string) error {
	if most := all.limits.MaxChannelBytes; len(name) > most {
		return badRequest("the channel %.40q… is %d bytes long; at most %d are accepted", name, len(name), most)
	}
	for _, reserved := range []string{siteSeparator, pipeEscape, "\x00"} {
		if strings.Contains(name, reserved) {
			return badRequest("the channel %.100q contains %q, which no channel may", name, reserved)
		}
	}
	return nil
}

// addText takes a member whose value is text; missing: there was none.
func (all *asksOf) addText(name, value string, missing bool) error {
	if name == positionsField && strings.HasPrefix(value, positionsMarker) {
		all.positions = value
		return nil
	}
	n := int64(0)
	if value != "" {
		n = driver.ParseInt(value)
	}
	if name == seqField {
		all.seq = n
		return nil
	}
	return all.add(ask{channel: name, last: n, fromNow: missing || value == ""})
}

// addField takes a member of a form, where brackets in a name would nest.
func (all *asksOf) addField(name, value string, found bool) error {
	if strings.ContainsAny(name, "[]") {
		return badRequest("the form field %.100q is nested; a channel with brackets in its name can be asked for in JSON", name)
	}
	return all.addText(name, value, !found)
}

// readJSON reads an object or an array of pairs.
func (all *asksOf) readJSON(body []byte) error {
	if !utf8.Valid(body) {
		return badRequest("the body is not valid UTF-8")
	}
	if !json.Valid(body) {
		return badRequest("the body is not JSON")
	}
	in := json.NewDecoder(bytes.NewReader(body))
	in.UseNumber()
	switch t, _ := in.Token(); t { // of valid JSON every token can be read
	case json.Delim('{'):
		for in.More() {
			if err := all.readMember(in); err != nil {
				return err
			}
		}
	case json.Delim('['):
		for in.More() {
			if err := all.readPair(in); err != nil {
				return err
			}
		}
	default:
		return badRequest("the body is a JSON scalar; it must be an object or an array of pairs")
	}
	return nil
}

func (all *asksOf) readPair(in *json.Decoder) error {
	if t, _ := in.Token(); t != json.Delim('[') || !in.More() {
		return badRequest("the body is an array, but not of pairs of a channel and its last id")
	}
	if err := all.readMember(in); err != nil {
		return err
	}
	if t, _ := in.Token(); t != json.Delim(']') {
		return badRequest("the body is an array, but not of pairs of a channel and its last id")
	}
	return nil
}

func (all *asksOf) readMember(in *json.Decoder) error {
	t, _ := in.Token()
	name, ok := t.(string)
	if !ok {
		return badRequest("a channel is a string, not %.40v", t)
	}
	if !in.More() {
		return badRequest("channel %.100q has no last id", name)
	}
	switch value, _ := in.Token(); v := value.(type) {
	case string:
		return all.addText(name, v, false)
	case nil:
		return all.addText(name, "", true)
	case json.Number:
		return all.addText(name, wholePart(v), false)
	case bool:
		if !v && name != seqField {
			return all.addText(name, "", true)
		}
	}
	return badRequest("%.100q has no last id: a number, a string or null", name)
}

// wholePart cuts a number off at its point. What is beyond 64 bits stays so.
func wholePart(n json.Number) string {
	s := n.String()
	if !strings.ContainsAny(s, ".eE") {
		return s
	}
	f, _ := strconv.ParseFloat(s, 64) // on a range error f is an infinity
	f = min(max(math.Trunc(f), -1<<63), 1<<63)
	return strconv.FormatFloat(f, 'f', 0, 64)
}
