package transport_test

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/messagebus-go/messagebus/transport"
)

// A framer is an HTTP/2 client (RFC 9113) that says what it likes.
type framer struct {
	tb   testing.TB
	conn net.Conn
	in   *bufio.Reader
}

// The types and flags of frames that are used here.
const (
	dataFrame, headersFrame, resetFrame, settingsFrame, windowFrame = 0, 1, 3, 4, 8

	endStream, endHeaders, ack = 1, 4, 1

	initialWindow = 4
)

// http2 serves r's handler by HTTP/2 without TLS, in memory, and connects with a
// window of so many bytes for each stream.
func (r *rig) http2(window uint32) *framer {
	r.tb.Helper()
	return r.http2By(&http.Server{}, window)
}

func (r *rig) http2By(server *http.Server, window uint32) *framer {
	r.tb.Helper()
	ours, theirs := net.Pipe()
	server.Handler, server.Protocols = r.handler, new(http.Protocols)
	server.Protocols.SetUnencryptedHTTP2(true)
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = server.Serve(&oneConn{conn: theirs, closed: make(chan struct{})})
	}()
	r.tb.Cleanup(func() {
		_ = server.Close()
		_ = ours.Close()
		<-done
	})
	f := &framer{tb: r.tb, conn: ours, in: bufio.NewReader(ours)}
	if _, err := io.WriteString(ours, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"); err != nil {
		r.tb.Fatal(err)
	}
	f.send(settingsFrame, 0, 0, setting(initialWindow, window))
	return f
}

// oneConn is a listener that has one connection.
type oneConn struct {
	conn   net.Conn
	closed chan struct{}
}

func (l *oneConn) Accept() (net.Conn, error) {
	if conn := l.conn; conn != nil {
		l.conn = nil
		return conn, nil
	}
	<-l.closed
	return nil, net.ErrClosed
}

func (l *oneConn) Close() error {
	close(l.closed)
	return nil
}

func (l *oneConn) Addr() net.Addr { return &net.TCPAddr{} }

func setting(id uint16, value uint32) []byte {
	return binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint16(nil, id), value)
}

func (f *framer) send(kind, flags byte, stream uint32, payload []byte) {
	b := []byte{byte(len(payload) >> 16), byte(len(payload) >> 8), byte(len(payload)), kind, flags}
	_, _ = f.conn.Write(append(binary.BigEndian.AppendUint32(b, stream), payload...)) // the server may have gone
}

// poll asks on a stream of its own. The fields are literals that are not indexed
// (RFC 7541, section 6.2.2).
func (f *framer) poll(stream uint32, clientID, body string, more ...[2]string) {
	var fields []byte
	for _, field := range append([][2]string{
		{":method", "POST"}, {":scheme", "http"}, {":authority", "x"}, {":path", "/message-bus/" + clientID + "/poll"}, {"content-type", form},
	}, more...) {
		fields = append(append(fields, 0, byte(len(field[0]))), field[0]...)
		fields = append(append(fields, byte(len(field[1]))), field[1]...)
	}
	f.send(headersFrame, endHeaders, stream, fields)
	f.send(dataFrame, endStream, stream, []byte(body))
}

// window lets the server send so many bytes more, on a stream and in all.
func (f *framer) window(stream, n uint32) {
	f.send(windowFrame, 0, stream, binary.BigEndian.AppendUint32(nil, n))
	f.send(windowFrame, 0, 0, binary.BigEndian.AppendUint32(nil, n))
}

// next reads a frame; an error is the end.
func (f *framer) next() (kind byte, stream uint32, payload []byte, err error) {
	var head [9]byte
	if _, err = io.ReadFull(f.in, head[:]); err != nil {
		return 0, 0, nil, err
	}
	if head[3] == settingsFrame && head[4]&ack == 0 {
		f.send(settingsFrame, ack, 0, nil)
	}
	payload = make([]byte, int(head[0])<<16|int(head[1])<<8|int(head[2]))
	_, err = io.ReadFull(f.in, payload)
	return head[3], binary.BigEndian.Uint32(head[5:]), payload, err
}

