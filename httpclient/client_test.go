package httpclient_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/messagebus-go/messagebus/httpclient"
)

// silent answers every request with a stream on which nothing comes.
func silent(w http.ResponseWriter, r *http.Request, _ int) { parts(w, r, "[]") }

func TestNew_RefusesWhatItCannotUse(t *testing.T) {
	t.Parallel()
	for _, address := range []string{"", "/", "example.com", "ftp://example.com/", "http://", "http://a.test/?x=secret", "http://a.test/#secret", "http://u:secret@a.test:bad/"} {
		if _, err := httpclient.New(address, nil); err == nil || strings.Contains(err.Error(), "secret") {
			t.Errorf("New(%q): %v", address, err)
		}
	}
	for want, opts := range map[string]httpclient.Options{
		"ClientID":                {ClientID: "a/b"},
		"MaxMessageBytes":         {MaxMessageBytes: -1},
		"Buffer":                  {Buffer: -1},
		"Timing.SilenceTimeout":   {Timing: httpclient.Timing{SilenceTimeout: -1}},
		"Timing.MaxPollInterval":  {Timing: httpclient.Timing{MaxPollInterval: -time.Second}},
		"Timing.FirstPartTimeout": {Timing: httpclient.Timing{FirstPartTimeout: -1}},
	} {
		if _, err := httpclient.New("http://a.test", &opts); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", want, err)
		}
	}
	c, err := httpclient.New("http://a.test", nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, channel := range []string{"", "a", "__pos", "/__status", "/__gap", "/\xff"} {
		if _, err := c.Subscribe(channel, httpclient.Latest(), func(httpclient.Message) {}); err == nil {
			t.Errorf("Subscribe(%q) succeeds", channel)
		}
	}
	if c.Status() != httpclient.Stopped {
		t.Error("a client that has subscribed to nothing is started")
	}
	if err := c.Close(); err != nil {
		t.Error(err)
	}
	if _, err := c.Subscribe("/a", httpclient.Latest(), nil); !errors.Is(err, httpclient.ErrClosed) {
		t.Errorf("Subscribe after Close: %v", err)
	}
}

func TestClient_SendsOneRequestForManyChangesAndCutsTheOneUnderWay(t *testing.T) {
	t.Parallel()
	bubble(t, silent, func(r *rig) {
		began := time.Now()
		c := r.new(httpclient.Options{ClientID: "me", Header: func(context.Context) (http.Header, error) {
			return http.Header{"x-api-key": {"k"}, "X-SILENCE-LOGGER": {"false"}}, nil
		}})
		for i := range 50 {
			r.subscribe(c, fmt.Sprintf("/%02d", i), httpclient.Latest())
		}
		pass(time.Second)
		c.Unsubscribe("/4*")
		r.subscribe(c, "/new/a", httpclient.After(7))
		r.subscribe(c, "/new/b", httpclient.Last(2))
		pass(time.Second)
		got := r.requests()
		if len(got) != 2 {
			r.Fatalf("%d requests", len(got))
		}
		first, second := got[0], got[1]
		if first.method != "POST" || first.path != "/app/message-bus/me/poll" || first.at.Sub(began) > 20*time.Millisecond {
			r.Errorf("first request %s %s after %v", first.method, first.path, first.at.Sub(began))
		}
		h := first.header
		if h.Get("X-Api-Key") != "k" || h.Get("X-Silence-Logger") != "false" || h.Get("Content-Type") != "application/json" || h["Dont-Chunk"] != nil {
			r.Errorf("headers %v", h)
		}
		if h.Get("Authorization") == "" {
			r.Error("the credentials of the URL are not sent")
		}
		var body map[string]any
		if err := json.Unmarshal([]byte(second.body), &body); err != nil || len(body) != 44 || body["/new/a"] != 7.0 || body["/new/b"] != -3.0 || body["/40"] != nil || body["__seq"] != 2.0 || body["__pos"] != "~{}" {
			r.Errorf("second body %s %v", second.body, err)
		}
		if second.at.Sub(began) > 1100*time.Millisecond {
			r.Errorf("the second request went out after %v", second.at.Sub(began))
		}
		if !c.Unsubscribe("*") || c.Unsubscribe("*") || c.Unsubscribe("/new/a") {
			r.Error("Unsubscribe does not say whether there was anything")
		}
		pass(time.Hour)
		if n := len(r.requests()); n != 2 {
			r.Errorf("%d requests without a channel", n-2)
		}
		r.subscribe(c, "/again", httpclient.Latest())
		pass(time.Second)
		if n := len(r.requests()); n != 3 || c.Status() != httpclient.Started {
			r.Errorf("%d requests after subscribing again", n-2)
		}
	})
}

