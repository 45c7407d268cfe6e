// Command middleware puts the bus in front of an application, whose sessions say
// who somebody is.
package main

import (
	"crypto/rand"
	"fmt"
	"net/http"
	"sync"

	"github.com/messagebus-go/messagebus/bus"
	"github.com/messagebus-go/messagebus/examples/internal/serve"
	"github.com/messagebus-go/messagebus/transport"
)

func main() { serve.Main(newSite) }

func newSite(b *bus.Bus) (http.Handler, *transport.Handler, error) {
	s := &sessions{users: make(map[string]int64)}
	messages, err := transport.NewHandler(b, &transport.Options{
		Identify: func(r *http.Request) (transport.Identity, error) {
			return transport.Identity{UserID: s.user(r)}, nil
		},
	})
	if err != nil {
		return nil, nil, err
	}
	app := http.NewServeMux()
	app.HandleFunc("POST /login", s.login)
	app.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "the application") })
	return messages.Middleware(app), messages, nil
}

// sessions are those of an application: a cookie names one.
type sessions struct {
	mu    sync.Mutex // guards below
	users map[string]int64
}

const cookie = "session"

// login lets everybody in; an application asks for more than a name.
func (s *sessions) login(w http.ResponseWriter, r *http.Request) {
	known := map[string]int64{"ann": 1, "bob": 2}
	user, ok := known[r.FormValue("name")]
	if !ok {
		http.Error(w, "ann and bob are known here", http.StatusForbidden)
		return
	}
	session := rand.Text()
	s.mu.Lock()
	s.users[session] = user
	s.mu.Unlock()
	http.SetCookie(w, &http.Cookie{Name: cookie, Value: session, Path: "/", HttpOnly: true, SameSite: http.SameSiteLaxMode}) //nolint:gosec // Secure, where there is TLS
}

// user is who sends a request; the zero ID is nobody, who gets what is for everybody.
func (s *sessions) user(r *http.Request) bus.ID {
	c, err := r.Cookie(cookie)
	if err != nil {
		return bus.ID{}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if user, ok := s.users[c.Value]; ok {
		return bus.IntID(user)
	}
	return bus.ID{}
}
