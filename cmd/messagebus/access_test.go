package main

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
)

// write makes a file of a test's own.
func write(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

const jwtSecret = "a secret of more than thirty-two bytes"

// token is a JSON Web Token that lives for an hour.
func token(secret, claims string) string {
	b64 := base64.RawURLEncoding.EncodeToString
	text := b64([]byte(`{"alg":"HS256"}`)) + "." + b64(fmt.Appendf(nil, `{%s,"exp":%d}`, claims, time.Now().Add(time.Hour).Unix()))
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write([]byte(text))
	return text + "." + b64(mac.Sum(nil))
}

func pollAs(t *testing.T, s *running, body string, header http.Header) reply {
	t.Helper()
	header = header.Clone()
	if header == nil {
		header = http.Header{}
	}
	header.Set("Content-Type", "application/x-www-form-urlencoded")
	return send(t, "POST", "http://"+s.client+"/message-bus/me/poll?dlp=t", body, header)
}

func TestServe_ByToken(t *testing.T) {
	t.Parallel()
	s := serve(t, nil, "--identity", "jwt", "--jwt-secret-file", write(t, "secret", jwtSecret+"\n"), "--jwt-cookie", "t")
	publishVia(t, s, `{"channel":"/a/x","data":"for ann","user_ids":["ann"]}`)
	publishVia(t, s, `{"channel":"/b","data":"for all"}`)
	ask := func(header http.Header) reply { return pollAs(t, s, "/a/x=0&/b=0", header) }

	none := ask(nil)
	if none.status != 401 || none.header.Get("WWW-Authenticate") != `Bearer realm="messagebus"` {
		t.Errorf("without a token: %d %v", none.status, none.header)
	}
	forged := ask(http.Header{"Authorization": {"Bearer " + token("another secret of thirty-two bytes!!", `"sub":"ann"`)}})
	if forged.status != 401 || !strings.Contains(forged.header.Get("WWW-Authenticate"), `error="invalid_token"`) {
		t.Errorf("a forged token: %d %v", forged.status, forged.header)
	}
	ann := ask(http.Header{"Authorization": {"Bearer " + token(jwtSecret, `"sub":"ann","channels":["/a/*"]`)}})
	if ann.status != 200 || !strings.Contains(ann.body, "for ann") || strings.Contains(ann.body, "for all") || ann.header.Get("Message-Bus-Refused") != "%2Fb" {
		t.Errorf("ann: %d %s %v", ann.status, ann.body, ann.header)
	}
	bob := ask(http.Header{"Cookie": {"t=" + token(jwtSecret, `"sub":"bob"`)}})
	if bob.status != 200 || strings.Contains(bob.body, "for ann") || !strings.Contains(bob.body, "for all") {
		t.Errorf("bob: %d %s", bob.status, bob.body)
	}
	log := s.stop().stderr
	if strings.Contains(log, "eyJ") || strings.Contains(log, jwtSecret) || strings.Contains(log, "for a") {
		t.Errorf("the log has a token, a secret or a message: %s", log)
	}
}

// A WebSocket subscribes later: with what its first request was allowed.
func TestServe_WebSocketByToken(t *testing.T) {
	t.Parallel()
	s := serve(t, nil, "--identity", "jwt", "--jwt-secret-file", write(t, "secret", jwtSecret))
	publishVia(t, s, `{"channel":"/a","data":1}`)
	publishVia(t, s, `{"channel":"/b","data":2}`)
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	header := http.Header{"Authorization": {"Bearer " + token(jwtSecret, `"sub":"ann","channels":["/b"]`)}}
	conn, _, err := websocket.Dial(ctx, "http://"+s.client+"/message-bus/me/ws", &websocket.DialOptions{HTTPHeader: header})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.CloseNow()
	if err := conn.Write(ctx, websocket.MessageText, []byte(`{"subscribe":{"/a":0,"/b":0}}`)); err != nil {
		t.Fatal(err)
	}
	text := ""
	for !strings.Contains(text, `"data":2`) {
		_, more, err := conn.Read(ctx)
		if err != nil {
			t.Fatal(err)
		}
		text += string(more)
	}
	if strings.Contains(text, `"data":1`) {
		t.Errorf("it gets %s", text)
	}
}

func TestServe_ByTheApplication(t *testing.T) {
	t.Parallel()
	app := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.Header.Get("Cookie") {
		case "session=ann":
			fmt.Fprint(w, `{"user":5,"groups":["staff"],"channels":["/a"]}`)
		case "":
			w.WriteHeader(http.StatusUnauthorized)
		default:
			w.WriteHeader(http.StatusInternalServerError)
		}
	}))
	t.Cleanup(app.Close)
	s := serve(t, nil, "--identity", "forward", "--auth-url", app.URL+"/identity")
	publishVia(t, s, `{"channel":"/a","data":"for five","user_ids":[5]}`)
	if got := pollAs(t, s, "/a=0", http.Header{"Cookie": {"session=ann"}}); got.status != 200 || !strings.Contains(got.body, "for five") {
		t.Errorf("ann: %d %s", got.status, got.body)
	}
	if got := pollAs(t, s, "/a=0", nil); got.status != 401 || got.header.Get("WWW-Authenticate") == "" {
		t.Errorf("nobody: %d %v", got.status, got.header)
	}
	got := pollAs(t, s, "/a=0", http.Header{"Cookie": {"session=other"}})
	if got.status != 503 || got.header.Get("Retry-After") != "5" || strings.Contains(got.body, "for five") {
		t.Errorf("the application fails: %d %v", got.status, got.header)
	}
}

func TestServe_ChannelsThatClientsMayHave(t *testing.T) {
	t.Parallel()
	s := serve(t, nil, "--allow-channels", "/chat/*", "--allow-channels", "/news", "--deny-channels", "*/secret", "--server-only", "/chat/internal/")
	got := pollAs(t, s, "/chat/a=0&/news=0&/chat/secret=0&/chat/internal/x=0&/other=0", nil)
	refused := strings.Split(got.header.Get("Message-Bus-Refused"), ", ")
	if got.status != 200 || len(refused) != 3 || strings.Contains(strings.Join(refused, " "), "news") {
		t.Errorf("%d, refused are %v", got.status, refused)
	}
}

func TestServe_SlowsWrongAdminKeys(t *testing.T) {
	t.Parallel()
	s := serve(t, nil, "--admin-key-file", write(t, "key", "right\n"))
	statuses := make(chan int)
	begun := time.Now()
	const tries = penaltyQueue + 20
	for range tries {
		go func() {
			r, err := http.NewRequestWithContext(context.Background(), http.MethodGet, "http://"+s.admin+"/last-id?channel=/a", nil)
			if err != nil {
				t.Error(err)
			}
			r.Header.Set("Authorization", "Bearer wrong")
			c := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
			answer, err := c.Do(r)
			if err != nil {
				t.Error(err)
				statuses <- 0
				return
			}
			answer.Body.Close()
			statuses <- answer.StatusCode
		}()
	}
	counts := map[int]int{}
	for range tries {
		counts[<-statuses]++
	}
	if took := time.Since(begun); counts[401]+counts[429] != tries || time.Duration(counts[401]-1)*penaltyEvery > took {
		t.Errorf("answers %v in %v", counts, took)
	}
	if got := send(t, "GET", "http://"+s.admin+"/last-id?channel=/a", "", http.Header{"Authorization": {"Bearer right"}}); got.status != 200 {
		t.Errorf("the right key: %d", got.status)
	}
}
