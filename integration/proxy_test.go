package integration_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/messagebus-go/messagebus/bus"
	"github.com/messagebus-go/messagebus/bus/bustest"
	"github.com/messagebus-go/messagebus/integration/proxy"
	"github.com/messagebus-go/messagebus/transport"
	"github.com/messagebus-go/messagebus/transport/ws"
)

// Message n+1 is published when the client has read n, all of them within one
// held request where it is not one that a message ends: a proxy that collects
// anything stops it. In the end the client leaves, and its place is free. It asks as
// somebody else, which no proxy is to pass on.
func TestProxy_MessagesAreReadOneByOne(t *testing.T) {
	t.Parallel()
	for name, start := range map[string]func(tb testing.TB, target string) *proxy.Proxy{
		"nginx":   func(tb testing.TB, target string) *proxy.Proxy { return proxy.Nginx(tb, target) },
		"HAProxy": proxy.HAProxy, "Caddy": proxy.Caddy,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b, h, target := serveBus(t)
			address := start(t, target).Address()
			for name, open := range map[string]func(ctx context.Context, t *testing.T, address string) func() (int, error){
				"stream": openStream, "long polls": openLongPolls, "server-sent events": openEvents, "WebSocket": openWebSocket,
			} {
				t.Run(name, func(t *testing.T) {
					ctx, leave := context.WithCancel(t.Context())
					defer leave()
					readOneByOne(t, b, h, open(ctx, t, address))
					leave()
					held(t, h, 0)
				})
			}
		})
	}
}

// readOneByOne publishes what next is to read. The data are the numbers from 1.
func readOneByOne(t *testing.T, b *bus.Bus, h *transport.Handler, next func() (int, error)) {
	t.Helper()
	const n = 200
	for i := 1; i <= n; i++ {
		held(t, h, 1)
		if _, err := b.Publish(t.Context(), "/numbers", i); err != nil {
			t.Fatal(err)
		}
		if got, err := next(); err != nil || got != i {
			t.Fatalf("read %d, %v; want %d", got, err, i)
		}
	}
}

func held(t *testing.T, h *transport.Handler, n int) {
	t.Helper()
	until(t, fmt.Sprint(n, " requests are held"), func() bool { return h.Held() == n })
}

func serveBus(t *testing.T) (*bus.Bus, *transport.Handler, string) {
	t.Helper()
	b := bustest.New(t)
	h, err := transport.NewHandler(b, &transport.Options{
		Identify:  notForged,
		WebSocket: ws.Accept,
		LongPoll:  transport.LongPollOptions{Hold: time.Hour, Heartbeat: time.Minute},
	})
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(h)
	endWithTest(t, server, h)
	return b, h, strings.TrimPrefix(server.URL, "http://")
}

// forged is what a client says of itself that only a proxy may.
var forged = http.Header{"X-Messagebus-Identity": {"7"}, "X-Forwarded-For": {"203.0.113.9"}, "X-Forwarded-Host": {"forged.example"}, "X-Forwarded-Proto": {"forged"}}

// notForged refuses whom the proxy has believed, and who it does not say.
func notForged(r *http.Request) (transport.Identity, error) {
	chain := r.Header.Values("X-Forwarded-For")
	if id := r.Header.Get("X-Messagebus-Identity"); id != "" || len(chain) == 0 || !strings.HasSuffix(chain[len(chain)-1], "127.0.0.1") {
		return transport.Identity{}, fmt.Errorf("identity %q, asked for %q", id, chain)
	}
	if host, proto := r.Header.Get("X-Forwarded-Host"), r.Header.Get("X-Forwarded-Proto"); host != r.Host || proto != "http" {
		return transport.Identity{}, fmt.Errorf("host %q, protocol %q, and not %q by http", host, proto, r.Host)
	}
	return transport.Identity{}, nil
}

// numbersIn returns the number of the one message in an array, if there is one.
func numbersIn(part []byte) (int, bool, error) {
	var messages []struct {
		Channel string
		Data    json.RawMessage
	}
	if err := json.Unmarshal(part, &messages); err != nil {
		return 0, false, fmt.Errorf("%q: %w", part, err)
	}
	for _, m := range messages {
		if m.Channel == "/numbers" {
			var number int
			err := json.Unmarshal(m.Data, &number)
			return number, true, err
		}
	}
	return 0, false, nil
}

// nextNumber reads parts until there is a message in one.
func nextNumber(read func() ([]byte, error)) func() (int, error) {
	return func() (int, error) {
		for {
			part, err := read()
			if err != nil {
				return 0, err
			}
			if number, found, err := numbersIn(part); found || err != nil {
				return number, err
			}
		}
	}
}

