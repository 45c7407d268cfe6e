package main

import (
	"bufio"
	"context"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
)

// What browsers of strangers may do, as serve has it without being told more.

func TestServe_ServerSentEvents(t *testing.T) {
	t.Parallel()
	s := serve(t, nil)
	publishVia(t, s, `{"channel":"/chat","data":"one"}`)
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+s.client+"/message-bus/me/sse?/chat=0", nil)
	if err != nil {
		t.Fatal(err)
	}
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	lines := bufio.NewScanner(answer.Body)
	want := []string{"id: 1", `data: {"global_id":1,"message_id":1,"channel":"/chat","data":"one"}`}
	for _, want := range want {
		if lines.Scan(); lines.Text() != want {
			t.Errorf("%s, want %s", lines.Text(), want)
		}
	}
}

func TestServe_WebSocketFromPagesOfItsOwnHostAndOfTheListed(t *testing.T) {
	t.Parallel()
	s := serve(t, nil, "--cors-origin", "https://a.example.com", "--cors-origin", "https://*.example.org")
	for origin, allowed := range map[string]bool{
		"": true, "http://" + s.client: true, "https://a.example.com": true, "https://x.example.org": true,
		"https://example.org": false, "https://evil.example": false, "null": false,
	} {
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		header := http.Header{}
		if origin != "" {
			header.Set("Origin", origin)
		}
		conn, answer, err := websocket.Dial(ctx, "http://"+s.client+"/message-bus/me/ws", &websocket.DialOptions{HTTPHeader: header})
		if (err == nil) != allowed || !allowed && answer.StatusCode != http.StatusForbidden {
			t.Errorf("a page of %q: %v", origin, err)
		}
		if conn != nil {
			conn.CloseNow()
		}
		cancel()
	}
}

func TestServe_PagesOfListedOriginsMayRead(t *testing.T) {
	t.Parallel()
	s := serve(t, environ{"MESSAGEBUS_CORS_ORIGIN": "https://a.example.com\nhttps://b.example.com"})
	for origin, want := range map[string]string{"https://b.example.com": "https://b.example.com", "https://evil.example": ""} {
		header := form.Clone()
		header.Set("Origin", origin)
		r := send(t, "POST", "http://"+s.client+"/message-bus/me/poll?dlp=t", "/a=0", header)
		if got := r.header.Get("Access-Control-Allow-Origin"); r.status != http.StatusOK || got != want {
			t.Errorf("a page of %s: %d, allowed %q", origin, r.status, got)
		}
	}
	if got := runArgs(t, "serve", "--cors-origin", "example.com"); got.code != exitUsage || !strings.Contains(got.stderr, "https://example.com") {
		t.Errorf("%+v", got)
	}
}

func TestServe_LimitsByUserAndByTheAddressThatAProxyTells(t *testing.T) {
	t.Parallel()
	s := serve(t, nil, "--max-held-per-user", "1", "--max-held-per-address", "2", "--identity", "header")
	status := func(id, header string) int {
		h := hold(t, s.client, "/message-bus/"+id+"/poll", "/a=0", header)
		h.head(t)
		return h.status
	}
	for _, step := range []struct {
		id, header string
		want       int
	}{
		{"a", "X-Forwarded-For: 203.0.113.5", 200},
		{"b", "X-Forwarded-For: 10.9.9.9, 203.0.113.5", 200},
		{"c", "X-Forwarded-For: 203.0.113.5", 429},
		{"d", "X-Forwarded-For: 203.0.113.6", 200},
		{"e", `X-MessageBus-Identity: {"user":1}`, 200},
		{"f", `X-MessageBus-Identity: {"user":1}`, 429},
		{"g", `X-MessageBus-Identity: {"user":"1"}`, 200},
	} {
		if got := status(step.id, step.header); got != step.want {
			t.Errorf("%s with %s: %d, want %d", step.id, step.header, got, step.want)
		}
	}
	if got := status("h", "X-None: 1"); got != http.StatusOK {
		t.Errorf("the machine itself: %d", got)
	}
}
