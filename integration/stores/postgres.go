package stores

import (
	"context"
	"fmt"
	"net/url"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/jackc/pgx/v5"
)

// PostgresOptions are the choices for [PostgresWith]. The zero value is a server of
// the newest version that the system has installed.
type PostgresOptions struct {
	// Config are further settings, each as in "max_connections=20".
	Config []string
}

// A PostgresServer is a server for one test. Its user is postgres, and it asks for
// no password.
type PostgresServer struct {
	*server

	port    *reservation
	options PostgresOptions
}

// Postgres starts a server with the defaults of [PostgresOptions].
func Postgres(tb testing.TB) *PostgresServer {
	tb.Helper()
	return PostgresWith(tb, PostgresOptions{})
}

// PostgresWith starts a server. It ends with the test.
func PostgresWith(tb testing.TB, options PostgresOptions) *PostgresServer {
	tb.Helper()
	s, err := newPostgres(tb, options)
	if err != nil {
		tb.Fatalf("stores: start Postgres: %v", err)
	}
	s.endWithTest()
	tb.Cleanup(s.port.release)
	return s
}

func newPostgres(tb testing.TB, options PostgresOptions) (*PostgresServer, error) {
	tb.Helper()
	path, err := postgresPath()
	if err != nil {
		return nil, err
	}
	port, err := reservePort()
	if err != nil {
		return nil, err
	}
	s := &PostgresServer{port: port, options: options}
	p := s.program()
	p.path = path
	s.server, err = launch(tb, p, s.ping)
	if err != nil {
		port.release()
		return nil, err
	}
	return s, nil
}

// postgresPath is where Debian keeps the newest version's programs.
func postgresPath() (string, error) {
	if path, err := exec.LookPath("postgres"); err == nil {
		return filepath.Dir(path), nil
	}
	found, _ := filepath.Glob("/usr/lib/postgresql/*/bin/postgres")
	if len(found) == 0 {
		return "", fmt.Errorf("no Postgres server is installed")
	}
	newest := slices.MaxFunc(found, func(a, b string) int { return postgresNumber(a) - postgresNumber(b) })
	return filepath.Dir(newest), nil
}

func postgresNumber(path string) int {
	n, _ := strconv.Atoi(filepath.Base(filepath.Dir(filepath.Dir(path))))
	return n
}

func (s *PostgresServer) program() program {
	settings := append([]string{
		"listen_addresses=127.0.0.1",
		fmt.Sprint("port=", s.port.port),
		"unix_socket_directories=",
		"fsync=off",
		"max_connections=300",
		"dynamic_shared_memory_type=mmap",
		"min_wal_size=2MB",
	}, s.options.Config...)
	start := []string{"postgres", "-D", "data"}
	for _, setting := range settings {
		start = append(start, "-c", setting)
	}
	return program{
		name: "postgres",
		script: "[ -e ready ] || { initdb -D data -U postgres -A trust -E UTF8 --locale=C --wal-segsize=1 --no-sync >initdb.log && touch ready; } &&\n" +
			"exec " + quote(start...),
		notRoot: true,
		quit:    syscall.SIGINT,
	}
}

func (s *PostgresServer) ping(ctx context.Context) error {
	_, err := s.exec(ctx, "postgres", "select 1")
	return err
}

func (s *PostgresServer) exec(ctx context.Context, database, sql string) (string, error) {
	conn, err := pgx.Connect(ctx, s.URL(database))
	if err != nil {
		return "", err
	}
	defer conn.Close(ctx)
	tag, err := conn.Exec(ctx, sql)
	return tag.String(), err
}

// Addr is the server's host and port, the same after a restart.
func (s *PostgresServer) Addr() string { return s.port.address() }

// URL is the address of a database.
func (s *PostgresServer) URL(database string) string {
	return (&url.URL{
		Scheme:   "postgres",
		User:     url.User("postgres"),
		Host:     s.Addr(),
		Path:     "/" + database,
		RawQuery: "sslmode=disable",
	}).String()
}

// Exec runs SQL in a database over a connection of its own. An error ends the test.
func (s *PostgresServer) Exec(tb testing.TB, database, sql string) {
	tb.Helper()
	if _, err := s.exec(context.Background(), database, sql); err != nil {
		tb.Fatalf("stores: %s: %v", sql, err)
	}
}

// NewDatabase makes an empty database and returns its URL.
func (s *PostgresServer) NewDatabase(tb testing.TB) string {
	tb.Helper()
	name := databaseName()
	s.Exec(tb, "postgres", "create database "+name)
	return s.URL(name)
}

var databaseNumber atomic.Int64

func databaseName() string {
	return "messagebus_test_" + strconv.FormatInt(databaseNumber.Add(1), 10)
}

// PostgresShared makes an empty database on the server that the tests of this binary
// share, and returns its URL. It is dropped when the test ends.
func PostgresShared(tb testing.TB) string {
	tb.Helper()
	s, err := sharedPostgres.get(newSharedPostgres)
	if err != nil {
		tb.Fatalf("stores: start the shared Postgres: %v", err)
	}
	name := databaseName()
	s.Exec(tb, "postgres", "create database "+name)
	tb.Cleanup(func() {
		if _, err := s.exec(context.Background(), "postgres", "drop database "+name+" with (force)"); err != nil {
			tb.Errorf("stores: %v", err)
		}
	})
	return s.URL(name)
}

var sharedPostgres shared[*PostgresServer]

func newSharedPostgres() (*PostgresServer, func() error, error) {
	s, err := newPostgres(mute{}, PostgresOptions{})
	if err != nil {
		return nil, nil, err
	}
	return s, func() error {
		defer s.port.release()
		return s.end()
	}, nil
}

var _ = strings.Join
