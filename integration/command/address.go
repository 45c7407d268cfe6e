package command

import (
	"net"
	"testing"
)

// FreeAddress returns a host:port where nobody listens, for a program that is told where to.
func FreeAddress(tb testing.TB) string {
	tb.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	defer listener.Close()
	return listener.Addr().String()
}
