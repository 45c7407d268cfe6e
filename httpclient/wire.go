package httpclient

import (
	"bytes"
	"encoding/json"
	"iter"
)

// What the server itself sends.
const (
	statusChannel = "/__status"
	gapChannel    = "/__gap"
)

// A wireMessage is a message as it stands in an answer. Its bytes are the
// answer's.
type wireMessage struct {
	globalID, id int64 // -1 in messages of the server itself
	channel      []byte
	data         []byte
}

// parseMessage reads a message.
func parseMessage(raw []byte) (wireMessage, error) {
	if m, ok := scanMessage(raw); ok {
		return m, nil
	}
	return parseAnyMessage(raw)
}

// parseAnyMessage reads a message whose members come in any order, and others beside them.
func parseAnyMessage(raw []byte) (m wireMessage, err error) {
	if !json.Valid(raw) {
		return m, excerpted("a message is no JSON", raw)
	}
	m.data = []byte("null")
	var hasGlobalID, hasID, hasChannel bool
	for name, value := range members(raw) {
		switch string(name) {
		case "global_id":
			m.globalID, hasGlobalID = wireID(value)
		case "message_id":
			m.id, hasID = wireID(value)
		case "channel":
			m.channel, hasChannel = wireText(value)
		case "data":
			m.data = value
		}
	}
	if !hasGlobalID || !hasID || !hasChannel {
		return m, excerpted("a message lacks a global_id, message_id or channel that can be read", raw)
	}
	return m, nil
}

func wireText(value []byte) ([]byte, bool) {
	if value[0] != '"' {
		return nil, false
	}
	if bytes.IndexByte(value, '\\') < 0 {
		return value[1 : len(value)-1], true
	}
	var text string
	err := json.Unmarshal(value, &text)
	return []byte(text), err == nil
}

// members goes through the members of an object that is valid JSON: the name as
// it stands between its quotes, and the value.
func members(object []byte) iter.Seq2[[]byte, []byte] {
	return func(yield func(name, value []byte) bool) {
		i := skipSpace(object, 1)
		for object[i] != '}' {
			start := i + 1
			i = skipValue(object, i)
			name := object[start : i-1]
			i = skipSpace(object, skipSpace(object, i)+1) // past the colon
			start = i
			i = skipValue(object, i)
			if !yield(name, object[start:i]) {
				return
			}
			if i = skipSpace(object, i); object[i] == ',' {
				i = skipSpace(object, i+1)
			}
		}
	}
}

func skipSpace(b []byte, i int) int {
	for isSpace(b[i]) {
		i++
	}
	return i
}

// skipValue returns where the value that begins at i ends, in valid JSON.
func skipValue(b []byte, i int) int {
	switch b[i] {
	case '"':
		return skipText(b, i)
	case '{', '[':
		return skipNested(b, i)
	}
	for i < len(b) && b[i] != ',' && b[i] != '}' && b[i] != ']' && !isSpace(b[i]) {
		i++
	}
	return i
}

func skipText(b []byte, i int) int {
	for i++; b[i] != '"'; i++ {
		if b[i] == '\\' {
			i++
		}
	}
	return i + 1
}

func skipNested(b []byte, i int) int {
	for depth := 0; ; {
		switch b[i] {
		case '"':
			i = skipText(b, i)
			continue
		case '{', '[':
			depth++
		case '}', ']':
			depth--
		}
		i++
		if depth == 0 {
			return i
		}
	}
}
