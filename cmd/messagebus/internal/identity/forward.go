package identity

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/golang-lru/v2/simplelru"
	"golang.org/x/sync/semaphore"
	"golang.org/x/sync/singleflight"
)

const (
	maxAuthAnswer   = 64 << 10 // bytes
	maxRemembered   = 50_000   // answers
	maxAuthRequests = 128      // at a time
	maxWaiting      = 8192     // that are made, or wait for it
	// refusedFor is how long a refusal is remembered: who has just logged in
	// should not wait.
	refusedFor = time.Second
)

// forwarded are the headers of a request that the application is shown.
var forwarded = []string{"Cookie", "Authorization", "User-Agent", "Accept-Language", "Origin"}

// ForwardOptions are the settings of a Forward.
type ForwardOptions struct {
	URL     string         // of the application, http or https
	Headers []string       // further headers that it is shown
	Timeout time.Duration  // of one sub-request; above 0
	Keep    time.Duration  // how long an answer is remembered; 0: not at all
	Trusted []netip.Prefix // proxies whose X-Forwarded-… are passed on
	Logger  *slog.Logger
}

// Forward takes the identity from the application: a sub-request shows it the
// cookies and headers of the request, and its answer of 200 is the identity, as
// Parse reads it. 401 and 403 refuse the request. Whatever else comes, or does
// not, refuses it with 503.
//
// Answers are remembered by everything that the application was shown, and one
// sub-request is made at a time for it.
type Forward struct {
	options ForwardOptions
	headers []string
	client  *http.Client
	now     func() time.Time

	ctx    context.Context //nolint:containedctx // that of the sub-requests, each of which may serve several requests
	stop   context.CancelFunc
	calls  sync.WaitGroup
	flight singleflight.Group
	slots  *semaphore.Weighted

	mu       sync.Mutex // guards below
	answers  *simplelru.LRU[credential, answer]
	waiting  int
	failing  bool // whether the last sub-request failed
	failures int  // since then
}

// A credential stands for everything that the application is shown of a
// request: two requests with one credential are the same to it.
type credential [sha256.Size]byte

type answer struct {
	id      Identity
	refused *Error
	until   time.Time
}

// NewForward checks the options. Close it.
func NewForward(options ForwardOptions) (*Forward, error) {
	if err := checkURL(options.URL); err != nil {
		return nil, err
	}
	answers, err := simplelru.NewLRU[credential, answer](maxRemembered, nil)
	if err != nil {
		return nil, err
	}
	ctx, stop := context.WithCancel(context.Background())
	f := &Forward{
		options: options, headers: slices.Clone(forwarded), client: newClient(), now: time.Now, ctx: ctx, stop: stop,
		slots: semaphore.NewWeighted(maxAuthRequests), answers: answers,
	}
	for _, name := range options.Headers {
		f.headers = append(f.headers, http.CanonicalHeaderKey(name))
	}
	return f, nil
}

// Close ends the sub-requests that go on.
func (f *Forward) Close() {
	f.mu.Lock()
	f.stop() // ask looks, so that none comes after Wait
	f.mu.Unlock()
	f.calls.Wait()
	f.client.CloseIdleConnections()
}

// Identify implements Source.
func (f *Forward) Identify(r *http.Request) (Identity, error) {
	shown := f.show(r)
	key := credentialOf(shown)
	if known, found := f.recall(key); found {
		return known.result()
	}
	// The flight goes on when this request is given up: others may wait for it.
	flight := f.flight.DoChan(string(key[:]), func() (any, error) { return f.ask(key, shown) })
	select {
	case <-r.Context().Done():
		return Identity{}, r.Context().Err()
	case done := <-flight:
		if done.Err != nil {
			return Identity{}, unavailable(done.Err)
		}
		a, _ := done.Val.(answer)
		return a.result()
	}
}

func (a *answer) result() (Identity, error) {
	if a.refused != nil {
		return Identity{}, a.refused
	}
	return a.id, nil
}

// show returns the headers that the application is shown of a request.
func (f *Forward) show(r *http.Request) http.Header {
	shown := http.Header{}
	for _, name := range f.headers {
		if values := r.Header.Values(name); len(values) > 0 {
			shown[name] = values
		}
	}
	from, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		from = "unknown"
	}
	host, proto := r.Host, "http"
	if r.TLS != nil {
		proto = "https"
	}
	if trusts(f.options.Trusted, r.RemoteAddr) {
		from = strings.Join(append(slices.Clone(r.Header.Values("X-Forwarded-For")), from), ", ")
		host = orOwn(r.Header.Get("X-Forwarded-Host"), host)
		proto = orOwn(r.Header.Get("X-Forwarded-Proto"), proto)
	}
	shown.Set("X-Forwarded-For", from)
	shown.Set("X-Forwarded-Host", host)
	shown.Set("X-Forwarded-Proto", proto)
	return shown
}

