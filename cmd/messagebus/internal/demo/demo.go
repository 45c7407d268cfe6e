// Package demo is a chat in the browser: a page, and an endpoint that publishes
// what the page says. Everything else is the bus: the page hears rooms, who is
// there and who is typing as plain messages, through the browser client.
package demo

import (
	"errors"
	"fmt"
	"log/slog"
	"net/http"

	"github.com/messagebus-go/messagebus/bus"
	"github.com/messagebus-go/messagebus/jsclient"
)

// Options are the settings of the demo. Zero fields mean defaults.
type Options struct {
	Logger *slog.Logger // default: silent
}

// NewHandler returns the whole site, to be mounted at the root: the page at /,
// its files below /assets/, the browser client below /client/, and POST
// /demo/publish. messages answers the requests below /message-bus/. opts may be
// nil.
func NewHandler(b *bus.Bus, messages http.Handler, opts *Options) (http.Handler, error) {
	if b == nil || messages == nil {
		return nil, errors.New("demo: new handler: it needs a bus, and a handler for /message-bus/")
	}
	if opts == nil {
		opts = &Options{}
	}
	logger := opts.Logger
	if logger == nil {
		logger = slog.New(slog.DiscardHandler)
	}
	files, err := loadAssets()
	if err != nil {
		return nil, fmt.Errorf("demo: new handler: %w", err)
	}

	mux := http.NewServeMux()
	mux.Handle("/message-bus/", messages)
	mux.Handle("POST /demo/publish", guard(&publisher{bus: b, logger: logger}))
	mux.Handle("GET /client/", guard(http.StripPrefix("/client", jsclient.Handler())))
	mux.Handle("GET /assets/{name}", guard(files))
	mux.Handle("GET /{$}", guard(files.page("index.html")))
	mux.Handle("GET /favicon.ico", http.RedirectHandler("/assets/favicon.svg", http.StatusMovedPermanently))
	return mux, nil
}

// policy lets the page run its own files and nothing else: no inline script or
// style, no eval, no string that becomes HTML, no frame around it.
const policy = "default-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; " +
	"object-src 'none'; require-trusted-types-for 'script'"

// guard sets the headers that keep a browser from doing anything but what the
// page was written to do.
func guard(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", policy)
		h.Set("Cross-Origin-Opener-Policy", "same-origin")
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("X-Content-Type-Options", "nosniff")
		next.ServeHTTP(w, r)
	})
}
