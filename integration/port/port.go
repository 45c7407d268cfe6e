// Package port keeps ports of this machine for servers of tests.
package port

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"testing"
)

// The ports lie below those that the system gives to outgoing connections, so that
// none is taken while its server is stopped, and leave room for a Redis Cluster, which
// listens on the port 10,000 above as well.
const (
	first = 10000
	count = 10000
)

// A Reservation keeps a port for a server that may be stopped. What it holds is the UDP
// port of the same number, which no server wants: another test process that looks
// for a port sees that this one is taken.
type Reservation struct {
	Port int

	hold net.PacketConn
}

// Reserve keeps a port on which nobody listens, until it is released.
func Reserve() (*Reservation, error) {
	for range 200 {
		r := &Reservation{Port: first + rand.IntN(count)}
		var err error
		if r.hold, err = net.ListenPacket("udp4", r.Address()); err != nil {
			continue
		}
		if listener, err := net.Listen("tcp4", r.Address()); err == nil {
			listener.Close()
			return r, nil
		}
		r.Release()
	}
	return nil, errors.New("found no free port in 200 attempts")
}

// Address is the host and the port.
func (r *Reservation) Address() string { return fmt.Sprintf("127.0.0.1:%d", r.Port) }

// Release lets others have the port.
func (r *Reservation) Release() { r.hold.Close() }

// Address keeps a port for as long as tb goes on, for a program that is told where to
// listen, and returns its host and port.
func Address(tb testing.TB) string {
	tb.Helper()
	r, err := Reserve()
	if err != nil {
		tb.Fatalf("port: %v", err)
	}
	tb.Cleanup(r.Release)
	return r.Address()
}
