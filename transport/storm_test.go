package transport_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/messagebus-go/messagebus/bus"
	"github.com/messagebus-go/messagebus/transport"
)

// Clients come, and go in every way that a socket knows, while messages flow.
// Those that stay get each, and of the others nothing is left.
func TestStorm_ConnectionsComeAndGo(t *testing.T) {
	t.Parallel()
	visits, crowd, stay := 1000, 50, 10
	if testing.Short() {
		visits = 200
	}
	s := listen(t, &transport.Options{LongPoll: transport.LongPollOptions{Hold: time.Hour}}, nil, (*httptest.Server).Start)
	stayers := make([]*peer, stay)
	for i := range stayers {
		stayers[i] = send(t, s.dial(t), request(fmt.Sprint("/message-bus/stays", i, "/poll"), "/a=0")).head()
		stayers[i].want(noMessages)
	}
	left := make(chan int, visits)
	for i := range visits {
		left <- i
	}
	close(left)
	var visitors sync.WaitGroup
	for worker := range crowd {
		visitors.Go(func() {
			random := rand.New(rand.NewPCG(uint64(worker), 9))
			for i := range left {
				s.visit(t, i, random)
			}
		})
	}
	const messages = 200
	for i := range messages {
		publish(t, s.bus, "/a", i)
	}
	for _, p := range stayers {
		for i := range messages {
			p.want("[" + message(1+i, "/a", fmt.Sprint(i)) + "]")
		}
	}
	visitors.Wait()
	s.held(t, stay)
}

// visit asks for something and leaves.
func (s *site) visit(t *testing.T, i int, random *rand.Rand) {
	conn, err := net.Dial("tcp", s.server.Listener.Addr().String())
	if err != nil {
		t.Error(err)
		return
	}
	defer conn.Close()
	text := request(fmt.Sprintf("/message-bus/v%d/poll", i%100), fmt.Sprint("/a=", random.IntN(100))) // some replace others
	kind := random.IntN(6)
	switch kind {
	case 0:
		text = strings.Replace(text, "HTTP/1.1", "HTTP/1.0", 1)
	case 1:
		text = strings.Replace(text, "Host:", "Dont-Chunk: 1\r\nHost:", 1)
	case 2:
		text += text // pipelined
	case 3:
		text = text[:random.IntN(len(text))]
	}
	if _, err := io.WriteString(conn, text); err != nil {
		return // it was refused already
	}
	socket, _ := conn.(*net.TCPConn)
	switch how := random.IntN(4); {
	case how == 0:
		_ = socket.SetLinger(0) // a reset
	case how == 1:
		_ = socket.CloseWrite()
	case how == 2 && kind != 3: // what it began is answered
		_, _ = io.ReadAtLeast(conn, make([]byte, 1000), random.IntN(200)+1)
		_ = socket.SetLinger(random.IntN(2) - 1)
	}
}

// Shutdown comes at any moment, with any patience, while clients of all kinds
// come, listen and leave. It returns when it should, and nothing is left.
func TestShutdown_AtAnyMoment(t *testing.T) {
	for seed := range uint64(40) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { shutAtAnyMoment(t, seed) })
		})
	}
}

// busy is a rig that clients of all kinds ask, and whose messages flow, until stop
// is called.
func busy(t *testing.T, seed uint64, hold time.Duration) (r *rig, rnd *rand.Rand, stop func()) {
	t.Helper()
	random := rand.New(rand.NewPCG(seed, 11))
	r = newRig(t, socketOptions(transport.Options{
		LongPoll: transport.LongPollOptions{Hold: hold, Heartbeat: time.Second},
		Limits:   transport.LimitOptions{MaxQueuedBytes: 1000 + random.IntN(3000), WriteTimeout: 3 * time.Second},
	}))
	ctx, cancel := context.WithCancel(t.Context())
	var clients sync.WaitGroup
	for i := range 20 {
		rnd := rand.New(rand.NewPCG(seed, uint64(100+i)))
		clients.Go(func() { r.keepAsking(ctx, fmt.Sprint("c", i%15), rnd) })
	}
	clients.Go(func() {
		for i := 0; ctx.Err() == nil; i++ {
			if _, err := r.bus.Publish(context.Background(), "/a", i); err != nil && !errors.Is(err, bus.ErrClosed) {
				t.Error(err)
			}
			<-time.After(time.Duration(random.IntN(20)) * time.Millisecond)
		}
	})
	rnd = rand.New(rand.NewPCG(seed, 13))
	<-time.After(time.Duration(rnd.IntN(4000)) * time.Millisecond)
	return r, rnd, func() {
		cancel()
		clients.Wait()
	}
}

func shutAtAnyMoment(t *testing.T, seed uint64) {
	t.Helper()
	r, rnd, stop := busy(t, seed, 2*time.Second)
	patience := time.Duration(rnd.IntN(3000)) * time.Millisecond
	limit, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	start := time.Now()
	err := r.handler.Shutdown(limit)
	if took := time.Since(start); took > patience {
		t.Errorf("Shutdown took %v of %v: %v", took, patience, err)
	}
	if n := r.handler.Held(); n != 0 {
		t.Errorf("%d are held afterwards", n)
	}
	stop()
}