func TestClient_CallsBackOneAtATimeAndInOrderAndGoesOnBehindAPanic(t *testing.T) {
	t.Parallel()
	bubble(t, func(w http.ResponseWriter, r *http.Request, n int) {
		parts(w, r, "["+message(1)+","+messageOf("/b", 1, 11)+","+message(2)+"]", "["+messageOf("/b", 2, 21)+"]")
	}, func(r *rig) {
		var order []string // the callbacks' own: the race detector watches
		c := r.new(httpclient.Options{OnError: func(err error) {
			order = append(order, "error")
			r.onError(err)
			panic("and again")
		}})
		note := func(name string) func(httpclient.Message) {
			return func(m httpclient.Message) {
				order = append(order, fmt.Sprint(name, m.ID))
				if name == "a" && m.ID == 1 {
					panic(io.ErrUnexpectedEOF)
				}
			}
		}
		for _, name := range []string{"a", "A", "b"} {
			if _, err := c.Subscribe("/"+strings.ToLower(name), httpclient.After(0), note(name)); err != nil {
				r.Fatal(err)
			}
		}
		pass(time.Second)
		if got := strings.Join(order, " "); got != "a1 error A1 b1 a2 A2 b2" {
			r.Errorf("order %s", got)
		}
		var panicked *httpclient.CallbackError
		if errs := r.errors(); len(errs) != 1 || !errors.As(errs[0], &panicked) || panicked.Channel != "/a" || !errors.Is(errs[0], io.ErrUnexpectedEOF) || len(panicked.Stack) == 0 {
			r.Errorf("errors %v", errs)
		}
	})
}

func TestClient_CallbacksMayChangeTheClient(t *testing.T) {
	t.Parallel()
	bubble(t, func(w http.ResponseWriter, r *http.Request, n int) {
		first := ""
		if n == 0 {
			first = message(1) + ","
		}
		parts(w, r, "["+first+message(2)+","+message(3)+"]")
	}, func(r *rig) {
		c := r.new(httpclient.Options{})
		var a, b, after tape
		var sub *httpclient.Subscription
		sub, err := c.Subscribe("/a", httpclient.After(0), func(m httpclient.Message) {
			a.add(m)
			if m.ID == 1 {
				sub.Close()
				_, _ = c.Subscribe("/a", httpclient.After(1), after.add)
			}
		})
		if err != nil {
			r.Fatal(err)
		}
		_, _ = c.Subscribe("/a", httpclient.After(0), func(m httpclient.Message) {
			b.add(m)
			if m.ID == 2 {
				c.Stop()
			}
		})
		pass(time.Minute)
		if a.ids() != "1" || b.ids() != "1 2" || after.ids() != "" || c.Status() != httpclient.Stopped {
			r.Errorf("%q %q %q %s", a.ids(), b.ids(), after.ids(), c.Status())
		}
		c.Start()
		c.Start()
		pass(time.Minute)
		if a.ids() != "1" || b.ids() != "1 2 3" || after.ids() != "2 3" || c.Status() != httpclient.Started {
			r.Errorf("after Start: %q %q %q", a.ids(), b.ids(), after.ids())
		}
	})
}

func TestClient_ACallbackThatEndsItsGoroutineStopsTheClient(t *testing.T) {
	t.Parallel()
	bubble(t, func(w http.ResponseWriter, r *http.Request, n int) {
		parts(w, r, "["+message(1)+"]", "["+message(2)+"]")
	}, func(r *rig) {
		c := r.new(httpclient.Options{})
		var got tape
		if _, err := c.Subscribe("/a", httpclient.After(0), func(m httpclient.Message) {
			got.add(m)
			if m.ID == 1 {
				runtime.Goexit()
			}
		}); err != nil {
			r.Fatal(err)
		}
		other, err := c.Subscribe("/b", httpclient.Latest(), nil)
		if err != nil {
			r.Fatal(err)
		}
		if _, err := other.Next(r.Context()); err == nil || !strings.Contains(err.Error(), "ended the goroutine") {
			r.Errorf("Next: %v", err)
		}
		if errs := r.errors(); len(errs) != 1 || c.Status() != httpclient.Stopped {
			r.Errorf("errors %v, status %s", errs, c.Status())
		}
		c.Start()
		pass(time.Second)
		if got.ids() != "1 2" || c.Status() != httpclient.Started {
			r.Errorf("after Start: %s, status %s", got.ids(), c.Status())
		}
	})
}

