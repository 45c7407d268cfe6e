package dashboard

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	prom "github.com/prometheus/client_golang/prometheus"

	"github.com/messagebus-go/messagebus/bus"
	"github.com/messagebus-go/messagebus/bus/bustest"
	"github.com/messagebus-go/messagebus/bus/membus"
	"github.com/messagebus-go/messagebus/observe/prometheus"
	"github.com/messagebus-go/messagebus/transport"
)

// open is a gate that lets everybody in.
type open struct{}

func (open) Admit(*http.Request) error                              { return nil }
func (open) Locked() bool                                           { return false }
func (open) Login(http.ResponseWriter, *http.Request, string) error { return nil }
func (open) Logout(http.ResponseWriter, *http.Request)              {}
func (open) Token(*http.Request) string                             { return "token" }

// A rig is a dashboard of a bus on a store that can be broken.
type rig struct {
	*Dashboard

	bus   *bus.Bus
	store *membus.Backend
}

func newRig(t *testing.T, maxHeld int) *rig {
	t.Helper()
	registry, recorder := prom.NewRegistry(), NewRecorder()
	m, err := prometheus.New(registry, nil)
	if err != nil {
		t.Fatal(err)
	}
	store := bustest.NewStore(t)
	b := bustest.On(t, store, &bus.Options{Trace: recorder.Bus(m.Bus()), Keepalive: -1, ReadOnlyQueue: bus.QueueLimits{Messages: 2}})
	h, err := transport.NewHandler(b, &transport.Options{Trace: recorder.Transport(m.Transport())})
	if err != nil {
		t.Fatal(err)
	}
	if err := m.Watch(b, h); err != nil {
		t.Fatal(err)
	}
	d := New(&Options{
		Bus: b, Handler: h, Recorder: recorder, Metrics: registry, Store: "memory:", MaxHeld: maxHeld,
		Version: Version{"v1.2.3", "abc", "go1.26", "linux/amd64"}, Gate: open{}, Logger: slog.New(slog.DiscardHandler),
	})
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { d.Run(ctx) })
	t.Cleanup(func() {
		cancel()
		running.Wait()
		if err := h.Shutdown(context.Background()); err != nil {
			t.Error(err)
		}
	})
	synctest.Wait()
	return &rig{Dashboard: d, bus: b, store: store}
}

func (r *rig) publish(t *testing.T, channel string, n int) {
	t.Helper()
	for range n {
		if _, err := r.bus.Publish(t.Context(), channel, "x"); err != nil && !errors.Is(err, bus.ErrQueued) {
			t.Fatal(err)
		}
	}
}

// pass lets time go by, which is not real.
func pass(d time.Duration) {
	<-time.After(d)
	synctest.Wait()
}

func TestOverview_CountsWhatHappens(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, 100)
		start := time.Now()
		for range 30 {
			r.publish(t, "/a", 40)
			r.publish(t, "/b", 4)
			pass(2 * time.Second)
		}
		if _, err := r.bus.Site("eu").Publish(t.Context(), "/a", 1); err != nil {
			t.Fatal(err)
		}
		o := r.Overview(t.Context())
		if o.Verdict.Level != Well || !o.Verdict.Since.Equal(start) || !o.Started.Equal(start) || o.MaxHeld != 100 {
			t.Errorf("the verdict is %+v, started at %v", o.Verdict, o.Started)
		}
		if o.Totals.Published != 30*44+1 || o.Totals.Failed != 0 || o.Totals.PublishedBytes == 0 {
			t.Errorf("the totals are %+v", o.Totals)
		}
		if n := len(o.Samples.At); n < 29 || n > 31 || len(o.Samples.Held) != n || len(o.Samples.PublishMS) != n {
			t.Fatalf("%d samples", n)
		}
		for i, rate := range o.Samples.Published[1 : len(o.Samples.Published)-1] {
			if rate != 22 {
				t.Errorf("sample %d has %v a second", i+1, rate)
			}
		}
		if len(o.Channels) != 3 {
			t.Fatalf("the channels are %+v", o.Channels)
		}
		a, eu := o.Channels[0], o.Channels[2]
		if a.Channel != "/a" || a.Site != nil || *a.Backlog != 1000 || *a.LastID != 30*44-4 || a.Published < 18 || a.Published > 22 {
			t.Errorf("the first channel is %+v, with %v stored", a, *a.Backlog)
		}
		if eu.Channel != "/a" || eu.Site == nil || *eu.Site != "eu" || *eu.Backlog != 1 || *eu.LastID != 30*44+1 {
			t.Errorf("that of a site is %+v", eu)
		}
	})
}

func TestOverview_MemoryIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, 0)
		trace := r.options.Recorder.Transport((&prometheusHooks{}).transport())
		for i := range 20_000 {
			name := fmt.Sprint("/", i, strings.Repeat("x", i%2000))
			trace.Deliver(&bus.Message{Channel: name, Data: json.RawMessage("1")}, 1)
			trace.Slow(transport.Identity{UserID: bus.StringID(name)}, name)
		}
		pass(30 * time.Minute)
		if n := len(r.options.Recorder.traffic.channels.entries); n > maxChannels {
			t.Errorf("%d channels", n)
		}
		if n := len(r.options.Recorder.slow.entries); n > maxSlow {
			t.Errorf("%d slow clients", n)
		}
		if n := len(r.history.samples); n != maxSamples || cap(r.history.samples) > 2*maxSamples {
			t.Errorf("%d samples, room for %d", n, cap(r.history.samples))
		}
		o := r.Overview(t.Context())
		text, err := json.Marshal(o)
		if err != nil || len(text) > 200_000 || len(o.Channels) != shownChannels || len(o.Clients.Slow) != shownClients {
			t.Errorf("%v: %d bytes, %d channels, %d clients", err, len(text), len(o.Channels), len(o.Clients.Slow))
		}
	})
}

