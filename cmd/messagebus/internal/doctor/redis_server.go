package doctor

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
)

// listeners asks who listens to which pub/sub channel.
func (l *redisLook) listeners(ctx context.Context) error {
	names, err := l.client.PubSubChannels(ctx, "*"+pubSubPrefix+"*").Result()
	if l.refused(err, "who listens") {
		return nil
	}
	if err != nil {
		return err
	}
	slices.Sort(names)
	if len(names) > mostNames {
		l.report.skip("%d of the pub/sub channels", len(names)-mostNames)
		names = names[:mostNames]
	}
	if !slices.Contains(names, l.facts.pubSub) {
		names = append(names, l.facts.pubSub)
	}
	l.facts.subs, err = l.client.PubSubNumSub(ctx, names...).Result()
	if l.refused(err, "how many listen") {
		return nil
	}
	if err != nil {
		return err
	}
	return l.clients(ctx)
}

// clients asks which libraries the listening clients name.
func (l *redisLook) clients(ctx context.Context) error {
	text, err := l.client.Do(ctx, "client", "list", "type", "pubsub").Text()
	if l.refused(err, "with which library they listen") {
		return nil
	}
	if err != nil {
		return err
	}
	l.facts.libraries = map[string]int{}
	for line := range strings.Lines(text) {
		name := ""
		for field := range strings.FieldsSeq(line) {
			if value, found := strings.CutPrefix(field, "lib-name="); found {
				name = value
			}
		}
		l.facts.libraries[name]++
	}
	return nil
}

// gem asks which scripts of the gem the server knows.
func (l *redisLook) gem(ctx context.Context) error {
	hashes := make([]string, len(gemScripts))
	for i, script := range gemScripts {
		hashes[i] = script.sha1
	}
	known, err := l.client.ScriptExists(ctx, hashes...).Result()
	if l.refused(err, "which versions of the gem have published") {
		return nil
	}
	if err != nil {
		return err
	}
	l.facts.scripts = []string{}
	for i, found := range known {
		if found {
			l.facts.scripts = append(l.facts.scripts, gemScripts[i].versions)
		}
	}
	return nil
}

// mayDo asks what the server would say to the commands of a bus, by putting them into
// a transaction that is given up. Where there are no transactions nothing is asked.
func (l *redisLook) mayDo(ctx context.Context) error {
	const nobody = "__mb_backlog_n_/"
	commands := []struct {
		name string
		args []any
	}{
		{"incr", []any{globalIDKey}},
		{"set", []any{idPrefix + "/", "0"}},
		{"decr", []any{globalIDKey}},
		{"del", []any{nobody}},
		{"get", []any{globalIDKey}},
		{"mget", []any{epochKey, globalIDKey}},
		{"setnx", []any{epochKey, ""}},
		{"zadd", []any{nobody, 1, ""}},
		{"zrem", []any{nobody, ""}},
		{"zcard", []any{nobody}},
		{"zrevrange", []any{nobody, 0, 0}},
		{"zrangebyscore", []any{globalBacklogKey, 0, 1}},
		{"zremrangebyscore", []any{globalBacklogKey, 1, 1}},
		{"expire", []any{nobody, 1}},
		{"pttl", []any{globalBacklogKey}},
		{"eval", []any{"return 1", 0}},
		{"evalsha", []any{strings.Repeat("0", 40), 0}},
		{"publish", []any{l.facts.pubSub, ""}},
		{"subscribe", []any{l.facts.pubSub}},
		{"ping", nil},
		{"info", []any{"replication"}},
	}
	multi := l.client.Pipeline()
	opened := multi.Do(ctx, "multi")
	multi.Do(ctx, "discard")
	_, _ = multi.Exec(ctx) // each command has its own error
	var answer redis.Error
	if err := opened.Err(); errors.As(err, &answer) {
		l.report.fail("rights", "Allow +multi, +exec and +discard.", "This user may not use transactions, with which Go peers read: %s.", answer.Error())
		l.report.skip("what else this user may do")
		return nil
	} else if err != nil {
		return err
	}
	pipe := l.client.Pipeline()
	pipe.Do(ctx, "multi")
	asked := make([]*redis.Cmd, len(commands))
	for i, c := range commands {
		asked[i] = pipe.Do(ctx, append([]any{c.name}, c.args...)...)
	}
	pipe.Do(ctx, "discard")
	_, _ = pipe.Exec(ctx)
	l.facts.rights = make(map[string]error)
	for i, c := range commands {
		err := asked[i].Err()
		if err != nil && !errors.As(err, &answer) {
			return err
		}
		l.facts.rights[c.name] = err
	}
	return nil
}

func (l *redisLook) clock(ctx context.Context) error {
	before := time.Now()
	theirs, err := l.client.Time(ctx).Result()
	if l.refused(err, "the server's clock") {
		return nil
	}
	if err != nil {
		return err
	}
	ours := before.Add(time.Since(before) / 2)
	l.facts.ahead = theirs.Sub(ours)
	return nil
}
