package rubycompat_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/messagebus-go/messagebus/bus"
	"github.com/messagebus-go/messagebus/integration/stores"
)

// faultSubjects are what happens to a store while processes of both kinds publish and
// listen. Go subscribers lose nothing that the store holds; what Ruby ones lose is shown
// beside what they lose when there is nobody but Ruby.
func faultSubjects() []subject {
	of := func(name string, redis, postgres func(*testing.T) fault) []subject {
		start := func(t *testing.T, on store) fault {
			t.Helper()
			if on == onRedis {
				return redis(t)
			}
			return postgres(t)
		}
		return []subject{{"faults", name, "", []way{
			{together, func(t *testing.T, on store) { start(t, on).withBoth(t) }},
			{"Ruby alone", func(t *testing.T, on store) { start(t, on).withRubyAlone(t) }},
		}}}
	}
	return slices.Concat(
		of("a restart", redisRestart, postgresRestart),
		of("a failover", redisFailover, postgresFailover),
		of("a read-only spell", redisReadOnly, postgresReadOnly),
	)
}

// A fault is a store with something that happens to it.
type fault struct {
	m      meeting
	strike func(t *testing.T) // returns when the store is well again
}

func redisRestart(t *testing.T) fault {
	t.Helper()
	server := stores.RedisWith(t, stores.RedisOptions{Persistent: true})
	return fault{redisMeeting(server.Options()), func(t *testing.T) {
		t.Helper()
		server.Kill()
		server.Start()
	}}
}

func postgresRestart(t *testing.T) fault {
	t.Helper()
	server := stores.Postgres(t)
	return fault{postgresMeeting(t, server.NewDatabase(t)), func(t *testing.T) {
		t.Helper()
		server.Kill()
		server.Start()
	}}
}

// redisReadOnly makes the server a replica of nobody, which keeps what it has.
func redisReadOnly(t *testing.T) fault {
	t.Helper()
	server := stores.Redis(t)
	return fault{redisMeeting(server.Options()), func(t *testing.T) {
		t.Helper()
		server.Do(t, "replicaof", "127.0.0.1", "1")
		spell(t)
		server.Do(t, "replicaof", "no", "one")
	}}
}

func postgresReadOnly(t *testing.T) fault {
	t.Helper()
	server := stores.Postgres(t)
	return fault{postgresMeeting(t, server.NewDatabase(t)), func(t *testing.T) {
		t.Helper()
		server.Exec(t, "postgres", "ALTER SYSTEM SET default_transaction_read_only = on")
		server.Exec(t, "postgres", "SELECT pg_reload_conf()")
		spell(t)
		server.Exec(t, "postgres", "ALTER SYSTEM RESET default_transaction_read_only")
		server.Exec(t, "postgres", "SELECT pg_reload_conf()")
	}}
}

// spell is as long as a store refuses writes here.
func spell(t *testing.T) {
	t.Helper()
	over := time.NewTimer(500 * time.Millisecond)
	defer over.Stop()
	select {
	case <-over.C:
	case <-t.Context().Done():
	}
}

func redisFailover(t *testing.T) fault {
	t.Helper()
	group := stores.Sentinel(t)
	return fault{sentinelMeeting(group), func(t *testing.T) {
		t.Helper()
		group.Failover()
	}}
}

func postgresFailover(t *testing.T) fault {
	t.Helper()
	primary := stores.Postgres(t)
	address := primary.NewDatabase(t)
	standby := primary.Standby(t)
	return fault{postgresMeeting(t, failoverURL(t, address, standby.Addr())), func(t *testing.T) {
		t.Helper()
		primary.AwaitStandby(t, standby)
		primary.Kill()
		standby.Promote()
	}}
}

const faulty = "/faulty"

// publishedByGo is what a Go process has published through a fault.
type publishedByGo struct {
	stop func()

	mu  sync.Mutex // guards below
	ids []int64    // that Publish returned
}

func (p *publishedByGo) count() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.ids)
}

