package redisbus

import (
	"bytes"
	"errors"
	"testing"
)

func FuzzParseFrame(f *testing.F) {
	f.Add([]byte("*3\r\n$7\r\nmessage\r\n$14\r\n_message_bus_0\r\n$8\r\n1|1|/a|x\r\n*3\r\n"))
	f.Add([]byte("*3\r\n$9\r\nsubscribe\r\n$1\r\nc\r\n:1\r\n"))
	f.Add([]byte("*2\r\n$4\r\npong\r\n$1\r\n7\r\n"))
	f.Add([]byte("-ERR no\r\n"))
	f.Add([]byte("*2\r\n$99999999999999999999\r\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		got, size, err := parseFrame(b)
		if err != nil {
			return
		}
		if size <= 0 || size > len(b) || len(got.kind)+len(got.data) > size {
			t.Fatalf("%q is a frame of %d bytes: %q %q", b, size, got.kind, got.data)
		}
		again, n, err := parseFrame(b[:size])
		if err != nil || n != size || !bytes.Equal(again.kind, got.kind) || !bytes.Equal(again.data, got.data) {
			t.Fatalf("%q alone: %d bytes, %v", b[:size], n, err)
		}
		for part := range size {
			if _, _, err := parseFrame(b[:part]); !errors.Is(err, errShort) {
				t.Fatalf("%q, the start of %q: %v, want errShort", b[:part], b[:size], err)
			}
		}
	})
}

func TestParseFrame_RefusesWhatIsNoLengthAtOnce(t *testing.T) {
	t.Parallel()
	for _, text := range []string{
		"*", "*3", "*3\r", "*3\r\n$7", "*2\r\n$536870912\r\n", "-", "-ERR",
	} {
		if _, _, err := parseFrame([]byte(text)); !errors.Is(err, errShort) {
			t.Errorf("%q: %v, want errShort", text, err)
		}
	}
	for _, text := range []string{
		"*\r", "*x", "*-1\r\n", "*+2", "*1\r\n", "*4\r\n", "*2 ", "*2\n", "*2\r\r", "*0000000003",
		"*2\r\n$\r", "*2\r\n$536870913\r\n", "*2\r\n$0000000000", "*2\r\n*1\r\n", "$1\r\nx\r\n", "\r\n", "x",
	} {
		if _, _, err := parseFrame([]byte(text)); !errors.Is(err, errBadFrame) {
			t.Errorf("%q: %v, want errBadFrame", text, err)
		}
	}
}

func TestBuffer_KeepsWhatIsUnread(t *testing.T) {
	t.Parallel()
	var b buffer
	next, want := byte(0), byte(0)
	for round := range 3000 {
		space := b.space()
		n := min(len(space), 1+round%5000)
		for i := range n {
			space[i] = next
			next++
		}
		b.filled(n)
		unread := b.unread()
		for i, c := range unread {
			if c != want+byte(i) {
				t.Fatalf("round %d: byte %d of what is unread is %d, want %d", round, i, c, want+byte(i))
			}
		}
		use := len(unread) * (round % 3) / 2
		b.skip(use)
		want += byte(use)
	}
}

func TestBuffer_LetsGoOfWhatALargeFrameNeeded(t *testing.T) {
	t.Parallel()
	var b buffer
	for len(b.unread()) < 4*bufferGreed {
		b.filled(len(b.space()))
	}
	b.skip(len(b.unread()))
	if b.space(); len(b.bytes) != bufferSize {
		t.Errorf("an empty buffer of %d bytes, want %d", len(b.bytes), bufferSize)
	}
}
