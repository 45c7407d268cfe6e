package stores

import (
	"context"
	"fmt"
	"os/exec"
	"strings"
	"syscall"
	"testing"
)

// A PgBouncerServer is a pool of connections in front of a Postgres server, in
// transaction mode: two statements of one client may run on two connections.
type PgBouncerServer struct {
	*server
}

// PgBouncer starts one for a server. It ends with the test, and is never run in a
// container.
func PgBouncer(tb testing.TB, postgres *PostgresServer) *PgBouncerServer {
	tb.Helper()
	base, err := newServer(tb)
	if err != nil {
		tb.Fatalf("stores: start PgBouncer: %v", err)
	}
	s := &PgBouncerServer{server: base}
	if err := s.launch(s.program(postgres), s.ping); err != nil {
		tb.Fatalf("stores: start PgBouncer: %v", err)
	}
	s.endWithTest()
	return s
}

func (s *PgBouncerServer) program(postgres *PostgresServer) program {
	config := []string{
		"[databases]",
		fmt.Sprintf("* = host=127.0.0.1 port=%d user=postgres", postgres.port.Port),
		"[pgbouncer]",
		"listen_addr = 127.0.0.1",
		fmt.Sprint("listen_port = ", s.port.Port),
		"unix_socket_dir =",
		"auth_type = any",
		"pool_mode = transaction",
		"max_client_conn = 1000",
		"default_pool_size = 20",
		"server_login_retry = 1",
	}
	return program{
		name:    "pgbouncer",
		script:  "exec pgbouncer pgbouncer.ini",
		files:   map[string]string{"pgbouncer.ini": strings.Join(config, "\n") + "\n"},
		quit:    syscall.SIGTERM,
		abort:   syscall.SIGKILL,
		binary:  "pgbouncer",
		path:    pgBouncerFolder(),
		notRoot: true,
	}
}

// pgBouncerFolder is where Debian has it, which is in the PATH of root alone.
func pgBouncerFolder() string {
	if path, err := exec.LookPath("/usr/sbin/pgbouncer"); err == nil {
		return path[:strings.LastIndexByte(path, '/')]
	}
	return ""
}

func (s *PgBouncerServer) ping(ctx context.Context) error {
	_, err := execute(ctx, s.URL("postgres"), "select 1")
	return err
}

// Addr is the host and port, the same after a restart.
func (s *PgBouncerServer) Addr() string { return s.port.Address() }

// URL is the address of a database of the Postgres server behind it.
func (s *PgBouncerServer) URL(database string) string {
	return postgresURL(s.Addr(), database)
}
