package transport_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/messagebus-go/messagebus/bus"
	"github.com/messagebus-go/messagebus/bus/bustest"
	"github.com/messagebus-go/messagebus/bus/driver"
	"github.com/messagebus-go/messagebus/bus/membus"
	"github.com/messagebus-go/messagebus/transport"
)

// toldGap is what a client is told of one channel.
type toldGap struct {
	After, Next   int
	Reason, Epoch string
}

// gapsIn returns what the gap message at the beginning of a part tells.
func gapsIn(t *testing.T, part string) map[string]toldGap {
	t.Helper()
	messages := decode(t, part)
	if len(messages) == 0 || messages[0].Channel != "/__gap" {
		return nil
	}
	if messages[0].ID != -1 || messages[0].GlobalID != -1 {
		t.Errorf("gap message %s", part)
	}
	var gaps map[string]toldGap
	if err := json.Unmarshal(messages[0].Data, &gaps); err != nil {
		t.Fatal(err)
	}
	return gaps
}

// ids are those of the messages of a part that have any.
func ids(t *testing.T, part string) string {
	t.Helper()
	var s []string
	for _, m := range decode(t, part) {
		if m.ID > 0 {
			s = append(s, fmt.Sprint(m.ID))
		}
	}
	return strings.Join(s, " ")
}

func TestGap_IsToldToWhoSendsPositionsAndToNobodyElse(t *testing.T) {
	t.Parallel()
	store := bustest.NewStore(t)
	b := bustest.On(t, store, nil)
	var traced []*bus.GapError
	h := newHandler(t, b, &transport.Options{Trace: &transport.Trace{
		Gap: func(_ transport.Identity, _ string, e *bus.GapError) { traced = append(traced, e) },
	}})
	for i := range 6 {
		publish(t, b, "/a", i)
	}
	epoch := epochOf(t, b)
	store.Faults().Trim("/a", 2)
	ask := func(body string) *httptest.ResponseRecorder {
		r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/message-bus/me/poll?dlp=t", strings.NewReader(body))
		r.Header.Set("Content-Type", "application/json")
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if w.Code != http.StatusOK {
			t.Fatalf("%s: %d %s", body, w.Code, w.Body)
		}
		return w
	}
	known := func(epoch string, gid int) string { return fmt.Sprintf(`~{%q:{"/a":%d}}`, epoch, gid) }
	for _, c := range []struct {
		last   int
		pos    string
		reason string // of the gap; empty: none
		ids    string
	}{
		{2, `~{}`, "trimmed", "5 6"},
		{2, known(epoch, 2), "trimmed", "5 6"},
		{4, known(epoch, 4), "", "5 6"},
		{6, known(epoch, 6), "", ""},
		{6, known("another", 6), "reset", "5 6"},
		{9, known("another", 9), "reset", "5 6"},
		{9, known(epoch, 9), "reset", "5 6"},
		{9, `~{}`, "", ""}, // the wire's rule: a status
	} {
		body := fmt.Sprintf(`{"/a":%d,"__pos":%q}`, c.last, c.pos)
		w := ask(body)
		gap := gapsIn(t, w.Body.String())["/a"]
		if gap.Reason != c.reason || c.reason != "" && (gap.Epoch != epoch || gap.After != c.last) || ids(t, w.Body.String()) != c.ids {
			t.Errorf("%s: %s; want a gap %q and messages %s", body, w.Body, c.reason, c.ids)
		}
		if got := w.Header().Get("Message-Bus-Epoch"); got != epoch {
			t.Errorf("epoch %q, want %q", got, epoch)
		}
	}
	if len(traced) != 5 {
		t.Errorf("%d gaps traced", len(traced))
	}
	w := ask(`{"/a":2}`)
	if gapsIn(t, w.Body.String()) != nil || w.Header().Get("Message-Bus-Epoch") != "" || len(traced) != 5 {
		t.Errorf("without positions: %s %v", w.Body, w.Header())
	}
	if b.Health().Gaps != 0 {
		t.Error("a gap of an HTTP client is counted by the bus")
	}
}

