package stores

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
)

// Ports for servers. They lie below those that the system gives to outgoing
// connections, so that none is taken while its server is stopped, and leave room
// for a Redis Cluster, which listens on the port 10,000 above as well.
const (
	firstPort = 10000
	ports     = 10000
)

// A reservation keeps a port of this machine for a server that may be stopped.
// What it holds is the UDP port of the same number, which no server wants: another
// test process that looks for a port sees that this one is taken.
type reservation struct {
	port int
	hold net.PacketConn
}

func reservePort() (*reservation, error) {
	for range 200 {
		port := firstPort + rand.IntN(ports)
		hold, err := net.ListenPacket("udp4", local(port))
		if err != nil {
			continue
		}
		if listener, err := net.Listen("tcp4", local(port)); err == nil {
			listener.Close()
			return &reservation{port: port, hold: hold}, nil
		}
		hold.Close()
	}
	return nil, errors.New("found no free port in 200 attempts")
}

func (r *reservation) address() string { return local(r.port) }

func (r *reservation) release() { r.hold.Close() }

func local(port int) string { return fmt.Sprintf("127.0.0.1:%d", port) }
