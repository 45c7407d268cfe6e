package integration_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os/exec"
	"regexp"
	"strings"
	"testing"

	"github.com/messagebus-go/messagebus/integration/browser"
	"github.com/messagebus-go/messagebus/integration/command"
)

var printedAddress = regexp.MustCompile(`http://(127\.0\.0\.1:[0-9]+)`)

// startDemo starts the demo as a user does, and returns the address it prints.
func startDemo(t *testing.T, listen string) (p *command.Process, address string) {
	t.Helper()
	p = command.Start(t, "demo", "--listen", listen)
	address = p.WaitFor("its address", func(output string) (string, bool) {
		if found := printedAddress.FindStringSubmatch(output); found != nil {
			return found[1], true
		}
		return "", false
	})
	return p, address
}

// join opens the demo in a window of its own, under a name.
func join(t *testing.T, b *browser.Browser, address, name string, opts browser.Options) *browser.Window {
	t.Helper()
	w := b.Open(t, name, opts)
	w.Visit("http://" + address + "/")
	w.WaitForText("#state", "Live")
	rename(w, name)
	return w
}

func rename(w *browser.Window, name string) {
	browser.Eval[bool](w, `(() => {
		const show = getComputedStyle(document.querySelector('.side')).display === 'none';
		if (show) document.querySelector('.tab[data-view="people"]').click();
		const field = document.querySelector('#your-name');
		field.focus();
		field.select();
		return show;
	})()`)
	w.Type("#your-name", name)
	w.Enter()
	w.WaitForText("#people", name)
	browser.Eval[bool](w, `(document.querySelector('.tab[data-view="chat"]').click(), true)`)
}

func say(w *browser.Window, text string) {
	w.Type("#text", text)
	w.Enter()
}

// heard waits until a message stands in the open room of a window.
func heard(w *browser.Window, name, text string) {
	w.WaitFor(fmt.Sprintf(`[...document.querySelectorAll('.log:not([hidden]) .message-text')]
		.some((e) => e.textContent === %s && e.title.startsWith(%s))`, quote(text), quote(name+", ")))
}

// quote writes a string for JavaScript.
func quote(s string) string {
	b, err := json.Marshal(s)
	if err != nil {
		panic(err) // there is no string that cannot be encoded
	}
	return string(b)
}

func checkProblems(t *testing.T, windows ...*browser.Window) {
	t.Helper()
	for _, w := range windows {
		if problems := w.Problems(); problems != nil {
			t.Errorf("a page had problems: %q", problems)
		}
	}
}

func TestDemo_TwoWindowsChat(t *testing.T) {
	t.Parallel()
	_, address := startDemo(t, "127.0.0.1:0")
	b := browser.Start(t)
	ann, ben := join(t, b, address, "Ann", browser.Options{}), join(t, b, address, "Ben", browser.Options{})

	t.Log("both know of each other")
	ann.WaitForText("#people", "Ben")
	ben.WaitForText("#people", "Ann")
	ann.WaitForText("#people-count", "2")

	t.Log("both hear both, and text stays text")
	say(ann, "Hello, is anybody here?")
	heard(ben, "Ann", "Hello, is anybody here?")
	const markup = `<img src=x onerror="alert(1)"> & <b>bold</b>`
	say(ben, markup)
	heard(ann, "Ben", markup)
	heard(ben, "Ben", markup)
	if n := browser.Eval[int](ann, `document.querySelectorAll('.log img, .log b, .wire img').length`); n != 0 {
		t.Errorf("%d elements came out of a text", n)
	}
	if left := browser.Eval[string](ben, `document.querySelector('#text').value`); left != "" {
		t.Errorf("%q is left after sending", left)
	}

	t.Log("typing shows, and ends with the message")
	ann.Type("#text", "I am wri")
	ben.WaitForText("#typing", "Ann is typing")
	ann.Type("#text", "ting")
	ann.Enter()
	heard(ben, "Ann", "I am writing")
	ben.WaitFor(`document.querySelector('#typing').textContent === ''`)

	t.Log("the raw message shows channel, ids and data")
	id := browser.Eval[string](ben, `(() => {
		const frame = [...document.querySelectorAll('.frame')].find((e) => e.textContent.includes('I am writing'));
		const data = JSON.parse(frame.querySelector('.frame-data').textContent);
		return [frame.querySelector('.frame-channel').textContent, frame.querySelector('[data-id]').textContent > 0,
			frame.querySelector('[data-global-id]').textContent > 0, data.kind, data.name, data.text].join(' ');
	})()`)
	if id != "/demo/room/general true true say Ann I am writing" {
		t.Errorf("the raw message shows %q", id)
	}

	t.Log("the history is there again after a reload, each message once and in order")
	browser.Eval[bool](ben, `(location.reload(), true)`)
	heard(ben, "Ann", "I am writing")
	ben.WaitForText("#state", "Live")
	texts := browser.Eval[[]string](ben, `[...document.querySelectorAll('.log:not([hidden]) .message-text')].map((e) => e.textContent)`)
	if want := []string{"Hello, is anybody here?", markup, "I am writing"}; fmt.Sprint(texts) != fmt.Sprint(want) {
		t.Errorf("after a reload there is %q, not %q", texts, want)
	}
	if name := browser.Eval[string](ben, `document.querySelector('#your-name').value`); name != "Ben" {
		t.Errorf("after a reload Ben is called %q", name)
	}

	t.Log("another room is another channel; what is missed there is counted")
	ann.Click(`.room[data-room="lab"]`)
	ann.WaitForText("#room-title", "Lab")
	ben.WaitForText("#people-count", "1")
	say(ann, "Only for the lab")
	heard(ann, "Ann", "Only for the lab")
	ben.WaitForText(`.room[data-room="lab"]`, "1")
	if seen := browser.Eval[bool](ben, `document.querySelector('#scroll').innerText.includes('Only for the lab')`); seen {
		t.Error("a message shows up in the wrong room")
	}
	ben.Click(`.room[data-room="lab"]`)
	heard(ben, "Ann", "Only for the lab")
	ann.WaitForText("#people", "Ben")

	t.Log("a room that one opens, the other has as well")
	ann.Type("#open-name", "Späte Runde!")
	ann.Enter()
	ann.WaitForText("#room-title", "Späte Runde")
	ben.WaitForText("#rooms", "Späte Runde")
	ben.Click(`.room[data-room="späte-runde"]`)
	say(ben, "Found it")
	heard(ann, "Ben", "Found it")

	t.Log("who closes the window has left")
	ben.Visit("about:blank")
	ann.WaitForText("#people-count", "1")

	t.Log("the line for a terminal works as it stands there")
	line := browser.Eval[string](ann, `document.querySelector('#curl').textContent`)
	output, err := exec.CommandContext(t.Context(), "sh", "-c", strings.Replace(line, "curl", "curl -sS --fail", 1)).CombinedOutput()
	if err != nil || !strings.Contains(string(output), "Found it") {
		t.Errorf("%s: %v\n%s", line, err, output)
	}
	checkProblems(t, ann, ben)
}

