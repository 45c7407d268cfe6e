package transport_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/messagebus-go/messagebus/bus"
	"github.com/messagebus-go/messagebus/bus/bustest"
	"github.com/messagebus-go/messagebus/transport"
)

// A fakeSocket is a WebSocket without the wire.
type fakeSocket struct {
	tb       testing.TB
	commands chan string
	messages chan string
	closed   chan struct{}
	deaf     atomic.Bool // pings are not answered
	pings    atomic.Int64
	code     int
	reason   string
}

func (s *fakeSocket) Read(ctx context.Context) ([]byte, error) {
	select {
	case command, open := <-s.commands:
		if !open {
			return nil, io.EOF
		}
		return []byte(command), nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (s *fakeSocket) Write(ctx context.Context, message []byte) error {
	select {
	case s.messages <- string(message):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (s *fakeSocket) Ping(ctx context.Context) error {
	s.pings.Add(1)
	if s.deaf.Load() {
		<-ctx.Done()
		return ctx.Err()
	}
	return nil
}

func (s *fakeSocket) Close(code int, reason string) {
	s.code, s.reason = code, reason
	close(s.closed)
}

// socketOptions are those of a handler whose WebSockets are fakes.
func socketOptions(opts transport.Options) *transport.Options {
	opts.WebSocket = func(_ http.ResponseWriter, r *http.Request, _ int64) (transport.Socket, error) {
		return r.Context().Value(socketKey{}).(*fakeSocket), nil
	}
	return &opts
}

type socketKey struct{}

// connect opens a WebSocket. The answer is that of a refused one.
func (r *rig) connect(clientID string, head ...string) (*fakeSocket, *recorded) {
	r.tb.Helper()
	s, answer := r.open(clientID, head...)
	synctest.Wait()
	return s, answer
}

// open opens a WebSocket and waits for nothing.
func (r *rig) open(clientID string, head ...string) (*fakeSocket, *recorded) {
	r.tb.Helper()
	s := &fakeSocket{tb: r.tb, commands: make(chan string), messages: make(chan string), closed: make(chan struct{})}
	ctx := context.WithValue(context.WithoutCancel(r.tb.Context()), socketKey{}, s)
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://transport.test/message-bus/"+clientID+"/ws", nil)
	if err != nil {
		r.tb.Fatal(err)
	}
	request.Header.Set("Upgrade", "websocket")
	for _, line := range head {
		name, value, _ := strings.Cut(line, ": ")
		request.Header.Set(name, value)
	}
	answer := &recorded{header: make(http.Header)}
	go r.handler.ServeHTTP(answer, request)
	return s, answer
}

// recorded is an answer to a request that was not taken over.
type recorded struct {
	header http.Header
	status int
	body   string
}

func (r *recorded) Header() http.Header { return r.header }

func (r *recorded) WriteHeader(status int) { r.status = status }

func (r *recorded) Write(b []byte) (int, error) {
	r.body += string(b)
	return len(b), nil
}

func (s *fakeSocket) say(command string) {
	s.tb.Helper()
	select {
	case s.commands <- command:
	case <-time.After(time.Hour):
		s.tb.Fatalf("nobody listens to %s", command)
	}
}

func (s *fakeSocket) want(messages ...string) {
	s.tb.Helper()
	for _, want := range messages {
		select {
		case got := <-s.messages:
			if got != want {
				s.tb.Errorf("message %s, want %s", got, want)
			}
		case <-time.After(time.Hour):
			s.tb.Fatalf("no message %s", want)
		}
	}
}

func (s *fakeSocket) wantQuiet() {
	s.tb.Helper()
	synctest.Wait()
	select {
	case got := <-s.messages:
		s.tb.Errorf("message %s", got)
	default:
	}
}

// rest is what comes until the end.
func (s *fakeSocket) rest() (messages []string) {
	s.tb.Helper()
	for {
		select {
		case got := <-s.messages:
			messages = append(messages, got)
		case <-s.closed:
			return messages
		case <-time.After(2 * time.Hour):
			s.tb.Fatal("it is not closed")
		}
	}
}

// wantClosed reads what comes until the end.
func (s *fakeSocket) wantClosed(code int, reason string) {
	s.tb.Helper()
	s.rest()
	if s.code != code || !strings.Contains(s.reason, reason) {
		s.tb.Errorf("closed with %d %q, want %d %q", s.code, s.reason, code, reason)
	}
}

func confirmed(data string) string {
	return `{"global_id":-1,"message_id":-1,"channel":"/__subscribed","data":` + data + `}`
}

func TestWebSocket_ChannelsComeAndGoEachFromItsPosition(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, socketOptions(transport.Options{Identify: byHeaders, ServerOnly: []string{"/internal"}}))
		r.publish("/a", 1)
		r.publish("/a", 2)
		s, _ := r.connect("me", "X-User: 7")
		s.wantQuiet()
		s.say(`{"subscribe":{"/a":1,"/b":-1,"/internal":0}}`)
		s.want(`[` + confirmed(`{"channels":["/a","/b"],"refused":["/internal"]}`) + `,` + message(2, "/a", "2") + `,` + status(`{"/b":0}`) + `]`)
		r.publish("/b", 3)
		r.publish("/b", "for another", forSomebodyElse)
		r.publish("/a", 5, bus.ToUsers(bus.IntID(7)))
		s.want("["+message(3, "/b", "3")+"]", "["+message(5, "/a", "5")+"]")
		s.say(`{"unsubscribe":["/a"],"subscribe":{"/c":0}}`)
		s.want(`[` + confirmed(`{"channels":["/c"]}`) + `]`)
		r.publish("/a", 6)
		r.publish("/c", 7)
		s.want("[" + message(7, "/c", "7") + "]")
		s.say(`{"subscribe":{"/a":5,"/c":0}}`)
		s.want(`[` + confirmed(`{"channels":["/a","/c"]}`) + `,` + message(6, "/a", "6") + `,` + message(7, "/c", "7") + `]`)
		r.publish("/c", 8)
		s.want("[" + message(8, "/c", "8") + "]")
		go r.handler.Shutdown(t.Context())
		s.want("[" + status(`{"/b":4}`) + "]")
		s.wantClosed(1001, "stopped")
	})
}

func TestWebSocket_NothingFallsBetweenTheBacklogAndTheLiveMessages(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &betweenStore{Backend: bustest.NewStore(t), around: func() {}}
		r := newRigOn(t, store, socketOptions(transport.Options{}))
		s, _ := r.connect("me")
		s.say(`{"subscribe":{"/b":0}}`)
		s.want(`[` + confirmed(`{"channels":["/b"]}`) + `]`)
		n := 0
		store.around = func() {
			n++
			r.publish("/a", n)
			synctest.Wait() // it has been offered
		}
		s.say(`{"subscribe":{"/a":0}}`)
		last := 0
		for last < 4 { // around the first read, and around that of what came meanwhile
			for _, m := range decode(t, <-s.messages) {
				if m.Channel == "/a" {
					if last++; m.ID != last {
						t.Fatalf("message %d, want %d", m.ID, last)
					}
				}
			}
		}
	})
}

