package dashboard

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"
)

// Bounds of sessions.
const (
	sessionLife = 12 * time.Hour
	maxSessions = 32 // the oldest makes way; only who knows the key begins one
)

// TokenHeader is the header in which a page proves that a request is its own: no
// page of another origin can set it, or knows what to set it to.
const TokenHeader = "X-Messagebus-Token" //nolint:gosec // a name, and no token

// A KeySum is the sum of an admin key.
type KeySum = [sha256.Size]byte

// Sessions are those of browsers that have shown the admin key. The key is in no
// cookie: one that is stolen is worth nothing once the session has ended, as it
// does when the key is exchanged. The zero value is ready. All methods are safe
// for concurrent use.
type Sessions struct {
	mu    sync.Mutex // guards below
	all   []session  // oldest first
	local string     // the token of pages that need no session; made when it is asked for
}

type session struct {
	id      KeySum // the sum of what the cookie says, so that its time to compare tells nothing
	token   string
	key     KeySum // that was shown
	expires time.Time
}

// Begin gives whoever sent r a new session, in place of the one that it may have.
func (s *Sessions) Begin(w http.ResponseWriter, r *http.Request, key KeySum) {
	id := rand.Text()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.remove(r)
	if len(s.all) >= maxSessions {
		s.all = append([]session{}, s.all[len(s.all)-maxSessions+1:]...)
	}
	s.all = append(s.all, session{id: sha256.Sum256([]byte(id)), token: rand.Text(), key: key, expires: time.Now().Add(sessionLife)})
	http.SetCookie(w, cookieFor(r, id, int(sessionLife.Seconds())))
}

// End ends the session of r.
func (s *Sessions) End(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.remove(r)
	http.SetCookie(w, cookieFor(r, "", -1))
}

// remove ends the session of r and those that are over. s.mu must be held.
func (s *Sessions) remove(r *http.Request) {
	id, kept, now := cookieOf(r), s.all[:0], time.Now()
	for _, one := range s.all {
		if one.expires.After(now) && subtle.ConstantTimeCompare(one.id[:], id[:]) == 0 {
			kept = append(kept, one)
		}
	}
	clear(s.all[len(kept):])
	s.all = kept
}

// Token returns the token of the session of r, which was begun with key; empty:
// there is none.
func (s *Sessions) Token(r *http.Request, key KeySum) string {
	id, now := cookieOf(r), time.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, one := range s.all {
		if subtle.ConstantTimeCompare(one.id[:], id[:]) == 1 && one.key == key && one.expires.After(now) {
			return one.token
		}
	}
	return ""
}

// LocalToken returns the token of pages where there is no key, and so there are no
// sessions.
func (s *Sessions) LocalToken() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.local == "" {
		s.local = rand.Text()
	}
	return s.local
}

// Carries reports whether r has the token in its header.
func Carries(r *http.Request, token string) bool { return isToken(r.Header.Get(TokenHeader), token) }

func isToken(sent, token string) bool {
	return token != "" && subtle.ConstantTimeCompare([]byte(sent), []byte(token)) == 1
}

// cookieName is one for each port: browsers send all cookies of a host to each of
// its ports, and two servers must not end each other's sessions.
func cookieName(r *http.Request) string {
	if _, port, err := net.SplitHostPort(r.Host); err == nil && strings.Trim(port, "0123456789") == "" {
		return "messagebus-admin-" + port
	}
	return "messagebus-admin"
}

func cookieFor(r *http.Request, value string, age int) *http.Cookie {
	return &http.Cookie{ //nolint:gosec // Secure is set where there is TLS
		Name: cookieName(r), Value: value, Path: "/", MaxAge: age, HttpOnly: true, SameSite: http.SameSiteStrictMode,
		// A proxy in front says so; whoever makes it up keeps a cookie from himself.
		Secure: r.TLS != nil || strings.EqualFold(r.Header.Get("X-Forwarded-Proto"), "https"),
	}
}

// cookieOf returns the sum of what the cookie of r says. Of several of the name,
// which another server of the host may have set, none counts.
func cookieOf(r *http.Request) KeySum {
	if all := r.CookiesNamed(cookieName(r)); len(all) == 1 && all[0].Value != "" {
		return sha256.Sum256([]byte(all[0].Value))
	}
	return KeySum{}
}