func orOwn(told, own string) string {
	if told == "" {
		return own
	}
	return told
}

// credentialOf sums up headers so that no two of them have one sum: each text is
// preceded by its length, each list by the number of its texts.
func credentialOf(shown http.Header) (c credential) {
	sum := sha256.New()
	names := make([]string, 0, len(shown))
	for name := range shown {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		writeList(sum, append([]string{name}, shown[name]...))
	}
	sum.Sum(c[:0])
	return c
}

func writeList(sum hash.Hash, texts []string) {
	write := func(n int) { sum.Write(binary.BigEndian.AppendUint64(nil, uint64(n))) }
	write(len(texts))
	for _, text := range texts {
		write(len(text))
		sum.Write([]byte(text))
	}
}

// recall returns what is remembered of a credential.
func (f *Forward) recall(key credential) (answer, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	a, found := f.answers.Get(key)
	if found && !f.now().Before(a.until) {
		f.answers.Remove(key)
		return answer{}, false
	}
	return a, found
}

// ask asks the application and remembers its answer.
func (f *Forward) ask(key credential, shown http.Header) (answer, error) {
	if err := f.enter(); err != nil {
		return answer{}, err
	}
	defer f.leave()
	ctx, cancel := context.WithTimeout(f.ctx, f.options.Timeout)
	defer cancel()
	if err := f.slots.Acquire(ctx, 1); err != nil {
		return answer{}, fmt.Errorf("%d sub-requests go on already: %w", maxAuthRequests, err)
	}
	defer f.slots.Release(1)
	a, err := f.request(ctx, shown)
	f.report(err)
	if err == nil {
		f.remember(key, &a)
	}
	return a, err
}

func (f *Forward) enter() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.waiting >= maxWaiting {
		return fmt.Errorf("%d requests wait already to be told who they are from", f.waiting)
	}
	if err := f.ctx.Err(); err != nil {
		return err
	}
	f.waiting++
	f.calls.Add(1)
	return nil
}

func (f *Forward) leave() {
	f.mu.Lock()
	f.waiting--
	f.mu.Unlock()
	f.calls.Done()
}

func (f *Forward) remember(key credential, a *answer) {
	keep := f.options.Keep
	if a.refused != nil {
		keep = min(keep, refusedFor)
	}
	if keep <= 0 {
		return
	}
	a.until = f.now().Add(keep)
	if end := a.id.Expires; !end.IsZero() && end.Before(a.until) {
		a.until = end
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.answers.Add(key, *a)
}

// report logs that the application fails, and that it does not any more; not
// each of what may be thousands of failures.
func (f *Forward) report(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err != nil {
		f.failures++
		if !f.failing {
			f.options.Logger.Error("the application cannot be asked who sends a request; all of them are refused", "error", err)
		}
	} else if f.failing {
		f.options.Logger.Info("the application says again who sends a request", "failures", f.failures)
		f.failures = 0
	}
	f.failing = err != nil
}

func (f *Forward) request(ctx context.Context, shown http.Header) (answer, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, f.options.URL, nil)
	if err != nil {
		return answer{}, err
	}
	request.Header = shown.Clone()
	request.Header.Set("Accept", "application/json")
	response, err := f.client.Do(request)
	if err != nil {
		return answer{}, withoutURL(err)
	}
	defer response.Body.Close()
	switch status := response.StatusCode; status {
	case http.StatusOK:
		return readAnswer(response)
	case http.StatusUnauthorized:
		return answer{refused: &Error{Status: status, Reason: "log in first", Challenge: challengeOf(response)}}, nil
	case http.StatusForbidden:
		return answer{refused: &Error{Status: status, Reason: "the application refuses this request"}}, nil
	default:
		return answer{}, fmt.Errorf("it answers %d; accepted are 200 with an identity, 401 and 403", status)
	}
}

// challengeOf passes on how the application wants to be logged in to, which an
// answer of 401 must say.
func challengeOf(response *http.Response) string {
	return orOwn(strings.Join(response.Header.Values("WWW-Authenticate"), ", "), `Cookie realm="messagebus"`)
}

func readAnswer(response *http.Response) (answer, error) {
	body, err := readAll(response.Body, maxAuthAnswer)
	if err != nil {
		return answer{}, err
	}
	id, err := Parse(body)
	if err != nil {
		return answer{}, errors.Join(errors.New("its answer is no identity"), err)
	}
	return answer{id: id}, nil
}
