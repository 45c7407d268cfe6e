package dashboard

import (
	"context"
	"math"
	"time"

	"github.com/messagebus-go/messagebus/transport"
)

// How much an overview has, and how long it may take and is used again.
const (
	shownChannels = 20
	shownClients  = 8
	storePatience = 2 * time.Second
	freshFor      = time.Second
)

// An Overview is all that the first screen shows, and the answer of GET
// /api/overview.
type Overview struct {
	At       time.Time `json:"at"`
	Started  time.Time `json:"started"`
	Version  Version   `json:"version"`
	Verdict  Verdict   `json:"verdict"`
	Store    Store     `json:"store"`
	Held     int       `json:"held"`     // requests that are held now
	MaxHeld  int       `json:"max_held"` // how many may be; 0: none
	Totals   Totals    `json:"totals"`
	Samples  Samples   `json:"samples"`
	Channels []Channel `json:"channels"` // those with most traffic, at most 20
	Clients  Clients   `json:"clients"`
	Events   []Event   `json:"events"` // newest first, at most 50
}

// Version is what the program was built from.
type Version struct {
	MessageBus string `json:"messagebus"`
	Commit     string `json:"commit"` // empty: the build did not know
	Go         string `json:"go"`
	Platform   string `json:"platform"`
}

// Store is how the store is doing.
type Store struct {
	URL         string  `json:"url"`       // without its password
	Listening   bool    `json:"listening"` // the feed was opened, as it is for the first reader
	Live        bool    `json:"live"`      // the feed is up
	ReadOnly    bool    `json:"read_only"`
	AnswersMS   float64 `json:"answers_ms"`   // how long it took to answer just now
	Error       string  `json:"error"`        // why it did not; empty: it did
	Queued      int     `json:"queued"`       // messages that wait in memory for it to take writes
	QueuedBytes int     `json:"queued_bytes"` // of these
}

// A Channel is one by its traffic.
type Channel struct {
	Channel   string    `json:"channel"`
	Site      *string   `json:"site"`      // null: it belongs to none
	Published float64   `json:"published"` // messages a second that this process has published, lately
	Delivered float64   `json:"delivered"` // messages a second that were queued for held requests
	Bytes     float64   `json:"bytes"`     // of the data of these, a second
	LastID    *int64    `json:"last_id"`   // null: the store did not answer
	Backlog   *int      `json:"backlog"`   // messages that are stored; null: it is not known
	LastSeen  time.Time `json:"last_seen"` // when this process last had to do with it
}

// Clients are the largest and the slowest ones.
type Clients struct {
	Largest []Client     `json:"largest"` // by what waits for them, and by channels
	Slow    []SlowClient `json:"slow"`    // by how often they were, since the start
}

// A Client is one held request.
type Client struct {
	Client   string `json:"client"` // its id
	User     string `json:"user"`   // as JSON has it; null: anonymous
	Site     string `json:"site"`
	Channels int    `json:"channels"`
	Queued   int    `json:"queued"` // bytes that wait until it has read those before
	Behind   bool   `json:"behind"` // it is served from the backlog
}

// A SlowClient is one that read so slowly that what waited for it was dropped, to
// be read from the backlog, or that was cut off.
type SlowClient struct {
	Client string    `json:"client"`
	User   string    `json:"user"`
	Site   string    `json:"site"`
	Times  int       `json:"times"`
	Last   time.Time `json:"last"`
}

// Overview returns how things are. It is made at most once a second, however
// many ask.
func (d *Dashboard) Overview(ctx context.Context) *Overview {
	d.latest.mu.Lock()
	defer d.latest.mu.Unlock()
	if o := d.latest.overview; o != nil && time.Since(o.At) < freshFor {
		return o
	}
	// One that leaves must not spoil it for the others.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), storePatience)
	defer cancel()
	d.sample(time.Now())
	o := &Overview{Started: d.started, Version: d.options.Version, MaxHeld: d.options.MaxHeld}
	d.fillState(o)
	o.Channels = d.options.Recorder.busiest(time.Now())
	d.askStore(ctx, o)
	o.Clients = d.clients()
	o.At = time.Now()
	d.latest.overview = o
	return o
}

func (d *Dashboard) fillState(o *Overview) {
	health := d.options.Bus.Health()
	o.Store = Store{
		URL: d.options.Store, Listening: health.Listening, Live: health.Live, ReadOnly: health.ReadOnly,
		Queued: health.Queued, QueuedBytes: health.QueuedBytes,
	}
	o.Held = d.options.Handler.Held()
	d.mu.Lock()
	defer d.mu.Unlock()
	o.Verdict = d.verdict
	o.Samples, o.Totals = d.history.plots(), d.totals
	o.Events = d.options.Recorder.happened()
}

func (d *Dashboard) clients() Clients {
	c := Clients{Largest: []Client{}, Slow: d.options.Recorder.slowest()}
	for _, r := range d.options.Handler.Largest(shownClients) {
		c.Largest = append(c.Largest, clientOf(r))
	}
	return c
}

func clientOf(r transport.HeldRequest) Client {
	who := nameOf(r.Identity, r.ClientID)
	return Client{Client: who.client, User: who.user, Site: who.site, Channels: r.Channels, Queued: r.Queued, Behind: r.Behind}
}

// busiest returns the channels with most traffic.
func (r *Recorder) busiest(now time.Time) []Channel {
	r.traffic.mu.Lock()
	defer r.traffic.mu.Unlock()
	heaviest := r.traffic.channels.heaviest(shownChannels)
	channels := make([]Channel, 0, len(heaviest))
	for _, name := range heaviest {
		t := r.traffic.channels.entries[name]
		c := Channel{
			Channel: name.channel, Published: round(t.rate(t.published, now)), Delivered: round(t.rate(t.delivered, now)),
			Bytes: round(t.rate(t.bytes, now)), LastSeen: t.last,
		}
		if name.sited {
			c.Site = &name.site
		}
		channels = append(channels, c)
	}
	return channels
}

func (r *Recorder) slowest() []SlowClient {
	r.mu.Lock()
	defer r.mu.Unlock()
	heaviest := r.slow.heaviest(shownClients)
	all := make([]SlowClient, 0, len(heaviest))
	for _, who := range heaviest {
		t := r.slow.entries[who]
		all = append(all, SlowClient{Client: who.client, User: who.user, Site: who.site, Times: t.times, Last: t.last})
	}
	return all
}

func (r *Recorder) happened() []Event {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.events.newestFirst()
}

// round leaves three digits, as many as anybody reads.
func round(x float64) float64 {
	if x == 0 || math.IsNaN(x) || math.IsInf(x, 0) {
		return 0
	}
	scale := math.Pow(10, 2-math.Floor(math.Log10(math.Abs(x))))
	return math.Round(x*scale) / scale
}
