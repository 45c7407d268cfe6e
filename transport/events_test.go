package transport_test

import (
	"bufio"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/messagebus-go/messagebus/bus"
	"github.com/messagebus-go/messagebus/bus/bustest"
	"github.com/messagebus-go/messagebus/bus/driver"
	"github.com/messagebus-go/messagebus/bus/membus"
	"github.com/messagebus-go/messagebus/transport"
)

// A listener reads server-sent events as a browser does.
type listener struct {
	tb   testing.TB
	body io.ReadCloser
	in   *bufio.Scanner
	last string // the id that it would come back with
	http *http.Response
}

type event struct{ name, id, data string }

// listen asks for events; the channels are a query, after is Last-Event-ID.
func (r *rig) listen(clientID, channels, after string, head ...string) *listener {
	r.tb.Helper()
	request, err := http.NewRequestWithContext(context.WithoutCancel(r.tb.Context()), http.MethodGet, r.server.URL()+"/message-bus/"+clientID+"/sse?"+channels, nil)
	if err != nil {
		r.tb.Fatal(err)
	}
	if after != "" {
		request.Header.Set("Last-Event-ID", after)
	}
	for _, line := range head {
		name, value, _ := strings.Cut(line, ": ")
		request.Header.Set(name, value)
	}
	response, err := r.server.Client().Do(request)
	if err != nil {
		r.tb.Fatal(err)
	}
	r.tb.Cleanup(func() { response.Body.Close() })
	return &listener{tb: r.tb, body: response.Body, in: bufio.NewScanner(response.Body), last: after, http: response}
}

// next reads an event that the page would see; false: the stream has ended.
func (l *listener) next() (event, bool) {
	var e event
	for l.in.Scan() {
		line := l.in.Text()
		name, value, _ := strings.Cut(line, ": ")
		if line == "" { // what is cut off before it counts for nothing
			l.last = cmp.Or(e.id, l.last)
		}
		switch {
		case line == "" && e.data != "":
			return e, true
		case line == "":
			e = event{}
		case name == "event":
			e.name = value
		case name == "id":
			e.id = value
		case name == "data" && e.data != "":
			e.data += "\n" + value
		case name == "data":
			e.data = value
		}
	}
	return e, false
}

func (l *listener) want(events ...event) {
	l.tb.Helper()
	for _, want := range events {
		if got, _ := l.next(); got != want {
			l.tb.Errorf("event %+v, want %+v", got, want)
		}
	}
}

func TestEvents_EachMessageIsOneWithItsGlobalID(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, nil)
		r.publish("/b", 1)
		r.publish("/a", 2)
		r.publish("/b", "for another", forSomebodyElse)
		l := r.listen("me", "/a=0&/b=0&/c=-1", "")
		if got := l.http.Header; l.http.StatusCode != http.StatusOK || got.Get("Content-Type") != "text/event-stream; charset=utf-8" || got.Get("X-Accel-Buffering") != "no" {
			t.Errorf("%d %v", l.http.StatusCode, got)
		}
		l.want(
			event{"", "1", message(1, "/b", "1")}, event{"", "2", message(2, "/a", "2")},
			event{"status", "", status(`{"/b":3,"/c":0}`)},
		)
		r.publish("/c", 4)
		l.want(event{"", "4", message(4, "/c", "4")})
	})
}

func TestEvents_AreRecognisedByMethodAndPathAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, nil)
		for _, start := range []string{"POST /message-bus/me/sse", "GET /message-bus/me/sse/x", "GET /message-bus/me/poll"} {
			conn, err := r.server.Dial(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			p := send(t, conn, start+" HTTP/1.1\r\nHost: transport.test\r\nAccept: text/event-stream\r\n\r\n").head()
			if got := p.header.Get("Content-Type"); got != "text/plain; charset=utf-8" {
				t.Errorf("%s: %s", start, got)
			}
		}
	})
}

