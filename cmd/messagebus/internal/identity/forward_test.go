package identity

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/messagebus-go/messagebus/bus"
)

func contextOf(r *http.Request) (context.Context, context.CancelFunc) {
	return context.WithCancel(r.Context())
}

func newForward(t *testing.T, url string, change func(*ForwardOptions)) (*Forward, *clock) {
	t.Helper()
	options := ForwardOptions{URL: url, Timeout: 30 * time.Second, Keep: 10 * time.Second, Logger: slog.New(slog.DiscardHandler)}
	if change != nil {
		change(&options)
	}
	f, err := NewForward(options)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(f.Close)
	c := &clock{}
	f.now = c.now
	return f, c
}

func TestForward_ShowsTheApplicationWhoAsks(t *testing.T) {
	t.Parallel()
	var shown http.Header
	f, _ := newForward(t, serving(t, func(w http.ResponseWriter, r *http.Request) {
		shown = r.Header.Clone()
		fmt.Fprint(w, `{"user":5,"groups":["staff"],"site":"a","channels":["/a/*"],"expires":1800000060}`)
	}), func(o *ForwardOptions) { o.Headers = []string{"x-tenant"} })
	r := request(t, "Cookie", "session=1", "Cookie", "more=2", "Authorization", "Token x", "X-Tenant", "t", "X-Other", "o",
		"X-Forwarded-For", "6.6.6.6", "Connection", "close", "Content-Length", "5")
	id, err := f.Identify(r)
	if err != nil || id.UserID != bus.IntID(5) || id.Site != "a" || len(id.Channels) != 1 || id.Expires.Unix() != 1800000060 {
		t.Errorf("%+v, %v", id, err)
	}
	for name, want := range map[string]string{
		"Cookie": "session=1,more=2", "Authorization": "Token x", "X-Tenant": "t", "X-Other": "",
		"X-Forwarded-For": "192.0.2.1", "X-Forwarded-Host": "example.com", "X-Forwarded-Proto": "http", "Accept": "application/json",
	} {
		if got := strings.Join(shown.Values(name), ","); got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
}

func TestForward_PassesOnWhatATrustedProxySays(t *testing.T) {
	t.Parallel()
	f, _ := newForward(t, "http://127.0.0.1:1", func(o *ForwardOptions) { o.Trusted = []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")} })
	shown := f.show(request(t, "X-Forwarded-For", "1.2.3.4", "X-Forwarded-Proto", "https", "X-Forwarded-Host", "a.example"))
	if shown.Get("X-Forwarded-For") != "1.2.3.4, 192.0.2.1" || shown.Get("X-Forwarded-Proto") != "https" || shown.Get("X-Forwarded-Host") != "a.example" {
		t.Errorf("shown: %v", shown)
	}
}

// application says of each cookie who it is, after a while, and counts how many
// are asked at a time for each.
type application struct {
	mu      sync.Mutex
	open    map[string]int
	most    int
	asked   map[string]int
	release chan struct{}
}

func (a *application) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	key := r.Header.Get("Cookie") + "|" + r.Header.Get("Authorization")
	a.mu.Lock()
	a.open[key]++
	a.asked[key]++
	a.most = max(a.most, a.open[key])
	a.mu.Unlock()
	if a.release != nil {
		<-a.release
	}
	a.mu.Lock()
	a.open[key]--
	a.mu.Unlock()
	fmt.Fprintf(w, `{"user":%q}`, key)
}

func newApplication() *application {
	return &application{open: map[string]int{}, asked: map[string]int{}}
}

// Many users at once, whose credentials differ as little as they can: each is
// told to be himself, however answers are remembered and shared.
func TestForward_NeverTakesOneForAnother(t *testing.T) {
	t.Parallel()
	app := newApplication()
	f, now := newForward(t, serving(t, app.ServeHTTP), nil)
	credentials := [][]string{
		{"Cookie", "s=1"}, {"Cookie", "s=2"}, {"Cookie", "s=1;"}, {"Cookie", "S=1"}, {"Authorization", "s=1"},
		{"Cookie", "s=1", "Authorization", "x"}, {"Cookie", "s=1", "Authorization", "y"}, {"Cookie", "s=1Authorization", "Authorization", "x"},
		{"Cookie", ""}, {"Authorization", ""}, {}, {"Cookie", strings.Repeat("s", 8000) + "1"}, {"Cookie", strings.Repeat("s", 8000) + "2"},
	}
	var all sync.WaitGroup
	for worker := range 8 {
		all.Go(func() {
			random := rand.New(rand.NewPCG(uint64(worker), 7))
			for range 300 {
				headers := credentials[random.IntN(len(credentials))]
				r := request(t, headers...)
				want := r.Header.Get("Cookie") + "|" + r.Header.Get("Authorization")
				id, err := f.Identify(r)
				if err != nil || id.UserID != bus.StringID(want) {
					t.Errorf("%.40q is taken for %v, %v", want, id.UserID, err)
				}
				if random.IntN(20) == 0 {
					now.advance(time.Second)
				}
			}
		})
	}
	all.Wait()
	if app.most != 1 {
		t.Errorf("%d sub-requests at a time for one credential", app.most)
	}
}

// Two lists of headers have one key only if they are the same.
func TestCredentialOf_IsTheWholeCredential(t *testing.T) {
	t.Parallel()
	seen := map[credential]string{}
	for _, shown := range []http.Header{
		{}, {"A": nil}, {"A": {""}}, {"A": {"", ""}}, {"A": {"b"}}, {"Ab": {""}}, {"A": {"b", "c"}}, {"A": {"bc"}}, {"A": {"b"}, "C": nil},
		{"A": {"b"}, "C": {""}}, {"A": {"bC"}}, {"A": {"b", "C"}}, {"A": {"\x00b"}}, {"B": {"b"}}, {"A": {"b"}, "B": {"b"}},
	} {
		text := fmt.Sprintf("%#v", shown)
		key := credentialOf(shown)
		if other, found := seen[key]; found {
			t.Errorf("%s and %s are one", text, other)
		}
		seen[key] = text
		if key != credentialOf(shown.Clone()) {
			t.Errorf("%s is two", text)
		}
	}
}

func TestForward_OneRequestInFlight(t *testing.T) {
	t.Parallel()
	app := newApplication()
	app.release = make(chan struct{})
	f, _ := newForward(t, serving(t, app.ServeHTTP), func(o *ForwardOptions) { o.Keep = 0 })
	var waiting sync.WaitGroup
	begun := make(chan struct{})
	for range 20 {
		waiting.Go(func() {
			begun <- struct{}{}
			if _, err := f.Identify(request(t, "Cookie", "a")); err != nil {
				t.Error(err)
			}
		})
	}
	// One that is given up takes nobody with it.
	r := request(t, "Cookie", "a")
	ctx, cancel := contextOf(r)
	cancel()
	if _, err := f.Identify(r.WithContext(ctx)); !errors.Is(err, context.Canceled) {
		t.Errorf("given up: %v", err)
	}
	for range 20 {
		<-begun
	}
	close(app.release)
	waiting.Wait()
	app.mu.Lock()
	defer app.mu.Unlock()
	if app.most != 1 {
		t.Errorf("%d at a time", app.most)
	}
}

func TestForward_RemembersForAWhile(t *testing.T) {
	t.Parallel()
	var asked atomic.Int32
	status := http.StatusOK
	expires := ""
	f, now := newForward(t, serving(t, func(w http.ResponseWriter, _ *http.Request) {
		asked.Add(1)
		w.WriteHeader(status)
		fmt.Fprint(w, `{"user":1`+expires+`}`)
	}), nil)
	expect := func(what string, want int32) {
		t.Helper()
		_, _ = f.Identify(request(t, "Cookie", "a"))
		if got := asked.Load(); got != want {
			t.Errorf("%s: asked %d times, want %d", what, got, want)
		}
	}
	expect("at first", 1)
	now.advance(9 * time.Second)
	expect("within its time", 1)
	now.advance(time.Second)
	status = http.StatusForbidden
	expect("after it", 2)
	expect("refused", 2)
	now.advance(refusedFor)
	status = http.StatusServiceUnavailable
	expect("refused a while ago", 3)
	expect("a failure is not remembered", 4)
	status, expires = http.StatusOK, fmt.Sprintf(`,"expires":%d`, now.now().Unix()+2)
	expect("with an end", 5)
	now.advance(2 * time.Second)
	expect("after its end", 6)
}

func TestForward_RefusesWhenTheApplicationDoes(t *testing.T) {
	t.Parallel()
	elsewhere := serving(t, func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, `{"user":1}`) })
	for name, test := range map[string]struct {
		answer http.HandlerFunc
		status int
	}{
		"401":      {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusUnauthorized) }, 401},
		"403":      {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusForbidden) }, 403},
		"500":      {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusInternalServerError) }, 503},
		"404":      {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNotFound) }, 503},
		"204":      {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) }, 503},
		"redirect": {func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, elsewhere, http.StatusFound) }, 503},
		"HTML":     {func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, `<html>log in</html>`) }, 503},
		"empty":    {func(http.ResponseWriter, *http.Request) {}, 503},
		"typo":     {func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, `{"user":1,"channel":["/a"]}`) }, 503},
		"two":      {func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, `{"user":1}{"user":2}`) }, 503},
		"hangs up": {func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, 503},
		"short": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "100")
			fmt.Fprint(w, `{"user":1}`)
		}, 503},
		"a gigabyte": {func(w http.ResponseWriter, _ *http.Request) {
			for range 1 << 14 {
				if _, err := w.Write(bytes.Repeat([]byte(" "), 1<<16)); err != nil {
					return
				}
			}
			fmt.Fprint(w, `{"user":1}`)
		}, 503},
		"huge headers": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("X", strings.Repeat("x", 1<<20))
			fmt.Fprint(w, `{"user":1}`)
		}, 503},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f, _ := newForward(t, serving(t, test.answer), nil)
			id, err := f.Identify(request(t, "Cookie", "a"))
			wantError(t, err, test.status)
			if !id.UserID.IsZero() {
				t.Errorf("identity %+v", id)
			}
		})
	}
}

