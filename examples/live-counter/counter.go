package main

import (
	"context"
	_ "embed" // the page
	"errors"
	"html/template"
	"net/http"
	"time"

	"github.com/messagebus-go/messagebus/bus"
	"github.com/messagebus-go/messagebus/cache"
	"github.com/messagebus-go/messagebus/jsclient"
	"github.com/messagebus-go/messagebus/transport"
)

//go:embed page.html
var pageText string

var page = template.Must(template.New("page").Parse(pageText))

// A counter has three parts for one number: the tally keeps it, the cache spares
// the tally the pages, and the bus brings it to those that are open.
type counter struct {
	tally    tally
	number   *cache.Cache[string, int64]
	bus      *bus.Bus
	messages *transport.Handler
}

const (
	cached  = "clicks"  // the only key of the cache
	channel = "/clicks" // where the number is published after each click
)

// newCounter makes the counter of one process. Its cache is to be closed before b.
func newCounter(ctx context.Context, b *bus.Bus, t tally) (*counter, error) {
	messages, err := transport.NewHandler(b, nil)
	if err != nil {
		return nil, err
	}
	// A click whose news cannot be told to the other processes is seen there when
	// the entry has lived its time.
	number, err := cache.New(ctx, b, "live-counter", &cache.Options[string, int64]{TTL: time.Minute})
	if err != nil {
		return nil, err
	}
	return &counter{tally: t, number: number, bus: b, messages: messages}, nil
}

func (c *counter) site() http.Handler {
	site := http.NewServeMux()
	site.Handle("GET /assets/", http.StripPrefix("/assets/", jsclient.Handler()))
	site.HandleFunc("GET /{$}", c.show)
	site.HandleFunc("POST /click", c.click)
	// A browser tells where a request comes from: pages of other sites do not click.
	return http.NewCrossOriginProtection().Handler(c.messages.Middleware(site))
}

// show writes the page with the number in it. However many pages are opened, the
// tally is asked once after a click.
func (c *counter) show(w http.ResponseWriter, r *http.Request) {
	n, err := c.number.Load(r.Context(), cached, c.tally.value)
	if err != nil {
		http.Error(w, "the number cannot be had now", http.StatusServiceUnavailable)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	_ = page.Execute(w, n) // the browser may have left
}

// click counts first: what fails afterwards makes the number late, and not wrong.
// The caches let go of theirs instead of getting the new one, as two processes could
// set theirs in the wrong order.
func (c *counter) click(w http.ResponseWriter, r *http.Request) {
	n, err := c.tally.add(r.Context())
	if err != nil {
		http.Error(w, "the click could not be counted", http.StatusServiceUnavailable)
		return
	}
	_, told := c.bus.Publish(r.Context(), channel, n)
	if err := errors.Join(told, c.number.Delete(r.Context(), cached)); err != nil {
		http.Error(w, "it is counted, and will be seen later", http.StatusServiceUnavailable)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}