func TestWebSocket_WhatTheFeedMissesDuringTheFirstReadIsReadAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		mem := bustest.NewStore(t)
		store := &betweenStore{Backend: &deafStore{Backend: mem}, around: func() {}}
		r := newRigOn(t, store, socketOptions(transport.Options{}))
		s, _ := r.connect("me")
		after := false
		store.around = func() {
			if !after {
				after = true
				return
			}
			store.around = func() {}
			mem.Faults().DropNext(1)
			r.publish("/a", 1)
			mem.Faults().CutFeeds(errors.New("cut"))
			<-time.After(time.Second) // the feed is another one
		}
		s.say(`{"subscribe":{"/a":0}}`)
		s.want(`[` + confirmed(`{"channels":["/a"]}`) + `]`)
		synctest.Wait()
		r.publish("/a", 2)
		s.want("["+message(1, "/a", "1")+"]", "["+message(2, "/a", "2")+"]")
	})
}

func TestWebSocket_PagesOfOtherOriginsAreRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, socketOptions(transport.Options{Origins: []string{"https://*.example.com"}}))
		for origin, status := range map[string]int{
			"http://transport.test": 0, "https://transport.test": 0, "https://a.example.com": 0,
			"http://a.example.com": 403, "https://example.com": 403, "http://transport.test.evil.org": 403,
			"http://evil.org": 403, "null": 403, "http://transport.test:81": 403, "file://": 403,
		} {
			s, answer := r.connect(fmt.Sprint("c", len(origin)), "Origin: "+origin)
			if answer.status != status {
				t.Errorf("%s: %d %s, want %d", origin, answer.status, answer.body, status)
			}
			close(s.commands)
		}
		r.held(0)
	})
}

