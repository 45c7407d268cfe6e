package integration_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"github.com/messagebus-go/messagebus/integration/browser"
	"github.com/messagebus-go/messagebus/integration/command"
	"github.com/messagebus-go/messagebus/integration/stores"
)

// adminKey has what a form and a header must not spoil.
const adminKey = `a"key"&<more>`

var listensFor = map[string]*regexp.Regexp{
	"clients":   regexp.MustCompile(`msg="listening for clients" address=(\S+)`),
	"operators": regexp.MustCompile(`msg="listening for operators" address=(\S+)`),
}

// watched is a server whose dashboard is looked at.
type watched struct {
	t              *testing.T
	process        *command.Process
	clients, admin string // addresses
}

func serveWatched(t *testing.T, adminListen string, more ...string) *watched {
	t.Helper()
	file := filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(file, []byte(adminKey+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(http.DefaultClient.CloseIdleConnections)
	args := []string{"serve", "--listen", "127.0.0.1:0", "--admin-listen", adminListen, "--admin-key-file", file, "--drain", "10ms"}
	s := &watched{t: t, process: command.Start(t, append(args, more...)...)}
	address := func(whom string) string {
		return s.process.WaitFor("where it listens for "+whom, func(output string) (string, bool) {
			found := listensFor[whom].FindStringSubmatch(output)
			if found == nil {
				return "", false
			}
			return found[1], true
		})
	}
	s.clients, s.admin = address("clients"), address("operators")
	return s
}

func (s *watched) publish(channel string, data any) {
	s.t.Helper()
	body, err := json.Marshal(map[string]any{"channel": channel, "data": data})
	if err != nil {
		s.t.Fatal(err)
	}
	request, err := http.NewRequestWithContext(s.t.Context(), http.MethodPost, "http://"+s.admin+"/publish", strings.NewReader(string(body)))
	if err != nil {
		s.t.Fatal(err)
	}
	request.Header.Set("Authorization", "Bearer "+adminKey)
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		s.t.Fatal(err)
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(answer.Body)
		s.t.Fatalf("publish: %s: %s", answer.Status, text)
	}
}

// follow holds a request for channels. It returns once it is held, and hands on
// each part that comes.
func (s *watched) follow(client string, channels ...string) <-chan string {
	s.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+s.clients+"/message-bus/"+client+"/poll",
		strings.NewReader(strings.Join(channels, "=-1&")+"=-1"))
	if err != nil {
		s.t.Fatal(err)
	}
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		s.t.Fatal(err)
	}
	parts, done := make(chan string, 100), make(chan struct{})
	go func() {
		defer close(done)
		defer close(parts)
		for in := bufio.NewReader(answer.Body); ; {
			part, err := in.ReadString('|')
			if err != nil {
				return
			}
			select {
			case parts <- part:
			case <-ctx.Done():
				return
			}
		}
	}()
	s.t.Cleanup(func() {
		cancel()
		<-done
		answer.Body.Close()
	})
	return parts
}

// logIn shows the key, and waits for the page.
func (s *watched) logIn(w *browser.Window) {
	s.t.Helper()
	w.Visit("http://" + s.admin + "/")
	w.WaitForText(".card-title", "Log in to "+s.admin)
	w.Type("#key", adminKey)
	w.Enter()
	w.WaitForText("#headline", "All is well")
	w.WaitFor(`document.querySelectorAll('.plot').length === 4`)
}

// wide is the window of a desk.
func wide(t *testing.T, b *browser.Browser, name string, opts browser.Options) *browser.Window {
	t.Helper()
	w := b.Open(t, name, opts)
	w.Do(chromedp.EmulateViewport(1440, 900))
	return w
}

// hostile is a name that is anything but harmless where it is no text.
const hostile = `/<script>alert(1)</script>"'&` + "\u202e"

