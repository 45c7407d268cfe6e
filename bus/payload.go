package bus

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"unicode/utf8"
)

// maxDepth is how deep a payload may be nested: Ruby's JSON reads 100 levels
// at the most, and the envelope is one of them.
const maxDepth = 99

// encodePayload encodes a payload as the gem writes JSON. A json.RawMessage is
// taken as it is but for white space. What it returns may share memory with
// scratch, or with data.
func encodePayload(scratch *payloadEncoder, data any) ([]byte, error) {
	raw, isRaw := data.(json.RawMessage)
	if !isRaw {
		var err error
		if raw, err = scratch.encode(data); err != nil {
			return nil, err
		}
	}
	if surelyFit(raw, maxDepth) {
		return raw, nil
	}
	var compact bytes.Buffer
	if err := json.Compact(&compact, raw); err != nil {
		return nil, fmt.Errorf("%w: not JSON: %w", ErrInvalidData, err)
	}
	if err := checkJSON(compact.Bytes(), maxDepth, true); err != nil {
		return nil, err
	}
	return compact.Bytes(), nil
}

// A payloadEncoder is an encoder that is used again, with its memory.
type payloadEncoder struct {
	buf     bytes.Buffer
	encoder *json.Encoder
}

var payloadEncoders = sync.Pool{New: func() any {
	e := &payloadEncoder{}
	e.encoder = json.NewEncoder(&e.buf)
	e.encoder.SetEscapeHTML(false)
	return e
}}

// encode returns what is good until the next call.
func (e *payloadEncoder) encode(data any) ([]byte, error) {
	e.buf.Reset()
	if err := e.encoder.Encode(data); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrInvalidData, err)
	}
	return rubyEscapes(bytes.TrimSuffix(e.buf.Bytes(), []byte{'\n'}))
}

// release lets others use e, unless it has become too large to keep.
func (e *payloadEncoder) release() {
	const most = 64 << 10
	if e.buf.Cap() <= most {
		payloadEncoders.Put(e)
	}
}

// rubyEscapes undoes the two escapes that encoding/json writes and Ruby does
// not. It refuses the one that stands for invalid UTF-8: encoding/json writes
// a genuine U+FFFD as it is.
func rubyEscapes(b []byte) ([]byte, error) {
	if !bytes.Contains(b, []byte(`\u`)) {
		return b, nil
	}
	out := make([]byte, 0, len(b))
	for i := 0; i < len(b); i++ {
		if b[i] != '\\' || i+1 >= len(b) {
			out = append(out, b[i])
			continue
		}
		switch rest := b[i:]; {
		case bytes.HasPrefix(rest, []byte(`\u2028`)):
			out, i = append(out, "\u2028"...), i+5
		case bytes.HasPrefix(rest, []byte(`\u2029`)):
			out, i = append(out, "\u2029"...), i+5
		case bytes.HasPrefix(rest, []byte(`\ufffd`)):
			return nil, fmt.Errorf("%w: a string is not valid UTF-8", ErrInvalidData)
		default:
			out, i = append(out, rest[:2]...), i+1
		}
	}
	return out, nil
}

// appendJSONString appends s as a JSON string, as Ruby writes it. s must be
// valid UTF-8.
func appendJSONString(b []byte, s string) []byte {
	b = append(b, '"')
	for i := range len(s) {
		switch c := s[i]; {
		case c == '"' || c == '\\':
			b = append(b, '\\', c)
		case c >= 0x20:
			b = append(b, c)
		case c == '\n':
			b = append(b, `\n`...)
		case c == '\r':
			b = append(b, `\r`...)
		case c == '\t':
			b = append(b, `\t`...)
		case c == '\b':
			b = append(b, `\b`...)
		case c == '\f':
			b = append(b, `\f`...)
		default:
			const hex = "0123456789abcdef"
			b = append(b, '\\', 'u', '0', '0', hex[c>>4], hex[c&15])
		}
	}
	return append(b, '"')
}

// checkJSON refuses valid JSON that a Ruby reader, or a browser, cannot read:
// lone surrogates, nesting deeper than most, invalid UTF-8 and, where numbers
// is set, numbers beyond a double (Ruby writes them on as a bare Infinity).
// raw must satisfy json.Valid.
func checkJSON(raw []byte, most int, numbers bool) error {
	if !utf8.Valid(raw) {
		return fmt.Errorf("%w: it is not valid UTF-8", ErrInvalidData)
	}
	depth := 0
	for i := 0; i < len(raw); i++ {
		switch c := raw[i]; {
		case c == '"':
			n, err := checkString(raw[i:])
			if err != nil {
				return err
			}
			i += n - 1
		case c == '[' || c == '{':
			if depth++; depth > most {
				return fmt.Errorf("%w: nested deeper than %d", ErrInvalidData, most)
			}
		case c == ']' || c == '}':
			depth--
		case numbers && (c == '-' || c >= '0' && c <= '9'):
			n, err := checkNumber(raw[i:])
			if err != nil {
				return err
			}
			i += n - 1
		}
	}
	return nil
}

// checkString returns the length of the JSON string at the start of b.
func checkString(b []byte) (int, error) {
	for i := 1; i < len(b); i++ {
		switch b[i] {
		case '"':
			return i + 1, nil
		case '\\':
			if b[i+1] != 'u' {
				i++
				continue
			}
			n, err := checkEscape(b[i:])
			if err != nil {
				return 0, err
			}
			i += n - 1
		}
	}
	return len(b), nil
}

// checkEscape returns the length of the \u escape, or pair of them, at the
// start of b.
func checkEscape(b []byte) (int, error) {
	const one, pair = 6, 12
	high := hexRune(b)
	if high < 0xd800 || high > 0xdfff {
		return one, nil
	}
	if high < 0xdc00 && len(b) >= pair && b[one] == '\\' && b[one+1] == 'u' {
		if low := hexRune(b[one:]); low >= 0xdc00 && low <= 0xdfff {
			return pair, nil
		}
	}
	return 0, fmt.Errorf("%w: %s is half of a surrogate pair", ErrInvalidData, b[:one])
}

// hexRune reads \uXXXX at the start of b, which valid JSON guarantees.
func hexRune(b []byte) uint64 {
	n, _ := strconv.ParseUint(string(b[2:6]), 16, 32)
	return n
}

// checkNumber returns the length of the JSON number at the start of b.
func checkNumber(b []byte) (int, error) {
	n := 1
	for n < len(b) && strings.IndexByte("0123456789.eE+-", b[n]) >= 0 {
		n++
	}
	// 300 digits and signs cannot overflow without an exponent.
	if n < 300 && !bytes.ContainsAny(b[:n], "eE") {
		return n, nil
	}
	if _, err := strconv.ParseFloat(string(b[:n]), 64); err != nil {
		return 0, fmt.Errorf("%w: the number %s does not fit a double", ErrInvalidData, shorten(b[:n]))
	}
	return n, nil
}

// shorten cuts a foreign value for an error.
func shorten(b []byte) string {
	const most = 40
	if len(b) <= most {
		return string(b)
	}
	return string(b[:most]) + "…"
}
