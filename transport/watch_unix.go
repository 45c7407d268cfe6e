//go:build unix && !linux

package transport

import "syscall"

// watcher is not needed where a goroutine reads every connection.
type watcher struct{}

func newWatcher(*Handler) *watcher { return &watcher{} }

func (s *socketConn) watch(c *client) {
	s.read = true
	s.anyConn.watch(c)
}

func (*watcher) remove(syscall.RawConn) {}

func (*watcher) stop() {}
