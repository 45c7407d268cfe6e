package transport

import (
	"encoding/json"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/messagebus-go/messagebus/bus"
)

// Clients of this project send, beside their last ids, what else they know of
// where they stand, in a member of the body that the gem takes for a channel on
// which there is nothing: a tilde, and a JSON object of
// epoch -> channel -> global id. In return they are told of gaps.
const (
	positionsField  = "__pos"
	positionsMarker = "~"
	gapChannel      = "/__gap"

	// epochHeader is the epoch of the store, for those who send positions.
	epochHeader = "Message-Bus-Epoch"
)

// A mark is what a client knows of a channel beside the last id.
type mark struct {
	epoch    string
	globalID int64 // 0: not known
}

// parsePositions reads the member __pos.
func parsePositions(text string) (map[string]mark, error) {
	body, ok := strings.CutPrefix(text, positionsMarker)
	if !ok {
		return nil, badRequest("%s is %.40q; it must be a tilde and a JSON object", positionsField, text)
	}
	var epochs map[string]map[string]int64
	if err := json.Unmarshal([]byte(body), &epochs); err != nil || !utf8.ValidString(body) {
		return nil, badRequest("%s is not a JSON object of epochs, each of channels and global ids", positionsField)
	}
	marks := make(map[string]mark)
	for epoch, channels := range epochs {
		for channel, id := range channels {
			marks[channel] = mark{epoch, id}
		}
	}
	return marks, nil
}

// isReset reports whether what follows a gap has ids that say nothing of those before.
func isReset(gap *bus.GapError) bool { return gap != nil && gap.Reason == bus.GapReset }

// beginsLife reports whether the store is another one behind a gap. Such a gap is told at
// once, though the messages of its channel are left for later: what else the client is
// sent has it take the epoch that is named there for that of all channels.
func beginsLife(gap *bus.GapError) bool {
	return isReset(gap) || gap != nil && gap.Reason == bus.GapFailover
}

// A gapReport collects what clients are told of losses.
type gapReport struct{ members []byte }

// add reports a gap, after which the channel goes on in the life of the store
// that epoch names.
func (g *gapReport) add(e *bus.GapError, epoch string) {
	if len(g.members) > 0 {
		g.members = append(g.members, ',')
	}
	g.members = append(appendString(g.members, e.Channel), `:{"after":`...)
	g.members = strconv.AppendInt(g.members, e.After, 10)
	g.members = append(g.members, `,"next":`...)
	g.members = strconv.AppendInt(g.members, e.Next, 10)
	g.members = append(g.members, `,"reason":`...)
	g.members = appendString(g.members, string(e.Reason))
	g.members = append(g.members, `,"epoch":`...)
	g.members = append(appendString(g.members, epoch), '}')
}

func (g *gapReport) empty() bool { return len(g.members) == 0 }

// message returns the gap message.
func (g *gapReport) message() []byte {
	data := append(append([]byte{'{'}, g.members...), '}')
	return appendMessage(nil, -1, -1, gapChannel, data)
}

// before returns messages with the gap message, if any, before them.
func (g *gapReport) before(messages []byte) []byte {
	if g.empty() {
		return messages
	}
	b := g.message()
	if len(messages) > 0 {
		b = append(b, ',')
	}
	return append(b, messages...)
}
