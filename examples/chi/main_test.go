package main

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/messagebus-go/messagebus/bus"
	"github.com/messagebus-go/messagebus/bus/bustest"
	"github.com/messagebus-go/messagebus/examples/internal/trial"
)

func start(t *testing.T, key []byte) (*bus.Bus, string) {
	t.Helper()
	b := bustest.New(t)
	handler, messages, err := newSite(b, key)
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(handler)
	t.Cleanup(func() { trial.End(t.Context(), messages, server) })
	return b, server.URL
}

func bearer(t *testing.T, key []byte, lasts time.Duration) http.Header {
	t.Helper()
	token, err := issue(key, "ann", lasts)
	if err != nil {
		t.Fatal(err)
	}
	return http.Header{"Authorization": {"Bearer " + token}}
}

func TestChi_GivesAMessageToTheUserOfTheToken(t *testing.T) {
	t.Parallel()
	key := []byte("a key")
	b, url := start(t, key)
	c, err := trial.Subscribe(t.Context(), url, "/news", bearer(t, key, time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	for _, user := range []string{"bob", "ann"} {
		if _, err := b.Publish(t.Context(), "/news", "for "+user, bus.ToUsers(bus.StringID(user))); err != nil {
			t.Fatal(err)
		}
	}
	if got, err := c.Next(); got != "for ann" || err != nil {
		t.Errorf("got %q, %v", got, err)
	}
}

func TestChi_RefusesWhatIsNoTokenOfIts(t *testing.T) {
	t.Parallel()
	key := []byte("a key")
	_, url := start(t, key)
	none := http.Header{"Authorization": {"Bearer " + "eyJhbGciOiJub25lIn0.eyJzdWIiOiJhbm4iLCJleHAiOjk5OTk5OTk5OTl9."}} // alg: none
	for name, header := range map[string]http.Header{
		"no token": {}, "another key": bearer(t, []byte("another"), time.Hour), "expired": bearer(t, key, -time.Hour), "unsigned": none,
	} {
		if _, err := trial.Subscribe(t.Context(), url, "/news", header); err == nil || !strings.HasPrefix(err.Error(), "401") {
			t.Errorf("%s: %v", name, err)
		}
	}
}
