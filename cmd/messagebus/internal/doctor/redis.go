package doctor

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
)

// How much of a server is looked at.
const (
	scanRounds     = 1000  // of SCAN
	scanCount      = 1000  // keys that the server passes in one round
	mostKeys       = 20000 // of buses that are remembered
	mostChannels   = 2000  // that are looked into
	channelsAtOnce = 50    // in one script
	mostPointers   = 200   // of the global backlog
	mostDatabases  = 64    // that are asked for other buses
	mostNames      = 1000  // of pub/sub channels
)

// The gem's keys (lib/message_bus/backends/redis.rb), and the epoch, which is of this
// project's peers alone.
const (
	globalIDKey      = "__mb_global_id_n"
	globalBacklogKey = "__mb_global_backlog_n"
	idPrefix         = "__mb_backlog_id_n_"
	backlogPrefix    = "__mb_backlog_n_"
	readOnlyKey      = "__mb_is_readonly"
	epochKey         = "__mb_epoch"
	pubSubPrefix     = "_message_bus_"
)

// redisFacts is what was seen of a server. A nil map or slice was not to be had, but
// for those of keys.
type redisFacts struct {
	info      map[string]string
	keyspace  []int // databases that have keys
	database  int
	pubSub    string
	keys      keysFound
	global    pairFacts
	pointers  []pointerFacts
	channels  map[string]pairFacts // by stored name
	looked    bool                 // into channels
	subs      map[string]int64     // pub/sub channel: subscribers
	libraries map[string]int       // of the clients that listen: how many
	scripts   []string             // versions of the gem
	rights    map[string]error     // by command, what the server would say
	elsewhere []int                // other databases with a bus
	ahead     time.Duration        // the server's clock, to ours
}

// keysFound sorts the names of keys.
type keysFound struct {
	channels map[string]struct{} // stored names
	prefixes map[string]int      // keys of buses under another prefix
	odd      []string            // begin with __mb_ and mean nothing
	epoch    bool
	whole    bool // nothing was left out
}

// A pairFacts is the keys of a channel, or the two of the whole store.
type pairFacts struct {
	idKind, backlogKind string
	id                  string
	idLives, lives      int64 // s
	count               int64
	oldest, newest      memberFacts
}

type memberFacts struct {
	score string
	sample
}

type pointerFacts struct {
	score string
	sample
}

// Redis looks at the database of a client. pubSubDB is the gem's own db setting. An
// error means that the server cannot be asked at all. The first question is bounded by
// the client's own timeouts, the others by ctx alone.
func Redis(ctx context.Context, client *redis.Client, url, pubSubDB string) (*Report, error) {
	if pubSubDB == "" {
		pubSubDB = "0"
	}
	if err := client.Ping(ctx).Err(); err != nil && !redis.IsPermissionError(err) {
		return nil, err
	}
	if deadline, ok := ctx.Deadline(); ok {
		client = client.WithTimeout(time.Until(deadline)) // a single message may be huge, and the server far away
	}
	report := &Report{Server: Server{URL: url}}
	look := redisLook{client: client, report: report, facts: &redisFacts{database: client.Options().DB, pubSub: pubSubPrefix + pubSubDB}}
	for _, step := range []func(context.Context) error{
		look.server, look.names, look.others, look.intoChannels, look.listeners, look.gem, look.mayDo, look.clock,
	} {
		if err := step(ctx); err != nil {
			return nil, err
		}
	}
	judgeRedis(report, look.facts)
	report.finish()
	return report, nil
}

type redisLook struct {
	client *redis.Client
	report *Report
	facts  *redisFacts
}

// refused reports whether the server answered and did not do it, which is then said.
func (l *redisLook) refused(err error, what string) bool {
	var answer redis.Error
	if !errors.As(err, &answer) || errors.Is(err, redis.Nil) {
		return false
	}
	l.report.skip("%s: %s", what, answer.Error())
	return true
}

func (l *redisLook) server(ctx context.Context) error {
	text, err := l.client.Info(ctx).Result()
	if l.refused(err, "version, memory and replication of the server") {
		return nil
	}
	l.facts.info = infoFields(text)
	for name := range l.facts.info {
		if db, found := strings.CutPrefix(name, "db"); found {
			if n, err := strconv.Atoi(db); err == nil {
				l.facts.keyspace = append(l.facts.keyspace, n)
			}
		}
	}
	slices.Sort(l.facts.keyspace)
	return err
}

func infoFields(text string) map[string]string {
	fields := make(map[string]string)
	for line := range strings.Lines(text) {
		if name, value, found := strings.Cut(strings.TrimSpace(line), ":"); found {
			fields[name] = value
		}
	}
	return fields
}

// names finds out which keys there are.
func (l *redisLook) names(ctx context.Context) error {
	found := keysFound{channels: map[string]struct{}{}, prefixes: map[string]int{}}
	defer func() { l.facts.keys = found }()
	cursor, kept := uint64(0), 0
	for range scanRounds {
		keys, next, err := l.client.Scan(ctx, cursor, "*__mb_*", scanCount).Result()
		if l.refused(err, "names of keys, but for those that the global backlog names") {
			return nil
		}
		if err != nil {
			return err
		}
		for _, key := range keys {
			found.sort(key)
		}
		if kept += len(keys); next == 0 || kept >= mostKeys {
			found.whole = next == 0
			break
		}
		cursor = next
	}
	if !found.whole {
		l.report.skip("all keys: after %d of the bus's, or %d of anybody's, the search was ended", kept, scanRounds*scanCount)
	}
	return nil
}

