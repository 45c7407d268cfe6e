package integration_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/messagebus-go/messagebus/integration/browser"
)

// A life is that of a page, which goes away and comes back, as pages of real users do.
type life struct {
	t      *testing.T
	site   *site
	window *browser.Window
	beside *browser.Window // another page of the same group; nil: there is none
	number int             // of the last message published
}

// An absence is a way in which a page is away, while messages are published.
type absence struct {
	name  string
	spend func(*life)
}

var absences = []absence{
	{"in the back/forward cache", (*life).inTheCache},
	{"frozen", (*life).frozen},
	{"hidden", (*life).hidden},
	{"without a network", (*life).offline},
	{"asleep, by its clock", (*life).asleep},
}

func TestLife_APageThatComesBackAsksAtOnceAndHasMissedNothing(t *testing.T) {
	t.Parallel()
	b := browser.Start(t)
	for _, kind := range []string{"auto", "poll", "sse", "ws", "drop-in", "shared-leader", "shared-follower"} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			l := newLife(t, b, kind)
			for _, a := range absences {
				t.Log(a.name)
				a.spend(l)
				l.isWell()
			}
			checkProblems(t, l.window)
		})
	}
}

func newLife(t *testing.T, b *browser.Browser, kind string) *life {
	t.Helper()
	l := &life{t: t, site: startSite(t)}
	page := "http://" + l.site.proxy.Address() + "/life.html?" + kind
	l.publish()
	l.window = b.Open(t, kind, browser.Options{})
	if role, shared := strings.CutPrefix(kind, "shared-"); shared {
		l.beside = b.Open(t, kind+"-beside", browser.Options{Beside: l.window})
		first := l.window
		if role == "follower" {
			first = l.beside
		}
		first.Visit(page)
		l.have(first)
		if role == "leader" {
			l.beside.Visit(page)
			l.have(l.beside)
		}
	}
	if kind != "shared-leader" {
		l.window.Visit(page)
	}
	l.have(l.window)
	return l
}

func (l *life) publish() {
	l.t.Helper()
	for range 5 {
		l.number++
		if _, err := l.site.bus.Publish(l.t.Context(), "/numbers", l.number); err != nil {
			l.t.Fatal(err)
		}
	}
}

func (l *life) have(w *browser.Window) {
	l.t.Helper()
	w.WaitFor(fmt.Sprintf("globalThis.received?.length >= %d", l.number))
}

// hasReturned checks that the page has asked because of the event by which it has returned,
// and not by its interval of 15 s, and got what it has missed.
func (l *life) hasReturned(event string) {
	l.t.Helper()
	l.happened(event)
	l.have(l.window)
	if l.beside != nil {
		return // which may be the one that asks
	}
	l.window.WaitFor("askedAfter !== undefined")
	if tenths := browser.Eval[int](l.window, "askedAfter"); tenths > 80 { // on a busy machine
		l.t.Errorf("the page has asked %d tenths of a second after its return", tenths)
	}
}

// isWell checks that messages come, and that all have come once and in order.
func (l *life) isWell() {
	l.t.Helper()
	l.publish()
	l.have(l.window)
	if wrong := browser.Eval[[]int](l.window, "received.filter((number, i) => number !== i + 1)"); len(wrong) > 0 {
		l.t.Fatalf("numbers in the wrong place: %v", wrong)
	}
	if gaps := browser.Eval[int](l.window, "gaps.filter(({ reason }) => reason !== 'possible').length"); gaps != 0 {
		l.t.Errorf("the page was told of %d gaps where nothing was lost", gaps)
	}
}

// happened waits until something has happened to the page as the last thing.
func (l *life) happened(event string) {
	l.t.Helper()
	l.window.WaitFor(fmt.Sprintf("globalThis.events?.at(-1) === %q", event))
}

func (l *life) inTheCache() {
	l.window.Visit("http://" + l.site.proxy.Address() + "/client/index.js")
	l.publish()
	l.window.Back()
	l.hasReturned("back from memory")
}

func (l *life) frozen() {
	l.window.Hide() // what shows is not frozen
	l.happened("hidden")
	l.window.Freeze()
	l.publish()
	l.window.Thaw()
	l.hasReturned("resumed")
	l.window.Show()
	l.happened("visible")
}

func (l *life) hidden() {
	l.window.Hide()
	l.happened("hidden")
	// What it holds breaks, and after a try or two it asks once in a minute.
	l.site.proxy.Cut()
	l.publish()
	l.window.Show()
	l.hasReturned("visible")
}

func (l *life) offline() {
	l.connected(false)
	l.happened("offline")
	l.site.proxy.Refuse()
	l.site.proxy.Cut()
	l.window.WaitFor("failed()")
	l.publish()
	l.site.proxy.Restore()
	l.connected(true)
	l.hasReturned("online")
}

func (l *life) connected(connected bool) {
	l.window.Connected(connected)
	if l.beside != nil {
		l.beside.Connected(connected)
	}
}

func (l *life) asleep() {
	for _, hours := range []int{1, -1, 0} {
		browser.Eval[bool](l.window, fmt.Sprintf("(putClock(%d * 3600000), true)", hours))
		l.isWell()
	}
}
