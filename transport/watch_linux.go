package transport

import (
	"os"
	"sync"
	"syscall"
)

// A watcher notices peers that leave, all of them with one epoll. The epoll is
// itself polled by the runtime: neither a goroutine for each client nor a
// thread of the system waits.
type watcher struct {
	h *Handler

	mu      sync.Mutex // guards below
	file    *os.File   // the epoll; nil: not needed yet
	fd      int
	stopped bool
	clients map[int32]watched
	count   int32
}

// watched is a client and a number that tells it from an earlier one that had
// the same file descriptor.
type watched struct {
	client *client
	number int32
}

func newWatcher(h *Handler) *watcher {
	return &watcher{h: h, clients: make(map[int32]watched)}
}

func (s *socketConn) watch(c *client) {
	if !s.watcher.add(s, c) {
		s.read = true
		s.anyConn.watch(c)
	}
}

// add watches s, whose client is c; false: it cannot.
func (w *watcher) add(s *socketConn, c *client) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.stopped || !w.open() {
		return false
	}
	added := false
	err := s.raw.Control(func(fd uintptr) {
		w.count++
		event := syscall.EpollEvent{
			Events: syscall.EPOLLRDHUP | syscall.EPOLLONESHOT,
			Fd:     int32(fd), Pad: w.count,
		}
		if syscall.EpollCtl(w.fd, syscall.EPOLL_CTL_ADD, int(fd), &event) == nil {
			w.clients[int32(fd)] = watched{c, w.count}
			added = true
		}
	})
	return added && err == nil
}

// open makes the epoll when the first socket comes. w.mu must be held.
func (w *watcher) open() bool {
	if w.file != nil {
		return true
	}
	fd, err := syscall.EpollCreate1(syscall.EPOLL_CLOEXEC)
	if err != nil {
		return false
	}
	if err := syscall.SetNonblock(fd, true); err != nil {
		_ = syscall.Close(fd)
		return false
	}
	file := os.NewFile(uintptr(fd), "epoll")
	raw, err := file.SyscallConn()
	if err != nil {
		_ = file.Close()
		return false
	}
	w.file, w.fd = file, fd
	w.h.loops.Go(func() { w.run(raw) })
	return true
}

// run tells of the peers that leave, until stop closes the epoll.
func (w *watcher) run(raw syscall.RawConn) {
	events := make([]syscall.EpollEvent, 128)
	for {
		n := 0
		err := raw.Read(func(fd uintptr) bool {
			n, _ = syscall.EpollWait(int(fd), events, 0)
			return n > 0
		})
		if err != nil {
			return
		}
		for _, event := range events[:n] {
			if c := w.find(event.Fd, event.Pad); c != nil {
				c.left()
			}
		}
	}
}

func (w *watcher) find(fd, number int32) *client {
	w.mu.Lock()
	defer w.mu.Unlock()
	if at := w.clients[fd]; at.number == number {
		return at.client
	}
	return nil
}

// remove must come before the socket is closed: its number is given again.
func (w *watcher) remove(raw syscall.RawConn) {
	w.mu.Lock()
	defer w.mu.Unlock()
	_ = raw.Control(func(fd uintptr) { // an error says that the socket is closed
		if _, ok := w.clients[int32(fd)]; ok {
			delete(w.clients, int32(fd))
			_ = syscall.EpollCtl(w.fd, syscall.EPOLL_CTL_DEL, int(fd), nil)
		}
	})
}

func (w *watcher) stop() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.stopped = true
	if w.file != nil {
		_ = w.file.Close() // ends run
	}
}
