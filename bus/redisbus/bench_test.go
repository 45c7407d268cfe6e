package redisbus

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"testing"
	"time"
)

// BenchmarkStream measures what a message costs between the connection and Next's
// caller, where the server has always sent more than fits into a read.
func BenchmarkStream(b *testing.B) {
	s := &stream{
		conn: newFloodedConn(), ended: make(chan struct{}),
		reading: make(chan struct{}, 1), pinging: make(chan struct{}, 1), pong: make(chan uint64, 1),
	}
	ctx, cancel := context.WithCancel(b.Context())
	defer cancel()
	b.ReportAllocs()
	for b.Loop() {
		if m, err := s.Next(ctx); err != nil || m.ID == 0 {
			b.Fatal(m, err)
		}
	}
}

// A floodedConn has the same messages to read again and again.
type floodedConn struct {
	net.Conn

	all, left []byte
}

func newFloodedConn() *floodedConn {
	c := &floodedConn{}
	for i := range 1000 {
		message := fmt.Sprintf(`%d|%d|/chat|{"data":{"from":"Ann","text":"a message of an ordinary size, for a chat"},"user_ids":null,"group_ids":null,"client_ids":null}`, 1_000_000+i, 1000+i)
		c.all = fmt.Appendf(c.all, "*3\r\n$7\r\nmessage\r\n$14\r\n_message_bus_0\r\n$%d\r\n%s\r\n", len(message), message)
	}
	c.left = bytes.Clone(c.all)
	return c
}

func (c *floodedConn) Read(b []byte) (int, error) {
	if len(c.left) == 0 {
		c.left = c.all
	}
	n := copy(b, c.left)
	c.left = c.left[n:]
	return n, nil
}

func (c *floodedConn) SetReadDeadline(time.Time) error { return nil }
