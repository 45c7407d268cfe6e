package main

import (
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/messagebus-go/messagebus/cmd/messagebus/internal/dashboard"
)

const dashboardKey = "s3cret"

// A page is what a browser does with a server: it keeps the cookie and the token.
type page struct {
	t              *testing.T
	address        string
	cookie, token  string
	lastSetCookies []*http.Cookie
}

func openPage(t *testing.T, args ...string) *page {
	t.Helper()
	s := serve(t, environ{"MESSAGEBUS_ADMIN_KEY": dashboardKey}, args...)
	return &page{t: t, address: s.admin}
}

func (p *page) send(method, path, body string, header http.Header) reply {
	p.t.Helper()
	all := http.Header{}
	if p.cookie != "" {
		all.Set("Cookie", p.cookie)
	}
	maps.Copy(all, header)
	request, err := http.NewRequestWithContext(p.t.Context(), method, "http://"+p.address+path, strings.NewReader(body))
	if err != nil {
		p.t.Fatal(err)
	}
	request.Header = all
	if host := header.Get("Host"); host != "" {
		request.Host = host
	}
	c := client(p.t)
	c.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	response, err := c.Do(request)
	if err != nil {
		p.t.Fatal(err)
	}
	defer response.Body.Close()
	var text strings.Builder
	if _, err := io.Copy(&text, response.Body); err != nil {
		p.t.Fatal(err)
	}
	p.lastSetCookies = response.Cookies()
	return reply{response.StatusCode, response.Header, text.String()}
}

var tokenInPage = regexp.MustCompile(`data-token="([^"]+)"`)

func filled(values ...string) (string, http.Header) {
	all := url.Values{}
	for i := 0; i < len(values); i += 2 {
		all.Set(values[i], values[i+1])
	}
	return all.Encode(), http.Header{"Content-Type": {"application/x-www-form-urlencoded"}}
}

// logIn shows the key and opens the page.
func (p *page) logIn() {
	p.t.Helper()
	body, header := filled("key", dashboardKey)
	got := p.send("POST", "/dashboard/login", body, header)
	if got.status != 303 || got.header.Get("Location") != "/dashboard/" || len(p.lastSetCookies) != 1 {
		p.t.Fatalf("login: %d %v", got.status, got.header)
	}
	p.cookie = p.lastSetCookies[0].Name + "=" + p.lastSetCookies[0].Value
	got = p.send("GET", "/dashboard/", "", nil)
	found := tokenInPage.FindStringSubmatch(got.body)
	if got.status != 200 || found == nil {
		p.t.Fatalf("the page: %d %s", got.status, got.body)
	}
	p.token = found[1]
}

func TestDashboard_WantsAKeyAndThenASession(t *testing.T) {
	t.Parallel()
	p := openPage(t)
	for _, path := range []string{"/", "/dashboard/"} {
		if got := p.send("GET", path, "", nil); got.status != 303 || !strings.HasPrefix(got.header.Get("Location"), "/dashboard/") {
			t.Errorf("%s without a session: %d %v", path, got.status, got.header)
		}
	}
	for _, path := range []string{"/api/overview", "/api/channel?channel=/a", "/backlog?channel=/a", "/metrics", "/health"} {
		if got := p.send("GET", path, "", nil); got.status != 401 {
			t.Errorf("%s without a session: %d", path, got.status)
		}
	}
	for _, wrong := range []string{"", "wrong", dashboardKey + "x", strings.ToUpper(dashboardKey)} {
		body, header := filled("key", wrong)
		if got := p.send("POST", "/dashboard/login", body, header); got.status != 401 || len(p.lastSetCookies) != 0 || !strings.Contains(got.body, "That is not the key.") {
			t.Errorf("the key %q: %d %v", wrong, got.status, p.lastSetCookies)
		}
	}
	p.logIn()
	if strings.Contains(p.cookie, dashboardKey) {
		t.Errorf("the cookie is %q", p.cookie)
	}
	for _, path := range []string{"/api/overview", "/api/channel?channel=/a", "/backlog?channel=/a", "/metrics", "/health"} {
		// Health is 503 until the feed is live, which the key says nothing about.
		if got := p.send("GET", path, "", nil); got.status != 200 && (path != "/health" || got.status != 503) {
			t.Errorf("%s with a session: %d %s", path, got.status, got.body)
		}
	}
	body, header := filled("token", p.token)
	if got := p.send("POST", "/dashboard/logout", body, header); got.status != 303 {
		t.Errorf("logout: %d", got.status)
	}
	if got := p.send("GET", "/api/overview", "", nil); got.status != 401 {
		t.Errorf("after logging out: %d", got.status)
	}
}

