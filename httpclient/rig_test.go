package httpclient_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/messagebus-go/messagebus/httpclient"
)

// A rig is a server in memory that answers by a script, in a bubble of synctest.
type rig struct {
	*testing.T

	client *http.Client
	mu     sync.Mutex // guards below
	asked  []asked
	errs   []error
}

// asked is one request.
type asked struct {
	at           time.Time
	method, path string
	header       http.Header
	body         string
}

// bubble runs test in a bubble. answer answers the n-th request, from 0; it may hold it
// until the client leaves, by hold.
func bubble(t *testing.T, answer func(w http.ResponseWriter, r *http.Request, n int), test func(r *rig)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		l := &listener{conns: make(chan net.Conn), closed: make(chan struct{})}
		r := &rig{T: t}
		transport := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) { return l.dial(ctx) }}
		r.client = &http.Client{Transport: transport}
		server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, request *http.Request) { r.serve(w, request, answer) })}
		var serving sync.WaitGroup
		serving.Go(func() { _ = server.Serve(l) })
		t.Cleanup(func() {
			_ = server.Close()
			transport.CloseIdleConnections()
			serving.Wait()
		})
		test(r)
	})
}

func (r *rig) serve(w http.ResponseWriter, request *http.Request, answer func(http.ResponseWriter, *http.Request, int)) {
	body, _ := io.ReadAll(request.Body)
	r.mu.Lock()
	n := len(r.asked)
	r.asked = append(r.asked, asked{time.Now(), request.Method, request.URL.RequestURI(), request.Header.Clone(), string(body)})
	r.mu.Unlock()
	answer(w, request, n)
}

// hold waits until the client leaves.
func hold(r *http.Request) { <-r.Context().Done() }

// parts answers with a stream, and holds it.
func parts(w http.ResponseWriter, r *http.Request, parts ...string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	for _, part := range parts {
		_, _ = io.WriteString(w, part+"\r\n|\r\n")
		_ = http.NewResponseController(w).Flush()
	}
	hold(r)
}

// message is a message on /a whose global id is ten times its id.
func message(id int) string { return messageOf("/a", id, 10*id) }

func messageOf(channel string, id, globalID int) string {
	return fmt.Sprintf(`{"global_id":%d,"message_id":%d,"channel":%q,"data":%d}`, globalID, id, channel, id)
}

func status(channel string, id int) string {
	return fmt.Sprintf(`{"global_id":-1,"message_id":-1,"channel":"/__status","data":{%q:%d}}`, channel, id)
}

func (r *rig) onError(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.errs = append(r.errs, err)
}

// new makes a client of the rig, which is closed with the test.
func (r *rig) new(opts httpclient.Options) *httpclient.Client {
	r.Helper()
	if opts.HTTPClient == nil {
		opts.HTTPClient = r.client
	}
	if opts.OnError == nil {
		opts.OnError = r.onError
	}
	c, err := httpclient.New("http://user:secret@bus.test/app", &opts)
	if err != nil {
		r.Fatal(err)
	}
	r.Cleanup(func() { c.Close() })
	return c
}

// tape is what a callback was called with.
type tape struct {
	mu       sync.Mutex
	messages []httpclient.Message
}

func (p *tape) add(m httpclient.Message) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.messages = append(p.messages, m)
}

// ids are those of the messages.
func (p *tape) ids() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	texts := make([]string, len(p.messages))
	for i, m := range p.messages {
		texts[i] = fmt.Sprint(m.ID)
	}
	return strings.Join(texts, " ")
}

func (r *rig) subscribe(c *httpclient.Client, channel string, from httpclient.Position) *tape {
	r.Helper()
	p := &tape{}
	if _, err := c.Subscribe(channel, from, p.add); err != nil {
		r.Fatal(err)
	}
	return p
}

func (r *rig) requests() []asked {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.asked)
}

func (r *rig) errors() []error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.errs)
}

// pass lets time pass.
func pass(d time.Duration) {
	<-time.After(d)
	synctest.Wait()
}

type listener struct {
	conns  chan net.Conn
	once   sync.Once
	closed chan struct{}
}

func (l *listener) dial(ctx context.Context) (net.Conn, error) {
	ours, theirs := net.Pipe()
	select {
	case l.conns <- theirs:
		return ours, nil
	case <-l.closed:
		return nil, net.ErrClosed
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (l *listener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *listener) Close() error {
	l.once.Do(func() { close(l.closed) })
	return nil
}

func (l *listener) Addr() net.Addr { return &net.TCPAddr{} }
