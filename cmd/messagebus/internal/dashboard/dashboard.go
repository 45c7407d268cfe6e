// Package dashboard is the page of the admin listener that says whether a server
// is well, what is wrong, and since when; and the JSON that it is made of.
//
// A Recorder and the metrics collect what happens, a Dashboard takes samples of
// it and shows them. All memory is bounded, whatever browsers and applications
// send.
package dashboard

import (
	"context"
	"log/slog"
	"net/http"
	"sync"
	"time"

	prom "github.com/prometheus/client_golang/prometheus"

	"github.com/messagebus-go/messagebus/bus"
	"github.com/messagebus-go/messagebus/transport"
)

// A Gate decides who may come in. An error that has a method StatusCode is
// answered with that.
type Gate interface {
	// Admit returns why a request may not be answered; nil: it may.
	Admit(r *http.Request) error

	// Locked reports whether there is a key.
	Locked() bool

	// Login begins a session for who knows the key.
	Login(w http.ResponseWriter, r *http.Request, key string) error

	// Logout ends the session.
	Logout(w http.ResponseWriter, r *http.Request)

	// Token returns what requests of the page have to carry; empty: r has no
	// session.
	Token(r *http.Request) string
}

// Options are what a Dashboard shows. All but MaxHeld are needed.
type Options struct {
	Bus      *bus.Bus
	Handler  *transport.Handler
	Recorder *Recorder
	Metrics  prom.Gatherer // those of observe/prometheus
	Store    string        // its URL, without its password
	Version  Version
	MaxHeld  int // 0: no request is held
	Gate     Gate
	Logger   *slog.Logger
}

// A Dashboard answers for the page and its data. All methods are safe for
// concurrent use.
type Dashboard struct {
	options Options
	started time.Time
	pages   http.Handler
	looking chan struct{} // held by the one who reads a backlog

	mu      sync.Mutex // guards below
	history history
	totals  Totals
	verdict Verdict
	unwell  time.Time // since when the bus is not healthy; zero: it is

	latest struct {
		mu       sync.Mutex // held while an overview is made
		overview *Overview
	}
}

// New returns a Dashboard, which takes its samples while Run runs.
func New(options *Options) *Dashboard {
	now := time.Now()
	d := &Dashboard{
		options: *options, started: now, looking: make(chan struct{}, 1),
		verdict: Verdict{Level: Well, Since: now, Findings: []Finding{}},
	}
	d.history.add(sample{at: now}) // nothing has happened yet
	d.pages = d.routes()
	return d
}

// Run takes samples until ctx is done. A server that has just started is given
// the time until the first one to open its feed.
func (d *Dashboard) Run(ctx context.Context) {
	ticker := time.NewTicker(sampleEvery)
	defer ticker.Stop()
	for {
		select {
		case now := <-ticker.C:
			d.sample(now)
		case <-ctx.Done():
			return
		}
	}
}

// sample looks how things are. Those that come between two others, as when
// somebody asks, are not kept for the plots.
func (d *Dashboard) sample(now time.Time) {
	seen, err := gather(d.options.Metrics)
	if err != nil {
		d.options.Recorder.note("notice", "The metrics cannot be read: "+err.Error())
		return
	}
	d.options.Recorder.age(now)
	health := d.options.Bus.Health()
	d.mu.Lock()
	defer d.mu.Unlock()
	s := sampleOf(seen, now)
	d.totals = s.totals
	if last := d.history.samples[len(d.history.samples)-1]; now.Sub(last.at) >= sampleEvery/2 {
		d.history.add(s)
	}
	d.judge(&health, now)
}

// judge moves the verdict. d.mu must be held.
func (d *Dashboard) judge(health *bus.Health, now time.Time) {
	switch {
	case health.OK:
		d.unwell = time.Time{}
	case d.unwell.IsZero():
		d.unwell = now
	}
	d.verdict.Findings = judge(health, d.unwell, &d.history, d.options.MaxHeld)
	if level := levelOf(d.verdict.Findings); level != d.verdict.Level {
		d.verdict.Level, d.verdict.Since = level, now
		d.options.Recorder.note(string(level), summary(d.verdict.Findings))
	}
}
