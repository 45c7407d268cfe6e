package transport_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/messagebus-go/messagebus/bus"
	"github.com/messagebus-go/messagebus/bus/bustest"
	"github.com/messagebus-go/messagebus/transport"
)

type wireMessage struct {
	GlobalID int             `json:"global_id"`
	ID       int             `json:"message_id"`
	Channel  string          `json:"channel"`
	Data     json.RawMessage `json:"data"`
}

func decode(tb testing.TB, part string) []wireMessage {
	tb.Helper()
	messages, err := decodePart(part)
	if err != nil {
		tb.Fatal(err)
	}
	return messages
}

func decodePart(part string) ([]wireMessage, error) {
	var messages []wireMessage
	if err := json.Unmarshal([]byte(part), &messages); err != nil {
		return nil, fmt.Errorf("part %s: %w", part, err)
	}
	return messages, nil
}

// posted is what the model knows of one message.
type posted struct {
	site, channel          string
	users, groups, clients []int
}

// reader is a client of the model. Its site and groups follow from its user. The
// same client ids are in use with every user.
type reader struct {
	user     int
	client   int
	site     string
	channels []string
	last     map[string]int
	heard    map[string][]heard // by channel
	marks    *marks             // what it says of its positions; nil: nothing, and it is not told of gaps
	once     bool               // it does not come back to an event stream
}

// heard is a message of which the data is n, or a gap.
type heard struct {
	n, id, gid int
	gap        *toldGap
}

func newReader(user, client int, channels ...string) *reader {
	return &reader{
		user: user, client: client, site: []string{"", "s1", "s2"}[user%3], channels: channels,
		last: make(map[string]int), heard: make(map[string][]heard),
	}
}

// numbers are those of the messages that came of a channel.
func (r *reader) numbers(channel string) []int {
	var numbers []int
	for _, h := range r.heard[channel] {
		if h.gap == nil {
			numbers = append(numbers, h.n)
		}
	}
	return numbers
}

func (r *reader) groups() []int { return []int{r.user % 2, 10 + r.user%3} }

func (r *reader) id() string { return "c" + strconv.Itoa(r.client) }

// mayHave is the rule, written down once more.
func (r *reader) mayHave(m posted) bool {
	has := slices.Contains[[]int]
	if !strings.HasPrefix(m.channel, "/global/") && m.site != r.site {
		return false
	}
	if len(m.clients) > 0 && !has(m.clients, r.client) {
		return false
	}
	if len(m.users) == 0 && len(m.groups) == 0 {
		return true
	}
	return has(m.users, r.user) || has(m.groups, r.groups()[0]) || has(m.groups, r.groups()[1])
}

// TestModel_EachClientGetsItsOwnMessagesOnceInOrderAndNoOthers lets clients
// read slowly, leave in the middle of parts and come back, each time in another
// way: without chunks, with them, for events, by WebSocket, while messages for
// all kinds of targets are published, the feed is cut and the store fails over.
func TestModel_EachClientGetsItsOwnMessagesOnceInOrderAndNoOthers(t *testing.T) {
	seeds := 12
	if testing.Short() {
		seeds = 3
	}
	for seed := range seeds {
		synctest.Test(t, func(t *testing.T) { runModel(t, uint64(seed)) })
	}
}

const modelUsers, modelClients = 6, 2

func runModel(t *testing.T, seed uint64) {
	t.Helper()
	rnd := rand.New(rand.NewPCG(seed, 1))
	store := bustest.NewStore(t)
	r := newRigOn(t, store, socketOptions(transport.Options{
		Identify: byHeaders,
		LongPoll: transport.LongPollOptions{Hold: 3 * time.Second, MaxAge: 4 * time.Second, Heartbeat: time.Second},
		Limits:   transport.LimitOptions{MaxQueuedBytes: 1500},
	}))
	if rnd.IntN(2) == 0 {
		r.handler.ReadAtOnce(1)
	}
	r.handler.IndexFrom(2 + int(seed%3)*100) // not at all, in some seeds
	channels := []string{"/a", "/b", "/c", "/global/g"}
	// Without positions, who has come back to an event stream and has not read it yet begins
	// anew with another server.
	failsOver := seed%2 == 0
	readers := make([]*reader, modelUsers*modelClients)
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var running sync.WaitGroup
	for i := range readers {
		readers[i] = newReader(i/modelClients, i%modelClients, channels...)
		readers[i].once = failsOver
		readerRnd := rand.New(rand.NewPCG(seed, uint64(100+i)))
		running.Go(func() {
			for ctx.Err() == nil {
				readers[i].session(ctx, r, readerRnd)
			}
		})
	}
	all := publishMany(t, r, rnd, func() {
		if !failsOver || rnd.IntN(2) == 0 {
			store.Faults().CutFeeds(errors.New("cut"))
		} else {
			store.Faults().FailOver(0)
		}
	})
	<-time.After(30 * time.Second) // several holds, for everybody to catch up
	stop()
	running.Wait()
	for _, reader := range readers {
		reader.check(t, all)
	}
}

