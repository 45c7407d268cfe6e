package doctor

import (
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/messagebus-go/messagebus/bus/driver"
)

// judgeRedis makes findings of facts.
func judgeRedis(r *Report, f *redisFacts) {
	describeRedis(r, f)
	judgeRedisServer(r, f)
	judgeMemory(r, f)
	judgeReplication(r, f)
	judgeRights(r, f)
	judgeGem(r, f)
	judgeKeys(r, f)
	judgeOtherBuses(r, f)
	judgePubSub(r, f)
	judgeClock(r, f.ahead)
	if f.looked {
		judgePairs(r, f)
		judgePointers(r, f)
		judgeSizes(r, f)
		judgeAges(r, f)
	}
}

func describeRedis(r *Report, f *redisFacts) {
	product, version := "Redis", f.info["redis_version"]
	if name := f.info["server_name"]; name == "valkey" {
		product, version = "Valkey", f.info["valkey_version"]
	}
	r.Server.Version = strings.TrimSpace(product + " " + version)
	r.Server.Place = "database " + strconv.Itoa(f.database) + ", pub/sub channel " + f.pubSub
	total := int64(0)
	for stored, pair := range f.channels {
		total += pair.count
		if pair.count == 0 {
			continue
		}
		channel, site := splitName(stored)
		one := Channel{
			Channel: printable(channel), Site: printable(site), Messages: pair.count, FirstID: driver.ParseInt(pair.oldest.score),
			LastID: driver.ParseInt(pair.id), Largest: max(pair.oldest.size, pair.newest.size),
		}
		if pair.lives >= 0 {
			one.Expires = &pair.lives
		}
		r.Channels = append(r.Channels, one)
	}
	r.Server.Holds = counted(total, "message", "messages") + " in " + counted(len(r.Channels), "channel", "channels") +
		", last global id " + decimal(driver.ParseInt(f.global.id))
}

func judgeRedisServer(r *Report, f *redisFacts) {
	const topic = "server"
	switch {
	case f.info == nil:
		return
	case f.info["redis_mode"] == "cluster":
		r.fail(topic, "Use a server of its own, or a Go program with redisbus.Options.HashTag, which Ruby peers cannot use.",
			"It is a node of a Redis Cluster: a publish writes keys of several slots, which a cluster refuses.")
	case f.info["server_name"] != "valkey" && older(f.info["redis_version"], 6, 2):
		r.fail(topic, "Upgrade to Redis 6.2 or newer, or Valkey.", "Redis %s is older than what Go peers work with.", f.info["redis_version"])
	case f.info["loading"] == "1":
		r.warn(topic, "Wait, and look again.", "It is loading its data.")
	default:
		r.ok(topic, "%s, %s.", r.Server.Version, f.info["redis_mode"])
	}
}

// older reports whether a version is one before major.minor.
func older(version string, major, minor int64) bool {
	first, rest, _ := strings.Cut(version, ".")
	second, _, _ := strings.Cut(rest, ".")
	a, b := driver.ParseInt(first), driver.ParseInt(second)
	return version != "" && (a < major || a == major && b < minor)
}

func judgeMemory(r *Report, f *redisFacts) {
	const topic = "memory"
	most, used, policy := driver.ParseInt(f.info["maxmemory"]), driver.ParseInt(f.info["used_memory"]), f.info["maxmemory_policy"]
	switch {
	case f.info == nil:
	case most == 0:
		r.ok(topic, "No maxmemory is set, so nothing is evicted.")
	case policy != "noeviction":
		r.warn(topic, "Set maxmemory-policy noeviction, or give the bus a server of its own.",
			"maxmemory-policy is %s: when memory is short, backlogs vanish at any time and ids begin again.", policy)
	case used*10 > most*9:
		r.warn(topic, "Raise maxmemory, or lower the limits of the backlog.",
			"%d%% of maxmemory are in use; when all is, every publish is refused.", used*100/most)
	default:
		r.ok(topic, "%d%% of maxmemory are in use, and nothing is evicted.", used*100/most)
	}
}

