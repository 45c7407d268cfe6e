package transport

import (
	"net/http"
	"strconv"
)

// An encoder is how one client's answer is written. Everything else about
// delivery is the same for all of them. Encoders keep no state of the
// conversation and are safe for concurrent use.
type encoder interface {
	// first is what was read for the request; nil: that goes without saying.
	// over: the last part follows at once.
	first(d *digest, over bool) []byte

	// again is what was read later, as frames. newest is the highest global id
	// that the client was sent.
	again(d *digest, newest int64) [][]byte

	// live is a message that others get too; the bytes may be shared.
	live(f *frame) []byte

	// late is a message that comes after one with a higher id; the channel
	// stands at id.
	late(f *frame, id int64) []byte

	// last is the last part.
	last(told *status) []byte

	// beat is a sign of life; nil: there is none.
	beat() []byte

	// tail is what comes after the last part.
	tail() []byte

	// single reports whether the first part is the whole answer.
	single() bool

	// ordered reports whether messages of all channels go out by global id.
	ordered() bool
}

// arrays writes parts that are JSON arrays.
type arrays struct{ wrapping }

// A wrapping is what stands around an array.
type wrapping interface {
	part(array []byte) []byte
	live(f *frame) []byte
	tail() []byte
	single() bool
}

func (a arrays) first(d *digest, over bool) []byte {
	switch {
	case !d.empty():
		return a.part(d.array())
	case a.single() || over:
		return nil
	default:
		return a.part([]byte(emptyArray))
	}
}

// again has the messages in parts of their own, as they would have come live,
// the gaps before them. An answer has them all in one.
func (a arrays) again(d *digest, _ int64) [][]byte {
	switch {
	case len(d.pieces) == 0 && d.gaps.empty():
		return nil
	case a.single():
		return [][]byte{a.part(array(d.gaps.before(d.joined())))}
	}
	var parts [][]byte
	if !d.gaps.empty() {
		parts = append(parts, a.part(array(d.gaps.message())))
	}
	for _, p := range d.pieces {
		parts = append(parts, a.live(p.frame))
	}
	return parts
}

// joined is the messages of frames as they stand between the brackets of an array.
func (d *digest) joined() []byte {
	b := make([]byte, 0, d.size)
	for i, p := range d.pieces {
		if i > 0 {
			b = append(b, ',')
		}
		one := p.frame.array()
		b = append(b, one[1:len(one)-1]...)
	}
	return b
}

// late puts a client's position back to where it was: clients take the id of
// the last message for it.
func (a arrays) late(f *frame, id int64) []byte {
	var stands status
	stands.add(f.channel, id)
	b := f.array()
	return a.part(array(stands.appendTo(b[1 : len(b)-1 : len(b)-1])))
}

func (a arrays) last(told *status) []byte { return a.part(array(told.appendTo(nil))) }

func (arrays) beat() []byte { return nil }

func (arrays) ordered() bool { return false }

// chunkParts are HTTP/1.1 chunks, written to a connection that was taken over.
type chunkParts struct{}

// streamHead is what comes before the chunks.
func streamHead(header http.Header) []byte {
	b := appendHead(make([]byte, 0, 512), header)
	return append(b, "content-type: "+streamType+lineEnd+"transfer-encoding: chunked\r\nx-content-type-options: nosniff\r\nx-accel-buffering: no\r\n\r\n"...)
}

func (chunkParts) part(array []byte) []byte {
	b := strconv.AppendInt(make([]byte, 0, len(array)+32), int64(len(array)+len(separator)), 16)
	b = append(b, lineEnd...)
	b = append(b, array...)
	return append(b, separator+lineEnd...)
}

func (chunkParts) live(f *frame) []byte { return f.chunk() }

func (chunkParts) tail() []byte { return []byte(lastChunk) }

func (chunkParts) single() bool { return false }

const lastChunk = "0\r\n\r\n"

// plainParts are parts whose chunks are net/http's affair.
type plainParts struct{}

func (plainParts) part(array []byte) []byte {
	return append(append(make([]byte, 0, len(array)+len(separator)), array...), separator...)
}

func (plainParts) live(f *frame) []byte { return f.part() }

func (plainParts) tail() []byte { return nil }

func (plainParts) single() bool { return false }

// rawAnswer is one answer, written to a connection that was taken over.
type rawAnswer struct{ start []byte }

func newRawAnswer(header http.Header) rawAnswer {
	b := appendHead(make([]byte, 0, 256), header)
	return rawAnswer{start: append(b, "content-type: "+jsonType+lineEnd...)}
}

func (e rawAnswer) part(array []byte) []byte {
	b := append(make([]byte, 0, len(e.start)+len(array)+40), e.start...)
	b = append(b, "content-length: "...)
	b = strconv.AppendInt(b, int64(len(array)), 10)
	b = append(b, lineEnd+lineEnd...)
	return append(b, array...)
}

func (e rawAnswer) live(f *frame) []byte { return e.part(f.array()) }

func (rawAnswer) tail() []byte { return nil }

func (rawAnswer) single() bool { return true }

// plainAnswer is one answer whose head is net/http's affair.
type plainAnswer struct{}

func (plainAnswer) part(array []byte) []byte { return array }

func (plainAnswer) live(f *frame) []byte { return f.array() }

func (plainAnswer) tail() []byte { return nil }

func (plainAnswer) single() bool { return true }

// textMessages are what a Socket carries.
type textMessages struct{}

func (textMessages) part(array []byte) []byte { return array }

func (textMessages) live(f *frame) []byte { return f.array() }

func (textMessages) tail() []byte { return nil }

func (textMessages) single() bool { return false }
