package transport

import (
	"net/http"
	"strconv"
)

// An encoder is how one client's answer is written. Everything else about
// delivery is the same for all of them. Encoders keep no state of the
// conversation and are safe for concurrent use.
type encoder interface {
	// part is a JSON array of the client's own.
	part(array []byte) []byte

	// live is a message that others get too; the bytes may be shared.
	live(f *frame) []byte

	// tail is what comes after the last part.
	tail() []byte

	// single reports whether the first part is the whole answer.
	single() bool
}

// chunkEncoder writes HTTP/1.1 chunks to a connection that was taken over.
type chunkEncoder struct{}

// streamHead is what comes before the chunks.
func streamHead(header http.Header) []byte {
	b := appendHead(make([]byte, 0, 512), header)
	return append(b, "content-type: "+streamType+lineEnd+"transfer-encoding: chunked\r\nx-content-type-options: nosniff\r\nx-accel-buffering: no\r\n\r\n"...)
}

func (chunkEncoder) part(array []byte) []byte {
	b := strconv.AppendInt(make([]byte, 0, len(array)+32), int64(len(array)+len(separator)), 16)
	b = append(b, lineEnd...)
	b = append(b, array...)
	return append(b, separator+lineEnd...)
}

func (chunkEncoder) live(f *frame) []byte { return f.chunk() }

func (chunkEncoder) tail() []byte { return []byte("0\r\n\r\n") }

func (chunkEncoder) single() bool { return false }

// partEncoder writes parts whose chunks are net/http's affair.
type partEncoder struct{}

func (partEncoder) part(array []byte) []byte {
	return append(append(make([]byte, 0, len(array)+len(separator)), array...), separator...)
}

func (partEncoder) live(f *frame) []byte { return f.part() }

func (partEncoder) tail() []byte { return nil }

func (partEncoder) single() bool { return false }

// answerEncoder writes one answer to a connection that was taken over.
type answerEncoder struct{ start []byte }

func newAnswerEncoder(header http.Header) answerEncoder {
	b := appendHead(make([]byte, 0, 256), header)
	return answerEncoder{start: append(b, "content-type: "+jsonType+lineEnd...)}
}

func (e answerEncoder) part(array []byte) []byte {
	b := append(make([]byte, 0, len(e.start)+len(array)+40), e.start...)
	b = append(b, "content-length: "...)
	b = strconv.AppendInt(b, int64(len(array)), 10)
	b = append(b, lineEnd+lineEnd...)
	return append(b, array...)
}

func (e answerEncoder) live(f *frame) []byte { return e.part(f.array()) }

func (answerEncoder) tail() []byte { return nil }

func (answerEncoder) single() bool { return true }

// arrayEncoder writes one answer whose head is net/http's affair.
type arrayEncoder struct{}

func (arrayEncoder) part(array []byte) []byte { return array }

func (arrayEncoder) live(f *frame) []byte { return f.array() }

func (arrayEncoder) tail() []byte { return nil }

func (arrayEncoder) single() bool { return true }
