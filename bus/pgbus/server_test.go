package pgbus

import (
	"context"
	"errors"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgproto3"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/messagebus-go/messagebus/bus/driver"
)

const password = "a-secret-of-the-test"

// fakeServer speaks Postgres in memory: to each connection a script, which
// answers the requests as a test wants them answered.
type fakeServer struct {
	script func(*session)

	mu       sync.Mutex // protects everything below
	requests [][]string // their statements
}

// session is the server's side of a connection.
type session struct {
	*pgproto3.Backend
	server *fakeServer
	conn   net.Conn
}

// newBackend returns a peer of a server with that script.
func newBackend(tb testing.TB, script func(*session)) (*Backend, *fakeServer) {
	tb.Helper()
	server := &fakeServer{script: script}
	config, err := pgxpool.ParseConfig("postgres://user:" + password + "@127.0.0.1/db?sslmode=disable")
	if err != nil {
		tb.Fatal(err)
	}
	config.ConnConfig.DialFunc = server.dial
	config.ConnConfig.DefaultQueryExecMode = pgx.QueryExecModeExec
	config.HealthCheckPeriod = time.Hour
	pool, err := pgxpool.NewWithConfig(context.Background(), config)
	if err != nil {
		tb.Fatal(err)
	}
	b, err := New(pool, nil)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		_ = b.Close()
		pool.Close()
	})
	return b, server
}

// dial begins a session, which ends with its connection. pgx dials once more,
// by and by, to cancel what was going on when a connection broke.
func (f *fakeServer) dial(context.Context, string, string) (net.Conn, error) {
	client, server := net.Pipe()
	go func() {
		defer server.Close()
		s := &session{pgproto3.NewBackend(server, server), f, server}
		if s.greet() {
			f.script(s)
		}
	}()
	return client, nil
}

// greet begins a session, unless the client came to cancel another.
func (s *session) greet() bool {
	first, err := s.ReceiveStartupMessage()
	if _, ok := first.(*pgproto3.StartupMessage); err != nil || !ok {
		return false
	}
	s.Send(&pgproto3.AuthenticationOk{})
	s.Send(&pgproto3.ParameterStatus{Name: "client_encoding", Value: "UTF8"})
	s.Send(&pgproto3.ParameterStatus{Name: "standard_conforming_strings", Value: "on"})
	s.Send(&pgproto3.BackendKeyData{ProcessID: 1, SecretKey: []byte{1, 2, 3, 4}})
	return s.ready()
}

func (s *session) ready() bool {
	s.Send(&pgproto3.ReadyForQuery{TxStatus: 'I'})
	return s.Flush() == nil
}

// cut ends the session after what was sent has arrived.
func (s *session) cut() {
	s.Flush()
	s.conn.Close()
}

// request waits for the client and returns the statements that it sent together.
func (s *session) request() ([]string, bool) {
	var statements []string
	for {
		m, err := s.Receive()
		if err != nil {
			return nil, false
		}
		switch m := m.(type) {
		case *pgproto3.Parse:
			statements = append(statements, m.Query)
		case *pgproto3.Query:
			if m.String == tableSQL { // it is there
				s.Send(&pgproto3.CommandComplete{CommandTag: []byte("SELECT 0")})
				s.ready()
				continue
			}
			return s.server.note([]string{m.String}), true
		case *pgproto3.Sync:
			return s.server.note(statements), true
		case *pgproto3.Terminate:
			return nil, false
		}
	}
}

func (f *fakeServer) note(request []string) []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.requests = append(f.requests, request)
	return request
}

// sent returns how often a statement was sent.
func (f *fakeServer) sent(statement string) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	n := 0
	for _, request := range f.requests {
		for _, s := range request {
			if s == statement {
				n++
			}
		}
	}
	return n
}

// row answers a statement of the extended protocol with one row of text.
func (s *session) row(types []uint32, values ...string) {
	fields := make([]pgproto3.FieldDescription, len(types))
	row := make([][]byte, len(types))
	for i, oid := range types {
		fields[i] = pgproto3.FieldDescription{Name: []byte("column"), DataTypeOID: oid, DataTypeSize: -1}
		row[i] = []byte(values[i])
	}
	s.Send(&pgproto3.ParseComplete{})
	s.Send(&pgproto3.BindComplete{})
	s.Send(&pgproto3.RowDescription{Fields: fields})
	s.Send(&pgproto3.DataRow{Values: row})
	s.Send(&pgproto3.CommandComplete{CommandTag: []byte("SELECT 1")})
}

// done answers a statement without rows.
func (s *session) done() {
	s.Send(&pgproto3.ParseComplete{})
	s.Send(&pgproto3.BindComplete{})
	s.Send(&pgproto3.NoData{})
	s.Send(&pgproto3.CommandComplete{CommandTag: []byte("DELETE 0")})
}

func (s *session) fail(severity, code string) {
	s.Send(&pgproto3.ErrorResponse{Severity: severity, SeverityUnlocalized: severity, Code: code, Message: "a fault of the test"})
}

func (s *session) notify(channel, payload string) {
	s.Send(&pgproto3.NotificationResponse{PID: 1, Channel: channel, Payload: payload})
}

// inserted is the answer to the first statement of a publish.
func (s *session) inserted() { s.row([]uint32{20, 2278}, "7", "") }

func publish(b *Backend) error {
	_, err := b.Publish(context.Background(), "/a", []byte(`"x"`), driver.Limits{ClearEvery: 1})
	return err
}

// listening answers LISTEN, and sends afterwards what the test wants sent.
func listening(then func(*session)) func(*session) {
	return func(s *session) {
		if _, ok := s.request(); !ok {
			return
		}
		s.Send(&pgproto3.CommandComplete{CommandTag: []byte("LISTEN")})
		s.Send(&pgproto3.CommandComplete{CommandTag: []byte("LISTEN")})
		if s.ready() {
			then(s)
		}
	}
}

func listen(tb testing.TB, b *Backend) driver.Stream {
	tb.Helper()
	s, err := b.Listen(context.Background())
	if err != nil {
		tb.Fatal(err)
	}
	return s
}

func wantError(tb testing.TB, what string, got, want error) {
	tb.Helper()
	if !errors.Is(got, want) {
		tb.Errorf("%s: %v, want %v", what, got, want)
	}
}

// answerSimply answers a statement of the simple protocol.
func answerSimply(s *session, sql string) {
	if sql == lockSQL {
		s.Send(&pgproto3.RowDescription{Fields: []pgproto3.FieldDescription{{Name: []byte("column"), DataTypeOID: 2278}}})
		s.Send(&pgproto3.DataRow{Values: [][]byte{{}}})
	}
	s.Send(&pgproto3.CommandComplete{CommandTag: []byte("DONE")})
}
