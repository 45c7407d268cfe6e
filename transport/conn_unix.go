//go:build unix

package transport

import (
	"errors"
	"net"
	"syscall"
)

// A nowWriter writes to a file descriptor without waiting. Its callback is
// made once, so that a write allocates nothing.
type nowWriter struct {
	b    []byte
	n    int
	err  error
	call func(fd uintptr) bool
}

// write hands b to the socket. An error is the socket's; that it takes nothing
// at the moment is none.
func (w *nowWriter) write(raw syscall.RawConn, b []byte) (int, error) {
	if w.call == nil {
		w.call = w.once
	}
	w.b, w.n, w.err = b, 0, nil
	err := raw.Write(w.call)
	n, failed := w.n, w.err
	w.b = nil
	if failed != nil {
		err = failed
	}
	return n, err
}

// once reports that it is done whatever came of it: it must not be waited for.
func (w *nowWriter) once(fd uintptr) bool {
	for {
		n, err := syscall.Write(int(fd), w.b)
		if errors.Is(err, syscall.EINTR) {
			continue
		}
		w.n = max(n, 0)
		if err != nil && !errors.Is(err, syscall.EAGAIN) {
			w.err = err
		}
		return true
	}
}

// socketConn is a conn on a socket of the system.
type socketConn struct {
	anyConn
	raw     syscall.RawConn
	watcher *watcher
	read    bool // a goroutine reads it
}

func (s *socketConn) writeNow(now *nowWriter, b []byte) (int, error) { return now.write(s.raw, b) }

// close drops what the peer sent after its request: the system resets a
// connection that is closed with unread bytes, and the peer could lose the end
// of its answer.
func (s *socketConn) close() {
	if !s.read {
		s.watcher.remove(s.raw)
		s.dropUnread()
	}
	s.anyConn.close()
}

func (s *socketConn) abort() { s.close() }

func (s *socketConn) dropUnread() {
	_ = s.raw.Read(func(fd uintptr) bool {
		var b [4096]byte
		for range 4 {
			if n, _ := syscall.Read(int(fd), b[:]); n <= 0 {
				break
			}
		}
		return true
	})
}

// newConn returns the conn for a connection that was taken over.
func (h *Handler) newConn(nc net.Conn) conn {
	switch socket := nc.(type) {
	case *net.TCPConn:
		return h.newSocketConn(nc, socket)
	case *net.UnixConn:
		return h.newSocketConn(nc, socket)
	}
	return anyConn{nc}
}

func (h *Handler) newSocketConn(nc net.Conn, socket syscall.Conn) conn {
	raw, err := socket.SyscallConn()
	if err != nil {
		return anyConn{nc}
	}
	return &socketConn{anyConn: anyConn{nc}, raw: raw, watcher: h.watcher}
}