func TestWebSocket_LimitsAreThoseOfHeldRequests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, socketOptions(transport.Options{
			Identify: byHeaders, Limits: transport.LimitOptions{MaxHeld: 2, MaxHeldPerUser: 1, MaxChannels: 3},
		}))
		s, _ := r.connect("one", "X-User: 7")
		if _, answer := r.connect("two", "X-User: 7"); answer.status != 429 || answer.header.Get("Retry-After") == "" {
			t.Errorf("a second of the user: %d %v", answer.status, answer.header)
		}
		other, _ := r.connect("three", "X-User: 8")
		if _, answer := r.connect("four"); answer.status != 503 || answer.header.Get("Retry-After") == "" {
			t.Errorf("one too many: %d %v", answer.status, answer.header)
		}
		s.say(`{"subscribe":{"/a":0,"/b":0}}`)
		<-s.messages
		s.say(`{"subscribe":{"/a":0,"/c":0}}`) // three in all
		<-s.messages
		s.say(`{"subscribe":{"/d":0}}`)
		s.wantClosed(1008, "more than 3 channels")
		close(other.commands)
		r.held(0)
	})
}

func TestWebSocket_WhatIsNoCommandEndsIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, socketOptions(transport.Options{}))
		for _, command := range []string{
			"", "x", "{}", "[]", "null", `"a"`, `{"subscribe":{"/a":0}}{}`, `{"publish":1}`, `{"subscribe":1}`,
			`{"subscribe":{"/a":{}}}`, `{"subscribe":{"/a$|$b":0}}`, `{"subscribe":{"/a":0,"__pos":"~"}}`, `{"unsubscribe":"/a"}`,
		} {
			s, _ := r.connect("me")
			s.say(command)
			s.wantClosed(1008, "")
			if s.reason == "" || len(s.reason) > 123 {
				t.Errorf("%s: reason %q", command, s.reason)
			}
		}
	})
}

func TestWebSocket_AStoreThatFailsEndsIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRigOn(t, brokenStore{bustest.NewStore(t)}, socketOptions(transport.Options{}))
		s, _ := r.connect("me")
		s.say(`{"subscribe":{"/a":0}}`)
		s.wantClosed(1011, "failed")
	})
}

func TestWebSocket_OneThatDoesNotAnswerIsGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, socketOptions(transport.Options{}))
		s, _ := r.connect("me")
		<-time.After(10*time.Minute + time.Second)
		if s.pings.Load() != 40 || r.handler.Held() != 1 {
			t.Errorf("%d pings, %d held", s.pings.Load(), r.handler.Held())
		}
		s.deaf.Store(true)
		start := time.Now()
		<-s.closed
		if took := time.Since(start); took > 31*time.Second {
			t.Errorf("given up after %v", took)
		}
		r.held(0)
	})
}

func TestWebSocket_EndsWithItsIdentity(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, socketOptions(transport.Options{Identify: func(*http.Request) (transport.Identity, error) {
			return transport.Identity{Expires: time.Now().Add(time.Minute)}, nil
		}}))
		s, _ := r.connect("me")
		s.wantClosed(1008, "identity expired")
	})
}

func TestWebSocket_WhatIsReadForItBringsNothingOnceItsIdentityHasExpired(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &betweenStore{Backend: bustest.NewStore(t), around: func() {}}
		expires := time.Now().Add(10 * time.Second)
		r := newRigOn(t, store, socketOptions(transport.Options{
			Identify: func(*http.Request) (transport.Identity, error) { return transport.Identity{Expires: expires}, nil },
			Limits:   transport.LimitOptions{WriteTimeout: time.Hour},
		}))
		r.publish("/a", 1)
		s, _ := r.connect("me")
		s.say(`{"subscribe":{"/b":0}}`)
		s.want(`[` + confirmed(`{"channels":["/b"]}`) + `]`)
		store.around = func() {
			store.around = func() {}
			r.publish("/b", 2) // being written, as nobody reads
			<-time.After(20 * time.Second)
		}
		s.say(`{"subscribe":{"/a":0}}`)
		<-time.After(30 * time.Second)
		if rest := strings.Join(s.rest(), "\n"); strings.Contains(rest, `"channel":"/a"`) {
			t.Errorf("got %s", rest)
		}
	})
}

// One that asks again and again and reads nothing holds one answer, and is cut
// off in the end.
func TestWebSocket_OneThatDoesNotReadMayNotAskForMore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, socketOptions(transport.Options{}))
		r.publish("/a", strings.Repeat("x", 1<<16))
		s, _ := r.connect("me")
		asked := 0
		for ended := false; !ended; asked++ {
			select {
			case s.commands <- `{"subscribe":{"/a":0}}`:
			case <-s.closed:
				ended = true
			}
		}
		if asked > 4 {
			t.Errorf("%d commands were taken", asked)
		}
		r.held(0)
	})
}

