package transport_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http/httptest"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/messagebus-go/messagebus/transport"
)

const benchClients = 1000

// benchData is a payload of common size.
var benchData = strings.Repeat("x", 100)

// benchChunk is what goes over the wire for it.
func benchChunk(id int64) string {
	part := "[" + message(int(id), "/a", strconv.Quote(benchData)) + "]\r\n|\r\n"
	return fmt.Sprintf("%x\r\n%s\r\n", len(part), part)
}

// hold opens n held requests and returns their connections.
func (s *site) hold(b *testing.B, n int) []net.Conn {
	b.Helper()
	conns := make([]net.Conn, n)
	for i := range conns {
		conns[i] = connect(b, s.server.Listener.Addr().String())
		text := request("/message-bus/"+strconv.Itoa(i)+"/poll", "/a=0")
		if _, err := io.WriteString(conns[i], text); err != nil {
			b.Fatal(err)
		}
		p := &peer{tb: b, conn: conns[i], in: bufio.NewReader(conns[i])}
		p.head().want(noMessages)
	}
	b.Cleanup(func() { closeAll(conns) })
	return conns
}

func connect(b *testing.B, addr string) net.Conn {
	b.Helper()
	var d net.Dialer
	conn, err := d.DialContext(b.Context(), "tcp", addr)
	if err != nil {
		b.Fatal(err)
	}
	return conn
}

func closeAll(conns []net.Conn) {
	for _, conn := range conns {
		conn.Close()
	}
}

func benchSite(b *testing.B) *site {
	b.Helper()
	return listen(b, &transport.Options{
		LongPoll: transport.LongPollOptions{Hold: time.Hour},
		Limits:   transport.LimitOptions{MaxHeld: 1 << 20},
	}, nil, (*httptest.Server).Start)
}

// readEach reads size bytes from every connection.
func readEach(b *testing.B, conns []net.Conn, size int) {
	b.Helper()
	buffer := make([]byte, size)
	for _, conn := range conns {
		if _, err := io.ReadFull(conn, buffer); err != nil {
			b.Fatal(err)
		}
	}
}

func perDelivery(b *testing.B, deliveries int) {
	b.Helper()
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*deliveries), "ns/delivery")
}

// BenchmarkFanOut is one message, or a burst, to 1000 streaming clients, from
// the publish until all of them have read it.
func BenchmarkFanOut(b *testing.B) {
	for _, burst := range []int{1, 20} {
		b.Run(fmt.Sprintf("burst=%d", burst), func(b *testing.B) {
			s := benchSite(b)
			conns := s.hold(b, benchClients)
			b.ReportAllocs()
			for b.Loop() {
				size := 0
				for range burst {
					id, err := s.bus.Publish(b.Context(), "/a", benchData)
					if err != nil {
						b.Fatal(err)
					}
					size += len(benchChunk(id))
				}
				readEach(b, conns, size)
			}
			perDelivery(b, burst*benchClients)
		})
	}
}

// BenchmarkFanOutBare writes the same bytes to as many connections in a loop:
// what BenchmarkFanOut is measured by.
func BenchmarkFanOutBare(b *testing.B) {
	for _, burst := range []int{1, 20} {
		b.Run(fmt.Sprintf("burst=%d", burst), func(b *testing.B) {
			ours, theirs := pairs(b, benchClients)
			chunk := []byte(benchChunk(100_000))
			b.ReportAllocs()
			for b.Loop() {
				done := make(chan struct{})
				go func() {
					defer close(done)
					for range burst {
						for _, conn := range theirs {
							if _, err := conn.Write(chunk); err != nil {
								b.Error(err)
							}
						}
					}
				}()
				readEach(b, ours, burst*len(chunk))
				<-done
			}
			perDelivery(b, burst*benchClients)
		})
	}
}

// pairs returns both ends of n connections.
func pairs(b *testing.B, n int) (ours, theirs []net.Conn) {
	b.Helper()
	var config net.ListenConfig
	l, err := config.Listen(b.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	defer l.Close()
	for range n {
		conn := connect(b, l.Addr().String())
		other, err := l.Accept()
		if err != nil {
			b.Fatal(err)
		}
		ours, theirs = append(ours, conn), append(theirs, other)
	}
	b.Cleanup(func() { closeAll(ours); closeAll(theirs) })
	return ours, theirs
}

// BenchmarkIdleClient reports the memory of one held request over that of its
// connection alone.
func BenchmarkIdleClient(b *testing.B) {
	const n = 2000
	for b.Loop() {
		before := memory()
		ours, theirs := pairs(b, n)
		bare := memory() - before
		s := benchSite(b)
		before = memory()
		conns := s.hold(b, n)
		waitFor(b, "net/http to let go", func() bool { return runtime.NumGoroutine() < n/2 })
		held := memory() - before
		b.ReportMetric(float64(held-bare)/n, "B/client")
		runtime.KeepAlive([][]net.Conn{ours, theirs, conns})
	}
}

// memory is what is in use, on the heap and for stacks.
func memory() int64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc + m.StackInuse)
}
