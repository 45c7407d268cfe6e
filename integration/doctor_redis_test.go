package integration_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/messagebus-go/messagebus/bus"
	"github.com/messagebus-go/messagebus/bus/redisbus"
	"github.com/messagebus-go/messagebus/integration/stores"
)

// doctored is a server with a bus of these options.
func doctored(t *testing.T, server *stores.RedisServer, store *redisbus.Options, opts *bus.Options) *bus.Bus {
	t.Helper()
	backend, err := redisbus.New(server.Client(t), store)
	if err != nil {
		t.Fatal(err)
	}
	if opts == nil {
		opts = &bus.Options{}
	}
	opts.Keepalive = -1 // so that it leaves only what the test publishes
	b, err := bus.New(backend, opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.Close() })
	return b
}

// changes is how often anything was written to a server since it started.
func changes(t *testing.T, server *stores.RedisServer) string {
	t.Helper()
	info, _ := server.Do(t, "info", "persistence").(string)
	_, count, found := strings.Cut(info, "rdb_changes_since_last_save:")
	if !found {
		t.Fatal(info)
	}
	count, _, _ = strings.Cut(count, "\r")
	return count
}

func TestDoctor_RedisIsWell(t *testing.T) {
	t.Parallel()
	server := stores.Redis(t)
	b := doctored(t, server, nil, nil)
	publishTo(t, b, "/chat", 3)
	publishTo(t, b.Site("eu"), "/chat", 2)
	listen(t, b)
	before := changes(t, server)
	d := diagnose(t, server.URL())
	if after := changes(t, server); after != before {
		t.Errorf("there were %s changes, and then %s: it has written", before, after)
	}
	d.wantsNothingWorse(t)
	d.hides(t, "topsecret")
	d.wants(t, "ok", "pub/sub", "1 peer listens to _message_bus_0")
	d.wants(t, "ok", "rights", "may do everything")
	d.wants(t, "ok", "messages", "can be read")
	d.wants(t, "ok", "go", "Go peers")
	d.wants(t, "ok", "gem", "No script of the gem")
	if len(d.notLookedAt) != 0 {
		t.Errorf("not looked at: %q", d.notLookedAt)
	}
	if len(d.channels) != 2 || d.channels[0].Messages != 3 || d.channels[1].Site != "eu" || d.channels[1].LastID != 2 ||
		d.channels[1].FirstID != 1 || d.channels[0].ExpiresIn == nil || *d.channels[0].ExpiresIn < 604000 {
		t.Errorf("channels: %+v", d.channels)
	}
}