func TestForward_AnApplicationThatHangsOrIsGoneRefuses(t *testing.T) {
	t.Parallel()
	hangs := serving(t, func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	trickles := serving(t, func(w http.ResponseWriter, r *http.Request) {
		tick := time.NewTicker(time.Millisecond)
		defer tick.Stop()
		for r.Context().Err() == nil {
			w.Write([]byte(" "))
			http.NewResponseController(w).Flush()
			<-tick.C
		}
	})
	for _, url := range []string{hangs, trickles, "http://127.0.0.1:1/"} {
		f, _ := newForward(t, url, func(o *ForwardOptions) { o.Timeout = 50 * time.Millisecond })
		for range 2 {
			_, err := f.Identify(request(t, "Cookie", "a"))
			wantError(t, err, http.StatusServiceUnavailable)
		}
	}
}

// The log says that the application fails, once, and nothing of credentials.
func TestForward_LogsNoCredentials(t *testing.T) {
	t.Parallel()
	var log bytes.Buffer
	f, _ := newForward(t, "http://user:hunter2@127.0.0.1:1/?key=hunter2", func(o *ForwardOptions) {
		o.Logger = slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	})
	for range 3 {
		_, err := f.Identify(request(t, "Cookie", "session=hunter2"))
		wantError(t, err, http.StatusServiceUnavailable)
	}
	if text := log.String(); strings.Contains(text, "hunter2") || strings.Count(text, "\n") != 1 {
		t.Errorf("the log is %s", text)
	}
}
