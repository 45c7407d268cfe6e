package dashboard

import (
	"maps"
	"net/http"
	"net/http/httptest"
	"testing"
	"testing/synctest"
	"time"
)

var keyA, keyB = KeySum{1}, KeySum{2}

// begin logs in with the cookies of a browser, and returns the one that is set.
func begin(t *testing.T, s *Sessions, target string, header http.Header, cookies ...*http.Cookie) *http.Cookie {
	t.Helper()
	r := with(target, cookies...)
	maps.Copy(r.Header, header)
	w := httptest.NewRecorder()
	s.Begin(w, r, keyA)
	set := w.Result().Cookies()
	if len(set) != 1 {
		t.Fatalf("the cookies are %v", set)
	}
	return set[0]
}

func with(target string, cookies ...*http.Cookie) *http.Request {
	r := httptest.NewRequest(http.MethodGet, target, nil)
	for _, c := range cookies {
		r.AddCookie(&http.Cookie{Name: c.Name, Value: c.Value})
	}
	return r
}

const here = "http://127.0.0.1:7411/"

func TestSessions_AreOfWhoBeganThem(t *testing.T) {
	t.Parallel()
	var s Sessions
	cookie := begin(t, &s, here, nil)
	token := s.Token(with(here, cookie), keyA)
	if token == "" {
		t.Fatal("the session is not known")
	}
	if !cookie.HttpOnly || cookie.SameSite != http.SameSiteStrictMode || cookie.Path != "/" || cookie.Domain != "" || cookie.Secure {
		t.Errorf("the cookie is %v", cookie)
	}
	forged := &http.Cookie{Name: cookie.Name, Value: cookie.Value + "x"}
	for what, r := range map[string]*http.Request{
		"no cookie": with(here), "a wrong one": with(here, forged), "an empty one": with(here, &http.Cookie{Name: cookie.Name}),
		"a second one of the name": with(here, forged, cookie), "that of another port": with("http://127.0.0.1:7412/", cookie),
	} {
		if got := s.Token(r, keyA); got != "" {
			t.Errorf("with %s there is a session", what)
		}
	}
	if s.Token(with(here, cookie), keyB) != "" {
		t.Error("the session outlives its key")
	}
	if cookie.Value == token || len(cookie.Value) < 26 || len(token) < 26 {
		t.Errorf("the cookie is %q, the token %q", cookie.Value, token)
	}
}

func TestSessions_ACookieThatWasThereBeforeIsWorthNothing(t *testing.T) {
	t.Parallel()
	var s Sessions
	planted := &http.Cookie{Name: "messagebus-admin-7411", Value: "planted"}
	cookie := begin(t, &s, here, nil, planted)
	if cookie.Value == planted.Value || s.Token(with(here, planted), keyA) != "" {
		t.Error("the session is fixed before the login")
	}
	again := begin(t, &s, here, nil, cookie)
	if s.Token(with(here, cookie), keyA) != "" || s.Token(with(here, again), keyA) == "" {
		t.Error("a further login leaves the session before it")
	}
}

func TestSessions_EndAndExpire(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s Sessions
		cookie, other := begin(t, &s, here, nil), begin(t, &s, here, nil)
		w := httptest.NewRecorder()
		s.End(w, with(here, cookie))
		if s.Token(with(here, cookie), keyA) != "" || s.Token(with(here, other), keyA) == "" {
			t.Error("another session has ended")
		}
		if set := w.Result().Cookies(); len(set) != 1 || set[0].MaxAge >= 0 || set[0].Value != "" {
			t.Errorf("the cookie is left: %v", set)
		}
		<-time.After(sessionLife - time.Second)
		if s.Token(with(here, other), keyA) == "" {
			t.Error("it ends early")
		}
		<-time.After(2 * time.Second)
		if s.Token(with(here, other), keyA) != "" {
			t.Error("it does not end")
		}
	})
}

func TestSessions_AreFew(t *testing.T) {
	t.Parallel()
	var s Sessions
	cookies := make([]*http.Cookie, 10*maxSessions)
	for i := range cookies {
		cookies[i] = begin(t, &s, here, nil)
	}
	if len(s.all) != maxSessions || cap(s.all) > 4*maxSessions {
		t.Errorf("%d sessions, room for %d", len(s.all), cap(s.all))
	}
	if s.Token(with(here, cookies[0]), keyA) != "" || s.Token(with(here, cookies[len(cookies)-1]), keyA) == "" {
		t.Error("it is not the oldest that makes way")
	}
}

func TestSessions_CookieIsSecureBehindTLS(t *testing.T) {
	t.Parallel()
	var s Sessions
	if c := begin(t, &s, "https://bus.example/", nil); !c.Secure || c.Name != "messagebus-admin" {
		t.Errorf("the cookie is %v", c)
	}
	if c := begin(t, &s, "http://bus.example/", http.Header{"X-Forwarded-Proto": {"https"}}); !c.Secure {
		t.Errorf("behind a proxy the cookie is %v", c)
	}
}

func TestCarries_WantsTheToken(t *testing.T) {
	t.Parallel()
	r := httptest.NewRequest(http.MethodPost, here, nil)
	if Carries(r, "") || Carries(r, "t") {
		t.Error("no token is one")
	}
	r.Header.Set(TokenHeader, "t")
	if !Carries(r, "t") || Carries(r, "T") || Carries(r, "") {
		t.Error("the token is not compared")
	}
}
