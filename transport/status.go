package transport

import "strconv"

// statusChannel carries the positions that a client should go on from.
const statusChannel = "/__status"

// emptyArray is the part that says nothing.
const emptyArray = "[]"

// A status collects channels and the ids that they stand at.
type status struct{ members []byte }

func (s *status) add(channel string, id int64) {
	if len(s.members) > 0 {
		s.members = append(s.members, ',')
	}
	s.members = append(appendString(s.members, channel), ':')
	s.members = strconv.AppendInt(s.members, id, 10)
}

func (s *status) empty() bool { return len(s.members) == 0 }

// appendTo appends the status message to the messages of a part; nothing when
// no channel was added.
func (s *status) appendTo(messages []byte) []byte {
	if s.empty() {
		return messages
	}
	if len(messages) > 0 {
		messages = append(messages, ',')
	}
	data := append(append([]byte{'{'}, s.members...), '}')
	return appendMessage(messages, -1, -1, statusChannel, data)
}

// array makes the messages of a part its JSON array.
func array(messages []byte) []byte {
	b := append(make([]byte, 0, len(messages)+2), '[')
	return append(append(b, messages...), ']')
}
