package rubycompat_test

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/messagebus-go/messagebus/bus/driver"
	"github.com/messagebus-go/messagebus/bus/redisbus"
	"github.com/messagebus-go/messagebus/integration/stores"
)

const redisRecording = "redis.json"

// TestGoldenRedis replays the recorded stories, each on a server of its own.
func TestGoldenRedis(t *testing.T) {
	t.Parallel()
	replayStories(t, redisRecording, false, newRedisServer)
}

// ownKey is the one key that Go adds, and that Ruby does not know.
const ownKey = "__mb_epoch"

type redisServer struct {
	t       *testing.T
	server  *stores.RedisServer
	clients map[int]*redis.Client // by database
	watch   *redis.PubSub
	fences  int
}

// fenceChannel is a pub/sub channel of the test: what comes before a message on it
// has all been seen.
const fenceChannel = "rubycompat-fence"

func newRedisServer(t *testing.T, _ *story) server {
	t.Helper()
	s := &redisServer{t: t, server: stores.Redis(t), clients: map[int]*redis.Client{}}
	s.subscribe()
	t.Cleanup(func() { s.watch.Close() })
	return s
}

// subscribe opens the connection that hears what is announced.
func (s *redisServer) subscribe() {
	s.watch = s.client(0).PSubscribe(s.t.Context(), "_message_bus_*", fenceChannel)
	for range 2 {
		if _, err := s.watch.Receive(s.t.Context()); err != nil {
			s.t.Fatal(err)
		}
	}
}

func (s *redisServer) client(db int) *redis.Client {
	if s.clients[db] == nil {
		s.clients[db] = s.server.Client(s.t, func(o *redis.Options) { o.DB = db })
	}
	return s.clients[db]
}

// open uses db for both the database and the pub/sub channel, as the gem does, and
// the number in the URL for the database alone.
func (s *redisServer) open(settings busSettings) (peer driver.Backend, reason string) {
	if settings.value("backend_options_db") != nil {
		return nil, "a db in backend_options"
	}
	options := &redisbus.Options{PubSubDB: text(settings.value("db"))}
	number := options.PubSubDB
	if number == "" {
		number = text(settings.value("url_db"))
	}
	db, _ := strconv.Atoi(number)
	b, err := redisbus.New(s.server.Client(s.t, func(o *redis.Options) { o.DB = db }), options)
	if err != nil {
		s.t.Fatal(err)
	}
	return b, ""
}

// announced reads up to a message that it sends itself.
func (s *redisServer) announced() object {
	ctx, cancel := context.WithTimeout(s.t.Context(), patience)
	defer cancel()
	s.fences++
	fence := strconv.Itoa(s.fences)
	if err := s.client(0).Publish(ctx, fenceChannel, fence).Err(); err != nil {
		s.t.Fatal(err)
	}
	published := []any{}
	for {
		m, err := s.watch.ReceiveMessage(ctx)
		if err != nil {
			s.t.Fatalf("watch what is published: %v", err)
		}
		if m.Channel != fenceChannel {
			published = append(published, object{"channel": m.Channel, "message": m.Payload})
		} else if m.Payload == fence {
			return object{"published": published}
		}
	}
}

func (s *redisServer) do(op string, in members) (outcome object, known bool) {
	db := integer(in.value("db"))
	switch op {
	case "redis":
		args, _ := in.value("args").([]any)
		s.command(db, args...)
		if fmt.Sprint(args[0]) == "CLIENT" { // our own connection may be among those that were cut
			s.watch.Close()
			s.subscribe()
		}
		return object{}, true
	case "keys":
		return object{"keys": s.keys(db)}, true
	case "server-readonly":
		s.command(0, "REPLICAOF", "127.0.0.1", "1")
		return object{}, true
	case "server-writable":
		s.command(0, "REPLICAOF", "NO", "ONE")
		return object{}, true
	case "backend.expire_all_backlogs!":
		for key := range s.all(db, "__mb_*backlog_n") {
			s.command(db, "DEL", key)
		}
		return object{}, true
	default:
		return nil, false
	}
}

func (s *redisServer) command(db int, args ...any) any {
	for i := range args {
		args[i] = fmt.Sprint(args[i])
	}
	answer, err := s.client(db).Do(s.t.Context(), args...).Result()
	if err != nil && err != redis.Nil { //nolint:errorlint // as go-redis says
		s.t.Fatalf("%v: %v", args, err)
	}
	return answer
}

// all returns the keys that match, sorted.
func (s *redisServer) all(db int, pattern string) map[string]bool {
	keys, err := s.client(db).Keys(s.t.Context(), pattern).Result()
	if err != nil {
		s.t.Fatal(err)
	}
	set := map[string]bool{}
	for _, key := range keys {
		set[key] = true
	}
	return set
}

// keys describes every key of a database but our own, as the recording does.
func (s *redisServer) keys(db int) []any {
	names := []string{}
	for name := range s.all(db, "*") {
		if name != ownKey {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	keys := make([]any, len(names))
	for i, name := range names {
		keys[i] = s.key(db, name)
	}
	return keys
}

func (s *redisServer) key(db int, name string) object {
	ctx, c := s.t.Context(), s.client(db)
	key := object{"key": name, "type": c.Type(ctx, name).Val(), "ttl": inTens(c.TTL(ctx, name).Val())}
	if key["type"] == "string" {
		key["value"] = c.Get(ctx, name).Val()
		return key
	}
	members := []any{}
	for _, z := range c.ZRangeWithScores(ctx, name, 0, -1).Val() {
		members = append(members, []any{z.Score, z.Member})
	}
	key["members"] = members
	return key
}

// inTens rounds a time to live up to tens of seconds; -1: it does not end.
func inTens(ttl time.Duration) any {
	if ttl < 0 {
		return number(-1)
	}
	return number(int(math.Ceil(ttl.Seconds()/10)) * 10)
}
