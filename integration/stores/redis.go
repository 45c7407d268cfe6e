package stores

import (
	"context"
	"fmt"
	"net/url"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/redis/go-redis/v9"
)

// RedisOptions are the choices for [RedisWith]. The zero value is a server without
// persistence, password or TLS, and with 16 databases.
type RedisOptions struct {
	// Persistent makes a restart keep the data: every write is in the append-only
	// file before it is answered. Otherwise a restart comes back empty.
	Persistent bool
	// Password is asked of every client. With User it is that of an ACL user who may
	// do everything, and the default user is off.
	User, Password string
	// TLS makes the server's port take TLS alone, with a certificate made for it.
	TLS bool
	// Socket makes the server listen on a Unix socket as well. Such a server is
	// never run in a container.
	Socket bool
	// ReplicaOf makes the server a replica of another one. It starts in sync.
	ReplicaOf *RedisServer
	// Config are further lines of redis.conf.
	Config []string
}

// A RedisServer is a server for one test.
type RedisServer struct {
	*server

	options RedisOptions
	proof   *certificate // with TLS
}

// Redis starts a server with the defaults of [RedisOptions].
func Redis(tb testing.TB) *RedisServer {
	tb.Helper()
	return RedisWith(tb, RedisOptions{})
}

// RedisWith starts a server. It ends with the test.
func RedisWith(tb testing.TB, options RedisOptions) *RedisServer {
	tb.Helper()
	s, err := newRedis(tb, options)
	if err != nil {
		tb.Fatalf("stores: start Redis: %v", err)
	}
	s.endWithTest()
	if options.ReplicaOf != nil {
		s.awaitInfo(tb, "replication", "master_link_status:up")
	}
	return s
}

func newRedis(tb testing.TB, options RedisOptions) (*RedisServer, error) {
	tb.Helper()
	base, err := newServer(tb)
	if err != nil {
		return nil, err
	}
	s := &RedisServer{server: base, options: options}
	if options.TLS {
		if s.proof, err = newCertificate(); err != nil {
			s.port.Release()
			return nil, err
		}
	}
	return s, s.launch(s.program(), s.ping)
}

func (s *RedisServer) program() program {
	p := program{
		name:   "redis",
		script: "exec redis-server redis.conf",
		files:  map[string]string{"redis.conf": strings.Join(s.config(), "\n") + "\n"},
		quit:   syscall.SIGTERM,
		abort:  syscall.SIGKILL,
		binary: "redis-server",
		image:  image("MESSAGEBUS_TEST_REDIS_IMAGE", "redis:7-alpine"),
	}
	if s.proof != nil {
		p.files["server.crt"], p.files["server.key"] = s.proof.certificate, s.proof.key
	}
	if s.options.Socket {
		p.image = ""
	}
	return p
}

func (s *RedisServer) config() []string {
	o := s.options
	config := []string{"bind 127.0.0.1", "protected-mode no", `save ""`}
	if o.TLS {
		config = append(config, "port 0", fmt.Sprint("tls-port ", s.port.Port), "tls-auth-clients no",
			"tls-cert-file server.crt", "tls-key-file server.key", "tls-ca-cert-file server.crt")
	} else {
		config = append(config, fmt.Sprint("port ", s.port.Port))
	}
	if o.Persistent {
		config = append(config, "appendonly yes", "appendfsync always")
	}
	if o.Socket {
		config = append(config, "unixsocket "+socketName, "unixsocketperm 700")
	}
	switch {
	case o.User != "":
		config = append(config, "user default off", fmt.Sprintf("user %s on >%s ~* &* +@all", o.User, o.Password))
	case o.Password != "":
		config = append(config, "requirepass "+o.Password)
	}
	// Otherwise a master waits five seconds for further replicas.
	config = append(config, "repl-diskless-sync yes", "repl-diskless-sync-delay 0")
	if master := o.ReplicaOf; master != nil {
		config = append(config, master.replication()...)
	}
	return append(config, o.Config...)
}