// keepPublishing publishes from Go, whatever becomes of it, until stop.
func keepPublishing(t *testing.T, b *bus.Bus) *publishedByGo {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	p := &publishedByGo{}
	var work sync.WaitGroup
	work.Go(func() {
		pause := time.NewTicker(5 * time.Millisecond)
		defer pause.Stop()
		const slowly = 20
		for n, wait := 1, 1; ; n++ {
			for range wait {
				select {
				case <-pause.C:
				case <-ctx.Done():
					return
				}
			}
			within, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			id, err := b.Publish(within, faulty, fmt.Sprint("go ", n))
			cancel()
			wait = slowly // so that what is queued can be flushed
			if err == nil {
				wait = 1
				p.mu.Lock()
				p.ids = append(p.ids, id)
				p.mu.Unlock()
			}
		}
	})
	p.stop = func() { cancel(); work.Wait() }
	t.Cleanup(p.stop)
	return p
}

// So that what is published for as long as it takes stays in the backlog.
const many = 1_000_000

func keepAll(o *bus.Options) { o.MaxBacklogSize, o.MaxGlobalBacklogSize = many, many }

func (f fault) rubyPeers(t *testing.T) (publishing, listening rubyPeer) {
	t.Helper()
	publishing, listening = f.m.rubyPeer(t), f.m.rubyPeer(t)
	publishing.must("set", "max_backlog_size", many)
	publishing.must("set", "max_global_backlog_size", many)
	listening.must("subscribe", "live", faulty)
	return publishing, listening
}

// withBoth lets Go and Ruby processes publish and listen through the fault.
func (f fault) withBoth(t *testing.T) {
	t.Helper()
	publisher, reader := f.m.goPeer(t, keepAll), f.m.goPeer(t)
	publishing, listening := f.rubyPeers(t)
	heard := hear(t, reader)

	byGo := keepPublishing(t, publisher)
	publishing.must("keep_publishing", faulty, "ruby")
	goOn := func() {
		goCount, rubyCount := byGo.count(), integer(publishing.must("published"))
		until(t, "both kinds publish", func() bool {
			return byGo.count() >= goCount+20 && integer(publishing.must("published")) >= rubyCount+20
		})
	}
	goOn()
	f.strike(t)
	goOn()
	byGo.stop()
	acknowledged := byGo.ids
	for _, id := range publishing.must("stop_publishing").([]any) {
		acknowledged = append(acknowledged, int64(integer(id)))
	}
	last := untilHeard(t, publisher, listening)
	heard.judge(t, publisher, acknowledged, last)
	rubyHeard(t, publisher, listening, last)
}

// withRubyAlone is the same without Go processes, but for the one that ends it.
func (f fault) withRubyAlone(t *testing.T) {
	t.Helper()
	publishing, listening := f.rubyPeers(t)
	publishing.must("keep_publishing", faulty, "ruby")
	goOn := func() {
		count := integer(publishing.must("published"))
		until(t, "Ruby publishes", func() bool { return integer(publishing.must("published")) >= count+20 })
	}
	goOn()
	f.strike(t)
	goOn()
	publishing.must("stop_publishing")
	b := f.m.goPeer(t, keepAll)
	rubyHeard(t, b, listening, untilHeard(t, b, listening))
}

// untilHeard publishes until Ruby hears it, since a subscriber of the gem may be away
// for a second. It returns the last message.
func untilHeard(t *testing.T, b *bus.Bus, listening rubyPeer) (last sighting) {
	t.Helper()
	const end = "end "
	listening.must("watch", "live", end)
	n := 0
	until(t, "Ruby hears again", func() bool {
		n++
		data := fmt.Sprint(end, n)
		if id, err := b.Publish(t.Context(), faulty, data); err == nil {
			last = sighting{id: id, data: fmt.Sprintf("%q", data)}
		}
		return listening.must("seen", "live") == true
	})
	return last
}

// rubyHeard notes what a Ruby subscriber missed of what is stored, and had twice.
func rubyHeard(t *testing.T, b *bus.Bus, listening rubyPeer, last sighting) {
	t.Helper()
	times := map[int]int{}
	for _, message := range listening.received("live", 0) {
		times[integer(message.(object)["message_id"])]++
	}
	stored, missed, twice := 0, 0, 0
	for _, message := range goBacklog(t, b, faulty).([]any) {
		id := integer(message.(object)["message_id"])
		if int64(id) > last.id {
			continue
		}
		stored++
		if times[id] == 0 {
			missed++
		}
	}
	for _, n := range times {
		twice += n - 1
	}
	notef(t, "the Ruby subscriber missed %d of %d messages, and got %d twice", missed, stored, twice)
}

