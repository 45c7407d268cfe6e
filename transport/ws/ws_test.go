package ws_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/messagebus-go/messagebus/bus"
	"github.com/messagebus-go/messagebus/bus/bustest"
	"github.com/messagebus-go/messagebus/transport"
	"github.com/messagebus-go/messagebus/transport/ws"
)

// A site is a handler behind a real socket.
type site struct {
	bus     *bus.Bus
	handler *transport.Handler
	server  *httptest.Server
}

func newSite(t *testing.T, opts transport.Options) *site {
	t.Helper()
	b := bustest.New(t)
	opts.WebSocket = ws.Accept
	h, err := transport.NewHandler(b, &opts)
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(h)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := h.Shutdown(ctx); err != nil {
			t.Errorf("Shutdown: %v", err)
		}
		server.Close()
	})
	return &site{b, h, server}
}

func (s *site) connect(t *testing.T, header http.Header) (*websocket.Conn, *http.Response, error) {
	t.Helper()
	conn, answer, err := websocket.Dial(t.Context(), s.server.URL+"/message-bus/me/ws", &websocket.DialOptions{HTTPHeader: header})
	if conn != nil {
		t.Cleanup(func() { conn.CloseNow() })
		conn.SetReadLimit(16 << 20)
	}
	return conn, answer, err
}

func mustConnect(t *testing.T, s *site) *websocket.Conn {
	t.Helper()
	conn, _, err := s.connect(t, nil)
	if err != nil {
		t.Fatal(err)
	}
	return conn
}

func write(t *testing.T, conn *websocket.Conn, text string) {
	t.Helper()
	if err := conn.Write(t.Context(), websocket.MessageText, []byte(text)); err != nil {
		t.Fatal(err)
	}
}

type message struct {
	Channel string
	Data    json.RawMessage
}

func read(t *testing.T, conn *websocket.Conn) []message {
	t.Helper()
	var messages []message
	_, b, err := conn.Read(t.Context())
	if err == nil {
		err = json.Unmarshal(b, &messages)
	}
	if err != nil {
		t.Fatalf("%v: %s", err, b)
	}
	return messages
}

func publish(t *testing.T, b *bus.Bus, channel string, data any) {
	t.Helper()
	if _, err := b.Publish(t.Context(), channel, data); err != nil {
		t.Fatal(err)
	}
}

func TestAccept_SubscribesAndGetsWhatIsStoredAndWhatComes(t *testing.T) {
	t.Parallel()
	s := newSite(t, transport.Options{})
	publish(t, s.bus, "/a", 1)
	conn := mustConnect(t, s)
	write(t, conn, `{"subscribe":{"/a":0}}`)
	if got := read(t, conn); len(got) != 2 || got[0].Channel != "/__subscribed" || string(got[1].Data) != "1" {
		t.Errorf("%s", got)
	}
	publish(t, s.bus, "/a", strings.Repeat("x", 1<<20))
	if got := read(t, conn); len(got) != 1 || len(got[0].Data) != 1<<20+2 {
		t.Errorf("%d messages", len(got))
	}
	if err := conn.Close(websocket.StatusNormalClosure, ""); err != nil {
		t.Error(err)
	}
}

func TestAccept_ShutdownSaysThatItGoesAway(t *testing.T) {
	t.Parallel()
	s := newSite(t, transport.Options{})
	conn := mustConnect(t, s)
	ended := make(chan error)
	go func() { ended <- s.handler.Shutdown(t.Context()) }()
	var err error
	for err == nil {
		_, _, err = conn.Read(t.Context())
	}
	if code := websocket.CloseStatus(err); code != websocket.StatusGoingAway {
		t.Errorf("%v", err)
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

func TestAccept_HostileClients(t *testing.T) {
	t.Parallel()
	s := newSite(t, transport.Options{Limits: transport.LimitOptions{MaxRequestBytes: 1000}})
	for name, test := range map[string]struct {
		kind    websocket.MessageType
		message string
		code    websocket.StatusCode
	}{
		"too long":  {websocket.MessageText, `{"subscribe":{"/` + strings.Repeat("a", 1000) + `":0}}`, websocket.StatusMessageTooBig},
		"not text":  {websocket.MessageBinary, `{"subscribe":{"/a":0}}`, websocket.StatusUnsupportedData},
		"no JSON":   {websocket.MessageText, `x`, websocket.StatusPolicyViolation},
		"bad UTF-8": {websocket.MessageText, "{\"subscribe\":{\"/\xff\":0}}", websocket.StatusPolicyViolation},
	} {
		conn := mustConnect(t, s)
		if err := conn.Write(t.Context(), test.kind, []byte(test.message)); err != nil {
			t.Fatal(err)
		}
		var err error
		for err == nil {
			_, _, err = conn.Read(t.Context())
		}
		if code := websocket.CloseStatus(err); code != test.code {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, page := range []string{"https://evil.example", "null"} {
		if _, answer, err := s.connect(t, http.Header{"Origin": {page}}); err == nil || answer.StatusCode != http.StatusForbidden {
			t.Errorf("%s: %v", page, err)
		}
	}
	if _, _, err := s.connect(t, http.Header{"Origin": {s.server.URL}}); err != nil {
		t.Errorf("the same origin: %v", err)
	}
	s.sendRaw(t, "GET /message-bus/me/ws HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n", "HTTP/1.1 400")
	waitFor(t, "all have gone", func() bool { return s.handler.Held() <= 1 })
}

// sendRaw sends what no WebSocket client would.
func (s *site) sendRaw(t *testing.T, request, want string) {
	t.Helper()
	var d net.Dialer
	conn, err := d.DialContext(t.Context(), "tcp", s.server.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	got := make([]byte, len(want))
	_, err = io.WriteString(conn, request)
	if err == nil {
		_, err = io.ReadFull(conn, got)
	}
	if err != nil || string(got) != want {
		t.Errorf("%q, %v; want %s", got, err, want)
	}
}

// A client that takes nothing is cut off, and its connection is closed.
func TestAccept_AClientThatTakesNothingIsCutOff(t *testing.T) {
	t.Parallel()
	why := make(chan transport.Reason, 1)
	s := newSite(t, transport.Options{
		LongPoll: transport.LongPollOptions{Heartbeat: time.Hour},
		Limits:   transport.LimitOptions{WriteTimeout: 500 * time.Millisecond},
		Trace:    &transport.Trace{Disconnect: func(_ transport.Identity, _ string, reason transport.Reason) { why <- reason }},
	})
	conn := mustConnect(t, s)
	write(t, conn, `{"subscribe":{"/a":0}}`)
	read(t, conn)
	for i := range 40 {
		publish(t, s.bus, "/a", fmt.Sprint(i, strings.Repeat("x", 1<<18)))
	}
	if reason := <-why; reason != transport.TooSlow {
		t.Errorf("cut off: %s", reason)
	}
	var err error
	for err == nil {
		_, _, err = conn.Read(t.Context())
	}
	if errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

// waitFor asks again and again.
func waitFor(t *testing.T, what string, done func() bool) {
	t.Helper()
	retry := time.NewTicker(time.Millisecond)
	defer retry.Stop()
	for range 20_000 {
		if done() {
			return
		}
		<-retry.C
	}
	t.Fatalf("waited in vain until %s", what)
}