func TestDashboard_ASessionAloneChangesNothing(t *testing.T) {
	t.Parallel()
	p := openPage(t)
	p.logIn()
	const body = `{"channel":"/a","data":1}`
	for what, header := range map[string]http.Header{
		"without the token": {}, "with an empty one": {dashboard.TokenHeader: {""}}, "with a wrong one": {dashboard.TokenHeader: {p.token + "x"}},
		"from another origin":       {"Origin": {"https://evil.example"}, "Sec-Fetch-Site": {"cross-site"}},
		"by a page of another port": {"Sec-Fetch-Site": {"same-site"}, dashboard.TokenHeader: {""}},
		"as a form":                 {"Content-Type": {"text/plain"}, "Origin": {"http://" + p.address}},
	} {
		if got := p.send("POST", "/publish", body, header); got.status != 403 {
			t.Errorf("%s: %d %s", what, got.status, got.body)
		}
	}
	if got := p.send("POST", "/publish", body, http.Header{dashboard.TokenHeader: {p.token}}); got.status != 200 || got.body != `{"id":1}`+"\n" {
		t.Errorf("with the token: %d %s", got.status, got.body)
	}
	// The pages of this host's other ports are sent the cookie along with.
	if got := p.send("GET", "/subscribe?channel=/a", "", http.Header{"Sec-Fetch-Site": {"same-site"}}); got.status != 403 {
		t.Errorf("a page of another port reads: %d", got.status)
	}
	wrong, header := filled("token", "x")
	p.send("POST", "/dashboard/logout", wrong, header)
	if got := p.send("GET", "/api/overview", "", nil); got.status != 200 {
		t.Error("another page can log out")
	}
}

func TestDashboard_AnotherOriginCannotLogIn(t *testing.T) {
	t.Parallel()
	p := openPage(t)
	for _, header := range []http.Header{{"Sec-Fetch-Site": {"cross-site"}}, {"Sec-Fetch-Site": {"same-site"}}, {"Origin": {"https://evil.example"}}, {"Origin": {"null"}}} {
		body, more := filled("key", dashboardKey)
		header["Content-Type"] = more["Content-Type"]
		if got := p.send("POST", "/dashboard/login", body, header); got.status != 403 || len(p.lastSetCookies) != 0 {
			t.Errorf("%v: %d %v", header, got.status, p.lastSetCookies)
		}
	}
}

// What a browser may do with each answer is said by its headers.
func TestDashboard_IsNotFramedKeptOrRead(t *testing.T) {
	t.Parallel()
	p := openPage(t)
	p.logIn()
	for _, path := range []string{"/", "/dashboard/", "/dashboard/login", "/dashboard/nosuch", "/dashboard/assets/main.js", "/api/overview", "/nosuch", "/publish"} {
		got := p.send("GET", path, "", nil)
		policy := got.header.Get("Content-Security-Policy")
		for _, part := range []string{"default-src 'none'", "script-src 'self'", "style-src 'self'", "frame-ancestors 'none'", "base-uri 'none'", "form-action 'self'"} {
			if !strings.Contains(policy, part) {
				t.Errorf("%s: the policy is %q, without %s", path, policy, part)
			}
		}
		if strings.Contains(policy, "unsafe") || strings.Contains(policy, "http") || strings.Contains(policy, "*") {
			t.Errorf("%s: the policy is %q", path, policy)
		}
		for name, want := range map[string]string{
			"X-Frame-Options": "DENY", "X-Content-Type-Options": "nosniff", "Referrer-Policy": "same-origin",
			"Cross-Origin-Opener-Policy": "same-origin", "Cross-Origin-Resource-Policy": "same-origin", "Access-Control-Allow-Origin": "",
		} {
			if got.header.Get(name) != want {
				t.Errorf("%s: %s is %q", path, name, got.header.Get(name))
			}
		}
		if cache, asset := got.header.Get("Cache-Control"), strings.Contains(path, "assets"); asset != (cache == "no-cache") || !asset && cache != "no-store" {
			t.Errorf("%s: Cache-Control is %q", path, cache)
		}
	}
}

var inline = regexp.MustCompile(`(?i)<script(?:>| [^>]*>[^<])|<style|\sstyle=|\son[a-z]+=|javascript:|https?://[a-z]`)