// A sighting is what a Go subscriber was handed: a message or a gap.
type sighting struct {
	id   int64
	data string
	late bool
	gap  *bus.GapError
}

// A faultListener reads what comes, until a test looks at it.
type faultListener struct {
	sub *bus.Subscription

	mu   sync.Mutex // guards seen
	seen []sighting
}

func hear(t *testing.T, b *bus.Bus) *faultListener {
	t.Helper()
	l := &faultListener{sub: made(b.Subscribe(t.Context(), faulty, bus.Latest()))(t)}
	var work sync.WaitGroup
	work.Go(func() {
		for m, err := range l.sub.Messages(context.Background()) {
			s := sighting{id: m.ID, data: string(m.Data), late: m.Late}
			if !errors.As(err, &s.gap) && err != nil {
				t.Error(err)
			}
			l.mu.Lock()
			l.seen = append(l.seen, s)
			l.mu.Unlock()
		}
	})
	t.Cleanup(func() { l.sub.Close(); work.Wait() })
	return l
}

// until waits for a message, and returns all that came.
func (l *faultListener) until(t *testing.T, last sighting) (seen []sighting) {
	t.Helper()
	until(t, "the Go subscriber has the last message", func() bool {
		l.mu.Lock()
		defer l.mu.Unlock()
		seen = slices.Clone(l.seen)
		return slices.ContainsFunc(seen, last.same)
	})
	return seen
}

func (s sighting) same(other sighting) bool {
	return s.gap == nil && other.gap == nil && s.id == other.id && s.data == other.data
}

// judge wants each message that is stored to have come once, in order, and as it is
// stored. What was acknowledged and never came, the subscriber was told of.
func (l *faultListener) judge(t *testing.T, b *bus.Bus, acknowledged []int64, last sighting) {
	t.Helper()
	seen := l.until(t, last)
	stored := made(b.Backlog(t.Context(), faulty, 0))(t)
	for _, m := range stored {
		is := sighting{id: m.ID, data: string(m.Data)}
		if m.ID <= last.id && !slices.ContainsFunc(seen, is.same) {
			t.Errorf("message %d is stored and never came", m.ID)
		}
	}
	for _, id := range acknowledged {
		if !slices.ContainsFunc(seen, func(s sighting) bool { return s.gap == nil && s.id == id || s.tells(id) }) {
			t.Errorf("message %d was acknowledged and is lost, in no gap", id)
		}
	}
	gaps := wantOnceAndInOrder(t, seen)
	notef(t, "the Go subscriber got all of %d messages once and in order; gaps: %v", len(stored), gaps)
}

// wantOnceAndInOrder returns the gaps. The ids of another server may be behind, and
// after a reset everything follows that is stored.
func wantOnceAndInOrder(t *testing.T, seen []sighting) (gaps []string) {
	t.Helper()
	highest, since := int64(0), 0
	for i, s := range seen {
		switch {
		case s.gap != nil:
			if s.gap.Reason == bus.GapReset {
				since = i
			}
			gaps = append(gaps, fmt.Sprintf("%s (%d, %d)", s.gap.Reason, s.gap.After, s.gap.Next))
			if s.gap.Reason == bus.GapFailover || s.gap.Reason == bus.GapReset {
				highest = 0
			}
			continue
		case slices.ContainsFunc(seen[since:i], s.same):
			t.Errorf("message %d came twice", s.id)
		case s.id <= highest && !s.late:
			t.Errorf("message %d came behind %d", s.id, highest)
		}
		highest = max(highest, s.id)
	}
	return gaps
}

// tells says whether it is a gap in which a message may be lost. What a server that is
// gone has given away is behind the last id that was seen of it.
func (s sighting) tells(id int64) bool {
	if s.gap == nil || id <= s.gap.After {
		return false
	}
	return id < s.gap.Next || s.gap.Reason == bus.GapFailover || s.gap.Reason == bus.GapReset
}
