package stores

import (
	"context"
	"fmt"
	"net/url"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
)

// PostgresOptions are the choices for [PostgresWith]. The zero value is a server of
// the version that MESSAGEBUS_TEST_POSTGRES_VERSION names, otherwise of the newest
// one that the system has installed.
type PostgresOptions struct {
	// Version is one of [PostgresVersions]. A server of a version that is asked for
	// is never run in a container.
	Version string
	// Config are further settings, each as in "max_connections=20". The server takes
	// 300 connections unless told otherwise.
	Config []string
	// MaxFileBytes is how long a file of the server's may become, at least 4 MiB: a
	// table cannot grow beyond it, as on a full disk, while the server's log goes on in
	// new files. 0: no limit.
	MaxFileBytes int
}

// A PostgresServer is a server for one test. Its user is postgres, and it asks for
// no password.
type PostgresServer struct {
	*server

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
	s, err := newPostgres(tb, options, initialize)
	if err != nil {
		tb.Fatalf("stores: start Postgres: %v", err)
	}
	s.endWithTest()
	return s
}

// initialize fills a data folder anew. Small files of log make it quick to delete.
const initialize = "initdb -D data -U postgres -A trust -E UTF8 --locale=C --wal-segsize=1 --no-sync >initdb.log"

// newPostgres starts a server whose data folder comes from a command of the shell.
func newPostgres(tb testing.TB, options PostgresOptions, fill string) (*PostgresServer, error) {
	tb.Helper()
	base, err := newServer(tb)
	if err != nil {
		return nil, err
	}
	s := &PostgresServer{server: base, options: options}
	return s, s.launch(s.program(fill), s.ping)
}

func (s *PostgresServer) program(fill string) program {
	settings := append([]string{
		"listen_addresses=127.0.0.1",
		fmt.Sprint("port=", s.port.Port),
		"unix_socket_directories=",
		"fsync=off",
		"max_connections=300",
		"min_wal_size=2MB",
		"dynamic_shared_memory_type=mmap",   // which goes with the folder
		"wal_retrieve_retry_interval=100ms", // a standby whose primary is gone is promoted at once
	}, s.options.Config...)
	start := []string{"postgres", "-D", "data"}
	for _, setting := range settings {
		start = append(start, "-c", setting)
	}
	p := program{
		name:    "postgres",
		script:  "[ -e filled ] || { " + fill + " && touch filled; } && " + s.fileLimit() + "exec " + quote(start...),
		quit:    syscall.SIGINT,
		abort:   syscall.SIGQUIT,
		binary:  "postgres",
		path:    postgresFolder(s.options.Version),
		image:   postgresImage(),
		notRoot: true,
	}
	if s.options.Version != "" {
		p.image = ""
	}
	return p
}

// fileLimit is a command of the shell, which counts in blocks of 512 bytes.
func (s *PostgresServer) fileLimit() string {
	if s.options.MaxFileBytes == 0 {
		return ""
	}
	return fmt.Sprintf("ulimit -f %d && ", s.options.MaxFileBytes/512)
}

func (s *PostgresServer) ping(ctx context.Context) error {
	_, err := execute(ctx, s.URL("postgres"), "select 1")
	return err
}

// execute runs SQL over a connection of its own and returns the first value of the
// last row, as text.
func execute(ctx context.Context, url, sql string) (value string, err error) {
	conn, err := pgconn.Connect(ctx, url)
	if err != nil {
		return "", err
	}
	defer conn.Close(ctx)
	results, err := conn.Exec(ctx, sql).ReadAll()
	for _, result := range results {
		for _, row := range result.Rows {
			if len(row) > 0 {
				value = string(row[0])
			}
		}
	}
	return value, err
}

// Addr is the server's host and port, the same after a restart.
func (s *PostgresServer) Addr() string { return s.port.Address() }

// URL is the address of a database; "postgres" is there from the start.
func (s *PostgresServer) URL(database string) string {
	return postgresURL(s.Addr(), database)
}

func postgresURL(address, database string) string {
	return (&url.URL{
		Scheme:   "postgres",
		User:     url.User("postgres"),
		Host:     address,
		Path:     "/" + database,
		RawQuery: "sslmode=disable",
	}).String()
}

// Exec runs SQL in a database over a connection of its own, and returns the first
// value of its last row as text. An error ends the test.
func (s *PostgresServer) Exec(tb testing.TB, database, sql string) string {
	tb.Helper()
	value, err := execute(context.Background(), s.URL(database), sql)
	if err != nil {
		tb.Fatalf("stores: %s: %v", sql, err)
	}
	return value
}

// NewDatabase makes an empty database and returns its URL.
func (s *PostgresServer) NewDatabase(tb testing.TB) string {
	tb.Helper()
	name := databaseName()
	s.Exec(tb, "postgres", "create database "+name)
	return s.URL(name)
}

// Standby starts a server that follows this one and answers what only reads. It
// ends with the test.
func (s *PostgresServer) Standby(tb testing.TB) *PostgresServer {
	tb.Helper()
	copying := "pg_basebackup -D data -R -X stream -c fast --no-sync -U postgres -h 127.0.0.1 -p " + strconv.Itoa(s.port.Port)
	standby, err := newPostgres(tb, s.options, copying)
	if err != nil {
		tb.Fatalf("stores: start a standby: %v", err)
	}
	standby.endWithTest()
	return standby
}

// AwaitStandby waits until everything that was written here can be read there.
func (s *PostgresServer) AwaitStandby(tb testing.TB, standby *PostgresServer) {
	tb.Helper()
	written := s.Exec(tb, "postgres", "select pg_current_wal_lsn()")
	err := poll(func(ctx context.Context) error {
		caught, err := execute(ctx, standby.URL("postgres"), "select pg_last_wal_replay_lsn() >= '"+written+"'")
		if err == nil && caught != "t" {
			err = fmt.Errorf("the standby has not reached %s", written)
		}
		return err
	})
	if err != nil {
		tb.Fatalf("stores: %v", err)
	}
}

// Promote makes a standby take writes, and returns when it does.
func (s *PostgresServer) Promote() {
	s.tb.Helper()
	s.must("promote", func() error {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		sql := fmt.Sprintf("select pg_promote(true, %d)", int(patience/time.Second))
		done, err := execute(ctx, s.URL("postgres"), sql)
		if err == nil && done != "t" {
			err = fmt.Errorf("it is still a standby after %v", patience)
		}
		return err
	})
}

// databases are numbered in the order in which they are made, by a process whose
// number is part of the name: several may use one server.
func databaseName() string {
	return fmt.Sprintf("messagebus_test_%d_%d", processID, databaseNumber.Add(1))
}