// TestDoctor_AmongForeignKeys has a hundred thousand of others, and the bus's own names
// for all kinds of things that they cannot be.
func TestDoctor_AmongForeignKeys(t *testing.T) {
	t.Parallel()
	server := stores.Redis(t)
	client := server.Client(t)
	publishTo(t, doctored(t, server, nil, nil), "/well", 2)
	for from := range 100 {
		foreign := []any{"mset"}
		for i := range 1000 {
			foreign = append(foreign, fmt.Sprintf("cache:%d:%d", from, i), i)
		}
		server.Do(t, foreign...)
	}
	huge := strings.Repeat("x", 48<<20)
	envelope := func(data string) string {
		return `{"data":` + data + `,"user_ids":null,"group_ids":null,"client_ids":null}`
	}
	pipe := client.Pipeline()
	ctx := t.Context()
	pipe.HSet(ctx, "__mb_backlog_n_/hash", "a", "b")
	pipe.LPush(ctx, "__mb_backlog_id_n_/list", "a")
	pipe.Set(ctx, "__mb_backlog_id_n_/words", "seven", 0)
	pipe.ZAdd(ctx, "__mb_backlog_n_/torn", redis.Z{Score: 1, Member: "topsecret"})
	pipe.ZAdd(ctx, "__mb_backlog_n_/huge", redis.Z{Score: 1, Member: "9|1|/huge|" + envelope(`"`+huge+`"`)})
	pipe.ZAdd(ctx, "__mb_backlog_n_/marshal", redis.Z{Score: 1, Member: "9|1|/marshal|\x04\b{\tI\"\tdata:topsecret"})
	pipe.ZAdd(ctx, "__mb_backlog_n_/nan", redis.Z{Score: 1, Member: "9|1|/nan|" + envelope("NaN")})
	pipe.ZAdd(ctx, "__mb_backlog_n_/moved", redis.Z{Score: 4, Member: "9|1|/elsewhere|" + envelope("1")})
	pipe.ZAdd(ctx, "__mb_backlog_n_/back", redis.Z{Score: 7, Member: "9|7|/back|" + envelope("1")})
	pipe.Set(ctx, "__mb_backlog_id_n_/back", 3, time.Hour)
	pipe.ZAdd(ctx, "__mb_backlog_n_/a$|$b$|$c", redis.Z{Score: 1, Member: "9|1|/a$$$123$$$b$$$123$$$c|" + envelope("1")})
	pipe.ZAdd(ctx, "__mb_backlog_n_/\x1b[31m\n", redis.Z{Score: 1, Member: "9|1|/\x1b[31m\n|" + envelope("1")})
	pipe.Set(ctx, "__mb_nonsense", "topsecret", 0)
	pipe.Set(ctx, "{tag}__mb_global_id_n", 5, 0)
	if _, err := pipe.Exec(ctx); err != nil {
		t.Fatal(err)
	}
	before := changes(t, server)
	d := diagnose(t, server.URL())
	if after := changes(t, server); after != before {
		t.Errorf("there were %s changes, and then %s: it has written", before, after)
	}
	d.hides(t, "topsecret", "xxxxxx", "\x1b")
	d.wants(t, "error", "keys", "is a hash and should be a sorted set, so that every publish to it fails: __mb_backlog_n_/hash.")
	d.wants(t, "error", "keys", "is a list and should be a string")
	d.wants(t, "error", "keys", "should be a number and is none, so that every publish to it fails: __mb_backlog_id_n_/words.")
	d.wants(t, "error", "messages", "is no message; the gem answers 500 for the whole channel, Go passes it: /torn.")
	d.wants(t, "error", "messages", "Ruby's Marshal: Go and browsers read JSON alone: /marshal.")
	d.wants(t, "error", "messages", "is not JSON; the gem answers 500 for the whole channel, Go passes it: /nan.")
	d.wants(t, "warning", "messages", "is another's, or of another id: /moved.")
	d.wants(t, "warning", "ids", "lower than that of a stored message: ids are given twice: /back.")
	d.wants(t, "warning", "ids", "The last id has expired and the backlog has not")
	d.wants(t, "warning", "names", "in different ways: /a$|$b$|$c.")
	d.wants(t, "warning", "keys", "__mb_nonsense")
	d.wants(t, "note", "keys", "under another prefix ({tag})")
	d.wants(t, "note", "ages", "never expires")
	if text := runDoctor(t, server.URL()); text.code != 1 || strings.Contains(text.stdout, "\x1b") || !isOneLine(text.stderr) {
		t.Errorf("for people: %+v", text)
	}
}

func TestDoctor_RedisWithoutRights(t *testing.T) {
	t.Parallel()
	server := stores.Redis(t)
	publishTo(t, doctored(t, server, nil, nil), "/chat", 1)
	url := func(user string) string {
		return strings.Replace(server.URL(), "redis://", "redis://"+user+":hunter2@", 1)
	}

	server.Do(t, "acl", "setuser", "none", "on", ">hunter2", "-@all", "+ping")
	d := diagnose(t, url("none"))
	d.hides(t, "hunter2")
	d.wants(t, "error", "rights", "may not use transactions")
	for _, what := range []string{"version, memory", "names of keys", "which takes EVAL", "who listens", "clock"} {
		d.wantsSkipped(t, what)
	}

	server.Do(t, "acl", "setuser", "reader", "on", ">hunter2", "~*", "&*", "-@all", "+@read", "+@connection", "+@transaction", "+info", "+eval", "+pubsub", "+time")
	d = diagnose(t, url("reader"))
	d.wants(t, "error", "rights", "refused DECR, DEL, EVALSHA, EXPIRE, INCR, PUBLISH, SET, SETNX, SUBSCRIBE, ZADD, ZREM, ZREMRANGEBYSCORE.")
	if len(d.channels) != 1 {
		t.Errorf("what may be read is: %+v", d.channels)
	}

	// The rights that package redisbus names are enough.
	server.Do(t, "acl", "setuser", "bus", "on", ">hunter2", "~__mb_*", "&_message_bus_0", "-@all", "+eval", "+evalsha", "+incr", "+decr", "+set", "+del",
		"+zadd", "+zrem", "+zcard", "+zrevrange", "+zrangebyscore", "+zremrangebyscore", "+expire", "+pttl", "+publish", "+subscribe",
		"+get", "+mget", "+setnx", "+multi", "+exec", "+discard", "+ping", "+info")
	d = diagnose(t, url("bus"))
	d.wants(t, "ok", "rights", "may do everything")
	d.wantsNothingWorse(t)

	server.Do(t, "acl", "setuser", "bus", "resetchannels", "&_message_bus_7")
	diagnose(t, url("bus")).wants(t, "error", "rights", "refused PUBLISH, SUBSCRIBE.")
}