// replication are the settings of a replica of this server.
func (s *RedisServer) replication() []string {
	config := []string{fmt.Sprint("replicaof 127.0.0.1 ", s.port.Port)}
	if s.options.Password != "" {
		config = append(config, "masterauth "+s.options.Password)
	}
	if s.options.User != "" {
		config = append(config, "masteruser "+s.options.User)
	}
	if s.options.TLS {
		config = append(config, "tls-replication yes")
	}
	return config
}

func (s *RedisServer) ping(ctx context.Context) error {
	client := redis.NewClient(s.Options())
	defer client.Close()
	return client.Ping(ctx).Err()
}

// Addr is the server's host and port, the same after a restart.
func (s *RedisServer) Addr() string { return s.port.Address() }

// URL is the server's address, with user and password and database 0.
func (s *RedisServer) URL() string {
	address := url.URL{Scheme: "redis", Host: s.Addr(), Path: "/0"}
	if s.options.TLS {
		address.Scheme = "rediss"
	}
	if s.options.Password != "" {
		address.User = url.UserPassword(s.options.User, s.options.Password)
	}
	return address.String()
}

const socketName = "redis.sock"

// Socket is the path of the Unix socket of a server that has one.
func (s *RedisServer) Socket() string {
	s.tb.Helper()
	process, local := s.runner.(*process)
	if !local || !s.options.Socket {
		s.tb.Fatal("stores: this Redis was started without RedisOptions.Socket")
	}
	return filepath.Join(process.folder, socketName)
}

// CertificateFile is the path of a file with the certificate that a client has to
// trust, for programs that take one, as in SSL_CERT_FILE.
func (s *RedisServer) CertificateFile(tb testing.TB) string {
	tb.Helper()
	if s.proof == nil {
		tb.Fatal("stores: this Redis was started without RedisOptions.TLS")
	}
	return s.proof.file(tb)
}

// Options are what a client needs to reach the server; each call makes new ones.
func (s *RedisServer) Options() *redis.Options {
	options := &redis.Options{Addr: s.Addr(), Username: s.options.User, Password: s.options.Password}
	if s.proof != nil {
		options.TLSConfig = s.proof.trusting()
	}
	return options
}

// Client returns a client with the options as adjust leaves them. It is closed when
// the test tb ends.
func (s *RedisServer) Client(tb testing.TB, adjust ...func(*redis.Options)) *redis.Client {
	tb.Helper()
	return clientFor(tb, s.Options(), adjust)
}

func clientFor(tb testing.TB, options *redis.Options, adjust []func(*redis.Options)) *redis.Client {
	tb.Helper()
	for _, change := range adjust {
		change(options)
	}
	client := redis.NewClient(options)
	tb.Cleanup(func() { client.Close() })
	return client
}

// Do sends a command over a connection of its own and returns the answer. An error
// ends the test.
func (s *RedisServer) Do(tb testing.TB, args ...any) any {
	tb.Helper()
	answer, err := s.do(context.Background(), args...)
	if err != nil {
		tb.Fatalf("stores: %v: %v", args, err)
	}
	return answer
}

func (s *RedisServer) do(ctx context.Context, args ...any) (any, error) {
	client := redis.NewClient(s.Options())
	defer client.Close()
	return client.Do(ctx, args...).Result()
}

// awaitInfo waits until a section of INFO holds a line.
func (s *RedisServer) awaitInfo(tb testing.TB, section, line string) {
	tb.Helper()
	err := poll(func(ctx context.Context) error {
		info, err := s.do(ctx, "info", section)
		if err == nil && !strings.Contains(fmt.Sprint(info), line+"\r\n") {
			err = fmt.Errorf("INFO %s has no line %s:\n%v", section, line, info)
		}
		return err
	})
	if err != nil {
		tb.Fatalf("stores: redis at %s: %v", s.Addr(), err)
	}
}
