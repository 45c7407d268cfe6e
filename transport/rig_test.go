package transport_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/messagebus-go/messagebus/bus"
	"github.com/messagebus-go/messagebus/bus/bustest"
	"github.com/messagebus-go/messagebus/bus/driver"
	"github.com/messagebus-go/messagebus/transport"
	"github.com/messagebus-go/messagebus/transport/transporttest"
)

// A rig is a bus, a handler and a server in memory, in a bubble of synctest.
type rig struct {
	tb      testing.TB
	bus     *bus.Bus
	handler *transport.Handler
	server  *transporttest.Server
}

func newRig(tb testing.TB, opts *transport.Options) *rig {
	tb.Helper()
	return newRigOn(tb, bustest.NewStore(tb), opts)
}

func newRigOn(tb testing.TB, store driver.Backend, opts *transport.Options) *rig {
	tb.Helper()
	b := bustest.On(tb, store, &bus.Options{Keepalive: -1})
	h := newHandler(tb, b, opts)
	synctest.Wait() // until it hears live messages
	return &rig{tb: tb, bus: b, handler: h, server: transporttest.NewServer(tb, h)}
}

func newHandler(tb testing.TB, b *bus.Bus, opts *transport.Options) *transport.Handler {
	tb.Helper()
	h, err := transport.NewHandler(b, opts)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := h.Shutdown(context.Background()); err != nil {
			tb.Errorf("Shutdown: %v", err)
		}
	})
	return h
}

// byHeaders identifies by the headers X-User, X-Groups, X-Site and X-Sited.
func byHeaders(r *http.Request) (id transport.Identity, err error) {
	if user := r.Header.Get("X-User"); user != "" {
		err = json.Unmarshal([]byte(user), &id.UserID)
	}
	if groups := r.Header.Get("X-Groups"); groups != "" {
		err = errors.Join(err, json.Unmarshal([]byte(groups), &id.GroupIDs))
	}
	id.Site, id.Sited = r.Header.Get("X-Site"), r.Header.Get("X-Sited") != ""
	return id, err
}

func (r *rig) publish(channel string, data any, opts ...bus.PublishOption) {
	r.tb.Helper()
	publish(r.tb, r.bus, channel, data, opts...)
}

func publish(tb testing.TB, b *bus.Bus, channel string, data any, opts ...bus.PublishOption) {
	tb.Helper()
	if _, err := b.Publish(context.Background(), channel, data, opts...); err != nil {
		tb.Fatal(err)
	}
}

// held waits until so many requests are held.
func (r *rig) held(n int) {
	r.tb.Helper()
	waitFor(r.tb, fmt.Sprintf("%d held requests", n), func() bool { return r.handler.Held() == n })
}

// waitFor asks again and again. In a bubble the time is not real.
func waitFor(tb testing.TB, what string, done func() bool) {
	tb.Helper()
	ticker := time.NewTicker(time.Millisecond)
	defer ticker.Stop()
	for range 20_000 {
		if done() {
			return
		}
		<-ticker.C
	}
	tb.Fatalf("waited in vain for %s", what)
}

// A peer is a client that looks at every byte.
type peer struct {
	tb     testing.TB
	conn   net.Conn
	in     *bufio.Reader
	status int
	lines  []string // of the head, without the status line
	header http.Header
}

// poll sends a request on a connection of its own. head has further lines.
func (r *rig) poll(clientID, body string, head ...string) *peer {
	r.tb.Helper()
	return send(r.tb, r.dial(), request("/message-bus/"+clientID+"/poll", body, head...))
}

// get sends a request without a body.
func (r *rig) get(target string) *peer {
	r.tb.Helper()
	return send(r.tb, r.dial(), "GET "+target+" HTTP/1.1\r\nHost: transport.test\r\n\r\n")
}

func (r *rig) dial() net.Conn {
	r.tb.Helper()
	conn, err := r.server.Dial(context.Background())
	if err != nil {
		r.tb.Fatal(err)
	}
	return conn
}

func request(target, body string, head ...string) string {
	lines := append([]string{
		"POST " + target + " HTTP/1.1", "Host: transport.test",
		"Content-Type: application/x-www-form-urlencoded", "Content-Length: " + strconv.Itoa(len(body)),
	}, head...)
	return strings.Join(lines, "\r\n") + "\r\n\r\n" + body
}

