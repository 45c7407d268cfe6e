package identity

import (
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
)

// issuer is a server with a key set that can be exchanged, and can fail.
type issuer struct {
	url     string
	answer  atomic.Pointer[http.HandlerFunc]
	fetches atomic.Int32
}

func newIssuer(t *testing.T) *issuer {
	t.Helper()
	i := &issuer{}
	i.url = serving(t, func(w http.ResponseWriter, r *http.Request) {
		i.fetches.Add(1)
		(*i.answer.Load())(w, r)
	})
	return i
}

func (i *issuer) answers(h http.HandlerFunc) { i.answer.Store(&h) }

func (i *issuer) has(t *testing.T, keys ...jose.JSONWebKey) {
	t.Helper()
	body, err := json.Marshal(jose.JSONWebKeySet{Keys: keys})
	if err != nil {
		t.Fatal(err)
	}
	i.answers(func(w http.ResponseWriter, _ *http.Request) { w.Write(body) })
}

// clock is a time that a test sets.
type clock struct{ atomic.Int64 }

func (c *clock) now() time.Time          { return testNow.Add(time.Duration(c.Load())) }
func (c *clock) advance(d time.Duration) { c.Add(int64(d)) }

func newKeySet(t *testing.T, url string) (*Token, *clock) {
	t.Helper()
	set, err := NewKeySet(url, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(set.Close)
	c := &clock{}
	set.now = c.now
	source := testToken(t)
	source.Set = set
	return source, c
}

func publicOf(id string, key any) jose.JSONWebKey {
	k := jose.JSONWebKey{Key: key, KeyID: id, Use: "sig"}
	return k.Public()
}

func bearer(t *testing.T, algorithm jose.SignatureAlgorithm, key any, id string) *http.Request {
	t.Helper()
	return request(t, "Authorization", "Bearer "+sign(t, algorithm, key, id, goodClaims, nil))
}

func TestKeySet_FollowsARotation(t *testing.T) {
	t.Parallel()
	s := testKeys()
	i := newIssuer(t)
	i.has(t, publicOf("one", s.rsa))
	source, now := newKeySet(t, i.url)
	identify := func(key any, id string) error {
		_, err := source.Identify(bearer(t, jose.RS256, key, id))
		return err
	}
	for range 3 {
		if err := identify(s.rsa, "one"); err != nil {
			t.Fatal(err)
		}
	}
	if n := i.fetches.Load(); n != 1 {
		t.Errorf("%d fetches", n)
	}
	i.has(t, publicOf("two", s.otherRSA))
	now.advance(fetchEvery)
	if err := identify(s.otherRSA, "two"); err != nil {
		t.Errorf("the new key: %v", err)
	}
	wantError(t, identify(s.rsa, "one"), http.StatusUnauthorized)
	wantError(t, identify(s.rsa, "two"), http.StatusUnauthorized)
}

func TestKeySet_TokensCannotMakeItFetchMoreOften(t *testing.T) {
	t.Parallel()
	s := testKeys()
	i := newIssuer(t)
	i.has(t, publicOf("one", s.ec))
	source, _ := newKeySet(t, i.url)
	var all sync.WaitGroup
	for n := range 50 {
		all.Go(func() {
			_, err := source.Identify(bearer(t, jose.ES256, s.ec, strings.Repeat("x", n+1)))
			wantError(t, err, http.StatusUnauthorized)
		})
	}
	all.Wait()
	if n := i.fetches.Load(); n != 1 {
		t.Errorf("%d fetches", n)
	}
}

func TestKeySet_GoesOnWhileItsServerIsDown(t *testing.T) {
	t.Parallel()
	s := testKeys()
	i := newIssuer(t)
	i.answers(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusInternalServerError) })
	source, now := newKeySet(t, i.url)
	identify := func() error {
		_, err := source.Identify(bearer(t, jose.EdDSA, s.ed, "one"))
		return err
	}
	wantError(t, identify(), http.StatusServiceUnavailable)
	wantError(t, identify(), http.StatusServiceUnavailable)
	if n := i.fetches.Load(); n != 1 {
		t.Errorf("%d fetches without a pause", n)
	}
	i.has(t, publicOf("one", s.ed))
	now.advance(retryEvery)
	if err := identify(); err != nil {
		t.Fatalf("when it is back: %v", err)
	}
	i.answers(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusInternalServerError) })
	now.advance(freshFor)
	if err := identify(); err != nil {
		t.Errorf("an old key set: %v", err)
	}
	now.advance(staleFor)
	// The fetch that was begun in the background may go on still, and is joined.
	wantError(t, identify(), http.StatusServiceUnavailable)
}