// ask sends a request that ends with ctx, and returns the body of the answer.
func ask(ctx context.Context, t *testing.T, client *http.Client, method, url, body string, head ...string) (io.ReadCloser, error) {
	t.Helper()
	request, err := http.NewRequestWithContext(ctx, method, url, strings.NewReader(body))
	if err != nil {
		return nil, err
	}
	request.Header = forged.Clone()
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	request.Header.Set("Accept-Encoding", "gzip") // which the proxy is not to do
	for _, name := range head {
		request.Header.Set(name, "true")
	}
	answer, err := client.Do(request)
	if err != nil {
		return nil, err
	}
	if answer.StatusCode != http.StatusOK {
		answer.Body.Close()
		return nil, fmt.Errorf("the answer is %s", answer.Status)
	}
	return answer.Body, nil
}

// openRequest sends a request on a connection of its own.
func openRequest(ctx context.Context, t *testing.T, method, url, body string) io.Reader {
	t.Helper()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	answer, err := ask(ctx, t, client, method, url, body)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { answer.Close() })
	return answer
}

func openStream(ctx context.Context, t *testing.T, address string) func() (int, error) {
	t.Helper()
	in := bufio.NewReader(openRequest(ctx, t, http.MethodPost, "http://"+address+"/message-bus/stream/poll", "/numbers=-1"))
	return nextNumber(func() ([]byte, error) {
		part := []byte{}
		for !bytes.HasSuffix(part, []byte("\r\n|\r\n")) {
			line, err := in.ReadBytes('\n')
			if err != nil {
				return nil, err
			}
			part = append(part, line...)
		}
		return bytes.TrimSuffix(part, []byte("\r\n|\r\n")), nil
	})
}

// openLongPolls asks again with each answer, on the connection that it has.
func openLongPolls(ctx context.Context, t *testing.T, address string) func() (int, error) {
	t.Helper()
	connections := &http.Transport{}
	client := &http.Client{Transport: connections}
	answers, failed := make(chan []byte), make(chan error, 1)
	var asking sync.WaitGroup
	asking.Go(func() {
		for last := int64(-1); ; {
			part, err := longPoll(ctx, t, client, address, last)
			if err == nil {
				last, err = lastIn(part)
			}
			if err != nil {
				failed <- err
				return
			}
			select {
			case answers <- part:
			case <-ctx.Done():
			}
		}
	})
	t.Cleanup(func() {
		asking.Wait()
		connections.CloseIdleConnections()
	})
	read := func() ([]byte, error) {
		select {
		case part := <-answers:
			return part, nil
		case err := <-failed:
			return nil, err
		}
	}
	if _, err := read(); err != nil { // where the channel stands
		t.Fatal(err)
	}
	return nextNumber(read)
}

func longPoll(ctx context.Context, t *testing.T, client *http.Client, address string, last int64) ([]byte, error) {
	t.Helper()
	answer, err := ask(ctx, t, client, http.MethodPost, "http://"+address+"/message-bus/poll/poll", fmt.Sprint("/numbers=", last), "Dont-Chunk")
	if err != nil {
		return nil, err
	}
	defer answer.Close()
	return io.ReadAll(answer)
}

// lastIn returns the id from which a client asks after an answer.
func lastIn(part []byte) (int64, error) {
	var messages []struct {
		ID      int64 `json:"message_id"`
		Channel string
		Data    json.RawMessage
	}
	err := json.Unmarshal(part, &messages)
	if err != nil || len(messages) == 0 {
		return 0, fmt.Errorf("the answer %q: %w", part, err)
	}
	newest := messages[len(messages)-1]
	if newest.Channel == "/numbers" {
		return newest.ID, nil
	}
	var stands map[string]int64
	err = json.Unmarshal(newest.Data, &stands)
	return stands["/numbers"], err
}

func openEvents(ctx context.Context, t *testing.T, address string) func() (int, error) {
	t.Helper()
	lines := bufio.NewScanner(openRequest(ctx, t, http.MethodGet, "http://"+address+"/message-bus/events/sse?/numbers=-1", ""))
	return nextNumber(func() ([]byte, error) {
		for lines.Scan() {
			if message, found := bytes.CutPrefix(lines.Bytes(), []byte("data: ")); found {
				return append(append([]byte{'['}, message...), ']'), nil
			}
		}
		return nil, fmt.Errorf("the stream ended: %w", lines.Err())
	})
}

func openWebSocket(ctx context.Context, t *testing.T, address string) func() (int, error) {
	t.Helper()
	header := forged.Clone()
	header.Set("Origin", "http://"+address) // as a page of the proxy's
	conn, _, err := websocket.Dial(ctx, "ws://"+address+"/message-bus/socket/ws", &websocket.DialOptions{HTTPHeader: header})
	if err != nil {
		t.Fatal(err)
	}
	stop := context.AfterFunc(ctx, func() { conn.CloseNow() })
	t.Cleanup(func() { stop() })
	if err := conn.Write(ctx, websocket.MessageText, []byte(`{"subscribe":{"/numbers":-1}}`)); err != nil {
		t.Fatal(err)
	}
	read := func() ([]byte, error) {
		_, part, err := conn.Read(ctx)
		return part, err
	}
	if _, err := read(); err != nil { // that it has subscribed
		t.Fatal(err)
	}
	return nextNumber(read)
}
