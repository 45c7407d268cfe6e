package redisbus_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/messagebus-go/messagebus/bus/driver"
	"github.com/messagebus-go/messagebus/bus/redisbus"
)

// A fakeServer speaks Redis over TCP as a test says, to do what a real one does
// too seldom.
type fakeServer struct {
	tb       testing.TB
	listener net.Listener
	running  sync.WaitGroup

	mu      sync.Mutex // guards below
	answers map[string]answer
	seen    map[string]int
	conns   map[net.Conn]bool // whether it has subscribed
}

// An answer is what the server does upon a command: it writes to the connection,
// or breaks it by returning false.
type answer func(w io.Writer, args []string) bool

func say(text string) answer {
	return func(w io.Writer, _ []string) bool { _, err := io.WriteString(w, text); return err == nil }
}

func hangUp(io.Writer, []string) bool { return false }

func silence(io.Writer, []string) bool { return true }

// stored is the script's answer.
const stored = "*2\r\n:7\r\n:3\r\n"

func newFakeServer(tb testing.TB) *fakeServer {
	tb.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	s := &fakeServer{
		tb: tb, listener: listener, seen: make(map[string]int), conns: make(map[net.Conn]bool),
		answers: map[string]answer{
			"HELLO":     say("-ERR unknown command 'HELLO'\r\n"),
			"CLIENT":    say("+OK\r\n"),
			"AUTH":      say("+OK\r\n"),
			"PING":      ping,
			"SET":       say("+OK\r\n"),
			"SETNX":     say(":1\r\n"),
			"GET":       say("$5\r\nepoch\r\n"),
			"SUBSCRIBE": confirm,
			"EVALSHA":   say(stored),
		},
	}
	s.running.Go(s.accept)
	tb.Cleanup(func() {
		listener.Close()
		s.cut()
		s.running.Wait()
	})
	return s
}

func confirm(w io.Writer, args []string) bool {
	_, err := fmt.Fprintf(w, "*3\r\n$9\r\nsubscribe\r\n$%d\r\n%s\r\n:1\r\n", len(args[1]), args[1])
	return err == nil
}

// ping answers as before, or after, a subscription.
func ping(w io.Writer, args []string) bool {
	if len(args) == 1 {
		return say("+PONG\r\n")(w, args)
	}
	_, err := io.WriteString(w, pong(args[1]))
	return err == nil
}

func pong(text string) string {
	return fmt.Sprintf("*2\r\n$4\r\npong\r\n$%d\r\n%s\r\n", len(text), text)
}

func announcement(encoded string) string {
	return fmt.Sprintf("*3\r\n$7\r\nmessage\r\n$14\r\n_message_bus_0\r\n$%d\r\n%s\r\n", len(encoded), encoded)
}

// on sets what the server does upon a command.
func (s *fakeServer) on(command string, a answer) *fakeServer {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.answers[command] = a
	return s
}

// count is how many times a command has come.
func (s *fakeServer) count(command string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.seen[command]
}

// cut breaks all connections.
func (s *fakeServer) cut() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for conn := range s.conns {
		conn.Close()
	}
}

// send writes to all connections that have subscribed.
func (s *fakeServer) send(text string) {
	s.tb.Helper()
	s.mu.Lock()
	var subscribed []net.Conn
	for conn, is := range s.conns {
		if is {
			subscribed = append(subscribed, conn)
		}
	}
	s.mu.Unlock()
	for _, conn := range subscribed {
		_, _ = io.WriteString(conn, text) // whoever waits for it notices
	}
}

func (s *fakeServer) accept() {
	for {
		conn, err := s.listener.Accept()
		if err != nil {
			return
		}
		s.mu.Lock()
		s.conns[conn] = false
		s.mu.Unlock()
		s.running.Go(func() { s.serve(conn) })
	}
}

func (s *fakeServer) serve(conn net.Conn) {
	defer func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.conns, conn)
		conn.Close()
	}()
	r := bufio.NewReader(conn)
	for {
		args, err := readCommand(r)
		if err != nil {
			return
		}
		name := strings.ToUpper(args[0])
		s.mu.Lock()
		s.seen[name]++
		a := s.answers[name]
		s.conns[conn] = s.conns[conn] || name == "SUBSCRIBE"
		s.mu.Unlock()
		if a == nil {
			a = say("-ERR unknown command '" + name + "'\r\n")
		}
		if !a(conn, args) {
			return
		}
	}
}

func readCommand(r *bufio.Reader) ([]string, error) {
	n, err := readLength(r)
	args := make([]string, n)
	for i := 0; i < n && err == nil; i++ {
		var size int
		if size, err = readLength(r); err != nil {
			break
		}
		arg := make([]byte, size+2)
		_, err = io.ReadFull(r, arg)
		args[i] = string(arg[:size])
	}
	return args, err
}

func readLength(r *bufio.Reader) (int, error) {
	line, err := r.ReadString('\n')
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(strings.TrimSpace(line[1:]))
}

const password = "s3cret-w0rd"

// client returns a client of the server that retries as eagerly as by default.
func (s *fakeServer) client(adjust ...func(*redis.Options)) *redis.Client {
	options := &redis.Options{
		Addr: s.listener.Addr().String(), Password: password, ReadTimeout: 5 * time.Second,
		MinRetryBackoff: time.Millisecond, MaxRetryBackoff: time.Millisecond,
	}
	for _, change := range adjust {
		change(options)
	}
	client := redis.NewClient(options)
	s.tb.Cleanup(func() { client.Close() })
	return client
}

func (s *fakeServer) peer(options *redisbus.Options, adjust ...func(*redis.Options)) *redisbus.Backend {
	s.tb.Helper()
	return newPeer(s.tb, s.client(adjust...), options)
}

func newPeer(tb testing.TB, client redis.UniversalClient, options *redisbus.Options) *redisbus.Backend {
	tb.Helper()
	b, err := redisbus.New(client, options)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { b.Close() })
	return b
}

var limits = driver.Limits{MaxSize: 10, MaxGlobalSize: 20, MaxAge: time.Hour, ClearEvery: 1}

func publish(ctx context.Context, b driver.Backend) (driver.Position, error) {
	return b.Publish(ctx, "/a", []byte(`"x"`), limits)
}