// sort puts a key where it belongs.
func (k *keysFound) sort(key string) {
	before, _, _ := strings.Cut(key, "__mb_")
	if before != "" {
		k.prefixes[before]++
		return
	}
	id, isID := strings.CutPrefix(key, idPrefix)
	backlog, isBacklog := strings.CutPrefix(key, backlogPrefix)
	switch {
	case isID:
		k.channels[id] = struct{}{}
	case isBacklog:
		k.channels[backlog] = struct{}{}
	case key == epochKey:
		k.epoch = true
	case key != globalIDKey && key != globalBacklogKey && key != readOnlyKey:
		k.odd = append(k.odd, key)
	}
}

// others asks the other databases whether there is a bus.
func (l *redisLook) others(ctx context.Context) error {
	asked := slices.DeleteFunc(slices.Clone(l.facts.keyspace), func(db int) bool { return db == l.facts.database })
	if len(asked) > mostDatabases {
		l.report.skip("%d of the other databases", len(asked)-mostDatabases)
		asked = asked[:mostDatabases]
	}
	for _, db := range asked {
		pipe := l.client.Pipeline()
		selected := pipe.Select(ctx, db)
		exists := pipe.Exists(ctx, globalIDKey)
		pipe.Select(ctx, l.facts.database) // for whoever is given this connection next
		_, err := pipe.Exec(ctx)
		if l.refused(selected.Err(), "the other databases") || selected.Err() == nil && l.refused(exists.Err(), "the other databases") {
			return nil
		}
		if err != nil {
			return err
		}
		if exists.Val() > 0 {
			l.facts.elsewhere = append(l.facts.elsewhere, db)
		}
	}
	return nil
}

// intoChannels looks at the store as a whole, and at its channels.
func (l *redisLook) intoChannels(ctx context.Context) error {
	l.facts.channels = make(map[string]pairFacts)
	pairs, pointers, err := l.runScript(ctx, []string{globalIDKey, globalBacklogKey}, mostPointers)
	if l.refused(err, "ids, backlogs and messages, which takes EVAL") {
		return nil
	}
	if err != nil {
		return err
	}
	l.facts.looked, l.facts.global, l.facts.pointers = true, pairs[0], pointers
	for _, p := range pointers {
		if _, stored, found := strings.Cut(p.text, "|"); found && int64(len(p.text)) == p.size {
			l.facts.keys.channels[stored] = struct{}{}
		}
	}
	names := slices.Sorted(maps.Keys(l.facts.keys.channels))
	if len(names) > mostChannels {
		l.report.skip("%d of %d channels", len(names)-mostChannels, len(names))
		names = names[:mostChannels]
	}
	for some := range slices.Chunk(names, channelsAtOnce) {
		keys := make([]string, 0, 2*len(some))
		for _, name := range some {
			keys = append(keys, idPrefix+name, backlogPrefix+name)
		}
		pairs, _, err := l.runScript(ctx, keys, 0)
		if l.refused(err, "some channels") {
			continue
		}
		if err != nil {
			return err
		}
		for i, name := range some {
			l.facts.channels[name] = pairs[i]
		}
	}
	return nil
}

func (l *redisLook) runScript(ctx context.Context, keys []string, pointers int) ([]pairFacts, []pointerFacts, error) {
	answer, err := l.client.Eval(ctx, channelsScript, keys, mostOfSample, pointers).Slice()
	if err != nil {
		return nil, nil, err
	}
	if len(answer) != 2 || len(list(answer[0])) != len(keys)/2 {
		return nil, nil, errors.New("the server's answer to a script has another form")
	}
	pairs := make([]pairFacts, 0, len(keys)/2)
	for _, one := range list(answer[0]) {
		f := list(one)
		pairs = append(pairs, pairFacts{
			idKind: text(at(f, 0)), backlogKind: text(at(f, 1)), id: text(at(f, 2)), idLives: number(at(f, 3)), lives: number(at(f, 4)),
			count: number(at(f, 5)), oldest: member(at(f, 6)), newest: member(at(f, 7)),
		})
	}
	found := make([]pointerFacts, 0, pointers)
	for _, one := range list(answer[1]) {
		found = append(found, pointerFacts(member(one)))
	}
	return pairs, found, nil
}

func member(value any) memberFacts {
	f := list(value)
	return memberFacts{score: text(at(f, 0)), sample: sample{text: text(at(f, 2)), size: number(at(f, 1))}}
}

func list(value any) []any {
	values, _ := value.([]any)
	return values
}

func at(values []any, i int) any {
	if i < len(values) {
		return values[i]
	}
	return nil
}

func text(value any) string {
	s, _ := value.(string)
	return s
}

func number(value any) int64 {
	n, _ := value.(int64)
	return n
}
