package transport_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/messagebus-go/messagebus/bus"
	"github.com/messagebus-go/messagebus/bus/bustest"
	"github.com/messagebus-go/messagebus/transport"
)

// A site is a handler behind a real socket.
type site struct {
	bus     *bus.Bus
	handler *transport.Handler
	server  *httptest.Server
}

// listen serves on a socket. wrap, which may be nil, stands before the handler.
func listen(tb testing.TB, opts *transport.Options, wrap func(http.Handler) http.Handler, start func(*httptest.Server)) *site {
	tb.Helper()
	b := bustest.On(tb, bustest.NewStore(tb), &bus.Options{Keepalive: -1})
	h := newHandler(tb, b, opts)
	if wrap == nil {
		wrap = func(h http.Handler) http.Handler { return h }
	}
	server := httptest.NewUnstartedServer(wrap(h))
	server.Listener = smallBuffers{server.Listener}
	start(server)
	tb.Cleanup(server.Close)
	return &site{b, h, server}
}

func (s *site) held(tb testing.TB, n int) {
	tb.Helper()
	waitFor(tb, fmt.Sprintf("%d held requests", n), func() bool { return s.handler.Held() == n })
}

// dial connects with the scheme of the server.
func (s *site) dial(tb testing.TB) net.Conn {
	tb.Helper()
	var d net.Dialer
	conn, err := d.DialContext(context.Background(), s.server.Listener.Addr().Network(), s.server.Listener.Addr().String())
	if err != nil {
		tb.Fatal(err)
	}
	if s.server.TLS != nil {
		conn = tls.Client(conn, &tls.Config{InsecureSkipVerify: true})
	}
	tb.Cleanup(func() { conn.Close() })
	return conn
}

// smallBuffers keeps the system from holding much of what a peer does not read.
type smallBuffers struct{ net.Listener }

func (l smallBuffers) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if socket, ok := conn.(interface{ SetWriteBuffer(bytes int) error }); ok {
		err = errors.Join(err, socket.SetWriteBuffer(64<<10))
	}
	return conn, err
}

// kinds are the ways in which a connection can be taken over.
var kinds = []struct {
	name  string
	start func(*httptest.Server)
}{
	{"tcp", (*httptest.Server).Start},
	{"tls", (*httptest.Server).StartTLS},
	{"unix", nil},
}

func eachKind(t *testing.T, f func(*testing.T, func(*httptest.Server))) {
	t.Helper()
	for _, kind := range kinds {
		t.Run(kind.name, func(t *testing.T) {
			t.Parallel()
			start := kind.start
			if start == nil {
				start = func(server *httptest.Server) { startUnix(t, server) }
			}
			f(t, start)
		})
	}
}

func startUnix(t *testing.T, server *httptest.Server) {
	t.Helper()
	var config net.ListenConfig
	l, err := config.Listen(t.Context(), "unix", filepath.Join(t.TempDir(), "s"))
	if err != nil {
		t.Fatal(err)
	}
	server.Listener.Close()
	server.Listener = smallBuffers{l}
	server.Start()
}

func TestSocket_StreamsAndNoticesWhoLeaves(t *testing.T) {
	t.Parallel()
	eachKind(t, func(t *testing.T, start func(*httptest.Server)) {
		s := listen(t, nil, nil, start)
		p := send(t, s.dial(t), request("/message-bus/me/poll", "/a=0")+"pipelined bytes of no interest").head()
		p.want(noMessages)
		publish(t, s.bus, "/a", 1)
		p.want("[" + message(1, "/a", "1") + "]")
		s.held(t, 1)
		p.conn.Close()
		s.held(t, 0)
	})
}

func TestSocket_EndOfTheAnswerArrivesAfterPipelinedBytes(t *testing.T) {
	t.Parallel()
	eachKind(t, func(t *testing.T, start func(*httptest.Server)) {
		s := listen(t, nil, nil, start)
		p := send(t, s.dial(t), request("/message-bus/me/poll", "/a=0")).head()
		p.want(noMessages)
		if _, err := io.WriteString(p.conn, strings.Repeat("more", 1000)); err != nil {
			t.Fatal(err)
		}
		if err := s.handler.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
		p.want(noMessages, "")
		p.wantEnd()
	})
}

func TestSocket_SlowReaderDelaysNobodyAndLosesNothing(t *testing.T) {
	t.Parallel()
	eachKind(t, func(t *testing.T, start func(*httptest.Server)) {
		s := listen(t, slowOptions(128<<10), nil, start)
		slow := send(t, s.dial(t), request("/message-bus/slow/poll", "/a=0")).head()
		fast := send(t, s.dial(t), request("/message-bus/fast/poll", "/a=0")).head()
		slow.want(noMessages)
		fast.want(noMessages)
		const n = 100
		large := strings.Repeat("x", 16<<10) // more in all than the sockets and the queue hold
		for i := 1; i <= n; i++ {
			publish(t, s.bus, "/a", large)
			if got := decode(t, fast.part()); len(got) != 1 || got[0].ID != i {
				t.Fatalf("message %d: %d messages, the first is %d", i, len(got), got[0].ID)
			}
		}
		for last := 0; last < n; {
			for _, m := range decode(t, slow.part()) {
				if m.ID != last+1 {
					t.Fatalf("message %d after %d", m.ID, last)
				}
				last = m.ID
			}
		}
	})
}