func TestClient_PauseHoldsBackAndStopAndCloseEndAPause(t *testing.T) {
	t.Parallel()
	bubble(t, func(w http.ResponseWriter, r *http.Request, n int) {
		parts(w, r, "["+message(1)+"]", "["+message(2)+"]")
	}, func(r *rig) {
		c := r.new(httpclient.Options{})
		c.Pause()
		c.Pause()
		got := r.subscribe(c, "/a", httpclient.After(0))
		pass(time.Hour) // however long: the connection is not taken for dead
		if got.ids() != "" || c.Status() != httpclient.Paused || len(r.requests()) != 1 {
			r.Errorf("paused: %q %s, %d requests", got.ids(), c.Status(), len(r.requests()))
		}
		c.Resume()
		c.Resume()
		pass(time.Second)
		if got.ids() != "1 2" || c.Status() != httpclient.Started || len(r.requests()) != 1 {
			r.Errorf("resumed: %q %s", got.ids(), c.Status())
		}
		c.Pause()
		c.Stop()
		c.Start()
		pass(time.Second)
		if err := c.Close(); err != nil {
			r.Error(err)
		}
	})
}

func TestClient_WaitsAsTheServerSays(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		status      int
		retryAfter  string
		least, most time.Duration
	}{
		"429":                  {429, "7", 7 * time.Second, 8 * time.Second},
		"429 without":          {429, "", 15 * time.Second, 17 * time.Second},
		"429 with nonsense":    {429, "soon", 15 * time.Second, 17 * time.Second},
		"429 with 0":           {429, "0", time.Second, 2 * time.Second},
		"429 with a year":      {429, "31536000", time.Hour, 67 * time.Minute},
		"503":                  {503, "3", 3 * time.Second, 4 * time.Second},
		"503 with a date":      {503, "Sat, 01 Jan 2000 00:00:40 GMT", 39 * time.Second, 45 * time.Second},
		"503 with a past date": {503, "Fri, 31 Dec 1999 00:00:40 GMT", time.Second, 2 * time.Second},
		"503 without":          {503, "", 0, time.Second},
		"500 with":             {500, "100", 0, time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			bubble(t, func(w http.ResponseWriter, r *http.Request, n int) {
				if n > 0 {
					parts(w, r, "[]")
					return
				}
				if c.retryAfter != "" {
					w.Header().Set("Retry-After", c.retryAfter)
				}
				http.Error(w, "full", c.status)
			}, func(r *rig) {
				client := r.new(httpclient.Options{})
				r.subscribe(client, "/a", httpclient.Latest())
				pass(10 * time.Millisecond)
				r.subscribe(client, "/b", httpclient.Latest()) // which does not hurry it
				pass(2 * time.Hour)
				got := r.requests()
				if waited := got[1].at.Sub(got[0].at); waited < c.least || waited > c.most {
					r.Errorf("waited %v, want %v to %v", waited, c.least, c.most)
				}
				var refusal *httpclient.StatusError
				if errs := r.errors(); !errors.As(errs[0], &refusal) || refusal.Status != c.status || refusal.Reason != "full" {
					r.Errorf("errors %v", errs)
				}
			})
		})
	}
}

func TestClient_BacksOffAndRecovers(t *testing.T) {
	t.Parallel()
	bubble(t, func(w http.ResponseWriter, r *http.Request, n int) { panic(http.ErrAbortHandler) }, func(r *rig) {
		c := r.new(httpclient.Options{})
		r.subscribe(c, "/a", httpclient.Latest())
		pass(24 * time.Hour)
		n := len(r.requests())
		if n < 500 || n > 2000 { // 960 on average
			r.Errorf("%d requests in a day", n)
		}
		if d := c.Diagnostics(); d.RecentFailures != n || d.Failures != n || d.Calls != n || d.Connected || !slices.Equal(d.Channels, []string{"/a"}) {
			r.Errorf("%+v of %d", d, n)
		}
	})
}

