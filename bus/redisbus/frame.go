package redisbus

import (
	"bytes"
	"errors"
	"fmt"
)

// A frame is one thing that a server sends to a connection that has subscribed,
// in version 2 of the protocol. Its parts share memory with what it was read from.
type frame struct {
	kind []byte // message, subscribe, pong, …; "-" for an error
	data []byte // the last part: of a message and of a pong, what was sent
}

var (
	errBadFrame = errors.New("the server sent what is not part of a subscription")
	errShort    = errors.New("not all of it is here yet")
)

// What no frame exceeds.
const (
	maxLine   = 64 << 10  // of a number or an error
	maxBulk   = 512 << 20 // of a string: the most that Redis holds by default
	maxDigits = 9         // of that
)

// parseFrame reads the frame at the start of b, and returns its length. The
// error is errShort when more bytes are needed.
func parseFrame(b []byte) (frame, int, error) {
	if len(b) > 0 && b[0] == '-' {
		line, rest, err := cutLine(b)
		if err != nil {
			return frame{}, 0, err
		}
		return frame{kind: line[:1], data: line[1:]}, len(b) - len(rest), nil
	}
	n, rest, err := cutLength(b, '*', 3)
	switch {
	case err != nil:
		return frame{}, 0, err
	case n < 2:
		return frame{}, 0, badFrame(b)
	}
	var f frame
	for i := range n {
		if f.data, rest, err = cutValue(rest); err != nil {
			return frame{}, 0, err
		}
		if i == 0 {
			f.kind = f.data
		}
	}
	return f, len(b) - len(rest), nil
}

// cutLine returns a line, which is not empty, without its end.
func cutLine(b []byte) (line, rest []byte, err error) {
	end := bytes.IndexByte(b, '\n') // a line has no other
	switch {
	case end < 0 && len(b) < maxLine:
		return nil, nil, errShort
	case end < len("x\r") || b[end-1] != '\r':
		return nil, nil, badFrame(b)
	}
	return b[:end-1], b[end+1:], nil
}

// cutValue returns a string or a number as it is written.
func cutValue(b []byte) (value, rest []byte, err error) {
	if len(b) > 0 && b[0] == ':' {
		line, rest, err := cutLine(b)
		if err != nil {
			return nil, nil, err
		}
		return line[1:], rest, nil
	}
	n, rest, err := cutLength(b, '$', maxBulk)
	switch {
	case err != nil:
		return nil, nil, err
	case len(rest) < n+len("\r\n"):
		return nil, nil, errShort
	case rest[n] != '\r' || rest[n+1] != '\n':
		return nil, nil, badFrame(b)
	}
	return rest[:n], rest[n+len("\r\n"):], nil
}

// cutLength reads a line of this kind: three of them stand in every message, so it
// goes through the few bytes itself.
func cutLength(b []byte, kind byte, most int) (n int, rest []byte, err error) {
	if len(b) == 0 {
		return 0, nil, errShort
	}
	at := 1
	for at < len(b) && at <= maxDigits && '0' <= b[at] && b[at] <= '9' {
		n = 10*n + int(b[at]-'0')
		at++
	}
	end := "\r\n"[:min(len("\r\n"), len(b)-at)] // as much of it as can be here
	switch {
	case b[0] != kind, n > most, at == 1 && end != "", string(b[at:at+len(end)]) != end:
		return 0, nil, badFrame(b)
	case len(end) < len("\r\n"):
		return 0, nil, errShort
	}
	return n, b[at+len(end):], nil
}

func badFrame(b []byte) error {
	const most = 40
	return fmt.Errorf("%w: %q", errBadFrame, b[:min(len(b), most)])
}

// unexpected is why a stream ends that got f.
func (f frame) unexpected() error {
	if string(f.kind) == "-" {
		return fmt.Errorf("the server said: %s", f.data)
	}
	return fmt.Errorf("%w: %q %q", errBadFrame, f.kind, f.data)
}