func epochOf(t *testing.T, b *bus.Bus) string {
	t.Helper()
	pages, err := b.Read(t.Context(), map[string]bus.Position{"/any": bus.Latest()})
	if err != nil {
		t.Fatal(err)
	}
	at := pages["/any"].Position
	return at.Epoch()
}

func TestGap_OfAHeldRequestComesBeforeWhatFollows(t *testing.T) {
	for _, chunks := range []string{"X-None: 1", "Dont-Chunk: 1"} {
		synctest.Test(t, func(t *testing.T) {
			store := bustest.NewStore(t)
			r := newRigOn(t, store, nil)
			r.publish("/a", 1)
			p := r.poll("me", "/a=1&__pos=~%7B%7D", chunks)
			if chunks != "Dont-Chunk: 1" {
				p.head().want(noMessages)
			}
			r.held(1)
			old := r.poll("old", "/a=1").head()
			old.want(noMessages)
			store.Faults().Reset()
			r.publish("/a", "new")
			store.Faults().CutFeeds(errors.New("cut"))
			var part string
			if chunks == "Dont-Chunk: 1" {
				part = p.head().body()
			} else {
				part = p.part()
			}
			if gap := gapsIn(t, part)["/a"]; gap.Reason != "reset" || gap.After != 1 || gap.Epoch == "" {
				t.Errorf("told %s", part)
			}
			if chunks != "Dont-Chunk: 1" {
				part = p.part()
			}
			if !strings.Contains(part, `"data":"new"`) {
				t.Errorf("then %s", part)
			}
			old.want("[" + message(1, "/a", `"new"`) + "]")
		})
	}
}

// What is kept for nobody leaves a gap with nothing behind it for whoever was not there.
func TestGap_WithNothingBehindItIsToldOnce(t *testing.T) {
	const gapped = `"/a":{"after":1,"next":4,"reason":`
	rigWithGap := func(t *testing.T) (r *rig, ask func(last, gid int, head ...string) *peer) {
		t.Helper()
		r = newRig(t, nil)
		for i := range 3 {
			r.publish("/a", i, bus.MaxBacklogSize(0))
		}
		epoch := epochOf(t, r.bus)
		return r, func(last, gid int, head ...string) *peer {
			t.Helper()
			body := fmt.Sprintf(`{"/a":%d,"__pos":%q}`, last, fmt.Sprintf(`~{%q:{"/a":%d}}`, epoch, gid))
			text := strings.Replace(request("/message-bus/me/poll", body, head...), "x-www-form-urlencoded", "json", 1)
			return send(t, r.dial(), text).head()
		}
	}
	synctest.Test(t, func(t *testing.T) { // it is told at the end of a stream where that stands
		_, ask := rigWithGap(t)
		p := ask(1, 1)
		if got := p.part(); !strings.Contains(got, gapped) {
			t.Fatalf("told %s", got)
		}
		p.want("["+status(`{"/a":3}`)+"]", "")
		ask(3, 0).want(noMessages)
	})
	synctest.Test(t, func(t *testing.T) { // and at once where the answer ends, so that the next request is held
		r, ask := rigWithGap(t)
		if got := ask(1, 1, "Dont-Chunk: 1").body(); !strings.Contains(got, gapped) || !strings.HasSuffix(got, ","+status(`{"/a":3}`)+"]") {
			t.Fatalf("told %s", got)
		}
		go func() {
			r.held(1)
			r.publish("/a", 3, bus.MaxBacklogSize(0))
		}()
		if got := ask(3, 0, "Dont-Chunk: 1").body(); got != "["+message(4, "/a", "3")+"]" {
			t.Errorf("then %s", got)
		}
	})
}

