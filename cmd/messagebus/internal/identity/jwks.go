package identity

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"sync"
	"time"

	"github.com/go-jose/go-jose/v4"
)

// How a key set is kept.
const (
	freshFor     = 10 * time.Minute // then it is fetched again, while the old one still serves
	staleFor     = 24 * time.Hour   // how long the old one serves where no new one can be had
	fetchEvery   = 30 * time.Second // at most, whatever keys tokens name
	retryEvery   = 5 * time.Second  // at most, after a failure
	fetchTimeout = 10 * time.Second
	maxKeySet    = 1 << 20 // bytes
)

// A KeySet is the JSON Web Key Set behind a URL. It is fetched when it is first
// needed, when it grows old, and when a token names a key that it does not have.
type KeySet struct {
	url    string
	client *http.Client
	log    *slog.Logger
	now    func() time.Time

	stop    context.CancelFunc
	ctx     context.Context //nolint:containedctx // that of the fetches, which belong to no request
	fetches sync.WaitGroup

	mu       sync.Mutex // guards below
	keys     fixed
	fetched  time.Time     // when keys were
	next     time.Time     // no fetch before
	fetching chan struct{} // closed at the end of the fetch that goes on; nil: none
}

// NewKeySet returns the key set behind a URL of http or https. Close it.
func NewKeySet(rawURL string, log *slog.Logger) (*KeySet, error) {
	if err := checkURL(rawURL); err != nil {
		return nil, err
	}
	ctx, stop := context.WithCancel(context.Background())
	return &KeySet{url: rawURL, client: newClient(), log: log, now: time.Now, ctx: ctx, stop: stop}, nil
}

// Close ends the fetches that go on.
func (s *KeySet) Close() {
	s.mu.Lock()
	s.stop() // begin looks, so that none comes after Wait
	s.mu.Unlock()
	s.fetches.Wait()
	s.client.CloseIdleConnections()
}

// checkURL refuses what cannot be asked. It does not repeat the URL, which may
// hold a password.
func checkURL(rawURL string) error {
	u, err := url.Parse(rawURL)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" || u.Fragment != "" {
		return errors.New("it must be a URL such as https://example.com/path")
	}
	return nil
}

// newClient returns a client that follows no redirects: where identities come
// from is for the operator to say.
func newClient() *http.Client {
	return &http.Client{
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport: &http.Transport{
			Proxy: http.ProxyFromEnvironment, MaxIdleConnsPerHost: 100, IdleConnTimeout: time.Minute,
			MaxResponseHeaderBytes: 64 << 10, ForceAttemptHTTP2: true,
		},
	}
}

// find finds the keys that a token may have been signed with. An error means
// that this is not known at the moment.
func (s *KeySet) find(ctx context.Context, algorithm jose.SignatureAlgorithm, id string) ([]Key, error) {
	found, fetch, err := s.look(algorithm, id)
	if fetch == nil || len(found) > 0 { // those are good enough until the new ones are there
		return found, err
	}
	select {
	case <-fetch:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	found, _, err = s.look(algorithm, id)
	return found, err
}

// look returns what is known, and the end of a fetch where one was begun as
// something newer may be had. An error means that nothing is known.
func (s *KeySet) look(algorithm jose.SignatureAlgorithm, id string) ([]Key, <-chan struct{}, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.now()
	age := now.Sub(s.fetched)
	usable := s.keys != nil && age < staleFor
	var found []Key
	if usable {
		found = s.keys.find(algorithm, id)
	}
	var fetch <-chan struct{}
	if (!usable || age >= freshFor || len(found) == 0) && !now.Before(s.next) {
		fetch = s.begin()
	}
	if !usable {
		return nil, fetch, errors.New("the key set is not known")
	}
	return found, fetch, nil
}

// begin begins a fetch, or joins the one that goes on. s.mu must be held.
func (s *KeySet) begin() <-chan struct{} {
	if s.fetching == nil && s.ctx.Err() == nil {
		done := make(chan struct{})
		s.fetching = done
		s.fetches.Go(func() {
			defer close(done)
			keys, err := s.fetch()
			s.take(keys, err)
		})
	}
	return s.fetching
}

// take ends a fetch.
func (s *KeySet) take(keys fixed, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fetching = nil
	if err != nil {
		s.next = s.now().Add(retryEvery)
		s.log.Warn("the key set for tokens cannot be fetched", "error", err, "keys", len(s.keys))
		return
	}
	s.keys, s.fetched, s.next = keys, s.now(), s.now().Add(fetchEvery)
	s.log.Info("the key set for tokens is fetched", "keys", len(keys))
}

func (s *KeySet) fetch() (fixed, error) {
	ctx, cancel := context.WithTimeout(s.ctx, fetchTimeout)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, s.url, nil)
	if err != nil {
		return nil, err
	}
	response, err := s.client.Do(request)
	if err != nil {
		return nil, withoutURL(err)
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("the answer is %d; it must be 200", response.StatusCode)
	}
	body, err := readAll(response.Body, maxKeySet)
	if err != nil {
		return nil, err
	}
	return parseKeySet(body)
}

// withoutURL takes the URL, which may hold a password, out of an error of the
// HTTP client.
func withoutURL(err error) error {
	if u, ok := errors.AsType[*url.Error](err); ok {
		return u.Err
	}
	return err
}

// readAll reads a body that is no longer than most.
func readAll(body io.Reader, most int64) ([]byte, error) {
	b, err := io.ReadAll(io.LimitReader(body, most+1))
	if err == nil && int64(len(b)) > most {
		err = fmt.Errorf("the answer is longer than %d bytes", most)
	}
	return b, err
}

// parseKeySet returns the keys of a set that can be used. Others in it are for
// somebody else, and are passed over (RFC 7517, 5); a set with none that can be
// used is an error.
func parseKeySet(body []byte) (fixed, error) {
	var set struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if err := json.Unmarshal(body, &set); err != nil {
		return nil, fmt.Errorf("the answer is no key set: %w", err)
	}
	if len(set.Keys) > maxKeys {
		return nil, fmt.Errorf("the key set has %d keys; at most %d are accepted", len(set.Keys), maxKeys)
	}
	keys := fixed{}
	for _, raw := range set.Keys {
		if key, ok := parseKey(raw); ok {
			keys = append(keys, key)
		}
	}
	if len(keys) == 0 {
		return nil, fmt.Errorf("none of the %d keys of the set can be used; it must be RSA, P-256 or Ed25519, public, and for signatures", len(set.Keys))
	}
	return keys, nil
}

func parseKey(raw []byte) (Key, bool) {
	var k jose.JSONWebKey
	if err := k.UnmarshalJSON(raw); err != nil || k.Use != "" && k.Use != "sig" {
		return Key{}, false
	}
	key, err := publicKey(k.Key)
	if err != nil || k.Algorithm != "" && k.Algorithm != string(key.algorithm) {
		return Key{}, false
	}
	key.id = k.KeyID
	return key, true
}