// Two tabs of one browser, which share a connection.
func TestDemo_TwoTabsOfOneUser(t *testing.T) {
	t.Parallel()
	_, address := startDemo(t, "127.0.0.1:0")
	b := browser.Start(t)
	owner := b.Open(t, "owner", browser.Options{})
	for _, size := range []struct {
		name  string
		phone bool
	}{{"desktop", false}, {"phone", true}} {
		first := join(t, b, address, "First", browser.Options{Beside: owner, Phone: size.phone})
		second := join(t, b, address, "Second", browser.Options{Beside: owner, Phone: size.phone, Dark: true})
		say(first, "Said in the first tab, "+size.name)
		heard(second, "First", "Said in the first tab, "+size.name)
		say(second, "Said in the second tab, "+size.name)
		heard(first, "Second", "Said in the second tab, "+size.name)
		first.Screenshot("demo-two-tabs-" + size.name + "-first")
		second.Screenshot("demo-two-tabs-" + size.name + "-second")
		first.Close()
		say(second, "Alone, "+size.name)
		heard(second, "Second", "Alone, "+size.name)
		checkProblems(t, first, second)
		second.Close()
	}
}

func TestDemo_ShowsThatTheServerIsGoneAndComesBack(t *testing.T) {
	t.Parallel()
	server, address := startDemo(t, "127.0.0.1:0")
	b := browser.Start(t)
	ann, ben := join(t, b, address, "Ann", browser.Options{}), join(t, b, address, "Ben", browser.Options{Dark: true})
	say(ann, "Before")
	heard(ben, "Ann", "Before")

	server.Stop()
	ann.WaitForText("#state", "Reconnecting")
	ben.WaitForText("#state", "Reconnecting")
	ann.WaitForText("#lost", "The connection is gone")
	say(ann, "Into the dark")
	ann.WaitForText("#send-error", "Not sent")
	if kept := browser.Eval[string](ann, `document.querySelector('#text').value`); kept != "Into the dark" {
		t.Errorf("what could not be sent is now %q", kept)
	}
	ann.Screenshot("demo-reconnecting-light")
	ben.Screenshot("demo-reconnecting-dark")

	startDemo(t, address)
	ann.WaitForText("#state", "Live")
	ben.WaitForText("#state", "Live")
	ann.WaitFor(`document.querySelector('#lost').hidden`)
	ann.Type("#text", "")
	ann.Enter()
	heard(ben, "Ann", "Into the dark")
	say(ben, "Welcome back")
	heard(ann, "Ben", "Welcome back")
	heard(ann, "Ann", "Before")
	ann.WaitForText("#people", "Ben")
	ann.Screenshot("demo-back-light")
	checkProblems(t, ann, ben)
}