// The bus is closed at any moment. Nobody is held for messages that cannot come.
func TestHold_BusIsClosedAtAnyMoment(t *testing.T) {
	for seed := range uint64(20) {
		synctest.Test(t, func(t *testing.T) {
			r, _, stop := busy(t, seed, time.Hour)
			for i := range 20 { // who would stay
				p := r.poll(fmt.Sprint("stays", i), "/a=0", []string{"X-None: 1", "Dont-Chunk: 1"}[i%2])
				go io.Copy(io.Discard, p.conn)
				if i == 10 {
					synctest.Wait()
				}
			}
			if err := r.bus.Close(); err != nil {
				t.Error(err)
			}
			<-time.After(15 * time.Second) // several write timeouts
			if n := r.handler.Held(); n != 0 {
				t.Errorf("seed %d: %d are held", seed, n)
			}
			stop()
		})
	}
}

// keepAsking is a client that is always there, in one way or another.
func (r *rig) keepAsking(ctx context.Context, id string, random *rand.Rand) {
	for ctx.Err() == nil {
		reads := random.IntN(30)
		if random.IntN(5) == 0 {
			r.sitSilently(ctx, id, random)
			continue
		}
		conn, err := r.server.Dial(context.Background())
		if err != nil {
			return
		}
		text := request("/message-bus/"+id+"/poll", "/a=0")
		switch random.IntN(3) {
		case 0:
			text = request("/message-bus/"+id+"/poll", "/a=-1", "Dont-Chunk: 1")
		case 1:
			text = "GET /message-bus/" + id + "/sse?/a=0 HTTP/1.1\r\nHost: x\r\n\r\n"
		}
		leaves := time.AfterFunc(time.Duration(random.IntN(5000))*time.Millisecond, func() { _ = conn.Close() })
		go io.WriteString(conn, text)
		in := bufio.NewReader(conn)
		for range reads {
			if _, err := in.ReadString('\n'); err != nil {
				break
			}
		}
		if random.IntN(3) == 0 { // takes nothing for a while
			select {
			case <-time.After(time.Duration(random.IntN(5000)) * time.Millisecond):
			case <-ctx.Done():
			}
		}
		leaves.Stop()
		_ = conn.Close()
		<-time.After(time.Duration(random.IntN(30)) * time.Millisecond)
	}
}

// sitSilently connects by WebSocket, says much and reads little.
func (r *rig) sitSilently(ctx context.Context, id string, random *rand.Rand) {
	s, _ := r.open(id)
	stay := time.After(time.Duration(random.IntN(3000)) * time.Millisecond)
	select {
	case s.commands <- `{"subscribe":{"/a":0}}`:
	case <-stay: // it was refused
		return
	}
	for range random.IntN(20) {
		select {
		case <-s.messages:
		case s.commands <- fmt.Sprintf(`{"subscribe":{"/a":%d,"/%d":-1},"unsubscribe":["/%d"]}`, random.IntN(100), random.IntN(5), random.IntN(5)):
		case <-s.closed:
			return
		case <-ctx.Done():
		}
	}
	select {
	case <-stay:
	case <-s.closed:
	case <-ctx.Done():
	}
	close(s.commands)
}

// Who takes long over what was sent before his identity expired gets nothing
// that came after that, and is not told to pass it.
func TestIdentity_WhatComesAfterItsEndIsNotSent(t *testing.T) {
	for _, kind := range []string{"taken over", "wrapped", "behind"} {
		synctest.Test(t, func(t *testing.T) {
			expires := time.Now().Add(10 * time.Second)
			opts := &transport.Options{
				Identify: func(*http.Request) (transport.Identity, error) { return transport.Identity{Expires: expires}, nil },
				Limits:   transport.LimitOptions{WriteTimeout: time.Hour},
			}
			if kind == "behind" {
				opts.Limits.MaxQueuedBytes = 1000
			}
			r := newRig(t, opts)
			if kind == "wrapped" {
				r = wrapped(t, opts)
			}
			p := r.poll("me", "/a=0&/b=0").head()
			p.want(noMessages)
			for i := range 3 {
				r.publish("/a", fmt.Sprint("before ", i, strings.Repeat("x", 1000)))
			}
			<-time.After(11 * time.Second)
			r.publish("/a", "after")
			r.publish("/b", "after")
			var parts []string
			for part := p.part(); part != ""; part = p.part() {
				parts = append(parts, part)
			}
			p.wantEnd()
			if all := strings.Join(parts, " "); strings.Contains(all, "after") || strings.Contains(all, "__status") || len(parts) < 2 {
				t.Errorf("%s: %.300s", kind, all)
			}
		})
	}
}

// A TLS client that reads nothing is given up without a farewell.
func TestShutdown_DoesNotWaitForTLS(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, &transport.Options{LongPoll: transport.LongPollOptions{Hold: time.Hour}, Limits: transport.LimitOptions{WriteTimeout: time.Hour}})
		certified := httptest.NewUnstartedServer(nil)
		certified.StartTLS()
		config := certified.TLS
		certified.Close()
		for i := range 5 {
			ours, theirs := net.Pipe()
			listener := &oneConn{conn: tls.Server(theirs, config), closed: make(chan struct{})}
			server := &http.Server{Handler: r.handler}
			go server.Serve(listener)
			defer server.Close()
			conn := tls.Client(ours, &tls.Config{InsecureSkipVerify: true})
			p := send(t, conn, request(fmt.Sprint("/message-bus/c", i, "/poll"), "/a=0")).head()
			p.want(noMessages)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		start := time.Now()
		_ = r.handler.Shutdown(ctx)
		if took := time.Since(start); took > time.Second {
			t.Errorf("it took %v", took)
		}
	})
}
