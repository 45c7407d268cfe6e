package main

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"net"
	"net/http"
	"net/netip"
	"strings"

	"github.com/messagebus-go/messagebus/cmd/messagebus/internal/dashboard"
)

// admit lets in who has the key, or a session that was begun with it.
func (a *admin) admit(r *http.Request) error {
	key := a.key.Load()
	if key == nil {
		return a.admitLocal(r)
	}
	authorization := r.Header.Get("Authorization")
	if authorization == "" {
		if token := a.sessions.Token(r, *key); token != "" {
			return checkToken(r, token)
		}
		return errKey // nothing was tried that would have to be slowed
	}
	scheme, sent, _ := strings.Cut(authorization, " ")
	if !strings.EqualFold(scheme, "Bearer") {
		sent = ""
	}
	_, err := a.checkKey(r.Context(), strings.TrimSpace(sent))
	return err
}

// checkToken refuses what would change something and was not sent by the page, and
// what pages of other origins ask for: the cookie alone tells neither.
func checkToken(r *http.Request, token string) error {
	switch {
	case dashboard.Carries(r, token):
		return nil
	case r.Method != http.MethodGet && r.Method != http.MethodHead:
		return refuse(http.StatusForbidden, "with a session the header %s must have its token", dashboard.TokenHeader)
	default:
		return checkSite(r)
	}
}

// admitLocal is for a listener without a key. It is on a loopback address, which
// the pages in this machine's browsers reach as well; they are told by the headers
// that a browser sets, and by a Host that was made to point here. The own page may
// read, and do what its token shows to be its own.
func (a *admin) admitLocal(r *http.Request) error {
	if !isLoopbackHost(r.Host) {
		return refuse(http.StatusForbidden, "the host %q is not this machine; without a key it must be localhost or a loopback address", clip(r.Host))
	}
	if dashboard.Carries(r, a.sessions.LocalToken()) {
		return nil
	}
	if r.Header.Values("Origin") != nil {
		return refuse(http.StatusForbidden, "requests of web pages (with an Origin header) are refused")
	}
	return checkSite(r)
}

// checkSite refuses what a browser says that it asks for another page.
func checkSite(r *http.Request) error {
	if site := r.Header.Get("Sec-Fetch-Site"); site != "" && site != "none" && !harmless(r, site) {
		return refuse(http.StatusForbidden, "requests of web pages (Sec-Fetch-Site: %s) are refused", clip(site))
	}
	return nil
}

// harmless reports whether a browser only reads for the own page, or goes to it
// from another one, which learns nothing by that.
func harmless(r *http.Request, site string) bool {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		return false
	}
	return site == "same-origin" || r.URL.Path == dashboard.Path && r.Header.Get("Sec-Fetch-Mode") == "navigate" && r.Header.Get("Sec-Fetch-Dest") == "document"
}

func isLoopbackHost(host string) bool {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	host = strings.TrimSuffix(strings.TrimPrefix(host, "["), "]")
	addr, err := netip.ParseAddr(host)
	return strings.EqualFold(host, "localhost") || err == nil && addr.Unmap().IsLoopback()
}

var errKey = refuse(http.StatusUnauthorized, "the admin key is missing or wrong; it is sent as Authorization: Bearer KEY")

// checkKey returns the sum of the key if it is the right one.
func (a *admin) checkKey(ctx context.Context, key string) (dashboard.KeySum, error) {
	// Of equal length whatever was sent, so that not even that is measured.
	sent := sha256.Sum256([]byte(key))
	if wanted := a.key.Load(); wanted != nil && subtle.ConstantTimeCompare(sent[:], wanted[:]) == 1 {
		return sent, nil
	}
	if !a.wrong.serve(ctx) {
		return sent, refuse(http.StatusTooManyRequests, "too many wrong admin keys")
	}
	return sent, errKey
}

// The methods below make an admin the dashboard.Gate.

func (a *admin) Admit(r *http.Request) error { return a.admit(r) }

func (a *admin) Locked() bool { return a.key.Load() != nil }

func (a *admin) Login(w http.ResponseWriter, r *http.Request, key string) error {
	sum, err := a.checkKey(r.Context(), key)
	if err == nil {
		a.sessions.Begin(w, r, sum)
	}
	return err
}

func (a *admin) Logout(w http.ResponseWriter, r *http.Request) { a.sessions.End(w, r) }

func (a *admin) Token(r *http.Request) string {
	if key := a.key.Load(); key != nil {
		return a.sessions.Token(r, *key)
	}
	return a.sessions.LocalToken()
}
