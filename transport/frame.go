package transport

import (
	"strconv"
	"sync"

	"github.com/messagebus-go/messagebus/bus"
)

// A frame is one live message on its way to any number of clients. It is
// encoded once, when the first of them may have it, and its bytes are shared:
// nobody changes them.
type frame struct {
	passage
	prev     int64
	channel  string
	data     []byte
	audience audience
	skip     bool // it cannot be decoded: nobody gets it
	follows  bool // on what has passed before on its channel; the feed sets it

	once  sync.Once
	bytes []byte // chunk()
	lead  int    // bytes of the chunk's head
}

// What stands around the JSON array of a part. A client that reads chunks
// through a proxy finds the parts by the separator, which no JSON contains.
const (
	lineEnd   = "\r\n"
	separator = "\r\n|\r\n"
)

func newFrame(m *bus.Message) *frame {
	place := m.Position()
	return &frame{
		passage: passage{id: m.ID, gid: m.GlobalID, epoch: place.Epoch(), place: &place},
		prev:    m.Prev, channel: m.Channel, data: m.Data, audience: audienceOf(m),
	}
}

// frameCost is what a message that waits costs beside its data and channel: its
// numbers and names, and its place in a queue.
const frameCost = 160

// size is what the message counts for where it waits.
func (f *frame) size() int { return len(f.data) + len(f.channel) + frameCost }

// encode writes the chunk: its size, the array, the separator. The size is
// known last and stands first, so the room for it is left free.
func (f *frame) encode() {
	const room = 16 + len(lineEnd)
	b := make([]byte, room, room+len(f.data)+len(f.channel)+128)
	b = append(b, '[')
	b = appendMessage(b, f.gid, f.id, f.channel, f.data)
	b = append(b, ']')
	b = append(b, separator...)
	var digits [room]byte
	size := strconv.AppendInt(digits[:0], int64(len(b)-room), 16)
	size = append(size, lineEnd...)
	start := room - len(size)
	copy(b[start:], size)
	f.bytes, f.lead = append(b, lineEnd...)[start:], len(size)
}

// chunk is the message as a part in an HTTP chunk of its own.
func (f *frame) chunk() []byte {
	f.once.Do(f.encode)
	return f.bytes
}

// part is the message as a part, for those who leave the chunks to net/http.
func (f *frame) part() []byte {
	b := f.chunk()
	return b[f.lead : len(b)-len(lineEnd)]
}

// array is the JSON array alone.
func (f *frame) array() []byte {
	b := f.part()
	return b[:len(b)-len(separator)]
}

// appendMessage appends one message, its members in the order that clients
// know. The payload goes out as it was stored.
func appendMessage(b []byte, gid, id int64, channel string, data []byte) []byte {
	b = append(b, `{"global_id":`...)
	b = strconv.AppendInt(b, gid, 10)
	b = append(b, `,"message_id":`...)
	b = strconv.AppendInt(b, id, 10)
	b = append(b, `,"channel":`...)
	b = appendString(b, channel)
	b = append(b, `,"data":`...)
	b = append(b, data...)
	return append(b, '}')
}

// appendString appends s as Ruby writes a JSON string: only quotes, backslashes
// and control characters are escaped.
func appendString(b []byte, s string) []byte {
	const hex = "0123456789abcdef"
	b = append(b, '"')
	for i := range len(s) {
		switch c := s[i]; {
		case c == '"' || c == '\\':
			b = append(b, '\\', c)
		case c >= ' ':
			b = append(b, c)
		case c >= '\b' && c <= '\r' && c != '\v':
			b = append(b, '\\', "btn.fr"[c-'\b'])
		default:
			b = append(b, '\\', 'u', '0', '0', hex[c>>4], hex[c&15])
		}
	}
	return append(b, '"')
}