func TestDoctor_RedisPeersThatDoNotFitTogether(t *testing.T) {
	t.Parallel()
	server := stores.Redis(t)
	// Two publishers of other limits, on two channels.
	publishTo(t, doctored(t, server, nil, &bus.Options{MaxBacklogSize: 5}), "/five", 8)
	publishTo(t, doctored(t, server, nil, &bus.Options{MaxBacklogSize: 7}), "/seven", 20)
	diagnose(t, server.URL()).wants(t, "warning", "limits", "keep from 5 (/five) to 7 messages (/seven)")

	// What the gem does with a message that may live for some hours.
	server.Do(t, "expire", "__mb_global_backlog_n", 10000)
	diagnose(t, server.URL()).wants(t, "warning", "limits", "2 channels live longer than the global backlog")
	server.Do(t, "expire", "__mb_backlog_id_n_/five", 5000)
	diagnose(t, server.URL()).wants(t, "warning", "limits", "expire at different times: /five")

	// Somebody listens under another number.
	listener := doctored(t, server, &redisbus.Options{PubSubDB: "3"}, nil)
	listen(t, listener)
	diagnose(t, server.URL()).wants(t, "error", "pub/sub", "Nobody listens to _message_bus_0, and others listen to _message_bus_3")
	diagnose(t, server.URL()+"?pubsub_db=3").wants(t, "ok", "pub/sub", "1 peer listens to _message_bus_3")

	// Another database of the same server.
	server.Do(t, "eval", `redis.call('SELECT', 5) redis.call('SET', '__mb_global_id_n', 1) return 1`, 0)
	diagnose(t, server.URL()).wants(t, "warning", "other buses", "There is a bus in database 5 of this server as well")

	server.Do(t, "set", "__mb_global_id_n", 1)
	diagnose(t, server.URL()).wants(t, "error", "ids", "The last global id is lower than one that is stored")
}

func TestDoctor_RedisServersThatMayLose(t *testing.T) {
	t.Parallel()
	server := stores.Redis(t)
	server.Do(t, "config", "set", "maxmemory", 100<<20)
	server.Do(t, "config", "set", "maxmemory-policy", "allkeys-lru")
	diagnose(t, server.URL()).wants(t, "warning", "memory", "maxmemory-policy is allkeys-lru")
	server.Do(t, "config", "set", "maxmemory-policy", "noeviction")
	server.Do(t, "config", "set", "maxmemory", 1)
	d := diagnose(t, server.URL())
	d.wants(t, "error", "memory", "out of memory and refuses writes")
	server.Do(t, "config", "set", "maxmemory", 0)

	replica := stores.RedisWith(t, stores.RedisOptions{ReplicaOf: server})
	publishTo(t, doctored(t, server, nil, nil), "/chat", 1)
	diagnose(t, server.URL()).wants(t, "note", "replication", "A master with 1 replica")
	d = diagnose(t, replica.URL())
	d.wants(t, "error", "replication", "It is a replica that takes no writes")
	replica.Do(t, "config", "set", "replica-read-only", "no")
	diagnose(t, replica.URL()).wants(t, "error", "replication", "a replica that takes writes")
}

// TestDoctor_OfManyChannels says which it has left out.
func TestDoctor_OfManyChannels(t *testing.T) {
	t.Parallel()
	server := stores.Redis(t)
	server.Do(t, "eval", `for i = 1, 2500 do
		redis.call('SET', '__mb_backlog_id_n_/c' .. i, 1)
		redis.call('ZADD', '__mb_backlog_n_/c' .. i, 1, i .. '|1|/c' .. i .. '|{"data":1}')
	end return 1`, 0)
	d := diagnose(t, server.URL())
	d.wantsSkipped(t, "500 of 2500 channels")
	d.wants(t, "note", "gem", "2000 channels have an id that never expires: the gem before 2.2")
	if len(d.channels) != 2000 {
		t.Errorf("%d channels", len(d.channels))
	}
	text := runDoctor(t, server.URL()).stdout
	if !strings.Contains(text, "The 20 largest of 2000 channels:") || !strings.Contains(text, "Not looked at:") {
		t.Errorf("for people:\n%s", text)
	}
	if lines := strings.Count(text, "\n"); lines > 80 {
		t.Error(fmt.Sprint(lines, " lines for people"))
	}
}