func TestEvents_ReturnAfterTheLastOneOnEveryChannel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, nil)
		const channels = "/all=0&/new=-1&/last=-2&/from=2"
		for i := range 4 {
			r.publish([]string{"/all", "/from", "/last", "/new"}[i], i)
		}
		l := r.listen("me", channels, "")
		l.want(event{"", "1", message(1, "/all", "0")}, event{"", "3", message(3, "/last", "2")}, event{"status", "", status(`{"/new":4}`)})
		r.publish("/none", 0)
		r.publish("/new", 0, forSomebodyElse) // so that the next part is not the first of the client
		r.publish("/all", 7)
		l.want(event{"", "7", message(7, "/all", "7")})
		l.body.Close()
		var want []event
		for i, channel := range []string{"/new", "/last", "/from", "/all", "/new"} {
			r.publish(channel, i)
			want = append(want, event{"", strconv.Itoa(i + 8), message(i+8, channel, strconv.Itoa(i))})
		}
		r.listen("me", channels, l.last).want(want...)
	})
}

func TestEvents_AClientThatGotNoneComesBackToWhereItBegan(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, nil)
		r.publish("/a", 1)
		l := r.listen("me", "/a=-1", "")
		l.want(event{"status", "", status(`{"/a":1}`)})
		l.in.Scan() // retry
		l.in.Scan()
		if got := l.in.Text(); got != "id: 1" {
			t.Fatalf("line %q", got)
		}
		l.body.Close()
		r.publish("/a", 2)
		r.listen("me", "/a=-1", "1").want(event{"", "2", message(2, "/a", "2")})
	})
}

func TestEvents_SignsOfLifeAndTheEndOfAge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, &transport.Options{LongPoll: transport.LongPollOptions{MaxAge: 10 * time.Minute, Heartbeat: 20 * time.Second}})
		start := time.Now()
		l := r.listen("me", "/a=0", "")
		beats := 0
		for l.in.Scan() {
			if l.in.Text() == ":" {
				beats++
				if got := time.Since(start); got != time.Duration(beats)*20*time.Second {
					t.Fatalf("beat %d after %v", beats, got)
				}
			}
		}
		if took := time.Since(start); l.in.Err() != nil || took < 9*time.Minute || took > 11*time.Minute || beats != int((took-1)/(20*time.Second)) {
			t.Errorf("%d beats, end after %v: %v", beats, took, l.in.Err())
		}
		r.held(0)
	})
}

func TestEvents_EndTellsWhatWasWithheld(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, nil)
		l := r.listen("me", "/a=0", "")
		r.publish("/a", 1, forSomebodyElse)
		synctest.Wait()
		go r.handler.Shutdown(t.Context())
		l.want(event{"status", "", status(`{"/a":1}`)})
		if _, more := l.next(); more {
			t.Error("it goes on")
		}
	})
}

func TestEvents_LinesOfAStoredMessageAreLinesOfData(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := bustest.NewStore(t)
		r := newRigOn(t, store, nil)
		l := r.listen("me", "/a=0", "")
		for _, data := range []string{"[1,\r\n2]", "{\n\n}"} {
			envelope := `{"data":` + data + `,"user_ids":null,"group_ids":null,"client_ids":null}`
			limits := driver.Limits{MaxSize: 10, MaxGlobalSize: 10, MaxAge: time.Hour, ClearEvery: 1}
			if _, err := store.Publish(t.Context(), "/a", []byte(envelope), limits); err != nil {
				t.Fatal(err)
			}
		}
		for _, l := range []*listener{l, r.listen("other", "/a=0", "")} {
			for range 2 {
				e, _ := l.next()
				var m struct{ Data any }
				if err := json.Unmarshal([]byte(e.data), &m); err != nil || !strings.Contains(e.data, "\n") {
					t.Errorf("%q: %v", e.data, err)
				}
			}
		}
	})
}

