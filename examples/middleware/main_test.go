package main

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"testing"

	"github.com/messagebus-go/messagebus/bus"
	"github.com/messagebus-go/messagebus/bus/bustest"
	"github.com/messagebus-go/messagebus/examples/internal/trial"
)

func TestMiddleware_GivesAMessageToTheUserOfTheSession(t *testing.T) {
	t.Parallel()
	b := bustest.New(t)
	handler, messages, err := newSite(b)
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(handler)
	t.Cleanup(func() { trial.End(t.Context(), messages, server) })
	login, err := http.PostForm(server.URL+"/login", url.Values{"name": {"ann"}})
	if err != nil {
		t.Fatal(err)
	}
	login.Body.Close()
	if len(login.Cookies()) != 1 {
		t.Fatalf("%s, and no session", login.Status)
	}
	c, err := trial.Subscribe(t.Context(), server.URL, "/news", http.Header{"Cookie": {login.Cookies()[0].String()}})
	if err != nil {
		t.Fatal(err)
	}
	for name, user := range map[string]int64{"bob": 2, "nobody": 3} {
		if _, err := b.Publish(t.Context(), "/news", "for "+name, bus.ToUsers(bus.IntID(user))); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := b.Publish(t.Context(), "/news", "for ann", bus.ToUsers(bus.IntID(1))); err != nil {
		t.Fatal(err)
	}
	if got, err := c.Next(); got != "for ann" || err != nil {
		t.Errorf("got %q, %v", got, err)
	}
}

func TestMiddleware_LeavesTheRestToTheApplication(t *testing.T) {
	t.Parallel()
	handler, messages, err := newSite(bustest.New(t))
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(handler)
	t.Cleanup(func() { trial.End(t.Context(), messages, server) })
	answer, err := http.Get(server.URL + "/")
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		t.Errorf("the application answers %s", answer.Status)
	}
}