func TestSocket_PeerThatTakesNothingIsCutOff(t *testing.T) {
	t.Parallel()
	eachKind(t, func(t *testing.T, start func(*httptest.Server)) {
		why := make(chan transport.Reason, 1)
		s := listen(t, &transport.Options{
			Limits: transport.LimitOptions{WriteTimeout: 200 * time.Millisecond, MaxQueuedBytes: 64 << 10},
			Trace:  &transport.Trace{Disconnect: func(_ transport.Identity, _ string, reason transport.Reason) { why <- reason }},
		}, nil, start)
		send(t, s.dial(t), request("/message-bus/me/poll", "/a=0")).head().want(noMessages)
		for s.handler.Held() == 1 {
			publish(t, s.bus, "/a", strings.Repeat("x", 1<<20))
		}
		if got := <-why; got != transport.TooSlow {
			t.Errorf("%s", got)
		}
	})
}

func TestSocket_IdleClientHasNoGoroutine(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("elsewhere a goroutine reads every connection")
	}
	s := listen(t, nil, nil, (*httptest.Server).Start)
	send(t, s.dial(t), request("/message-bus/first/poll", "/a=0")).head().want(noMessages)
	before := runtime.NumGoroutine()
	const n = 100
	for i := range n {
		send(t, s.dial(t), request(fmt.Sprintf("/message-bus/%d/poll", i), "/a=0")).head().want(noMessages)
	}
	waitFor(t, "the goroutines of net/http to end", func() bool { return runtime.NumGoroutine() < before+n/2 })
}

// hidden keeps the handler from taking the connection over.
type hidden struct{ http.ResponseWriter }

func (w hidden) Flush() { _ = http.NewResponseController(w.ResponseWriter).Flush() }

func (w hidden) SetWriteDeadline(at time.Time) error {
	return http.NewResponseController(w.ResponseWriter).SetWriteDeadline(at)
}

func (w hidden) SetReadDeadline(at time.Time) error {
	return http.NewResponseController(w.ResponseWriter).SetReadDeadline(at)
}

func hide(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { next.ServeHTTP(hidden{w}, r) })
}

func TestStream_OneChunkAPartWhereTheConnectionCannotBeTakenOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := wrapped(t, &transport.Options{
			Limits: transport.LimitOptions{ReadTimeout: time.Second}, // is not the hold's
		})
		p := r.poll("me", "/a=0").head()
		p.want(noMessages)
		for i := range 5 {
			r.publish("/a", i)
		}
		for i := range 5 {
			p.want("[" + message(i+1, "/a", fmt.Sprint(i)) + "]")
		}
		p.want(noMessages, "")
		if p.header.Get("Connection") != "close" || p.header.Get("Content-Type") != "text/plain; charset=utf-8" {
			t.Error(p.lines)
		}
		p = r.poll("me", "/b=0", "Dont-Chunk: 1")
		r.held(1)
		r.publish("/b", 1)
		if got := p.head().body(); got != "["+message(6, "/b", "1")+"]" {
			t.Errorf("%s", got)
		}
		p = r.poll("me", "/a=5").head()
		p.want(noMessages)
		p.conn.Close()
		r.held(0)
	})
}

func TestStream_HTTP2(t *testing.T) {
	t.Parallel()
	s := listen(t, nil, nil, func(server *httptest.Server) {
		server.EnableHTTP2 = true
		server.StartTLS()
	})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, s.server.URL+"/message-bus/me/poll", strings.NewReader("/a=0"))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", form)
	w, err := s.server.Client().Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Body.Close()
	if w.ProtoMajor != 2 || w.Header.Get("Connection") != "" || w.Header.Get("X-Content-Type-Options") != "nosniff" {
		t.Errorf("%s %v", w.Proto, w.Header)
	}
	in := bufio.NewReader(w.Body)
	for i := range 3 {
		want := noMessages
		if i > 0 {
			publish(t, s.bus, "/a", i)
			want = "[" + message(i, "/a", fmt.Sprint(i)) + "]"
		}
		b := make([]byte, len(want)+len("\r\n|\r\n"))
		if _, err := io.ReadFull(in, b); err != nil || string(b) != want+"\r\n|\r\n" {
			t.Fatalf("%q, %v", b, err)
		}
	}
	s.held(t, 1)
	cancel()
	s.held(t, 0)
}

func TestStream_ShutdownEndsIt(t *testing.T) {
	t.Parallel()
	s := listen(t, nil, hide, (*httptest.Server).Start)
	p := send(t, s.dial(t), request("/message-bus/me/poll", "/a=0")).head()
	p.want(noMessages)
	if err := s.handler.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
	p.want(noMessages, "")
}