func judgeReplication(r *Report, f *redisFacts) {
	const topic = "replication"
	if f.info == nil {
		return
	}
	replicas := driver.ParseInt(f.info["connected_slaves"])
	switch {
	case f.info["role"] == "slave" && f.info["slave_read_only"] != "0":
		r.fail(topic, "Name the master, or the Sentinels (redis-sentinel://…).",
			"It is a replica that takes no writes: what is published is queued in memory, a thousand messages at most, until it does.")
	case f.info["role"] == "slave":
		r.fail(topic, "Name the master.", "It is a replica that takes writes: the master knows nothing of them, and they vanish.")
	case replicas > 0:
		r.note(topic, "A master with %s. Replication is asynchronous: a failover can lose messages that were accepted, and peers notice that.",
			counted(replicas, "replica", "replicas"))
	default:
		r.ok(topic, "A master without replicas.")
	}
	if f.info["rdb_last_bgsave_status"] == "err" {
		r.fail("persistence", "Look into the server's log; it may be its disk.",
			"The last snapshot failed. With stop-writes-on-bgsave-error, which is the default, every publish is refused.")
	}
}

func judgeRights(r *Report, f *redisFacts) {
	const topic = "rights"
	byReason := map[string][]string{}
	for command, err := range f.rights {
		if err != nil {
			code, _, _ := strings.Cut(err.Error(), " ")
			byReason[code] = append(byReason[code], strings.ToUpper(command))
		}
	}
	for _, commands := range byReason {
		slices.Sort(commands)
	}
	if f.rights != nil && len(byReason) == 0 {
		r.ok(topic, "This user may do everything that a bus does.")
	}
	for _, code := range slices.Sorted(maps.Keys(byReason)) {
		commands := strings.Join(byReason[code], ", ")
		switch {
		case code == "NOPERM" && commands == "INFO":
			r.warn(topic, "Allow +info.", "This user may not ask INFO: a failover is noticed only by what it lost.")
		case code == "NOPERM":
			r.fail(topic, "Allow the commands, the keys ~__mb_* and the pub/sub channel &"+f.pubSub+" (ACL SETUSER).",
				"This user is refused %s.", commands)
		case code == "READONLY": // said of the replica
		case code == "OOM":
			r.fail("memory", "Free memory, or raise maxmemory.", "The server is out of memory and refuses writes.")
		case code == "MISCONF":
			r.fail("persistence", "Look into the server's log; it may be its disk.", "The server cannot write to its disk and refuses writes.")
		default:
			r.warn(topic, "Look up what the server's answer means.", "The server answers %s to %s.", code, commands)
		}
	}
}

// judgeGem says who has published, as far as traces of it are left.
func judgeGem(r *Report, f *redisFacts) {
	const topic = "gem"
	forever := 0
	for _, pair := range f.channels {
		if pair.idKind == "string" && pair.idLives == -1 {
			forever++
		}
	}
	switch {
	case len(f.scripts) > 0:
		severity, do := OK, ""
		if len(f.scripts) > 1 {
			severity, do = Note, "Where they are not all wanted, look for processes that were not restarted after an update."
		}
		r.add(severity, topic, do, "The gem has published here, by the scripts that the server knows in version %s. "+
			"That reaches back to the server's start or the last SCRIPT FLUSH.", []any{strings.Join(f.scripts, " and ")})
	case f.scripts != nil && f.keys.epoch:
		r.ok(topic, "No script of the gem is known to the server: since its start no Ruby process has published, or one before 2.0.7.")
	}
	if forever > 0 {
		r.note(topic, "%s an id that never expires: the gem before 2.2 has published there last. They are left for good when their channel is not used any more.",
			counted(forever, "channel has", "channels have"))
	}
	if f.keys.epoch {
		r.ok("go", "Go peers have used this store.")
	}
}