// A stream that was held for a while is taken up soon, even if the server could not be reached
// for some time before; one that breaks at once is asked for ever more rarely.
func TestClient_AsksAgainSoonWhenAStreamThatWorkedIsCut(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		down        int           // requests that fail at first
		lives       time.Duration // a stream
		least, most int           // requests in the hour after the first stream
	}{
		"it lives for 10 s":          {0, 10 * time.Second, 3600 / 11, 3600/10 + 1},
		"for 10 s, after an outage":  {9, 10 * time.Second, 3600 / 11, 3600/10 + 1},
		"for 2 s, after an outage":   {9, 2 * time.Second, 3600 / 3, 3600/2 + 1},
		"for 10 ms, which is broken": {0, 10 * time.Millisecond, 25, 80}, // about 45 on average
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			bubble(t, func(w http.ResponseWriter, request *http.Request, n int) {
				if n < c.down {
					panic(http.ErrAbortHandler)
				}
				ctx, cancel := context.WithTimeout(request.Context(), c.lives)
				defer cancel()
				parts(w, request.WithContext(ctx), "["+message(n-c.down+1)+"]")
				panic(http.ErrAbortHandler)
			}, func(r *rig) {
				got := r.subscribe(r.new(httpclient.Options{}), "/a", httpclient.After(0))
				for got.ids() == "" {
					pass(time.Second)
				}
				pass(time.Hour)
				n := len(r.requests()) - c.down
				if n < c.least || n > c.most {
					r.Errorf("%d requests in an hour, want %d to %d", n, c.least, c.most)
				}
				if came := len(strings.Fields(got.ids())); came != n {
					r.Errorf("%d messages of %d requests", came, n)
				}
			})
		})
	}
}

func TestClient_StopsWhenItIsNotAllowed(t *testing.T) {
	t.Parallel()
	for _, code := range []int{http.StatusUnauthorized, http.StatusForbidden} {
		allowed := false
		bubble(t, func(w http.ResponseWriter, r *http.Request, n int) {
			if !allowed {
				http.Error(w, "who are you?", code)
				return
			}
			parts(w, r, "["+message(1)+"]")
		}, func(r *rig) {
			c := r.new(httpclient.Options{})
			sub, err := c.Subscribe("/a", httpclient.After(0), nil)
			if err != nil {
				r.Fatal(err)
			}
			var refusal *httpclient.StatusError
			if _, err := sub.Next(r.Context()); !errors.As(err, &refusal) || refusal.Status != code {
				r.Errorf("Next: %v", err)
			}
			for _, err := range c.Messages(r.Context(), "/a", httpclient.After(0)) {
				if !errors.As(err, &refusal) {
					r.Errorf("Messages: %v", err)
				}
			}
			pass(time.Hour)
			if n, errs := len(r.requests()), r.errors(); n != 1 || len(errs) != 1 || c.Status() != httpclient.Stopped {
				r.Errorf("%d requests, %s, errors %v", n, c.Status(), errs)
			}
			allowed = true
			c.Start()
			if m, err := sub.Next(r.Context()); err != nil || m.ID != 1 {
				r.Errorf("Next after Start: %v %v", m, err)
			}
		})
	}
}

func TestClient_RenewsWhatWasNotAcceptedAndDoesNotHammer(t *testing.T) {
	t.Parallel()
	bubble(t, func(w http.ResponseWriter, r *http.Request, n int) {
		switch {
		case n == 1:
			_, _ = io.WriteString(w, "["+message(1)+"]")
		case n > 40:
			parts(w, r, "["+message(2)+"]")
		default:
			http.Error(w, "expired", http.StatusUnauthorized)
		}
	}, func(r *rig) {
		token := 0 // the loop's own: the race detector watches
		c := r.new(httpclient.Options{
			Header: func(context.Context) (http.Header, error) {
				return http.Header{"Authorization": {fmt.Sprint(token)}}, nil
			},
			Refresh: func(_ context.Context, e *httpclient.StatusError) error {
				token++
				return nil
			},
		})
		got := r.subscribe(c, "/a", httpclient.After(0))
		pass(24 * time.Hour)
		all := r.requests()
		if got.ids() != "1 2" {
			r.Errorf("messages %s in %d requests", got.ids(), len(all))
		}
		for i, a := range all[:2] {
			if a.header.Get("Authorization") != fmt.Sprint(i) {
				r.Errorf("request %d has %s", i, a.header.Get("Authorization"))
			}
		}
		if d := all[1].at.Sub(all[0].at); d > 200*time.Millisecond {
			r.Errorf("a request with what was renewed goes out after %v", d)
		}
		if d := all[41].at.Sub(all[3].at); d < 20*time.Minute {
			r.Errorf("39 refusals took %v", d)
		}
	})
}