// publishMany publishes messages whose data are their indexes.
func publishMany(t *testing.T, r *rig, rnd *rand.Rand, cut func()) []posted {
	t.Helper()
	var all []posted
	for i := range 400 {
		m := randomPosted(rnd)
		b := r.bus
		if m.site != "" {
			b = b.Site(m.site)
		}
		publish(t, b, m.channel, i, m.options()...)
		all = append(all, m)
		switch rnd.IntN(40) {
		case 0:
			cut()
		case 1, 2, 3, 4:
			<-time.After(time.Duration(rnd.IntN(2000)) * time.Millisecond)
		}
	}
	return all
}

func randomPosted(rnd *rand.Rand) posted {
	pick := func(below int) []int {
		if rnd.IntN(3) > 0 {
			return nil
		}
		return []int{rnd.IntN(below), rnd.IntN(below)}
	}
	m := posted{channel: []string{"/a", "/b", "/c", "/global/g"}[rnd.IntN(4)], clients: pick(modelClients), site: []string{"", "s1", "s2"}[rnd.IntN(3)]}
	if !strings.HasPrefix(m.channel, "/global/") {
		m.users, m.groups = pick(modelUsers), pick(13)
	}
	return m
}

func (m posted) options() []bus.PublishOption {
	ids := func(list []int) []bus.ID {
		var ids []bus.ID
		for _, n := range list {
			ids = append(ids, bus.IntID(int64(n)))
		}
		return ids
	}
	var opts []bus.PublishOption
	if m.users != nil {
		opts = append(opts, bus.ToUsers(ids(m.users)...))
	}
	if m.groups != nil {
		opts = append(opts, bus.ToGroups(ids(m.groups)...))
	}
	if m.clients != nil {
		var names []string
		for _, n := range m.clients {
			names = append(names, "c"+strconv.Itoa(n))
		}
		opts = append(opts, bus.ToClients(names...))
	}
	return opts
}

// session is one connection, which may end in the middle of anything, and does
// when ctx is done.
func (r *reader) session(ctx context.Context, on *rig, rnd *rand.Rand) {
	pause := func() {
		if rnd.IntN(8) == 0 { // slow
			sleep(ctx, time.Duration(rnd.IntN(1500))*time.Millisecond)
		}
	}
	r.visit(ctx, on, rnd.IntN(4), rnd.IntN(40), 1+rnd.IntN(3), pause)
}

// visit is one connection, from which so many parts are taken at most.
func (r *reader) visit(ctx context.Context, on *rig, way, most, times int, pause func()) {
	switch way {
	case 0:
		r.poll(ctx, on, most, pause, "Dont-Chunk: 1")
	case 1:
		r.poll(ctx, on, most, pause)
	case 2:
		r.listen(ctx, on, most, times, pause)
	case 3:
		r.talk(ctx, on, most, pause)
	}
}

func sleep(ctx context.Context, d time.Duration) {
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
}

// head says who r is.
func (r *reader) head() []string {
	return []string{fmt.Sprintf("X-User: %d", r.user), fmt.Sprintf("X-Groups: [%d,%d]", r.groups()[0], r.groups()[1]), "X-Site: " + r.site}
}

// asks are what r lacks, as the members of a body.
func (r *reader) asks() map[string]any {
	asks := make(map[string]any)
	for _, channel := range r.channels {
		asks[channel] = r.last[channel]
	}
	if r.marks != nil {
		asks["__pos"] = r.marks.text()
	}
	return asks
}

// form asks for what r lacks.
func (r *reader) form() string {
	form := make(url.Values)
	for name, value := range r.asks() {
		form.Set(name, fmt.Sprint(value))
	}
	return form.Encode()
}

