package dashboard

import (
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/messagebus-go/messagebus/bus"
	"github.com/messagebus-go/messagebus/transport"
)

// How much a Recorder keeps, whatever names applications and browsers make up.
const (
	maxChannels = 128
	maxSlow     = 64
	maxName     = 1024 // bytes; longer names are not counted one by one
)

// keepalive is where the bus gives its own signs of life (bus.Options.Keepalive).
const keepalive = "/__mb_keepalive__/"

// A Recorder notes what no counter can tell: which channels have the traffic,
// which clients are slow, and what happened when. Its memory is bounded. All
// methods are safe for concurrent use.
type Recorder struct {
	traffic struct {
		mu       sync.Mutex // guards below
		channels *sketch[channelName]
	}

	mu     sync.Mutex // guards below
	slow   *sketch[clientName]
	events eventLog
}

// channelName is a channel and the site that it belongs to.
type channelName struct {
	channel, site string
	sited         bool
}

// clientName tells clients apart, as the handler does.
type clientName struct{ site, user, client string }

// NewRecorder returns a Recorder that has noted nothing.
func NewRecorder() *Recorder {
	r := &Recorder{slow: newSketch[clientName](maxSlow)}
	r.traffic.channels = newSketch[channelName](maxChannels)
	return r
}

// Bus returns hooks that note what they are told, and then tell next, all of
// whose fields are set.
func (r *Recorder) Bus(next *bus.Trace) *bus.Trace {
	t := *next
	t.Publish = func(p bus.PublishInfo) {
		r.published(p)
		next.Publish(p)
	}
	t.GivenUp = func(channel, site string, err error) {
		r.note("given up", fmt.Sprintf("A queued message of %s is not published: %v", strconv.Quote(channel), err))
		next.GivenUp(channel, site, err)
	}
	t.FeedUp = func() {
		r.note("feed up", "The live feed of the store is up")
		next.FeedUp()
	}
	t.FeedDown = func(err error) {
		r.note("feed down", fmt.Sprintf("The live feed of the store is down: %v", err))
		next.FeedDown(err)
	}
	t.Gap = func(e *bus.GapError) {
		r.note("possible loss", lossText(e))
		next.Gap(e)
	}
	t.Undecodable = func(e *bus.DecodeError) {
		r.note("undecodable", fmt.Sprintf("Message %d of %s cannot be read: %v", e.ID, strconv.Quote(e.Channel), e.Err))
		next.Undecodable(e)
	}
	return &t
}

// Transport returns hooks as Bus does.
func (r *Recorder) Transport(next *transport.Trace) *transport.Trace {
	t := *next
	t.Deliver = func(m *bus.Message, requests int) {
		r.delivered(m, requests)
		next.Deliver(m, requests)
	}
	t.Slow = func(id transport.Identity, client string) {
		r.tooSlow(nameOf(id, client), "reads too slowly: what waited is dropped, and read from the backlog")
		next.Slow(id, client)
	}
	t.Disconnect = func(id transport.Identity, client string, why transport.Reason) {
		if why == transport.TooSlow {
			r.tooSlow(nameOf(id, client), "has read nothing for too long, and is cut off")
		}
		next.Disconnect(id, client, why)
	}
	return &t
}

func lossText(e *bus.GapError) string {
	where := "on all channels" // of a reader of all
	if e.Channel != "" {
		where = "on " + strconv.Quote(e.Channel)
	}
	if e.Reason == bus.GapReset {
		return fmt.Sprintf("Ids began again %s: after %d comes %d; what was stored before is gone", where, e.After, e.Next)
	}
	return fmt.Sprintf("Something may be missing %s between %d and %d (%s)", where, e.After, e.Next, e.Reason)
}

func (r *Recorder) published(p bus.PublishInfo) {
	if p.Err != nil || p.Channel == keepalive || len(p.Channel)+len(p.Site) > maxName {
		return
	}
	now := time.Now()
	r.traffic.mu.Lock()
	defer r.traffic.mu.Unlock()
	r.traffic.channels.at(channelName{p.Channel, p.Site, p.Site != ""}, 1, now).published++
}

func (r *Recorder) delivered(m *bus.Message, requests int) {
	if len(m.Channel)+len(m.Site) > maxName {
		return
	}
	now, n := time.Now(), float64(requests)
	r.traffic.mu.Lock()
	defer r.traffic.mu.Unlock()
	t := r.traffic.channels.at(channelName{m.Channel, m.Site, m.Sited}, n, now)
	t.delivered += n
	t.bytes += n * float64(len(m.Data))
}

// age lets the traffic that was counted fade.
func (r *Recorder) age(now time.Time) {
	r.traffic.mu.Lock()
	defer r.traffic.mu.Unlock()
	r.traffic.channels.fade(now)
}

func nameOf(id transport.Identity, client string) clientName {
	return clientName{clip(id.Site, maxName), clip(id.UserID.String(), maxName), clip(client, maxName)}
}

func (r *Recorder) tooSlow(who clientName, what string) {
	now := time.Now()
	r.mu.Lock()
	defer r.mu.Unlock()
	r.slow.at(who, 1, now).times++
	r.events.add(now, "slow client", fmt.Sprintf("Client %s %s", strconv.Quote(who.client), what))
}

func (r *Recorder) note(kind, text string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.events.add(time.Now(), kind, text)
}

// clip cuts a foreign text to so many bytes, and marks that it did. What is no
// valid UTF-8 is replaced.
func clip(s string, most int) string {
	if len(s) > most {
		for most > 0 && !utf8.RuneStart(s[most]) {
			most--
		}
		s = s[:most] + "…"
	}
	return strings.ToValidUTF8(s, "\uFFFD")
}
