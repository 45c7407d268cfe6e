package main

import (
	"net/http/httptest"
	"testing"

	"github.com/messagebus-go/messagebus/bus/bustest"
	"github.com/messagebus-go/messagebus/examples/internal/trial"
)

func TestEcho_DeliversAMessage(t *testing.T) {
	t.Parallel()
	b := bustest.New(t)
	handler, messages, err := newSite(b)
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(handler)
	t.Cleanup(func() { trial.End(t.Context(), messages, server) })
	c, err := trial.Subscribe(t.Context(), server.URL, "/news", nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.Publish(t.Context(), "/news", "hello"); err != nil {
		t.Fatal(err)
	}
	if got, err := c.Next(); got != "hello" || err != nil {
		t.Errorf("got %q, %v", got, err)
	}
}