// drain reads all frames until the end, and hands over those of data.
func (f *framer) drain(got func(stream uint32, data []byte)) {
	for {
		kind, stream, payload, err := f.next()
		if err != nil {
			return
		}
		if kind == dataFrame {
			got(stream, payload)
		}
	}
}

// A peer whose window is always small gets a part that takes it much longer than
// the write timeout; one that opens no window at all is cut off.
func TestStream_HTTP2PeerThatTakesLongGetsAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, &transport.Options{LongPoll: transport.LongPollOptions{Hold: time.Hour}})
		r.publish("/a", strings.Repeat("x", longPart))
		f := r.http2(16 << 10)
		data := make(chan int)
		go f.drain(func(_ uint32, b []byte) { data <- len(b) })
		f.poll(1, "me", "/a=0")
		window := 16 << 10
		for got := 0; got < longPart; {
			n := <-data
			got += n
			if window -= n; window == 0 {
				<-time.After(8 * time.Second)
				window = 16 << 10
				f.window(1, 16<<10)
			}
		}
		r.held(1)
	})
}

func TestStream_HTTP2PeerThatOpensNoWindowIsCutOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		why := make(chan transport.Reason, 1)
		r := newRig(t, &transport.Options{Trace: &transport.Trace{
			Disconnect: func(_ transport.Identity, _ string, reason transport.Reason) { why <- reason },
		}})
		f := r.http2(0)
		go f.drain(func(uint32, []byte) {})
		start := time.Now()
		f.poll(1, "me", "/a=0")
		if reason := <-why; reason != transport.TooSlow || time.Since(start) > 11*time.Second {
			t.Errorf("%s after %v", reason, time.Since(start))
		}
		r.held(0)
	})
}

// Streams that are opened and reset at once leave nothing behind, and others of
// the connection are served.
func TestStream_HTTP2ResetsFreeTheirPlaces(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, &transport.Options{LongPoll: transport.LongPollOptions{Hold: time.Hour}})
		f := r.http2(1 << 20)
		got := make(chan string, 1000)
		go f.drain(func(stream uint32, b []byte) {
			if stream == 1 {
				got <- string(b)
			}
		})
		f.poll(1, "stays", "/a=0")
		<-got
		for i := range uint32(100) {
			f.poll(3+2*i, fmt.Sprint("c", i), "/a=0")
			if i%2 == 0 {
				synctest.Wait()
			}
			f.send(resetFrame, 0, 3+2*i, binary.BigEndian.AppendUint32(nil, 8)) // CANCEL
		}
		r.held(1)
		r.publish("/a", 1)
		if part := <-got; !strings.Contains(part, `"data":1`) {
			t.Errorf("%s", part)
		}
	})
}

// A connection that is given up in the middle of anything ends its streams.
func TestStream_HTTP2ConnectionThatBreaksEndsAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, &transport.Options{LongPoll: transport.LongPollOptions{Hold: time.Hour}})
		f := r.http2(1 << 20)
		go f.drain(func(uint32, []byte) {})
		for i := range uint32(50) {
			f.poll(1+2*i, fmt.Sprint("c", i), "/a=0")
		}
		r.held(50)
		_ = f.conn.Close()
		r.held(0)
		if err := r.handler.Shutdown(t.Context()); err != nil && !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	})
}

func TestStream_OutlivesTheTimeoutsOfTheServer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, nil)
		f := r.http2By(&http.Server{ReadTimeout: time.Second, WriteTimeout: time.Second}, 1<<20)
		got := make(chan string)
		go f.drain(func(_ uint32, b []byte) {
			if len(b) > 0 {
				got <- string(b)
			}
		})
		for i, more := range []string{"x-none", "dont-chunk"} {
			start := time.Now()
			f.poll(uint32(1+2*i), "me", "/a=0", [2]string{more, "1"})
			last := <-got
			if more == "x-none" {
				last = <-got
			}
			if held := time.Since(start); held != 25*time.Second || !strings.HasPrefix(last, noMessages) {
				t.Errorf("%q after %v", last, held)
			}
		}
	})
}
