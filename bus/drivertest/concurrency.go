package drivertest

import (
	"context"
	"fmt"
	"slices"
	"sync"

	"github.com/messagebus-go/messagebus/bus/driver"
)

func concurrencyClaims() map[string]func(*env) {
	return map[string]func(*env){
		"EveryStreamSeesEveryMessageOnce": concurrentStreams,
		"ReadIsASnapshot":                 concurrentReads,
		"ListenAndReadLeaveNoGap":         concurrentHandover,
		"TrimmingKeepsTheNewest":          concurrentTrim,
		"CloseRacesWithEverything":        concurrentClose,
	}
}

// A load is several publishers at work.
type load struct {
	publishers, each int
	limits           driver.Limits
	channels         []string      // taken in turn
	leave            chan struct{} // when not nil, it decides how many: one message for each receive

	mu   sync.Mutex
	sent []driver.Message // guarded by mu
}

func (e *env) newLoad(publishers, each int) *load {
	return &load{
		publishers: publishers, each: each, limits: roomy(),
		channels: []string{e.channel("a"), e.channel("b"), e.channel("c")},
	}
}

// run is the work of publisher i.
func (l *load) run(ctx context.Context, b driver.Backend, i int) error {
	for n := 0; l.more(n); n++ {
		m, err := tryPublish(ctx, b, l.channels[(i+n)%len(l.channels)], fmt.Sprintf(`{"publisher":%d,"n":%d}`, i, n), l.limits)
		if err != nil {
			return err
		}
		l.mu.Lock()
		l.sent = append(l.sent, m)
		l.mu.Unlock()
	}
	return nil
}

// more reports whether a publisher that has published n messages goes on.
func (l *load) more(n int) bool {
	if l.leave == nil {
		return n < l.each
	}
	_, ok := <-l.leave
	return ok
}

// pace makes the load wait for grants, of which there will be so many: what is
// published while somebody reads neither runs dry nor runs away.
func (l *load) pace(grants int) { l.leave = make(chan struct{}, grants*messagesPerGrant) }

const messagesPerGrant = 5

// grant lets the publishers go on while the caller does.
func (l *load) grant() {
	for range messagesPerGrant {
		l.leave <- struct{}{}
	}
}

// all returns what was published, by global id.
func (l *load) all() []driver.Message {
	l.mu.Lock()
	defer l.mu.Unlock()
	slices.SortFunc(l.sent, func(a, b driver.Message) int { return int(a.GlobalID - b.GlobalID) })
	return slices.Clone(l.sent)
}

// of returns those on one channel.
func of(messages []driver.Message, channel string) []driver.Message {
	var out []driver.Message
	for _, m := range messages {
		if m.Channel == channel {
			out = append(out, m)
		}
	}
	return out
}

func concurrentStreams(e *env) {
	const streams = 3
	l := e.newLoad(4, 50)
	peers := []driver.Backend{e.peer, e.dial(), e.dial(), e.dial()}
	open := make([]driver.Stream, streams)
	for i := range open {
		open[i] = e.listen(peers[i])
	}
	seen := make([][]driver.Message, streams)
	e.parallel(l.publishers+streams, func(i int) (err error) {
		if i < l.publishers {
			return l.run(e.ctx, peers[i], i)
		}
		i -= l.publishers
		seen[i], err = tryNextN(e.ctx, open[i], l.publishers*l.each)
		return err
	})
	all := l.all()
	if err := ascending(all); err != nil {
		e.Fatalf("ids that Publish returned: %v", err)
	}
	for i := range seen {
		e.equal(fmt.Sprintf("stream %d", i), seen[i], all)
	}
	for _, channel := range l.channels {
		e.equal("backlog", e.stored(channel), of(all, channel))
	}
	e.equal("global backlog", e.global(0, 0).Messages, all)
}

func concurrentReads(e *env) {
	const readers = 2
	l := e.newLoad(3, 0)
	l.pace(readers * readsPerReader)
	ranges := make([]driver.Range, len(l.channels))
	for i, channel := range l.channels {
		ranges[i].Channel = channel
	}
	peers := []driver.Backend{e.dial(), e.dial(), e.dial(), e.dial(), e.dial()}
	var reading sync.WaitGroup
	reading.Add(readers)
	snapshots := make([][]driver.Snapshot, readers)
	e.parallel(len(peers)+1, func(i int) (err error) {
		switch {
		case i < l.publishers:
			return l.run(e.ctx, peers[i], i)
		case i < len(peers):
			defer reading.Done()
			snapshots[i-l.publishers], err = readOften(e.ctx, peers[i], ranges, l.grant)
			return err
		default:
			reading.Wait()
			close(l.leave)
			return nil
		}
	})
	all := l.all()
	for _, s := range slices.Concat(snapshots...) {
		if err := e.checkSnapshot(s, ranges); err != nil {
			e.Fatal(err)
		}
		for i, r := range ranges {
			if err := isPrefix(s.Pages[i].Messages, of(all, r.Channel), s.State.Settled); err != nil {
				e.Fatalf("a snapshot settled up to %d: page %d: %v", s.State.Settled, i, err)
			}
		}
	}
}