// conversation is what the pictures show.
var conversation = []struct{ from, name, text string }{
	{"51c2a9f0", "Grace", "Morning! The new build is on the bus."},
	{"51c2a9f0", "Grace", "Every window gets it in the same order, and nobody gets it twice."},
	{"8e07d4b3", "Linus", "I pulled the cable for a minute and it just went on where it was."},
	{"0f6b21ce", "Margaret", "Did you miss anything?"},
	{"8e07d4b3", "Linus", "Nothing. And if something had been trimmed away meanwhile, it would have told me."},
	{"0f6b21ce", "Margaret", "Good. A gap that I am told about I can handle."},
}

func publish(t *testing.T, address, kind, from, name, text string) {
	t.Helper()
	body, err := json.Marshal(map[string]string{"room": "general", "kind": kind, "from": from, "name": name, "text": text})
	if err != nil {
		t.Fatal(err)
	}
	answer, err := http.Post("http://"+address+"/demo/publish", "application/json", strings.NewReader(string(body)))
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		t.Fatalf("publish: %s", answer.Status)
	}
}

func TestDemo_FitsDesktopAndPhoneInLightAndDark(t *testing.T) {
	t.Parallel()
	_, address := startDemo(t, "127.0.0.1:0")
	t.Cleanup(http.DefaultClient.CloseIdleConnections)
	b := browser.Start(t)
	for _, scheme := range []struct {
		name string
		dark bool
	}{{"light", false}, {"dark", true}} {
		fresh := b.Open(t, "empty-"+scheme.name, browser.Options{Dark: scheme.dark})
		fresh.Visit("http://" + address + "/#lab")
		fresh.WaitForText("#state", "Live")
		fresh.WaitForText("#scroll", "Nothing said in Lab yet")
		fresh.Screenshot("demo-empty-" + scheme.name)
		checkProblems(t, fresh)
	}
	desktops := []*browser.Window{
		join(t, b, address, "Ada", browser.Options{}),
		join(t, b, address, "Barbara", browser.Options{Dark: true}),
	}
	phones := []*browser.Window{
		join(t, b, address, "Katherine", browser.Options{Phone: true}),
		join(t, b, address, "Dorothy", browser.Options{Phone: true, Dark: true}),
	}
	for _, c := range conversation {
		publish(t, address, "say", c.from, c.name, c.text)
	}
	last := conversation[len(conversation)-1]
	all := append(append([]*browser.Window{}, desktops...), phones...)
	for i, w := range all {
		heard(w, last.name, last.text)
		text := []string{"That is the whole idea.", "Works on my phone, too.", "And on the tram.", "Same here."}[i]
		say(w, text)
		for _, other := range all {
			other.WaitForText("#scroll", text)
		}
	}
	// Long words, names and texts must not push anything out of its place.
	publish(t, address, "say", "51c2a9f0", "Grace", strings.Repeat("Donaudampfschifffahrt", 8))
	for i, scheme := range []string{"light", "dark"} {
		publish(t, address, "typing", "0f6b21ce", "Margaret", "")
		desktop, phone := desktops[i], phones[i]
		desktop.WaitForText("#typing", "Margaret is typing")
		desktop.Screenshot("demo-desktop-" + scheme)
		phone.Screenshot("demo-phone-chat-" + scheme)
		fits(t, desktop)
		fits(t, phone)
		for _, view := range []string{"people", "wire"} {
			phone.Click(fmt.Sprintf(".tab[data-view=%q]", view))
			phone.WaitFor(fmt.Sprintf(`document.body.dataset.view === %q`, view))
			phone.Screenshot("demo-phone-" + view + "-" + scheme)
			fits(t, phone)
		}
	}
	checkProblems(t, all...)
}

// fits checks that nothing of a page is wider than the window, and that what is
// to be pressed on a phone is large enough for a finger.
func fits(t *testing.T, w *browser.Window) {
	t.Helper()
	if wide := browser.Eval[[]string](w, `[...document.querySelectorAll('body *')]
		.filter((e) => e.checkVisibility() && !e.classList.contains('hidden') && !e.classList.contains('skip') && e.getBoundingClientRect().right > innerWidth + 1)
		.map((e) => e.tagName + '.' + e.className)`); len(wide) > 0 {
		t.Errorf("wider than the window: %q", wide)
	}
	if small := browser.Eval[[]string](w, `matchMedia('(pointer: coarse)').matches ? [...document.querySelectorAll('.tab, .room, .send')]
		.filter((e) => e.checkVisibility() && e.getBoundingClientRect().height < 44)
		.map((e) => e.className) : []`); len(small) > 0 {
		t.Errorf("too small for a finger: %q", small)
	}
}
