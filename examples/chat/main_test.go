package main

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/messagebus-go/messagebus/bus/bustest"
	"github.com/messagebus-go/messagebus/examples/internal/trial"
)

func start(t *testing.T) string {
	t.Helper()
	handler, messages, err := newSite(bustest.New(t))
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(handler)
	t.Cleanup(func() { trial.End(t.Context(), messages, server) })
	return server.URL
}

func post(t *testing.T, base, text string, header http.Header) int {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, base+"/say", strings.NewReader(url.Values{"text": {text}}.Encode()))
	if err != nil {
		t.Fatal(err)
	}
	r.Header = header
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	answer.Body.Close()
	return answer.StatusCode
}

func TestChat_WhatOneSaysAnotherHears(t *testing.T) {
	t.Parallel()
	base := start(t)
	c, err := trial.Subscribe(t.Context(), base, "/chat", nil)
	if err != nil {
		t.Fatal(err)
	}
	if status := post(t, base, "hello <b>", http.Header{}); status != http.StatusNoContent {
		t.Fatalf("it is answered %d", status)
	}
	if got, err := c.Next(); got != "hello <b>" || err != nil {
		t.Errorf("got %q, %v", got, err)
	}
}

func TestChat_RefusesOtherSitesAndLongOrEmptyTexts(t *testing.T) {
	t.Parallel()
	base := start(t)
	for text, want := range map[string]int{"": http.StatusBadRequest, strings.Repeat("x", 1001): http.StatusBadRequest, strings.Repeat("x", 9000): http.StatusBadRequest} {
		if got := post(t, base, text, http.Header{}); got != want {
			t.Errorf("%d bytes are answered %d, want %d", len(text), got, want)
		}
	}
	if got := post(t, base, "hello", http.Header{"Sec-Fetch-Site": {"cross-site"}}); got != http.StatusForbidden {
		t.Errorf("another site is answered %d", got)
	}
}
