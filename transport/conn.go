package transport

import (
	"errors"
	"net"
	"os"
	"time"
)

// A conn is a connection that was taken over from net/http. close and abort may
// be called more than once, and from any goroutine; the others by one at a time.
type conn interface {
	// writeNow writes as much of b as goes without waiting.
	writeNow(now *nowWriter, b []byte) (int, error)

	// writeWithin writes all of b; no step of it may take longer than d.
	writeWithin(b []byte, d time.Duration) error

	// watch calls c.left when the peer has closed the connection.
	watch(c *client)

	close()

	// abort is close without a farewell, for which TLS would wait.
	abort()
}

// writeStep is what a peer must take within the write timeout.
const writeStep = 16 << 10

// anyConn is a conn on any net.Conn: every write is left to a goroutine, and
// another one waits for the peer to leave.
type anyConn struct{ net.Conn }

func (a anyConn) writeNow(*nowWriter, []byte) (int, error) { return 0, nil }

func (a anyConn) writeWithin(b []byte, d time.Duration) error {
	for len(b) > 0 {
		if err := a.SetWriteDeadline(time.Now().Add(d)); err != nil {
			return err
		}
		n, err := a.Write(b[:min(len(b), writeStep)])
		if err != nil {
			return err
		}
		b = b[n:]
	}
	return a.SetWriteDeadline(time.Time{})
}

// watch reads in a goroutine. What the peer sends is of no interest; but it
// may not send for ever.
func (a anyConn) watch(c *client) {
	c.h.loops.Go(func() {
		var b [512]byte
		for range maxUnasked / len(b) {
			if _, err := a.Read(b[:]); err != nil {
				break
			}
		}
		c.left()
	})
}

// maxUnasked bounds what a peer may send after its request.
const maxUnasked = 64 << 10

func (a anyConn) close() { _ = a.Close() } // nobody is left to tell

func (a anyConn) abort() {
	if below, ok := a.Conn.(interface{ NetConn() net.Conn }); ok {
		_ = below.NetConn().Close()
	}
	a.close()
}

// whyCut says why a write failed.
func whyCut(err error) Reason {
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return TooSlow
	}
	return Left
}
