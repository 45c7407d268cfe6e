// Command stripprefix serves the bus below a prefix that it does not know of.
package main

import (
	"net/http"

	"github.com/messagebus-go/messagebus/bus"
	"github.com/messagebus-go/messagebus/examples/internal/serve"
	"github.com/messagebus-go/messagebus/transport"
)

func main() { serve.Main(newSite) }

func newSite(b *bus.Bus) (http.Handler, *transport.Handler, error) {
	messages, err := transport.NewHandler(b, nil)
	if err != nil {
		return nil, nil, err
	}
	site := http.NewServeMux()
	site.Handle("/api/", http.StripPrefix("/api", messages))
	return site, messages, nil
}