func TestDashboard_PagesEscapeWhatTheyAreSent(t *testing.T) {
	t.Parallel()
	p := openPage(t)
	const hostile = `/</script><script>alert(1)</script><!--"'&` + "\u2028\u202e\x7f"
	name, err := json.Marshal(map[string]any{"channel": hostile, "data": hostile})
	if err != nil {
		t.Fatal(err)
	}
	if got := p.send("POST", "/publish", string(name), http.Header{"Authorization": {"Bearer " + dashboardKey}}); got.status != 200 {
		t.Fatal(got)
	}
	p.logIn()
	got := p.send("GET", "/dashboard/", "", nil)
	if !strings.Contains(got.body, `alert(1)`) || strings.Contains(got.body, "<script>alert") || strings.Count(got.body, "</script>") != 2 {
		t.Errorf("the page has the name as it was sent: %s", got.body)
	}
	data := regexp.MustCompile(`(?s)<script type="application/json" id="overview">(.*?)</script>`).FindStringSubmatch(got.body)
	var overview dashboard.Overview
	if data == nil || json.Unmarshal([]byte(data[1]), &overview) != nil || len(overview.Channels) != 1 || overview.Channels[0].Channel != hostile {
		t.Errorf("the data of the page are %v", data)
	}
	if found := inline.FindString(strings.Replace(got.body, data[0], "", 1)); found != "" {
		t.Errorf("the page has %q, which its policy forbids", found)
	}
	var look dashboard.Look
	got = p.send("GET", "/api/channel?channel="+url.QueryEscape(hostile), "", nil)
	if json.Unmarshal([]byte(got.body), &look) != nil || got.header.Get("Content-Type") != "application/json; charset=utf-8" || len(look.Messages) != 1 {
		t.Fatalf("%d %v %s", got.status, got.header, got.body)
	}
	var text string
	if err := json.Unmarshal([]byte(look.Messages[0].Data), &text); err != nil || text != hostile {
		t.Errorf("the message is %q", look.Messages[0].Data)
	}
	host := http.Header{"Host": {`"><script>alert(1)</script>`}}
	if got := p.send("GET", "/dashboard/login", "", host); strings.Contains(got.body, "<script>alert") {
		t.Errorf("the host is not escaped: %s", got.body)
	}
}

func TestDashboard_BoundsWhatItShowsAndTakes(t *testing.T) {
	t.Parallel()
	p := openPage(t)
	p.logIn()
	body := `{"channel":"/a","data":"` + strings.Repeat("é", 1<<19) + `"}`
	for range 3 {
		if got := p.send("POST", "/publish", body, http.Header{dashboard.TokenHeader: {p.token}}); got.status != 200 {
			t.Fatal(got)
		}
	}
	got := p.send("GET", "/api/channel?channel=/a&last=100", "", nil)
	var look dashboard.Look
	if err := json.Unmarshal([]byte(got.body), &look); err != nil || len(look.Messages) != 3 || len(got.body) > 3*10_000 {
		t.Fatalf("%v, %d messages in %d bytes", err, len(look.Messages), len(got.body))
	}
	if m := look.Messages[0]; !m.Truncated || m.Bytes != 1<<20+2 || m.ID != 3 || strings.ContainsRune(m.Data, '\uFFFD') {
		t.Errorf("the newest is %+v", m)
	}
	for target, says := range map[string]string{
		"/api/channel": "channel is missing", "/api/channel?channel=": "is empty", "/api/channel?channel=/a&last=0": "1 or more",
		"/api/channel?channel=/a&nosuch=1": "unknown parameter", "/api/channel?channel=/a&channel=/b": "once",
	} {
		if got := p.send("GET", target, "", nil); got.status != 400 || !strings.Contains(got.body, says) {
			t.Errorf("%s: %d %s", target, got.status, got.body)
		}
	}
	text, header := filled("key", strings.Repeat("x", 1<<20))
	if got := p.send("POST", "/dashboard/login", text, header); got.status != 400 {
		t.Errorf("a key of 1 MB: %d", got.status)
	}
}