func TestEvents_WithoutAPlaceAreAnsweredAtOnceAndSayWhenToComeAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, &transport.Options{Limits: transport.LimitOptions{MaxHeld: -1}})
		r.publish("/a", 1)
		l := r.listen("me", "/a=0", "")
		body, err := io.ReadAll(l.body)
		var wait int
		rest, found := strings.CutPrefix(string(body), "id: 1\ndata: "+message(1, "/a", "1")+"\n\nretry: ")
		if _, scanned := fmt.Sscanf(rest, "%d\nid: 1\n\n", &wait); err != nil || !found || scanned != nil || wait < 5000 {
			t.Errorf("%q, %v", body, err)
		}
	})
}

// brokenStore fails to read.
type brokenStore struct{ driver.Backend }

func (brokenStore) Read(context.Context, []driver.Range) (driver.Snapshot, error) {
	return driver.Snapshot{}, errors.New("broken")
}

func TestEvents_AStoreThatFailsDoesNotEndThemForGood(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRigOn(t, brokenStore{bustest.NewStore(t)}, nil)
		l := r.listen("me", "/a=0", "5")
		if body, err := io.ReadAll(l.body); l.http.StatusCode != http.StatusOK || !strings.HasPrefix(string(body), "retry: ") || err != nil {
			t.Errorf("%d %q %v", l.http.StatusCode, body, err)
		}
		r.held(0)
	})
}

func TestEvents_RefusalsAreTheSame(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, &transport.Options{ServerOnly: []string{"/internal"}, Limits: transport.LimitOptions{MaxChannels: 2}})
		for query, after := range map[string]string{"/a=0&/b=0&/c=0": "", "/a%00=0": "", "/a=%": "", "/a=0": "x", "/b=0": "-1"} {
			if l := r.listen("me", query, after); l.http.StatusCode != http.StatusBadRequest {
				t.Errorf("%s after %q: %d", query, after, l.http.StatusCode)
			}
		}
		l := r.listen("me", "/a=0&/internal/x=0", "")
		if got := l.http.Header.Get("Message-Bus-Refused"); got != "%2Finternal%2Fx" {
			t.Errorf("refused %q", got)
		}
	})
}

func TestEvents_ToldOfGapsOnlyWhereSomethingMayBeLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := bustest.NewStore(t)
		r := newRigOn(t, store, nil)
		keep := bus.MaxBacklogSize(3)
		for i := range 5 {
			r.publish("/a", i, keep)
		}
		l := r.listen("me", "/a=0&__pos=~{}", "")
		var last event
		for !strings.HasSuffix(last.data, `"data":4}`) {
			last, _ = l.next()
		}
		if !strings.HasPrefix(last.id, "5 ") {
			t.Fatalf("id %q", last.id)
		}
		l.body.Close()
		r.publish("/a", 5, keep)
		back := r.listen("me", "/a=0&__pos=~{}", last.id)
		if e, _ := back.next(); e.name != "" || e.data != message(6, "/a", "5") {
			t.Errorf("%+v", e)
		}
		back.body.Close()
		for i := range 5 {
			r.publish("/a", i, keep)
		}
		back = r.listen("me", "/a=0&__pos=~{}", last.id)
		if e, _ := back.next(); e.name != "gap" || !strings.Contains(e.data, `"reason":"trimmed"`) && !strings.Contains(e.data, `"reason":"possible"`) {
			t.Errorf("%+v", e)
		}
		back.body.Close()
		store.Faults().Reset()
		for range 20 {
			r.publish("/a", "anew")
		}
		back = r.listen("me", "/a=0&__pos=~{}", last.id)
		if e, _ := back.next(); e.name != "gap" || !strings.Contains(e.data, `"reason":"reset"`) {
			t.Errorf("%+v", e)
		}
		if e, _ := back.next(); e.data != message(1, "/a", `"anew"`) {
			t.Errorf("%+v", e)
		}
	})
}