func send(tb testing.TB, conn net.Conn, text string) *peer {
	tb.Helper()
	tb.Cleanup(func() { conn.Close() })
	if _, err := io.WriteString(conn, text); err != nil {
		tb.Fatal(err)
	}
	return &peer{tb: tb, conn: conn, in: bufio.NewReader(conn)}
}

// head reads the head of the answer.
func (p *peer) head() *peer {
	p.tb.Helper()
	if err := p.tryHead(); err != nil {
		p.tb.Fatal(err)
	}
	return p
}

func (p *peer) tryHead() error {
	p.header = make(http.Header)
	status, err := p.line()
	if err != nil {
		return err
	}
	if _, err := fmt.Sscanf(status, "HTTP/1.1 %d", &p.status); err != nil {
		return fmt.Errorf("status line %q: %w", status, err)
	}
	for {
		line, err := p.line()
		if line == "" {
			return err
		}
		p.lines = append(p.lines, line)
		name, value, _ := strings.Cut(line, ": ")
		p.header.Add(name, value)
	}
}

func (p *peer) line() (string, error) {
	line, err := p.in.ReadString('\n')
	if err != nil {
		return "", fmt.Errorf("read a line: %w", err)
	}
	return strings.TrimSuffix(line, "\r\n"), nil
}

// body reads the body of an answer that has a length.
func (p *peer) body() string {
	p.tb.Helper()
	body, err := p.tryBody()
	if err != nil {
		p.tb.Fatal(err)
	}
	return body
}

func (p *peer) tryBody() (string, error) {
	n, err := strconv.Atoi(p.header.Get("Content-Length"))
	if err != nil {
		return "", fmt.Errorf("content-length: %w", err)
	}
	b := make([]byte, n)
	if _, err := io.ReadFull(p.in, b); err != nil {
		return "", fmt.Errorf("read %d bytes: %w", n, err)
	}
	return string(b), nil
}

// part reads one HTTP chunk, which is one part; "" after the last one.
func (p *peer) part() string {
	p.tb.Helper()
	part, err := p.tryPart()
	if err != nil {
		p.tb.Fatal(err)
	}
	return part
}

func (p *peer) tryPart() (string, error) {
	line, err := p.in.ReadString('\n')
	if err != nil {
		return "", err
	}
	size, err := strconv.ParseInt(strings.TrimSpace(line), 16, 32)
	if err != nil {
		return "", fmt.Errorf("chunk size %q: %w", line, err)
	}
	b := make([]byte, size+2)
	if _, err := io.ReadFull(p.in, b); err != nil {
		return "", err
	}
	part, complete := strings.CutSuffix(string(b), "\r\n|\r\n\r\n")
	if size == 0 {
		return "", nil
	}
	if !complete {
		return "", fmt.Errorf("a chunk is not one part: %q", b)
	}
	return part, nil
}

// want reads parts and compares them.
func (p *peer) want(parts ...string) {
	p.tb.Helper()
	for _, want := range parts {
		if got := p.part(); got != want {
			p.tb.Errorf("part %s, want %s", got, want)
		}
	}
}

// wantEnd reads the end of the connection.
func (p *peer) wantEnd() {
	p.tb.Helper()
	if b, err := p.in.ReadByte(); !errors.Is(err, io.EOF) {
		p.tb.Errorf("byte %q, error %v after the end of the answer", b, err)
	}
}

// message is one message as it is on the wire; membus counts all channels together.
func message(id int, channel, data string) string {
	return fmt.Sprintf(`{"global_id":%d,"message_id":%d,"channel":%q,"data":%s}`, id, id, channel, data)
}

func status(data string) string {
	return `{"global_id":-1,"message_id":-1,"channel":"/__status","data":` + data + `}`
}

// slowOptions let no more wait than a few messages, and wait long for a peer.
func slowOptions(most int) *transport.Options {
	return &transport.Options{Limits: transport.LimitOptions{MaxQueuedBytes: most, WriteTimeout: time.Hour}}
}

var forSomebodyElse = bus.ToUsers(bus.IntID(999))

const noMessages = "[]"
