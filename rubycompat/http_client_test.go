package rubycompat_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/messagebus-go/messagebus/httpclient"
)

const clientRecording = "http_client.json"

// TestGoldenHTTPClient lets our client run through what the gem's own was recorded in, in
// fake time: what it asks, and what its callbacks get.
func TestGoldenHTTPClient(t *testing.T) {
	t.Parallel()
	for _, c := range load[*clientCase](t, clientRecording) {
		if c.Name == "defaults" { // its names are looked for in docs/http-client.md
			count(clientRecording, "")
			continue
		}
		t.Run(c.Name, func(t *testing.T) {
			t.Parallel()
			e, ruled := exceptionFor(t, clientRecording, c.Name)
			if ruled {
				amend, ok := clientRules[e.Rule]
				if !ok {
					t.Fatalf("the rule %s is not one for clients", e.Rule)
				}
				recorded := c.wants()
				if amend(c); reflect.DeepEqual(recorded, c.wants()) && e.Rule != "ruby-only" {
					t.Errorf("the rule %s changes nothing", e.Rule)
				}
			}
			synctest.Test(t, func(t *testing.T) { replayClient(t, c) })
			if !t.Failed() {
				count(clientRecording, e.Rule)
			}
		})
	}
}

// wants is what is compared, as text.
func (c *clientCase) wants() []string {
	var all []string
	for i := range c.Requests {
		all = append(all, fmt.Sprint(c.Requests[i].Line, c.Requests[i].channels()))
	}
	for i := range c.Callbacks {
		all = append(all, c.Callbacks[i].String())
	}
	return all
}

// A clientReplay is one run of a case.
type clientReplay struct {
	t      *testing.T
	c      *clientCase
	client *httpclient.Client
	conns  chan net.Conn

	mu        sync.Mutex // guards below
	requests  []clientRequest
	times     []time.Time
	answered  int
	callbacks []clientCallback
	subs      map[string]*httpclient.Subscription
	steps     []clientStep // that are still to come
}

func replayClient(t *testing.T, c *clientCase) {
	t.Helper()
	r := &clientReplay{t: t, c: c, conns: make(chan net.Conn), subs: map[string]*httpclient.Subscription{}, steps: c.Steps}
	transport := &http.Transport{DialContext: r.dial}
	defer transport.CloseIdleConnections()
	base := "http://127.0.0.1" + c.BasePath
	var err error
	if r.client, err = httpclient.New(base, c.Options.ours(transport)); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var serving sync.WaitGroup
	serving.Go(func() { r.serve(ctx, &serving) })
	if len(c.Waits) > 0 {
		r.do(clientStep{Step: clientAction{"subscribe", "A", "/a", "none"}})
	}
	for _, s := range c.initial() {
		r.do(s)
	}
	<-time.After(2 * time.Minute)
	synctest.Wait()
	r.client.Close()
	cancel()
	serving.Wait()
	r.judge()
}

func (o *clientOptions) ours(transport http.RoundTripper) *httpclient.Options {
	seconds := func(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }
	off := func(b *bool) bool { return b != nil && !*b }
	return &httpclient.Options{
		HTTPClient: &http.Client{Transport: transport}, ClientID: "CLIENT-ID",
		DisableLongPolling: off(o.LongPolling), DisableStreaming: off(o.Chunked),
		Timing: httpclient.Timing{MinPollInterval: seconds(o.Min), MaxPollInterval: seconds(o.Max), CallbackInterval: seconds(o.Background)},
		Header: func(context.Context) (http.Header, error) {
			header := http.Header{}
			for name, value := range o.Headers {
				header.Set(name, value)
			}
			return header, nil
		},
	}
}