// poll gets one answer, or so many parts at most.
func (r *reader) poll(ctx context.Context, on *rig, most int, pause func(), head ...string) {
	conn, err := on.server.Dial(context.Background())
	if err != nil {
		on.tb.Error(err)
		return
	}
	defer conn.Close()
	p := send(on.tb, conn, request("/message-bus/"+r.id()+"/poll", r.form(), append(head, r.head()...)...))
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	if err := r.takeAnswer(p, most, pause); err != nil && !errors.Is(err, io.EOF) && ctx.Err() == nil {
		on.tb.Error(err)
	}
}

func (r *reader) takeAnswer(p *peer, most int, pause func()) error {
	if err := p.tryHead(); err != nil {
		return err
	}
	r.marks.meet(p.header.Get("Message-Bus-Epoch"))
	if p.header.Get("Content-Length") != "" {
		body, err := p.tryBody()
		if err == nil {
			r.take(p.tb, body)
		}
		return err
	}
	for range most {
		part, err := p.tryPart()
		if err != nil || part == "" {
			return err
		}
		r.take(p.tb, part)
		pause()
	}
	return nil
}

// listen is a browser that is cut off a few times, and comes back with the last
// id of all.
func (r *reader) listen(ctx context.Context, on *rig, most, times int, pause func()) {
	last, query := "", r.form()
	if r.once {
		times = 1
	}
	for range times {
		l := on.listen(r.id(), query, last, r.head()...)
		r.marks.meet(l.http.Header.Get("Message-Bus-Epoch"))
		stop := context.AfterFunc(ctx, func() { l.body.Close() })
		for range most {
			e, open := l.next()
			if !open {
				break
			}
			if e.name == "" || e.name == "status" || e.name == "gap" && r.marks != nil {
				r.take(on.tb, "["+e.data+"]")
			} else {
				on.tb.Errorf("event %+v", e)
			}
			pause()
		}
		last = l.last
		stop()
		l.body.Close()
	}
}

// talk is a WebSocket.
func (r *reader) talk(ctx context.Context, on *rig, most int, pause func()) {
	s, _ := on.open(r.id(), r.head()...)
	command, err := json.Marshal(map[string]any{"subscribe": r.asks()})
	if err != nil {
		on.tb.Error(err)
	}
	select {
	case s.commands <- string(command):
	case <-s.closed: // refused, or replaced already
		return
	}
	for said := 0; said < most; said++ {
		select {
		case part := <-s.messages:
			r.take(on.tb, part)
		case <-s.closed:
			return
		case <-ctx.Done():
			said = most
		}
		pause()
	}
	close(s.commands)
	for {
		select {
		case <-s.messages: // is lost
		case <-s.closed:
			return
		}
	}
}

// take does with a part what a client does.
func (r *reader) take(tb testing.TB, part string) {
	messages, err := decodePart(part)
	if err != nil {
		tb.Error(err)
	}
	for _, m := range messages {
		if m.Channel != "/__subscribed" && m.Channel != "/__gap" {
			r.marks.begin(r.channels)
		}
		switch m.Channel {
		case "/__subscribed":
			var confirmed struct{ Epoch string }
			read(tb, m.Data, &confirmed)
			r.marks.meet(confirmed.Epoch)
		case "/__gap":
			var gaps map[string]*toldGap
			read(tb, m.Data, &gaps)
			r.takeGaps(gaps)
		case "/__status":
			var at map[string]int
			read(tb, m.Data, &at)
			for channel, last := range at {
				r.last[channel] = last
				r.marks.stand(channel, 0)
			}
		default:
			r.last[m.Channel] = m.ID
			r.marks.stand(m.Channel, m.GlobalID)
			n, _ := strconv.Atoi(string(m.Data))
			r.heard[m.Channel] = append(r.heard[m.Channel], heard{n: n, id: m.ID, gid: m.GlobalID})
		}
	}
	r.marks.begin(r.channels)
}

func read(tb testing.TB, data []byte, into any) {
	tb.Helper()
	if err := json.Unmarshal(data, into); err != nil {
		tb.Error(err)
	}
}

// check compares what r got with what it should have got.
func (r *reader) check(t *testing.T, all []posted) {
	t.Helper()
	want := make(map[string][]int)
	for i, m := range all {
		if r.mayHave(m) {
			want[m.channel] = append(want[m.channel], i)
		}
	}
	for _, channel := range r.channels {
		if fmt.Sprint(r.numbers(channel)) != fmt.Sprint(want[channel]) {
			t.Errorf("client %d of user %d of site %q got of %s\n%v, want\n%v", r.client, r.user, r.site, channel, r.numbers(channel), want[channel])
		}
	}
}