func TestDashboard_ShowsWhatHappens(t *testing.T) {
	t.Parallel()
	s := serveWatched(t, "127.0.0.1:0")
	b := browser.Start(t)
	w := wide(t, b, "desk", browser.Options{})

	t.Log("a wrong key is not taken")
	w.Visit("http://" + s.admin + "/dashboard/")
	w.WaitForText(".card-title", "Log in")
	w.Screenshot("dashboard-login")
	w.Type("#key", adminKey+"x")
	w.Enter()
	w.WaitForText("#error", "That is not the key")
	w.Screenshot("dashboard-login-wrong")

	t.Log("nothing has happened yet, which is said")
	s.logIn(w)
	w.WaitForText("#channels-empty", "No traffic yet")
	w.WaitForText("#largest-empty", "Nobody is connected")
	w.Screenshot("dashboard-empty-light")

	t.Log("who connects and what is published shows by itself")
	parts := s.follow("phone-of-ann", "/chat", "/news")
	w.WaitForText(".plot:nth-child(1) .plot-number", "1")
	w.WaitForText("#largest", "phone-of-ann")
	for i := range 40 {
		s.publish("/chat", map[string]any{"text": fmt.Sprint("message ", i), "at": 12345678901234567})
	}
	s.publish(hostile, hostile)
	s.publish("/large", strings.Repeat("é", 500_000))
	<-parts
	w.WaitForText("#channels", "/chat")
	w.WaitFor(`document.querySelector('.plot:nth-child(2) .line')?.getBBox().height > 0 && document.querySelector('.plot:nth-child(3) .line')?.getBBox().height > 0`)
	w.WaitFor(`(() => { // as the store has them
		const row = [...document.querySelectorAll('#channels tbody tr')].find((r) => r.querySelector('a').textContent === '/chat');
		return Number(row.cells[1].textContent) === 40 && Number(row.cells[2].textContent) === 40;
	})()`)
	w.Screenshot("dashboard-traffic-light")
	checkNames(t, w)

	t.Log("a plot is read with the keyboard")
	w.Type(".plot:nth-child(2) svg", kb.ArrowLeft)
	w.WaitFor(`/^\d\d:\d\d:\d\d: [\d.,]+ \/s$/.test(document.querySelector('.plot:nth-child(2) .plot-note.reads').textContent)`)

	t.Log("names stay text")
	w.WaitForText("#channels", `/<script>alert(1)</script>"'&\u{202e}`)
	if n := browser.Eval[int](w, `document.querySelectorAll('td script, th script').length`); n != 0 {
		t.Errorf("%d elements came out of a name", n)
	}

	t.Log("what is selected, or held down, is not lost when the page shows it anew")
	browser.Eval[bool](w, `(getSelection().selectAllChildren(document.querySelector('#channels a[title="/chat"]')), true)`)
	looksAgain(w)
	if selected := browser.Eval[string](w, `getSelection().toString()`); selected != "/chat" {
		t.Errorf("%q is selected, of /chat", selected)
	}
	browser.Eval[bool](w, `(getSelection().removeAllRanges(), true)`)

	t.Log("a look into a channel, and a message to try it with")
	w.Hold(`#channels a[title="/chat"]`, func() { looksAgain(w) })
	w.WaitForText("#messages .message:first-child", "message 39")
	w.WaitForText("#sheet-sub", "40 stored · last id 40")
	w.WaitForText("#messages .data", "12345678901234567")
	w.Type("#publish-data", "x")
	w.Click("#publish .primary")
	w.WaitForText("#publish-result", "This is not JSON")
	browser.Eval[bool](w, `(document.querySelector('#publish-data').value = '', true)`)
	w.Type("#publish-data", `{"hello": 12345678901234567890}`)
	w.Click("#publish .primary")
	w.WaitForText("#publish-result", "Published as ")
	w.WaitForText("#messages .message:first-child .data", "12345678901234567890")
	for part := ""; !strings.Contains(part, "12345678901234567890"); {
		var open bool
		if part, open = <-parts; !open {
			t.Fatal("who listens did not get the message")
		}
	}
	w.Screenshot("dashboard-channel-light")
	w.Click("#sheet-close")
	w.WaitFor(`!document.querySelector('#sheet').open && location.hash === ''`)

	t.Log("a large message is cut, one of a hostile name is text")
	w.Type("#open-channel", "/large")
	w.Enter()
	w.WaitForText("#messages", "only the beginning is shown")
	w.WaitForText("#messages", "1 MB")
	if n := browser.Eval[int](w, `document.querySelector('#messages').textContent.length`); n > 10_000 {
		t.Errorf("%d characters of it are shown", n)
	}
	w.Visit("about:blank")
	w.Visit("http://" + s.admin + "/dashboard/#channel=" + url.QueryEscape(hostile))
	w.WaitForText("#sheet-title", `/<script>alert(1)</script>`)
	w.WaitForText("#messages .data", `\u{202e}`)
	w.Screenshot("dashboard-hostile-light")

	t.Log("after logging out the key is asked for")
	w.Click("#sheet-close")
	w.Click(".bar .button")
	w.WaitForText(".card-title", "Log in")
	w.Visit("http://" + s.admin + "/dashboard/")
	w.WaitForText(".card-title", "Log in")
	checkProblems(t, w)
}

// looksAgain waits until the page has shown anew how things are, twice.
func looksAgain(w *browser.Window) {
	const looks = `performance.getEntriesByType('resource').filter((e) => e.name.endsWith('/api/overview')).length`
	w.WaitFor(fmt.Sprintf("%s >= %d", looks, browser.Eval[int](w, looks)+2))
}

