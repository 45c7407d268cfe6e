package rubycompat_test

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
)

// golden/README-http.md says what the members of the recording mean.

// An httpCase is one case of the recording over HTTP. One with a single connection
// is turned into steps when it is read.
type httpCase struct {
	Name      string                     `json:"name"`
	What      string                     `json:"what"`
	Config    map[string]json.RawMessage `json:"config"`
	Before    []httpPublish              `json:"before"`
	Steps     []httpStep                 `json:"steps"`
	Responses map[string]*httpResponse   `json:"responses"`
	Hooks     []string                   `json:"hooks"`

	Request  *httpRequest  `json:"request"`
	Response *httpResponse `json:"response"`
	During   []struct {
		AfterMs int          `json:"after_ms"`
		Publish *httpPublish `json:"publish"`
	} `json:"during"`
}

// theOne is the label of a connection that has none.
const theOne = "it"

// normalise makes steps of a case with one connection.
func (c *httpCase) normalise() {
	if c.Request == nil {
		return
	}
	c.Steps = []httpStep{{Open: theOne, Request: c.Request}}
	for _, d := range c.During {
		c.Steps = append(c.Steps, httpStep{AtMs: d.AfterMs, Publish: d.Publish})
	}
	c.Responses = map[string]*httpResponse{theOne: c.Response}
}

// An httpStep does one of three things.
type httpStep struct {
	AtMs       int          `json:"at_ms"`
	Open       string       `json:"open"`
	Request    *httpRequest `json:"request"`
	Publish    *httpPublish `json:"publish"`
	Disconnect string       `json:"disconnect"`
}

type httpRequest struct {
	Raw    wireText `json:"raw"`
	Method string   `json:"method"`
}

type httpResponse struct {
	Status         *int              `json:"status"`
	HeaderLines    [][2]string       `json:"header_lines"`
	Headers        map[string]string `json:"headers"`
	RawBody        wireText          `json:"raw_body"`
	Chunks         []httpChunk       `json:"chunks"`
	Terminated     bool              `json:"terminated"`
	JSON           wireJSON          `json:"json"`
	ClosedByServer bool              `json:"closed_by_server"`
	Duration       string            `json:"duration_class"`
}

type httpChunk struct {
	JSON wireJSON `json:"json"`
	Came string   `json:"came"`
}

// An httpPublish is one message: as it was published, or as it was put into the
// store.
type httpPublish struct {
	Channel       string                     `json:"channel"`
	Data          json.RawMessage            `json:"data"`
	Opts          map[string]json.RawMessage `json:"opts"`
	StoredChannel string                     `json:"stored_channel"`
	Envelope      wireText                   `json:"envelope"`
}

// stored returns the name and the envelope under which a Ruby peer stores it.
func (p *httpPublish) stored() (channel, envelope string) {
	if p.StoredChannel != "" {
		return p.StoredChannel, p.Envelope.text
	}
	var b strings.Builder
	b.WriteString(`{"data":` + p.payload())
	for _, target := range []string{"user_ids", "group_ids", "client_ids"} {
		ids := "null"
		if raw, ok := p.Opts[target]; ok {
			ids = string(raw)
		}
		fmt.Fprintf(&b, `,%q:%s`, target, ids)
	}
	b.WriteString("}")
	channel = p.Channel
	var site *string
	if raw, ok := p.Opts["site_id"]; ok && json.Unmarshal(raw, &site) == nil && site != nil && !strings.HasPrefix(channel, "/global/") {
		channel += "$|$" + *site
	}
	return channel, b.String()
}

// payload returns the data, with what stands for long ones put in its place.
func (p *httpPublish) payload() string {
	var special struct {
		Repeat *struct {
			String string `json:"string"`
			Times  int    `json:"times"`
		} `json:"$repeat"`
		Nest int `json:"$nest"`
	}
	if len(p.Data) > 0 && p.Data[0] == '{' && json.Unmarshal(p.Data, &special) == nil {
		switch {
		case special.Repeat != nil:
			return strconv.Quote(strings.Repeat(special.Repeat.String, special.Repeat.Times)) // of ASCII letters
		case special.Nest > 0:
			return strings.Repeat("[", special.Nest) + `"in"` + strings.Repeat("]", special.Nest)
		}
	}
	if len(p.Data) == 0 {
		return "null"
	}
	return string(p.Data)
}

// A wireText is recorded bytes, or of long ones the outline alone.
type wireText struct {
	text string
	long *longText
}

// UnmarshalJSON implements json.Unmarshaler.
func (w *wireText) UnmarshalJSON(b []byte) error {
	var special struct {
		Base64 *string `json:"$base64"`
		Long   *struct {
			Bytes  int    `json:"bytes"`
			SHA256 string `json:"sha256"`
			Head   string `json:"head"`
			Tail   string `json:"tail"`
		} `json:"$long"`
	}
	if b[0] != '{' {
		return json.Unmarshal(b, &w.text)
	}
	if err := json.Unmarshal(b, &special); err != nil {
		return err
	}
	switch {
	case special.Base64 != nil:
		text, err := base64.StdEncoding.DecodeString(*special.Base64)
		w.text = string(text)
		return err
	case special.Long != nil:
		l := special.Long
		w.long = &longText{bytes: l.Bytes, sha256: l.SHA256, starts: l.Head, ends: l.Tail}
		return nil
	}
	return fmt.Errorf("text %.80s stands for nothing that is known", b)
}

// A wireJSON is a recorded JSON value, its numbers as they were written.
type wireJSON struct{ value any }

// UnmarshalJSON implements json.Unmarshaler.
func (w *wireJSON) UnmarshalJSON(b []byte) error {
	w.value = withOutlines(parse(b))
	return nil
}

// withOutlines replaces what stands for long texts.
func withOutlines(v any) any {
	switch v := v.(type) {
	case []any:
		for i := range v {
			v[i] = withOutlines(v[i])
		}
	case object:
		if l, ok := v["$long"].(object); ok {
			return longText{
				bytes: integer(l["bytes"]), sha256: fmt.Sprint(l["sha256"]),
				starts: fmt.Sprint(l["head"]), ends: fmt.Sprint(l["tail"]),
			}
		}
		for name := range v {
			v[name] = withOutlines(v[name])
		}
	}
	return v
}
