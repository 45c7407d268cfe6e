// Command chat is a room without names, with the EventSource that every browser has.
package main

import (
	_ "embed" // the page
	"net/http"

	"github.com/messagebus-go/messagebus/bus"
	"github.com/messagebus-go/messagebus/examples/internal/serve"
	"github.com/messagebus-go/messagebus/transport"
)

//go:embed page.html
var page []byte

func main() { serve.Main(newSite) }

func newSite(b *bus.Bus) (http.Handler, *transport.Handler, error) {
	messages, err := transport.NewHandler(b, nil)
	if err != nil {
		return nil, nil, err
	}
	site := http.NewServeMux()
	site.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		_, _ = w.Write(page) // the browser may have left
	})
	site.HandleFunc("POST /say", func(w http.ResponseWriter, r *http.Request) { say(b, w, r) })
	return messages.Middleware(site), messages, nil
}

const longest = 1000 // bytes

// say publishes what a form says. Pages of other sites may not: a browser tells
// where a form comes from.
func say(b *bus.Bus, w http.ResponseWriter, r *http.Request) {
	if err := http.NewCrossOriginProtection().Check(r); err != nil {
		http.Error(w, err.Error(), http.StatusForbidden)
		return
	}
	r.Body = http.MaxBytesReader(w, r.Body, 4*longest)
	said := r.FormValue("text")
	if said == "" || len(said) > longest {
		http.Error(w, "say between 1 and 1000 bytes", http.StatusBadRequest)
		return
	}
	if _, err := b.Publish(r.Context(), "/chat", said); err != nil {
		http.Error(w, "it could not be said", http.StatusServiceUnavailable)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}
