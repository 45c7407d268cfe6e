package main

import (
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

func TestHealth_SaysHowAServerIs(t *testing.T) {
	t.Parallel()
	well := serve(t, environ{"MESSAGEBUS_ADMIN_KEY": "right"})
	waitLive(t, well, "right")
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	nobody := l.Addr().String()
	l.Close()
	unwell := serve(t, nil, "--store", "redis://"+nobody)
	for _, c := range []struct {
		server, key    string
		code           int
		stdout, stderr string
	}{
		{well.admin, "right", exitDone, `{"ok":true,"reasons":[],`, ""},
		{well.admin, "wrong", exitFailure, "", "the server answered 401"},
		{unwell.admin, "", exitFailure, `{"ok":false,"reasons":["`, "the server is not well"},
		{nobody, "", exitFailure, "", "refused"},
	} {
		got := runWith(t, environ{"MESSAGEBUS_KEY": c.key}, "", "health", "--server", "http://"+c.server)
		if got.code != c.code || !strings.HasPrefix(got.stdout, c.stdout) || !strings.Contains(got.stderr, c.stderr) || c.stdout == "" && got.stdout != "" {
			t.Errorf("%+v\n%+v", c, got)
		}
	}
}

func TestHealth_BelievesNobodyElse(t *testing.T) {
	t.Parallel()
	for _, answer := range []string{"<html>", "", `{"ok":`, strings.Repeat(" ", mostOfHealth) + `{"ok":true}`} {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, answer) }))
		got := runArgs(t, "health", "--server", s.URL)
		s.Close()
		if got.code != exitFailure || got.stdout != "" || !strings.Contains(got.stderr, "cannot be read") {
			t.Errorf("%.20q: %+v", answer, got)
		}
	}
}