func TestClient_RefreshThatFailsStopsIt(t *testing.T) {
	t.Parallel()
	cause := errors.New("the token service is away")
	bubble(t, func(w http.ResponseWriter, r *http.Request, n int) { w.WriteHeader(http.StatusUnauthorized) }, func(r *rig) {
		c := r.new(httpclient.Options{Refresh: func(context.Context, *httpclient.StatusError) error { return cause }})
		r.subscribe(c, "/a", httpclient.After(0))
		pass(time.Hour)
		var refusal *httpclient.StatusError
		if errs := r.errors(); len(errs) != 1 || !errors.Is(errs[0], cause) || !errors.As(errs[0], &refusal) || c.Status() != httpclient.Stopped {
			r.Errorf("errors %v, %s", errs, c.Status())
		}
	})
}

func TestClient_AProxyThatKeepsTheStreamBackIsPolledForAWhile(t *testing.T) {
	t.Parallel()
	id := 0
	bubble(t, func(w http.ResponseWriter, r *http.Request, n int) {
		if r.Header.Get("Dont-Chunk") == "" {
			hold(r) // keeps all of it
			return
		}
		<-time.After(time.Second)
		id++
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, "["+message(id)+"]")
	}, func(r *rig) {
		c := r.new(httpclient.Options{Timing: httpclient.Timing{StreamingRetry: 5}})
		r.subscribe(c, "/a", httpclient.After(0))
		pass(20 * time.Second)
		how := ""
		for _, a := range r.requests() {
			how += map[bool]string{true: "s", false: "p"}[a.header.Get("Dont-Chunk") == ""]
		}
		if !strings.HasPrefix(how, "spppppsppppp") || len(r.errors()) > 0 {
			r.Errorf("%s %v", how, r.errors())
		}
	})
}

func TestClient_LearnsHowLongTheServerHoldsAndNoticesADeadConnection(t *testing.T) {
	t.Parallel()
	var held, dead atomic.Int64
	held.Store(int64(25 * time.Second))
	bubble(t, func(w http.ResponseWriter, r *http.Request, n int) {
		_, _ = io.WriteString(w, "[]\r\n|\r\n")
		_ = http.NewResponseController(w).Flush()
		if dead.Load() == 1 {
			hold(r)
			return
		}
		select {
		case <-time.After(time.Duration(held.Load())):
		case <-r.Context().Done():
		}
	}, func(r *rig) {
		c := r.new(httpclient.Options{})
		r.subscribe(c, "/a", httpclient.After(0))
		pass(40 * time.Second) // one hold has been seen
		dead.Store(1)
		pass(40 * time.Second)
		// The third request began after 50.2 s and is silent for 35 s.
		if n, errs := len(r.requests()), r.errors(); n != 3 || len(errs) != 0 {
			r.Errorf("after 80 s: %d requests, errors %v", n, errs)
		}
		pass(6 * time.Second)
		if errs := r.errors(); len(errs) != 1 || !strings.Contains(errs[0].Error(), "nothing was heard for 35") {
			r.Errorf("errors %v", errs)
		}
		dead.Store(0)
		held.Store(int64(time.Minute)) // a server that holds longer is learnt anew
		pass(10 * time.Minute)
		if errs := r.errors(); len(errs) > 2 {
			r.Errorf("errors %v", errs)
		}
	})
}