func TestPositions_ThatCannotBeReadAreRefused(t *testing.T) {
	t.Parallel()
	for _, pos := range []string{"~", "~[]", "~7", `~{"e":7}`, `~{"e":{"/a":"x"}}`, `~{"e":{"/a":1.5}}`, "~{} x"} {
		if w := ask(t, http.MethodPost, js, fmt.Sprintf(`{"__pos":%q}`, pos)); w.Code != http.StatusBadRequest {
			t.Errorf("%s: %d %s", pos, w.Code, w.Body)
		}
	}
	// As a Ruby server would have it: a channel.
	if w := ask(t, http.MethodPost, js, `{"__pos":"x","/a":2}`); w.Code != http.StatusOK || ids(t, w.Body.String()) != "4" {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}

// rangesStore remembers from where channels were read.
type rangesStore struct {
	driver.Backend
	mu    sync.Mutex
	after []int64
}

func (s *rangesStore) Read(ctx context.Context, ranges []driver.Range) (driver.Snapshot, error) {
	s.mu.Lock()
	for _, r := range ranges {
		s.after = append(s.after, r.After)
	}
	s.mu.Unlock()
	return s.Backend.Read(ctx, ranges)
}

func TestWithheld_MessagesAreToldAtTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := bustest.NewStore(t)
		r := newRigOn(t, store, &transport.Options{Identify: byHeaders})
		r.handler.IndexFrom(1)
		p := r.poll("me", "/a=0&/b=0&/c=0&/d=0", "X-User: 8").head()
		p.want(noMessages)
		for i, channel := range []string{"/a", "/b", "/c", "/d"} {
			r.publish(channel, i)
			p.want("[" + message(1+i, channel, fmt.Sprint(i)) + "]")
		}
		forSeven := bus.ToUsers(bus.IntID(7))
		r.publish("/a", "x", forSeven)
		r.publish("/b", "x", forSeven)
		r.publish("/b", "for all")
		_, err := store.Publish(t.Context(), "/c", []byte("{"), driver.Limits{MaxSize: 9, MaxGlobalSize: 9, MaxAge: time.Hour, ClearEvery: 1})
		if err != nil {
			t.Fatal(err)
		}
		p.want("["+message(7, "/b", `"for all"`)+"]", "["+status(`{"/a":5,"/c":8}`)+"]", "")
	})
}

func TestWithheld_MessagesMoveThePositionsOfThoseTheyAreNotFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := bustest.NewStore(t)
		ranges := &rangesStore{Backend: store}
		r := newRigOn(t, ranges, &transport.Options{Identify: byHeaders})
		r.handler.IndexFrom(2)
		seven := r.poll("me", "/a=0&/b=0", "X-User: 7").head()
		seven.want(noMessages)
		others := make([]*peer, 5)
		for i := range others {
			others[i] = r.poll(fmt.Sprint("c", i), "/a=0&/b=0", fmt.Sprint("X-User: ", 100+i)).head()
			others[i].want(noMessages)
		}
		r.publish("/a", "for all")
		r.publish("/a", "secret", bus.ToUsers(bus.IntID(7)))
		seven.want("["+message(1, "/a", `"for all"`)+"]", "["+message(2, "/a", `"secret"`)+"]")
		for _, p := range others {
			p.want("[" + message(1, "/a", `"for all"`) + "]")
		}
		synctest.Wait()
		store.Faults().FailOver(0)
		<-time.After(5 * time.Second)
		ranges.mu.Lock()
		if last := ranges.after[len(ranges.after)-2:]; fmt.Sprint(last) != "[2 0]" && fmt.Sprint(last) != "[0 2]" {
			t.Errorf("read after %d: /a was to be read after 2, for all clients at once", last)
		}
		ranges.mu.Unlock()
		seven.want(noMessages, "")
		for _, p := range others {
			p.want("["+status(`{"/a":2}`)+"]", "")
		}
	})
}

func TestWithheld_MessagesOfAnEarlierLifeAreNotToldInTheNext(t *testing.T) {
	for _, strike := range []func(*membus.Faults){(*membus.Faults).Reset, func(f *membus.Faults) { f.FailOver(1) }} {
		synctest.Test(t, func(t *testing.T) {
			store := bustest.NewStore(t)
			r := newRigOn(t, store, &transport.Options{Identify: byHeaders})
			p := r.poll("me", "/a=0&__pos=~%7B%7D", "X-User: 8").head()
			p.want(noMessages)
			r.publish("/a", "for another", forSomebodyElse)
			synctest.Wait()
			strike(store.Faults())
			if gap := gapsIn(t, p.part())["/a"]; gap.After != 1 || gap.Next != 1 {
				t.Errorf("told %+v", gap)
			}
			p.want(noMessages, "") // and not that the channel stands at 1
		})
	}
}
