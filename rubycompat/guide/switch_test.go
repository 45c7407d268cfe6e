package guide_test

import (
	"fmt"
	"net"
	"slices"
	"testing"

	"github.com/messagebus-go/messagebus/bus"
	"github.com/messagebus-go/messagebus/integration/browser"
)

// TestGuide_PagesDoNotNoticeWhichServerAnswers has pages of the application open, with the gem's
// client and with ours, while nginx goes from Ruby to Go and back, and to Go again.
func TestGuide_PagesDoNotNoticeWhichServerAnswers(t *testing.T) {
	t.Parallel()
	needGem(t)
	m := newMachine(t)
	steps := readSteps(t)
	m.begin(steps[0])
	pages := openPages(t, m)
	p := &post{m: m, bus: m.goBus(), pages: pages}

	blocks := steps[1].parts[""]
	m.follow(blocks[:len(blocks)-1])
	p.oneByOne(10)
	p.during(func() { m.follow(blocks[len(blocks)-1:]) }, func() bool { return m.held() == len(pages) })
	p.allAtOnce(300)
	p.during(func() { m.follow(steps[1].parts["Back"]) }, func() bool { return m.held() == 0 })
	p.oneByOne(10)
	p.during(func() { m.follow(steps[1].parts["Forth"]) }, func() bool { return m.held() == len(pages) })
	p.allAtOnce(300)
	for _, page := range pages {
		page.hasAll(t)
	}
}

// A page is a window of somebody who has signed in, with one of the clients.
type page struct {
	name, user, site string
	window           *browser.Window
	want             map[string][]string // by channel
}

// signIn does what the page's form does.
const signIn = `fetch('/session', { method: 'POST', body: new URLSearchParams({ name: %q }) }).then((answer) => answer.ok)`

func openPages(t *testing.T, m *machine) []*page {
	t.Helper()
	_, port, err := net.SplitHostPort(m.public)
	if err != nil {
		t.Fatal(err)
	}
	b := browser.Start(t)
	pages := []*page{
		{name: "gem", user: "ann", site: "one", want: map[string][]string{"/alerts": {"hello"}}}, // from where the page begins
		{name: "ours", user: "ann", site: "one", want: map[string][]string{"/alerts": {"hello"}}},
		{name: "gem", user: "bob", site: "one", want: map[string][]string{}},
		{name: "ours", user: "ann", site: "two", want: map[string][]string{}},
	}
	for _, p := range pages {
		at := "http://" + p.site + ".localhost:" + port + "/"
		p.window = b.Open(t, p.name+" "+p.user+" "+p.site, browser.Options{})
		p.window.Visit(at)
		if !browser.Eval[bool](p.window, fmt.Sprintf(signIn, p.user)) {
			t.Fatalf("%s cannot sign in", p.user)
		}
		p.window.Visit(at + "?client=" + p.name)
		p.window.WaitForText("#user", p.user)
	}
	return pages
}

// A letter is a message to some of the pages.
type letter struct {
	channel string
	users   []int64
	groups  []string
	site    string
}

// letters come by turns.
var letters = []letter{
	{channel: "/alerts", users: []int64{7}, site: "one"},
	{channel: "/alerts", groups: []string{"staff"}, site: "one"},
	{channel: "/news", site: "one"},
	{channel: "/alerts", users: []int64{8}, site: "one"},
	{channel: "/alerts", users: []int64{7}, groups: []string{"staff"}, site: "two"},
	{channel: "/news", site: "two"},
}

func (l letter) isFor(p *page) bool {
	if l.site != p.site {
		return false
	}
	if l.users == nil && l.groups == nil {
		return true
	}
	id := map[string]int64{"ann": 7, "bob": 8}[p.user]
	return slices.Contains(l.users, id) || l.groups != nil && p.user == "ann"
}

// A post publishes letters, by turns from Go and, on the site "one", from Ruby.
type post struct {
	m     *machine
	bus   *bus.Bus
	pages []*page
	sent  int
}

func (p *post) send() {
	l := letters[p.sent%len(letters)]
	text := fmt.Sprintf("letter %d", p.sent)
	fromRuby := l.site == "one" && p.sent%2 == 0
	p.sent++
	for _, page := range p.pages {
		if l.isFor(page) {
			page.want[l.channel] = append(page.want[l.channel], text)
		}
	}
	if fromRuby {
		targets := map[string]any{}
		if l.users != nil {
			targets["user_ids"] = l.users
		}
		if l.groups != nil {
			targets["group_ids"] = l.groups
		}
		p.m.publishRuby(l.channel, text, targets)
		return
	}
	var to []bus.PublishOption
	for _, id := range l.users {
		to = append(to, bus.ToUsers(bus.IntID(id)))
	}
	for _, id := range l.groups {
		to = append(to, bus.ToGroups(bus.StringID(id)))
	}
	publishGo(p.m.t, p.bus.Site(l.site), l.channel, text, to...)
}

// arrived waits until each page has what was sent to it.
func (p *post) arrived() {
	p.m.t.Helper()
	for _, page := range p.pages {
		var count int
		for _, texts := range page.want {
			count += len(texts)
		}
		page.window.WaitFor(fmt.Sprintf("received.length >= %d", count))
	}
}

// oneByOne sends the next letter when the last one has arrived: a Ruby server may lose one that
// comes while it takes a request, if another one follows.
func (p *post) oneByOne(count int) {
	p.m.t.Helper()
	for range count {
		p.send()
		p.arrived()
	}
}

// allAtOnce does not wait.
func (p *post) allAtOnce(count int) {
	p.m.t.Helper()
	for range count {
		p.send()
	}
	p.arrived()
}

// during sends letters while something is done, and until it has come to an end.
func (p *post) during(do func(), done func() bool) {
	p.m.t.Helper()
	doing := make(chan struct{})
	go func() {
		defer close(doing)
		do()
	}()
	for over := false; !over; {
		p.oneByOne(1)
		select {
		case <-doing:
			if p.m.t.Failed() {
				p.m.t.FailNow()
			}
			over = done()
		default:
		}
	}
}

// hasAll compares what the page got with what was sent to it, channel by channel.
func (p *page) hasAll(t *testing.T) {
	t.Helper()
	got := map[string][]string{}
	for _, m := range browser.Eval[[]struct{ Channel, Data string }](p.window, "received") {
		got[m.Channel] = append(got[m.Channel], m.Data)
	}
	for channel, want := range p.want {
		if !slices.Equal(got[channel], want) {
			t.Errorf("%s of %s on %s: %s brought %d messages, and not %d:\n%q\n%q",
				p.name, p.user, p.site, channel, len(got[channel]), len(want), got[channel], want)
		}
	}
	if problems := p.window.Problems(); len(problems) > 0 {
		t.Errorf("%s of %s on %s: %q", p.name, p.user, p.site, problems)
	}
}