// checkNames checks that a screen reader can name whatever can be used, and that no
// id is there twice.
func checkNames(t *testing.T, w *browser.Window) {
	t.Helper()
	if nameless := browser.Eval[[]string](w, `[...document.querySelectorAll('a, button, input:not([type=hidden]), textarea, svg[tabindex], [role=region], section')]
		.filter((e) => !(e.getAttribute('aria-label') || document.getElementById(e.getAttribute('aria-labelledby')) || e.labels?.length || e.textContent.trim()))
		.map((e) => e.outerHTML)`); len(nameless) > 0 {
		t.Errorf("without a name: %q", nameless)
	}
	if twice := browser.Eval[[]string](w, `[...document.querySelectorAll('[id]')].map((e) => e.id).filter((id, i, all) => all.indexOf(id) !== i)`); len(twice) > 0 {
		t.Errorf("there twice: %q", twice)
	}
}

// checkWidth checks that the page is not wider than its window.
func checkWidth(t *testing.T, windows ...*browser.Window) {
	t.Helper()
	for _, w := range windows {
		if wide := browser.Eval[int](w, `document.documentElement.scrollWidth - innerWidth`); wide > 0 {
			t.Errorf("the page is %d pixels wider than its window", wide)
		}
	}
}

// hang holds a request and reads nothing.
func (s *watched) hang(client, channel string) {
	s.t.Helper()
	conn, err := net.Dial("tcp", s.clients)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { conn.Close() })
	if err := conn.(*net.TCPConn).SetReadBuffer(4096); err != nil {
		s.t.Fatal(err)
	}
	body := channel + "=-1"
	_, err = fmt.Fprintf(conn, "POST /message-bus/%s/poll HTTP/1.1\r\nHost: here\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: %d\r\n\r\n%s",
		client, len(body), body)
	if err != nil {
		s.t.Fatal(err)
	}
}

func TestDashboard_SaysWhatIsWrong(t *testing.T) {
	t.Parallel()
	redis := stores.Redis(t)
	s := serveWatched(t, "127.0.0.1:0", "--store", redis.URL(), "--write-timeout", "1s")
	b := browser.Start(t)
	desk, phone := wide(t, b, "desk", browser.Options{Dark: true}), b.Open(t, "phone", browser.Options{Phone: true})
	both := []*browser.Window{desk, phone}
	for _, w := range both {
		s.logIn(w)
	}
	desk.WaitForText("#vitals", redis.URL())

	t.Log("who reads nothing is named")
	s.hang("tablet-of-joe", "/large")
	desk.WaitForText("#largest", "tablet-of-joe")
	for range 12 { // more than the sockets hold
		s.publish("/large", strings.Repeat("x", 1<<20))
	}
	desk.WaitForText("#slow", "tablet-of-joe")
	desk.WaitForText("#events", "has read nothing for too long")
	for _, w := range both {
		w.WaitForText("#headline", "All is well")
	}
	desk.Screenshot("dashboard-slow-dark")
	phone.Screenshot("dashboard-phone-light")
	checkWidth(t, both...)

	t.Log("the store goes")
	redis.Stop()
	for _, w := range both {
		w.WaitForText("#headline", "Messages are not delivered")
		w.WaitForText("#findings", "No live feed")
		w.WaitForText("#vitals", "does not answer")
	}
	desk.Screenshot("dashboard-trouble-dark")
	phone.Screenshot("dashboard-phone-trouble-light")
	checkWidth(t, both...)
	if title := browser.Eval[string](desk, `document.title`); !strings.HasPrefix(title, "(✕)") {
		t.Errorf("the tab says %q", title)
	}

	t.Log("and comes back")
	redis.Start()
	for _, w := range both {
		w.WaitFor(`['well', 'notice'].includes(document.querySelector('#verdict').dataset.level)`)
	}
	desk.WaitForText("#events", "Trouble")
	desk.WaitForText("#vitals", "accepted")

	t.Log("the server goes")
	s.process.Stop()
	for _, w := range both {
		w.WaitForText("#headline", "No answer from the server")
		w.WaitForText("#findings", "What is below is of")
	}
	desk.Screenshot("dashboard-lost-dark")
	phone.Screenshot("dashboard-phone-lost-light")
	checkWidth(t, both...)

	t.Log("and comes back, for which the key is asked again")
	again := serveWatched(t, s.admin, "--store", redis.URL())
	for _, w := range both {
		w.WaitForText(".card-note", "The session has ended")
	}
	phone.Screenshot("dashboard-phone-login-light")
	again.logIn(desk)
	checkProblems(t, both...)
}