// Without a key the listener is on a loopback address, which the pages in this
// machine's browsers reach: by a name that was made to point here, or by requests
// whose answers they cannot read.
func TestDashboard_WithoutKeyIsForItsOwnPage(t *testing.T) {
	t.Parallel()
	s := serve(t, nil)
	p := &page{t: t, address: s.admin}
	got := p.send("GET", "/dashboard/", "", http.Header{"Sec-Fetch-Site": {"none"}})
	found := tokenInPage.FindStringSubmatch(got.body)
	if got.status != 200 || found == nil || strings.Contains(got.body, "Log out") {
		t.Fatalf("the page: %d %s", got.status, got.body)
	}
	own := http.Header{dashboard.TokenHeader: {found[1]}, "Sec-Fetch-Site": {"same-origin"}, "Origin": {"http://" + p.address}}
	with := func(name, value string) http.Header {
		h := own.Clone()
		h.Set(name, value)
		return h
	}
	link := http.Header{"Sec-Fetch-Site": {"cross-site"}, "Sec-Fetch-Mode": {"navigate"}, "Sec-Fetch-Dest": {"document"}}
	for _, test := range []struct {
		what, method, path string
		header             http.Header
		status             int
	}{
		{"the page publishes", "POST", "/publish", own, 200},
		{"the page reads", "GET", "/api/overview", own, 200},
		{"a link of the page", "GET", "/api/overview", http.Header{"Sec-Fetch-Site": {"same-origin"}}, 200},
		{"a link of another page", "GET", "/dashboard/", link, 200},
		{"a link of another page to data", "GET", "/api/overview", link, 403},
		{"a form of another page", "POST", "/publish", link, 403},
		{"a frame of another page", "GET", "/dashboard/", http.Header{"Sec-Fetch-Site": {"cross-site"}, "Sec-Fetch-Mode": {"navigate"}, "Sec-Fetch-Dest": {"iframe"}}, 403},
		{"another port of this host", "GET", "/api/overview", http.Header{"Sec-Fetch-Site": {"same-site"}}, 403},
		{"a wrong token", "POST", "/publish", with(dashboard.TokenHeader, "x"), 403},
		{"a name that points here", "GET", "/dashboard/", http.Header{"Host": {"evil.example"}}, 403},
		{"a name that points here, with the token", "POST", "/publish", with("Host", "evil.example:7411"), 403},
	} {
		if got := p.send(test.method, test.path, `{"channel":"/a","data":1}`, test.header); got.status != test.status {
			t.Errorf("%s: %d %s; want %d", test.what, got.status, got.body, test.status)
		}
	}
	if got := p.send("GET", "/dashboard/login", "", nil); got.status != 303 {
		t.Errorf("the form of a key that there is not: %d", got.status)
	}
}

func TestLogin_WrongKeysAreSlowed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, _ := testAdmin(t)
		a.setKey(dashboardKey)
		start := time.Now()
		const tries = 20
		for range tries {
			if err := a.Login(httptest.NewRecorder(), httptest.NewRequest(http.MethodPost, "/dashboard/login", nil), "guess"); err == nil {
				t.Fatal("a guess is taken")
			}
		}
		if took := time.Since(start); took < tries*penaltyEvery {
			t.Errorf("%d guesses took %v", tries, took)
		}
		if err := a.Login(httptest.NewRecorder(), httptest.NewRequest(http.MethodPost, "/dashboard/login", nil), dashboardKey); err != nil {
			t.Errorf("the key is not taken: %v", err)
		}
	})
}

// An exchanged key ends the sessions of the one before.
func TestSession_EndsWithItsKey(t *testing.T) {
	t.Parallel()
	a, _ := testAdmin(t)
	a.setKey(dashboardKey)
	w := httptest.NewRecorder()
	if err := a.Login(w, httptest.NewRequest(http.MethodPost, "http://127.0.0.1:7411/dashboard/login", nil), dashboardKey); err != nil {
		t.Fatal(err)
	}
	cookie := w.Result().Cookies()[0]
	header := map[string]string{"Cookie": cookie.Name + "=" + cookie.Value}
	if w := ask(a, "GET", "/last-id?channel=/a", "", header); w.Code != 200 {
		t.Fatalf("with a session: %d %s", w.Code, w.Body)
	}
	a.setKey(dashboardKey) // as a reload without a change does
	if w := ask(a, "GET", "/last-id?channel=/a", "", header); w.Code != 200 {
		t.Errorf("after a reload: %d", w.Code)
	}
	a.setKey("another")
	if w := ask(a, "GET", "/last-id?channel=/a", "", header); w.Code != 401 {
		t.Errorf("after the key was exchanged: %d", w.Code)
	}
}