// readsPerReader are as many as it takes to catch a publish in between.
const readsPerReader = 25

// readOften calls grant before each read.
func readOften(ctx context.Context, b driver.Backend, ranges []driver.Range, grant func()) ([]driver.Snapshot, error) {
	all := make([]driver.Snapshot, readsPerReader)
	for i := range all {
		grant()
		s, err := b.Read(ctx, ranges)
		if err != nil {
			return nil, fmt.Errorf("read: %w", err)
		}
		all[i] = s
	}
	return all, nil
}

// isPrefix checks that got is the beginning of all, and holds what is not above id.
func isPrefix(got, all []driver.Message, id int64) error {
	if len(got) > len(all) {
		return fmt.Errorf("%d messages of %d that were published", len(got), len(all))
	}
	if err := differ(got, all[:len(got)]); err != nil {
		return err
	}
	if len(got) < len(all) && all[len(got)].GlobalID <= id {
		return fmt.Errorf("%s is missing", format(all[len(got)]))
	}
	return nil
}

// What the bus builds on: the backlog read after Listen returned, and the
// stream from then on, hold everything between them.
func concurrentHandover(e *env) {
	const joiners = 4
	l := e.newLoad(3, 0)
	l.pace(joiners * grantsPerJoiner)
	var joined sync.WaitGroup
	joined.Add(joiners)
	peers := make([]driver.Backend, l.publishers+joiners)
	for i := range peers {
		peers[i] = e.dial()
	}
	last := e.channel("last")
	var published sync.WaitGroup
	published.Add(l.publishers)
	seen := make([][]driver.Message, joiners)
	e.parallel(len(peers)+1, func(i int) (err error) {
		switch {
		case i < l.publishers:
			defer published.Done()
			return l.run(e.ctx, peers[i], i)
		case i < len(peers):
			seen[i-l.publishers], err = join(e.ctx, peers[i], last, l.grant, sync.OnceFunc(joined.Done))
			return err
		default:
			joined.Wait()
			close(l.leave)
			published.Wait()
			_, err = tryPublish(e.ctx, e.peer, last, `"end"`, roomy())
			return err
		}
	})
	for i := range seen {
		e.equal(fmt.Sprintf("backlog and stream of joiner %d", i), seen[i], l.all())
	}
}

// grantsPerJoiner: before Listen, before reading, before the first Next.
const grantsPerJoiner = 3

// join listens, reads the backlog, and follows until the channel last has a
// message. It calls grant before each step and joined before the last.
func join(ctx context.Context, b driver.Backend, last string, grant, joined func()) ([]driver.Message, error) {
	defer joined()
	grant()
	s, err := b.Listen(ctx)
	if err != nil {
		return nil, fmt.Errorf("listen: %w", err)
	}
	defer s.Close()
	grant()
	p, err := b.GlobalBacklog(ctx, 0, 0)
	if err != nil {
		return nil, fmt.Errorf("global backlog: %w", err)
	}
	grant()
	joined()
	all := p.Messages
	for len(all) == 0 || all[len(all)-1].Channel != last {
		m, err := s.Next(ctx)
		if err != nil {
			return nil, fmt.Errorf("a joiner's stream ended after %d messages: %w", len(all), err)
		}
		if len(all) == 0 || m.GlobalID > all[len(all)-1].GlobalID {
			all = append(all, m)
		}
	}
	return all[:len(all)-1], nil
}

func concurrentTrim(e *env) {
	l := e.newLoad(4, 40)
	l.channels = l.channels[:1]
	l.limits = sized(5, 1)
	e.parallel(l.publishers, func(i int) error { return l.run(e.ctx, e.peer, i) })
	all := l.all()
	e.equal("the newest 5", e.stored(l.channels[0]), all[len(all)-5:])
}

// Nothing hangs and nothing panics; which call fails is a matter of chance.
func concurrentClose(e *env) {
	b := e.dial()
	started := make(chan struct{})
	e.parallel(4, func(i int) error {
		if i == 0 {
			<-started
			return b.Close()
		}
		err := useUntilError(e.ctx, b, e.channel("a"), func() {
			if i == 1 {
				close(started)
			}
		})
		if e.ctx.Err() != nil {
			return fmt.Errorf("a call did not end with its peer: %w", err)
		}
		return nil
	})
}

// useUntilError calls begun once, after its first calls.
func useUntilError(ctx context.Context, b driver.Backend, channel string, begun func()) error {
	s, err := b.Listen(ctx)
	begun()
	if err != nil {
		return err
	}
	defer s.Close()
	for {
		if _, err := b.Publish(ctx, channel, []byte(`"x"`), roomy()); err != nil {
			return err
		}
		if _, err := s.Next(ctx); err != nil {
			return err
		}
		if err := s.Ping(ctx); err != nil {
			return err
		}
	}
}
