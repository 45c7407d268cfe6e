package doctor

import (
	"encoding/json"
	"strings"

	"github.com/messagebus-go/messagebus/bus/driver"
)

// The gem's names (message_bus 4.5.2, lib/message_bus.rb).
const (
	siteSeparator = "$|$"
	pipeEscape    = "$$123$$"
	defaultAge    = 604800 // s; a backlog lives so long after its last message
	defaultSize   = 1000   // messages of a channel
	defaultGlobal = 2000   // messages of all channels
)

// splitName takes the site off a stored name.
func splitName(stored string) (channel, site string) {
	channel, rest, _ := strings.Cut(stored, siteSeparator)
	site, _, _ = strings.Cut(rest, siteSeparator)
	return channel, site
}

// ambiguous reports whether peers read a stored name in different ways.
func ambiguous(stored string) bool {
	return strings.Count(stored, siteSeparator) > 1 || strings.Contains(stored, pipeEscape) ||
		stored == "" || stored == siteSeparator
}

// A sample is the beginning of a stored text, which may be all of it.
type sample struct {
	text string
	size int64 // in bytes, of all of it
}

// mostOfSample is how much of a message is looked at.
const mostOfSample = 16 << 10

// envelopeTrouble says why an envelope cannot be read here; empty: it can.
func envelopeTrouble(s sample) string {
	switch {
	case strings.HasPrefix(s.text, "\x04\x08"):
		return "Ruby's Marshal"
	case strings.HasPrefix(s.text, "\x84"):
		return "MessagePack, as it seems"
	case strings.HasPrefix(s.text, `{":`) || strings.HasPrefix(s.text, `{"^`):
		return "Oj in a mode of its own"
	case int64(len(s.text)) < s.size:
		if strings.HasPrefix(s.text, "{") {
			return "" // as far as can be seen
		}
		return "not a JSON object"
	}
	var members map[string]json.RawMessage
	if json.Unmarshal([]byte(s.text), &members) != nil || members == nil {
		return "not a JSON object"
	}
	return ""
}

// opened takes an encoded message apart; its data is a sample as well.
func opened(s sample) (driver.Message, sample, bool) {
	m, err := driver.Decode([]byte(s.text))
	if err != nil {
		return m, sample{}, false
	}
	return m, sample{string(m.Data), s.size - int64(len(s.text)-len(m.Data))}, true
}