func TestKeySet_AServerThatMisbehavesIsOneThatIsDown(t *testing.T) {
	t.Parallel()
	s := testKeys()
	good, err := json.Marshal(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{publicOf("one", s.rsa)}})
	if err != nil {
		t.Fatal(err)
	}
	elsewhere := serving(t, func(w http.ResponseWriter, _ *http.Request) { w.Write(good) })
	private, err := json.Marshal(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: s.rsa, KeyID: "one"}, {Key: secret, KeyID: "two"}}})
	if err != nil {
		t.Fatal(err)
	}
	for name, h := range map[string]http.HandlerFunc{
		"redirect": func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, elsewhere, http.StatusFound) },
		"endless": func(w http.ResponseWriter, _ *http.Request) {
			for {
				if _, err := w.Write(make([]byte, 1<<16)); err != nil {
					return
				}
			}
		},
		"hangs up": func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
		"no JSON":  func(w http.ResponseWriter, _ *http.Request) { w.Write([]byte("<html>")) },
		"no keys":  func(w http.ResponseWriter, _ *http.Request) { w.Write([]byte(`{"keys":[]}`)) },
		"wrong keys": func(w http.ResponseWriter, _ *http.Request) {
			w.Write([]byte(`{"keys":[1,{"kty":"EC"},{"kty":"oct","k":"AA"}]}`))
		},
		"too many": func(w http.ResponseWriter, _ *http.Request) {
			w.Write([]byte(`{"keys":[` + strings.Repeat(`1,`, 200) + `1]}`))
		},
		"private": func(w http.ResponseWriter, _ *http.Request) { w.Write(private) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			source, _ := newKeySet(t, serving(t, h))
			_, err := source.Identify(bearer(t, jose.RS256, s.rsa, "one"))
			wantError(t, err, http.StatusServiceUnavailable)
		})
	}
}

func TestKeySet_ARequestThatIsGivenUpDoesNotWait(t *testing.T) {
	t.Parallel()
	i := newIssuer(t)
	asked := make(chan struct{}, 1)
	i.answers(func(_ http.ResponseWriter, r *http.Request) {
		asked <- struct{}{}
		<-r.Context().Done()
	})
	source, _ := newKeySet(t, i.url)
	ended := make(chan error)
	r := bearer(t, jose.RS256, testKeys().rsa, "one")
	ctx, cancel := contextOf(r)
	go func() {
		_, err := source.Identify(r.WithContext(ctx))
		ended <- err
	}()
	<-asked
	cancel()
	if err := <-ended; !errors.Is(err, ctx.Err()) {
		t.Errorf("the error is %v", err)
	}
}

func FuzzKeySet(f *testing.F) {
	f.Add([]byte(`{"keys":[{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}`))
	f.Add([]byte(`{"keys":[{"kty":"RSA","n":"AQAB","e":"AQAB"}]}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		keys, err := parseKeySet(body)
		if (err == nil) != (len(keys) > 0) {
			t.Errorf("%d keys, %v", len(keys), err)
		}
		for _, k := range keys {
			if k.algorithm == jose.HS256 || k.material == nil {
				t.Errorf("key %+v", k)
			}
		}
	})
}