func TestSubscription_ASlowReaderMakesTheClientStopReading(t *testing.T) {
	t.Parallel()
	var written atomic.Int64
	bubble(t, func(w http.ResponseWriter, r *http.Request, n int) {
		for id := 1; id <= 10_000; id++ {
			if _, err := io.WriteString(w, "["+message(id)+"]\r\n|\r\n"); err != nil {
				return
			}
			written.Store(int64(id))
		}
		_ = http.NewResponseController(w).Flush()
		hold(r)
	}, func(r *rig) {
		c := r.new(httpclient.Options{Buffer: 5})
		sub, err := c.Subscribe("/a", httpclient.After(0), nil)
		if err != nil {
			r.Fatal(err)
		}
		pass(time.Hour)
		if written.Load() > 1000 || len(r.requests()) != 1 {
			r.Errorf("%d messages were written to one who reads none, in %d requests", written.Load(), len(r.requests()))
		}
		if at := c.Positions()["/a"]; at != httpclient.After(0) {
			r.Errorf("position %v before anything was read", at)
		}
		for want := int64(1); want <= 10_000; want++ {
			m, err := sub.Next(r.Context())
			if err != nil || m.ID != want {
				r.Fatalf("message %d: %v %v", want, m, err)
			}
			if id, _ := c.Positions()["/a"].ID(); id != want {
				r.Fatalf("position %d behind message %d", id, want)
			}
		}
		ctx, cancel := context.WithTimeout(r.Context(), time.Second)
		defer cancel()
		if _, err := sub.Next(ctx); !errors.Is(err, context.DeadlineExceeded) {
			r.Errorf("Next of an empty subscription: %v", err)
		}
		go func() {
			<-time.After(time.Second)
			sub.Close()
			sub.Close()
		}()
		if _, err := sub.Next(r.Context()); !errors.Is(err, httpclient.ErrClosed) {
			r.Errorf("Next of a closed subscription: %v", err)
		}
		full, _ := c.Subscribe("/a", httpclient.After(0), nil)
		pass(time.Second) // its queue is full, and the client waits for it
		c.Close()
		if _, err := full.Next(r.Context()); !errors.Is(err, httpclient.ErrClosed) {
			r.Errorf("Next of a closed client: %v", err)
		}
		called, _ := r.new(httpclient.Options{}).Subscribe("/a", httpclient.After(0), func(httpclient.Message) {})
		if _, err := called.Next(r.Context()); err == nil {
			r.Error("Next of a subscription with a callback succeeds")
		}
	})
}

func TestMessages_EndsWithItsContextTheLoopTheClientAndTheSubscription(t *testing.T) {
	t.Parallel()
	bubble(t, func(w http.ResponseWriter, r *http.Request, n int) {
		parts(w, r, "["+message(1)+","+message(2)+"]")
	}, func(r *rig) {
		c := r.new(httpclient.Options{})
		count := func(ctx context.Context, stop func(n int) bool) (n int) {
			for m, err := range c.Messages(ctx, "/a", httpclient.After(0)) {
				if n++; err != nil || m.ID != int64(n) {
					r.Errorf("message %d: %v %v", n, m, err)
				}
				if stop(n) {
					break
				}
			}
			return n
		}
		if n := count(r.Context(), func(int) bool { return true }); n != 1 || len(c.Diagnostics().Channels) != 0 {
			r.Errorf("%d messages, channels %v", n, c.Diagnostics().Channels)
		}
		ctx, cancel := context.WithTimeout(r.Context(), time.Minute)
		defer cancel()
		if n := count(ctx, func(int) bool { return false }); n != 2 {
			r.Errorf("%d messages until the context ended", n)
		}
		if n := count(r.Context(), func(n int) bool { return n == 2 && !c.Unsubscribe("/a") }); n != 2 {
			r.Errorf("%d messages until it was unsubscribed", n)
		}
		if n := count(r.Context(), func(n int) bool { return n == 2 && c.Close() != nil }); n != 2 {
			r.Errorf("%d messages until the client was closed", n)
		}
		for _, err := range c.Messages(r.Context(), "/a", httpclient.After(0)) {
			if !errors.Is(err, httpclient.ErrClosed) {
				r.Errorf("Messages of a closed client: %v", err)
			}
		}
	})
}

func TestClient_StartStopAndCloseAtOnceLeaveNothingBehind(t *testing.T) {
	t.Parallel()
	bubble(t, silent, func(r *rig) {
		for range 20 {
			c := r.new(httpclient.Options{})
			for range 4 {
				go func() {
					for i := range 50 {
						c.Start()
						_, _ = c.Subscribe(fmt.Sprint("/", i), httpclient.Latest(), func(httpclient.Message) {})
						c.Pause()
						c.Stop()
						c.Resume()
						c.Unsubscribe("/*")
						_ = c.Diagnostics()
						_ = c.Positions()
					}
				}()
			}
			pass(time.Second)
			c.Close()
			c.Close()
			c.Start()
			synctest.Wait()
			if c.Status() == httpclient.Started {
				r.Error("a closed client starts")
			}
		}
	})
}
