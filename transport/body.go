package transport

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"math"
	"mime"
	"mime/multipart"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/messagebus-go/messagebus/bus/driver"
)

// asksOf collects the channels of one body.
type asksOf struct {
	asks []ask
	at   map[string]int // index in asks
	seq  int64
	most int // channels
}

// seqField is the member of a body that is no channel.
const seqField = "__seq"

// parseBody reads the channels and the sequence number out of a body. The last
// of equal channels wins, at the place of the first.
func parseBody(method, contentType string, body []byte, most int) ([]ask, int64, error) {
	all := asksOf{at: make(map[string]int), most: most}
	mediaType, _, _ := strings.Cut(contentType, ";")
	mediaType = strings.ToLower(strings.TrimSpace(mediaType))
	var err error
	switch {
	case strings.Contains(contentType, "application/json"): // anywhere and by case, as the gem does
		err = all.readJSON(body)
	case mediaType == "application/x-www-form-urlencoded", mediaType == "" && method == http.MethodPost:
		err = all.readForm(string(body))
	case strings.HasPrefix(mediaType, "multipart/"):
		err = all.readMultipart(contentType, body)
	}
	if err != nil {
		return nil, 0, err
	}
	return all.asks, all.seq, nil
}

// add takes one channel. An empty name is no channel: nothing can be published
// on it.
func (all *asksOf) add(a ask) error {
	if a.channel == "" {
		return nil
	}
	if i, ok := all.at[a.channel]; ok {
		all.asks[i] = a
		return nil
	}
	if len(all.asks) >= all.most {
		return badRequest("more than %d channels", all.most)
	}
	all.at[a.channel] = len(all.asks)
	all.asks = append(all.asks, a)
	return nil
}

// addText takes a member whose value is text; missing: there was none.
func (all *asksOf) addText(name, value string, missing bool) error {
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

func (all *asksOf) readForm(body string) error {
	for body != "" {
		var pair string
		pair, body, _ = strings.Cut(body, "&")
		pair = strings.TrimLeft(pair, " ")
		if pair == "" {
			continue
		}
		key, value, found := strings.Cut(pair, "=")
		name, err := url.QueryUnescape(key)
		if err == nil {
			value, err = url.QueryUnescape(value)
		}
		if err != nil {
			return badRequest("the form has a %% that is no escape: %v", err)
		}
		if err := all.addField(name, value, !found); err != nil {
			return err
		}
	}
	return nil
}

// addField takes a member of a form, where brackets in a name would nest.
func (all *asksOf) addField(name, value string, missing bool) error {
	if !utf8.ValidString(name) || !utf8.ValidString(value) {
		return badRequest("the form field %q is not valid UTF-8", name)
	}
	if strings.ContainsAny(name, "[]") {
		return badRequest("the form field %q is nested; a channel with brackets in its name can be asked for in JSON", name)
	}
	return all.addText(name, value, missing)
}

func (all *asksOf) readMultipart(contentType string, body []byte) error {
	_, params, err := mime.ParseMediaType(contentType)
	if err != nil || params["boundary"] == "" {
		return badRequest("a multipart body without a boundary in its content type")
	}
	reader := multipart.NewReader(bytes.NewReader(body), params["boundary"])
	for {
		part, err := reader.NextRawPart()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return badRequest("the multipart body cannot be read: %v", err)
		}
		value, err := io.ReadAll(part)
		if err != nil {
			return badRequest("the multipart body cannot be read: %v", err)
		}
		if part.FileName() != "" {
			return badRequest("the form field %q is a file", part.FormName())
		}
		if err := all.addField(part.FormName(), string(value), false); err != nil {
			return err
		}
	}
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
		return badRequest("a channel is a string, not %v", t)
	}
	if !in.More() {
		return badRequest("channel %q has no last id", name)
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
	return badRequest("%q has no last id: a number, a string or null", name)
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