func judgeKeys(r *Report, f *redisFacts) {
	const topic = "keys"
	tagged := 0
	for prefix, count := range f.keys.prefixes {
		if strings.HasPrefix(prefix, "{") && strings.HasSuffix(prefix, "}") {
			tagged += count
		}
	}
	if n := len(f.keys.prefixes); n > 0 {
		r.note(topic, "%s of buses under another prefix (%s) in this database: they are other stores, which neither the gem nor this URL reaches.",
			counted(sum(f.keys.prefixes), "key is", "keys are"), named(slices.Sorted(maps.Keys(f.keys.prefixes))))
	}
	if tagged > 0 {
		r.note(topic, "Hash tags are from Go programs with redisbus.Options.HashTag.")
	}
	if len(f.keys.odd) > 0 {
		slices.Sort(f.keys.odd)
		r.warn(topic, "Find out whose they are: reset! deletes them too.",
			"%s with __mb_ and mean nothing to a bus: %s.", counted(len(f.keys.odd), "key begins", "keys begin"), named(f.keys.odd))
	}
	if len(f.keys.channels) == 0 && f.global.id == "" && f.looked {
		r.note(topic, "There is nothing of a bus yet; the first publish makes it.")
	}
}

func sum(counts map[string]int) (n int) {
	for _, count := range counts {
		n += count
	}
	return n
}

func judgeOtherBuses(r *Report, f *redisFacts) {
	if len(f.elsewhere) == 0 {
		return
	}
	names := make([]string, len(f.elsewhere))
	for i, db := range f.elsewhere {
		names[i] = strconv.Itoa(db)
	}
	r.warn("other buses", "Give each its own db in the gem's settings (pubsub_db in a URL here), or make sure that they are gone.",
		"There is a bus in %s %s of this server as well. Pub/sub channels are not of one database: buses of the same db hear each other's messages and cannot read them.",
		map[bool]string{true: "database", false: "databases"}[len(names) == 1], named(names))
}

func judgePubSub(r *Report, f *redisFacts) {
	const topic = "pub/sub"
	if f.subs == nil {
		return
	}
	var others []string
	for name, count := range f.subs {
		if count > 0 && name != f.pubSub {
			others = append(others, name)
		}
	}
	slices.Sort(others)
	here := f.subs[f.pubSub]
	switch {
	case here == 0 && len(others) > 0:
		r.fail(topic, "Give the peers' number as ?pubsub_db=N; it is the gem's own db setting, not the number of the database.",
			"Nobody listens to %s, and others listen to %s: what is published by this URL reaches none of them before they read the backlog.", f.pubSub, named(others))
	case here == 0:
		r.note(topic, "Nobody listens to %s at this moment.", f.pubSub)
	case len(others) > 0:
		r.note(topic, "%s to %s, and some to %s, which are other buses.", counted(here, "peer listens", "peers listen"), f.pubSub, named(others))
	default:
		r.ok(topic, "%s to %s.", counted(here, "peer listens", "peers listen"), f.pubSub)
	}
	judgeLibraries(r, f)
}

// judgeLibraries says how many clients name go-redis, and how many nothing or another
// library; redis-rb names itself since 5.
func judgeLibraries(r *Report, f *redisFacts) {
	if len(f.libraries) == 0 {
		return
	}
	var said []string
	for _, name := range slices.Sorted(maps.Keys(f.libraries)) {
		library := name
		if name == "" {
			library = "no library's name"
		}
		said = append(said, strconv.Itoa(f.libraries[name])+" with "+shorten(library, 40))
	}
	r.note("pub/sub", "Clients of the server that listen to anything: %s.", strings.Join(said, ", "))
}

func judgeClock(r *Report, ahead time.Duration) {
	const most = 5 * time.Second
	if ahead.Abs() < most {
		return
	}
	direction := "ahead of"
	if ahead < 0 {
		direction = "behind"
	}
	r.note("clock", "The server's clock is %v %s the one here. Ages are by the server's alone; only logs are harder to compare.",
		ahead.Abs().Round(time.Second), direction)
}