func TestWebSocket_ShutdownThatCannotWaitCutsItOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, socketOptions(transport.Options{Limits: transport.LimitOptions{WriteTimeout: time.Hour}}))
		s, _ := r.connect("me")
		s.say(`{"subscribe":{"/a":-1}}`) // and does not read the answer
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := r.handler.Shutdown(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%v", err)
		}
		<-s.closed
	})
}

func TestWebSocket_IsAnOption(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, nil)
		conn, err := r.server.Dial(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		p := send(t, conn, "GET /message-bus/me/ws HTTP/1.1\r\nHost: transport.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n").head()
		if p.status != http.StatusOK || p.header.Get("Content-Type") != "text/plain; charset=utf-8" {
			t.Errorf("%d %v; it is a poll to whom does not know WebSockets", p.status, p.header)
		}
	})
}

// A client that subscribes, unsubscribes, reads slowly and is cut off gets each
// message of each channel once, in order, for as long as it has it.
func TestWebSocket_EachOnceInOrderWhateverItDoes(t *testing.T) {
	for seed := range uint64(15) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { playSocket(t, seed) })
		})
	}
}

func playSocket(t *testing.T, seed uint64) {
	random := rand.New(rand.NewPCG(seed, 4))
	mem := bustest.NewStore(t)
	r := newRigOn(t, mem, socketOptions(transport.Options{Limits: transport.LimitOptions{MaxQueuedBytes: 500 + random.IntN(5000), WriteTimeout: time.Hour}}))
	const n, channels = 600, 4
	count := make([]int, channels) // by channel; the data are the numbers in it
	go func() {
		for range n {
			i := rand.IntN(channels)
			count[i]++
			r.publish(fmt.Sprintf("/%d", i), count[i])
			if rand.IntN(10) == 0 {
				<-time.After(rand.N(60 * time.Millisecond))
			}
			if rand.IntN(100) == 0 {
				mem.Faults().CutFeeds(errors.New("cut"))
			}
		}
		for i := range count { // the last ones
			r.publish(fmt.Sprintf("/%d", i), -1)
		}
	}()
	seen, ids := make([]int, channels), make([]int, channels)
	over := 0
	take := func(confirmed map[string]bool, pending map[string]int, part string) {
		for _, m := range decode(t, part) {
			if m.Channel == "/__subscribed" {
				var data struct{ Channels []string }
				if err := json.Unmarshal(m.Data, &data); err != nil {
					t.Fatal(err)
				}
				for _, channel := range data.Channels {
					pending[channel]--
					confirmed[channel] = pending[channel] == 0
				}
				continue
			}
			if !confirmed[m.Channel] {
				continue // on its way when it was unsubscribed
			}
			var i, number int
			fmt.Sscanf(m.Channel, "/%d", &i)
			fmt.Sscan(string(m.Data), &number)
			if number == -1 {
				over++
				number = seen[i] + 1
			}
			if seen[i]++; number != seen[i] {
				t.Fatalf("seed %d: %d of %s came as number %d", seed, number, m.Channel, seen[i])
			}
			ids[i] = m.ID
		}
	}
	for over < channels {
		s, _ := r.connect("me")
		confirmed, pending := make(map[string]bool), make(map[string]int)
		for range 1 + random.IntN(100) {
			if over == channels {
				break
			}
			channel := random.IntN(channels)
			command := fmt.Sprintf(`{"subscribe":{"/%d":%d}}`, channel, ids[channel])
			switch {
			case random.IntN(5) == 0 && confirmed[fmt.Sprintf("/%d", channel)]:
				command = fmt.Sprintf(`{"unsubscribe":["/%d"]}`, channel)
			case random.IntN(3) > 0 && len(confirmed) > 0:
				command = ""
			}
			var say chan string
			if command != "" {
				say = s.commands
			}
			select {
			case say <- command:
				delete(confirmed, fmt.Sprintf("/%d", channel))
				if strings.HasPrefix(command, `{"sub`) {
					pending[fmt.Sprintf("/%d", channel)]++
				}
			case part := <-s.messages:
				take(confirmed, pending, part)
			case <-time.After(time.Duration(1+random.IntN(40)) * time.Millisecond):
			}
		}
		close(s.commands)
	drained:
		for {
			select {
			case <-s.messages: // is lost
			case <-s.closed:
				break drained
			}
		}
	}
}
