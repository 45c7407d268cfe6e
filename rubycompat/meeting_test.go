package rubycompat_test

import (
	"context"
	"fmt"
	"net"
	"net/url"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/redis/go-redis/v9"

	"github.com/messagebus-go/messagebus/bus"
	"github.com/messagebus-go/messagebus/bus/driver"
	"github.com/messagebus-go/messagebus/bus/pgbus"
	"github.com/messagebus-go/messagebus/bus/redisbus"
	"github.com/messagebus-go/messagebus/integration/stores"
)

// A store is a kind of store.
type store string

const (
	onRedis    store = "Redis"
	onPostgres store = "Postgres"
)

var everyStore = []store{onRedis, onPostgres}

// A meeting is a store on which Go and Ruby processes meet.
type meeting struct {
	postgres bool
	url      string                // of Postgres
	redis    *redis.Options        // of a Redis
	group    *stores.SentinelGroup // in place of one Redis
	ruby     map[string]any        // how the gem reaches it
}

// meet is a meeting on an empty database of a server that other tests use too.
func (s store) meet(t *testing.T) meeting {
	t.Helper()
	if s == onPostgres {
		return postgresMeeting(t, stores.PostgresShared(t))
	}
	return redisMeeting(stores.RedisShared(t).Options())
}

func rubyOnRedis(config map[string]any) map[string]any {
	return map[string]any{"backend": "redis", "keepalive_interval": 0, "redis_config": config}
}

// redisMeeting takes the number of the database for pub/sub as well, as the gem does,
// which has one setting for both.
func redisMeeting(server *redis.Options) meeting {
	host, port, _ := net.SplitHostPort(server.Addr) // it is one
	config := map[string]any{"host": host, "port": port, "db": server.DB}
	if server.Password != "" {
		config["username"], config["password"] = server.Username, server.Password
	}
	return meeting{redis: server, ruby: rubyOnRedis(config)}
}

func sentinelMeeting(group *stores.SentinelGroup) meeting {
	var sentinels []any
	for _, address := range group.Addrs() {
		host, port, _ := net.SplitHostPort(address) // it is one
		sentinels = append(sentinels, map[string]any{"host": host, "port": port})
	}
	return meeting{group: group, ruby: rubyOnRedis(map[string]any{"host": group.Name(), "sentinels": sentinels, "db": 0})}
}

// postgresMeeting takes the URL of a database; with several servers, of whichever takes
// writes.
func postgresMeeting(t *testing.T, address string) meeting {
	t.Helper()
	config := made(pgx.ParseConfig(address))(t)
	hosts, ports := []string{config.Host}, []string{fmt.Sprint(config.Port)}
	for _, other := range config.Fallbacks {
		hosts, ports = append(hosts, other.Host), append(ports, fmt.Sprint(other.Port))
	}
	options := map[string]any{
		"host": strings.Join(hosts, ","), "port": strings.Join(ports, ","), "user": config.User, "dbname": config.Database,
	}
	if len(hosts) > 1 {
		options["target_session_attrs"] = "read-write"
	}
	m := meeting{postgres: true, url: address, ruby: map[string]any{
		"backend": "postgres", "keepalive_interval": 0, "backend_options": options,
	}}
	m.execute(t, pgbus.Schema()) // the gem raises where two processes create it at once
	return m
}

// failoverURL is the address of a database on either of two servers.
func failoverURL(t *testing.T, address, other string) string {
	t.Helper()
	at := made(url.Parse(address))(t)
	at.Host += "," + other
	query := at.Query()
	query.Set("target_session_attrs", "read-write")
	at.RawQuery = query.Encode()
	return at.String()
}

// client reaches a Redis.
func (m meeting) client(t *testing.T) *redis.Client {
	t.Helper()
	if m.group != nil {
		return m.group.Client(t)
	}
	client := redis.NewClient(m.redis)
	t.Cleanup(func() { client.Close() })
	return client
}

// backend opens the store for a Go process.
func (m meeting) backend(t *testing.T) driver.Backend {
	t.Helper()
	if !m.postgres {
		return m.redisBackend(t, m.client(t))
	}
	pool := made(pgxpool.New(t.Context(), m.url))(t)
	t.Cleanup(pool.Close)
	return made(pgbus.New(pool, nil))(t)
}

func (m meeting) redisBackend(t *testing.T, client *redis.Client) driver.Backend {
	t.Helper()
	return made(redisbus.New(client, &redisbus.Options{PubSubDB: fmt.Sprint(client.Options().DB)}))(t)
}

// goPeer is a bus, and a process of its own as far as the store can see. Keepalives are
// left out, since tests count.
func (m meeting) goPeer(t *testing.T, adjust ...func(*bus.Options)) *bus.Bus {
	t.Helper()
	options := &bus.Options{Keepalive: -1}
	for _, change := range adjust {
		change(options)
	}
	b := made(bus.New(m.backend(t), options))(t)
	t.Cleanup(func() { b.Close() })
	return b
}

// execute runs SQL, and returns the first value of the last row as text.
func (m meeting) execute(t *testing.T, sql string) (value string) {
	t.Helper()
	conn := made(pgx.Connect(t.Context(), m.url))(t)
	defer conn.Close(context.Background())
	for _, result := range made(conn.PgConn().Exec(t.Context(), sql).ReadAll())(t) {
		for _, row := range result.Rows {
			value = string(row[0])
		}
	}
	return value
}

// made is a value, and ends the test where it could not be made.
func made[T any](v T, err error) func(*testing.T) T {
	return func(t *testing.T) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}