func (r *clientReplay) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	if len(r.c.Waits) > 0 {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.times = append(r.times, time.Now())
		return nil, errors.New("connection refused")
	}
	ours, theirs := net.Pipe()
	select {
	case r.conns <- theirs:
		return ours, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (r *clientReplay) serve(ctx context.Context, serving *sync.WaitGroup) {
	for {
		select {
		case conn := <-r.conns:
			serving.Go(func() { r.answer(conn) })
		case <-ctx.Done():
			return
		}
	}
}

// answer answers one request by the script. An answer whose request the client has given up
// is for the next one. Behind the last answer requests are held.
func (r *clientReplay) answer(conn net.Conn) {
	defer conn.Close()
	request, err := http.ReadRequest(bufio.NewReader(conn))
	if err != nil {
		return
	}
	body, _ := io.ReadAll(request.Body)
	r.mu.Lock()
	var headers [][2]string
	for name, values := range request.Header {
		headers = append(headers, [2]string{name, values[0]})
	}
	r.requests = append(r.requests, clientRequest{fmt.Sprintf("%s %s %s", request.Method, request.RequestURI, request.Proto), headers, string(body)})
	n, next := len(r.requests), r.answered
	r.mu.Unlock()
	if r.run(fmt.Sprint(n)) {
		<-time.After(time.Millisecond) // until the client has given the request up, if it does
	}
	if next < len(r.c.Answers) {
		if !r.write(conn, next) {
			return
		}
		conn.Close()
		<-time.After(time.Millisecond)
		r.run(fmt.Sprintf("after-%d", n))
		return
	}
	_, _ = io.Copy(io.Discard, conn)
}

func (r *clientReplay) write(conn net.Conn, n int) bool {
	for _, piece := range r.c.Answers[n].pieces() {
		if _, err := conn.Write(piece); err != nil {
			return false
		}
		<-time.After(time.Millisecond)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.answered = n + 1
	return true
}

// run runs the actions of a hook.
func (r *clientReplay) run(hook string) bool {
	for _, action := range r.c.Hooks[hook] {
		r.do(clientStep{Step: action})
	}
	return r.c.Hooks[hook] != nil
}

// do does what was done to the gem's client.
func (r *clientReplay) do(s clientStep) {
	arg := func(i int) string { return fmt.Sprint(s.Step[i]) }
	switch s.Step[0] {
	case "subscribe":
		raises := len(s.Step) > 4
		sub, err := r.client.Subscribe(arg(2), startOf(s.Step[3]), r.callback(arg(1), raises))
		if refused := strings.HasPrefix(fmt.Sprint(s.Returns), "raises"); refused != (err != nil) {
			r.t.Errorf("subscribe to %s: %v", arg(2), err)
		}
		r.mu.Lock()
		defer r.mu.Unlock()
		r.subs[arg(1)] = sub
	case "unsubscribe":
		if len(s.Step) == 2 {
			r.client.Unsubscribe(arg(1))
		} else if sub := r.sub(arg(2)); sub.Channel() == arg(1) {
			sub.Close()
		}
	case "start":
		r.client.Start()
	case "stop":
		r.client.Stop()
	case "status":
		want := map[any]httpclient.Status{0.0: httpclient.Stopped, 1.0: httpclient.Started}
		if got := r.client.Status(); s.Returns != nil && got != want[s.Returns] {
			r.t.Errorf("status %s, recorded %v", got, s.Returns)
		}
	case "sleep":
		<-time.After(time.Duration(s.Step[1].(float64) * float64(time.Second)))
	case "set": // that keeps the gem's client from starting before all is subscribed
		if s.Step[1] != "status" {
			r.t.Errorf("no step %v", s.Step)
		}
	default:
		r.t.Errorf("no step %v", s.Step)
	}
}

func (r *clientReplay) sub(name string) *httpclient.Subscription {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.subs[name]
}

// startOf reads a last id as the gem's client does: what is no integer is the default.
func startOf(v any) httpclient.Position {
	n, ok := v.(float64)
	switch {
	case !ok || n != float64(int64(n)) || n == -1:
		return httpclient.Latest()
	case n < 0:
		return httpclient.Last(int(-n) - 1)
	}
	return httpclient.After(int64(n))
}

func (r *clientReplay) callback(name string, raises bool) func(httpclient.Message) {
	return func(m httpclient.Message) {
		call := clientCallback{Name: name, ID: m.ID, GlobalID: m.GlobalID}
		if err := m.Decode(&call.Data); err != nil {
			r.t.Error(err)
		}
		r.mu.Lock()
		call.During = len(r.requests)
		r.callbacks = append(r.callbacks, call)
		r.mu.Unlock()
		if raises {
			panic("callback failed")
		}
	}
}

// judge compares what was asked and called with what was recorded.
func (r *clientReplay) judge() {
	t := r.t
	if len(r.c.Waits) > 0 {
		r.judgeWaits()
		return
	}
	got := clientCase{Requests: r.requests[:min(len(r.requests), len(r.c.Requests))], Callbacks: r.callbacks}
	if want := r.c.wants(); !slices.Equal(got.wants(), want) {
		t.Errorf("asked and called\n%s\nwant\n%s", strings.Join(got.wants(), "\n"), strings.Join(want, "\n"))
	}
	if len(r.c.Requests) == 0 && len(r.requests) > 0 {
		t.Errorf("%d requests, want none", len(r.requests))
	}
	for _, want := range firstHeaders(r.c) {
		if !slices.Contains(firstHeaders(&got), want) {
			t.Errorf("header %s is missing in %s", want, firstHeaders(&got))
		}
	}
}

// firstHeaders are those headers of the first request that are neither HTTP's own nor Ruby's.
func firstHeaders(c *clientCase) [][2]string {
	if len(c.Requests) == 0 {
		return nil
	}
	return slices.DeleteFunc(slices.Clone(c.Requests[0].Headers), func(h [2]string) bool {
		return slices.Contains([]string{"Accept-Encoding", "Accept", "User-Agent", "Connection", "Host", "Content-Length"}, h[0])
	})
}

// judgeWaits: it tries again as often, and after no longer than the longest wait.
func (r *clientReplay) judgeWaits() {
	least, most := r.c.Options.Min, max(r.c.Options.Max, r.c.Options.Background)
	if len(r.times) <= len(r.c.Waits) {
		r.t.Fatalf("%d attempts", len(r.times))
	}
	for i := range r.c.Waits {
		if waited := r.times[i+1].Sub(r.times[i]).Seconds(); waited < least || waited > most+0.001 {
			r.t.Errorf("waited %v s after failure %d, want %v to %v", waited, i+1, least, most)
		}
	}
}