// prometheusHooks are those of nobody.
type prometheusHooks struct{}

func (prometheusHooks) transport() *transport.Trace {
	return &transport.Trace{Deliver: func(*bus.Message, int) {}, Slow: func(transport.Identity, string) {}, Disconnect: func(transport.Identity, string, transport.Reason) {}}
}

func TestVerdict_SaysWhatIsWrongAndSinceWhen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, 0)
		if _, err := r.bus.SubscribeFunc(t.Context(), "/a", bus.Latest(), func(bus.Message, error) {}); err != nil {
			t.Fatal(err)
		}
		r.publish(t, "/a", 1)
		pass(time.Minute)
		check := func(level Level, since time.Time, says ...string) {
			t.Helper()
			v := r.Overview(t.Context()).Verdict
			texts := summary(v.Findings)
			late := v.Since.Sub(since)
			if v.Level != level || late < 0 || late > 2*sampleEvery {
				t.Errorf("it is %s since %v, want %s since %v: %s", v.Level, v.Since, level, since, texts)
			}
			for _, text := range says {
				if !strings.Contains(texts, text) {
					t.Errorf("%q is not found: %s", text, texts)
				}
			}
		}
		readOnly := time.Now()
		r.store.Faults().SetReadOnly(true)
		r.publish(t, "/a", 3) // one more than may wait
		pass(time.Minute)
		check(Trouble, readOnly, "the store is read-only", "2 messages wait", "queued messages were given up: 1 in the last 10 minutes")
		again := time.Now()
		r.store.Faults().SetReadOnly(false)
		pass(20 * time.Second)
		check(Notice, again, "queued messages were given up: 1 in the last 10 minutes")
		well := time.Now()
		pass(10 * time.Minute)
		if v := r.Overview(t.Context()).Verdict; v.Level != Well || v.Since.Before(well) || len(v.Findings) != 0 {
			t.Errorf("10 minutes later it is %+v", v)
		}
		var kinds []string
		for _, e := range r.Overview(t.Context()).Events {
			kinds = append(kinds, e.Kind)
		}
		if got := strings.Join(kinds, ", "); got != "well, notice, trouble, given up, feed up" {
			t.Errorf("the events are %s", got)
		}
	})
}

func TestVerdict_NearlyFull(t *testing.T) {
	t.Parallel()
	var h history
	start := time.Unix(1000, 0)
	for i, held := range []int{100, 10, 89, 90, 95, 100} {
		h.add(sample{at: start.Add(time.Duration(i) * sampleEvery), held: held})
	}
	found := judge(&bus.Health{OK: true}, time.Time{}, &h, 100)
	if len(found) != 1 || found[0].Level != Notice || !found[0].Since.Equal(start.Add(3*sampleEvery)) || !strings.Contains(found[0].Text, "100 of 100") {
		t.Errorf("found is %+v", found)
	}
	if found := judge(&bus.Health{OK: true}, time.Time{}, &h, 0); len(found) != 0 {
		t.Errorf("without holding found is %+v", found)
	}
}

func TestOverview_AStoreThatHangsIsSaid(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, 0)
		r.publish(t, "/a", 1)
		r.store.Faults().FailRequests(errors.New("no route to host"))
		defer r.store.Faults().FailRequests(nil)
		pass(3 * time.Second)
		o := r.Overview(t.Context())
		if !strings.Contains(o.Store.Error, "no route to host") || len(o.Channels) != 1 || o.Channels[0].LastID != nil || o.Channels[0].Backlog != nil {
			t.Errorf("the store is %+v, the channels %+v", o.Store, o.Channels)
		}
	})
}

func TestOverview_IsMadeOnceASecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, 0)
		var asking sync.WaitGroup
		seen := make([]*Overview, 100)
		for i := range seen {
			asking.Go(func() { seen[i] = r.Overview(t.Context()) })
		}
		asking.Wait()
		for _, o := range seen {
			if o != seen[0] {
				t.Fatal("it is made again")
			}
		}
		pass(freshFor)
		if r.Overview(t.Context()) == seen[0] {
			t.Error("it is not made again")
		}
	})
}

// The document shows every member, and none that there is not.
func TestOverview_IsWhatIsDocumented(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		path string
		into any
	}{{"GET /api/overview", &Overview{}}, {"GET /api/channel", &Look{}}} {
		text := documented(t, test.path)
		decoder := json.NewDecoder(strings.NewReader(text))
		decoder.DisallowUnknownFields()
		if err := decoder.Decode(test.into); err != nil {
			t.Fatalf("%s: %v in %s", test.path, err, text)
		}
		var shown, all any
		again, err := json.Marshal(test.into)
		if err = errors.Join(err, json.Unmarshal([]byte(text), &shown), json.Unmarshal(again, &all)); err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(shown, all) {
			t.Errorf("%s lacks something: it has\n%v, and there is\n%v", test.path, shown, all)
		}
	}
}

func TestPages_AreOfTheirMethods(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, 0)
		for target, want := range map[string]int{
			"GET /dashboard/": 200, "POST /dashboard/": 405, "GET /dashboard/login": 303, "GET /dashboard/logout": 405,
			"GET /dashboard/assets/main.js": 200, "GET /dashboard/assets/front.html": 404, "GET /dashboard/assets/": 404,
			"GET /dashboard/assets/..%2fassets.go": 404, "GET /dashboard/nosuch": 404,
		} {
			method, path, _ := strings.Cut(target, " ")
			w := httptest.NewRecorder()
			r.ServeHTTP(w, httptest.NewRequest(method, path, nil))
			if w.Code != want {
				t.Errorf("%s: %d, want %d", target, w.Code, want)
			}
		}
	})
}
