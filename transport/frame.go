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
	late     bool // others with higher ids have gone before
	follows  bool // on what has passed before on its channel; the feed sets it

	parts  shared
	events [2]shared // without and with the epoch in their ids
}

// shared is an HTTP chunk that is made once, when somebody needs it.
type shared struct {
	once  sync.Once
	chunk []byte
	lead  int // bytes of the chunk's head
}

// make returns the chunk around what payload appends.
func (sh *shared) make(size int, payload func([]byte) []byte) []byte {
	sh.once.Do(func() { sh.chunk, sh.lead = appendChunk(size, payload) })
	return sh.chunk
}

// payload is what the chunk carries.
func (sh *shared) payload() []byte { return sh.chunk[sh.lead : len(sh.chunk)-len(lineEnd)] }

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
		prev:    m.Prev, channel: m.Channel, data: m.Data, audience: audienceOf(m), late: m.Late,
	}
}

// frameCost is what a message that waits costs beside its data and channel: its
// numbers and names, and its place in a queue.
const frameCost = 160

// size is what the message counts for where it waits.
func (f *frame) size() int { return len(f.data) + len(f.channel) + frameCost }

// appendChunk returns a chunk and the length of its head. Its size is known
// last and stands first, so the room for it is left free.
func appendChunk(size int, payload func([]byte) []byte) (chunk []byte, lead int) {
	const room = 16 + len(lineEnd)
	b := payload(make([]byte, room, room+size+128))
	var digits [room]byte
	head := strconv.AppendInt(digits[:0], int64(len(b)-room), 16)
	head = append(head, lineEnd...)
	start := room - len(head)
	copy(b[start:], head)
	return append(b, lineEnd...)[start:], len(head)
}

// chunk is the message as a part in an HTTP chunk of its own.
func (f *frame) chunk() []byte {
	return f.parts.make(len(f.data)+len(f.channel), func(b []byte) []byte {
		b = appendMessage(append(b, '['), f.gid, f.id, f.channel, f.data)
		return append(append(b, ']'), separator...)
	})
}

// part is the message as a part, for those who leave the chunks to net/http.
func (f *frame) part() []byte {
	f.chunk()
	return f.parts.payload()
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
