//go:build !unix

package transport

import "net"

// A nowWriter has nothing to do where sockets are not written to directly.
type nowWriter struct{}

// newConn returns the conn for a connection that was taken over.
func (h *Handler) newConn(nc net.Conn) conn { return anyConn{nc} }

// watcher is not needed where a goroutine reads every connection.
type watcher struct{}

func newWatcher(*Handler) *watcher { return &watcher{} }

func (*watcher) stop() {}