// Clients that are slow, and are cut off again and again, get each message of
// all of their channels once, by global id.
func TestEvents_EachOnceByGlobalIDThroughCuts(t *testing.T) {
	for seed := range uint64(12) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { playCuts(t, seed) })
		})
	}
}

func playCuts(t *testing.T, seed uint64) {
	random := rand.New(rand.NewPCG(seed, 3))
	mem := bustest.NewStore(t)
	r := newRigOn(t, mem, &transport.Options{Limits: transport.LimitOptions{MaxQueuedBytes: 500 + random.IntN(5000), WriteTimeout: time.Hour}})
	const n, channels = 900, 5
	query := "/0=0&/1=0&/2=0&/3=0&/4=0"
	stay := 1
	published := make(chan struct{})
	secret := map[int]bool{}
	for i := range n {
		secret[i] = random.IntN(4) == 0
	}
	secret[n] = false // the last one ends the play
	go func() {
		defer close(published)
		for i := range n {
			var opts []bus.PublishOption
			if secret[i] {
				opts = append(opts, forSomebodyElse)
			}
			r.publish(fmt.Sprintf("/%d", rand.IntN(channels)), i, opts...)
			if seed%3 > 0 && rand.IntN(20) == 0 {
				<-time.After(rand.N(100 * time.Millisecond))
			}
			if rand.IntN(200) == 0 {
				mem.Faults().CutFeeds(errors.New("cut"))
			}
		}
		r.publish("/0", n)
	}()
	if seed%3 == 0 { // the slow reader stays, and everything comes at once
		stay = n + channels
	}
	for got, after := -1, ""; got < n; {
		l := r.listen("me", query, after)
		for range stay + random.IntN(80) {
			e, more := l.next()
			if !more {
				break
			}
			var m struct {
				GlobalID int `json:"global_id"`
				Data     int
			}
			if e.name != "" {
				continue
			}
			if err := json.Unmarshal([]byte(e.data), &m); err != nil {
				t.Fatal(err)
			}
			for got++; secret[got]; got++ {
			}
			if m.Data != got || m.GlobalID != got+1 || e.id != strconv.Itoa(m.GlobalID) {
				t.Fatalf("seed %d: got %+v after %s, want %d", seed, e, after, got)
			}
			if got == n {
				break
			}
			if random.IntN(10) == 0 {
				<-time.After(time.Duration(random.IntN(30)) * time.Millisecond)
			}
		}
		after = l.last
		l.body.Close()
	}
	<-published
}

// failsOver fails over before the second read.
type failsOver struct {
	*membus.Backend

	reads int
}

func (s *failsOver) Read(ctx context.Context, ranges []driver.Range) (driver.Snapshot, error) {
	if s.reads++; s.reads == 2 {
		s.Faults().FailOver(0)
	}
	return s.Backend.Read(ctx, ranges)
}

// An id of the new life says that all channels have been sent up to there, and no further.
func TestEvents_OfANewLifeHaveIDsBeyondWhatEachChannelHadBefore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &failsOver{Backend: bustest.NewStore(t)}
		r := newRigOn(t, store, &transport.Options{Limits: transport.LimitOptions{MaxQueuedBytes: 1}}) // a message at a time
		for i, channel := range []string{"/b", "/b", "/b", "/a"} {
			r.publish(channel, 1+i)
		}
		before := epochOf(t, r.bus)
		store.reads = 0
		l := r.listen("me", fmt.Sprintf(`/a=4&/b=1&__pos=~{%q:{"/a":4,"/b":1}}`, before), "")
		l.want(event{"", "2 " + before, message(2, "/b", "2")})
		if gap, _ := l.next(); gap.name != "gap" || strings.Count(gap.data, `"failover"`) != 2 {
			t.Errorf("told %+v", gap)
		}
		after := epochOf(t, r.bus)
		l.want(event{"", "", message(3, "/b", "3")})
		r.publish("/b", 5)
		l.want(event{"", "5 " + after, message(5, "/b", "5")})
	})
}
