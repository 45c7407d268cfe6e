// Command echo serves the bus among the routes of echo.
package main

import (
	"net/http"

	"github.com/labstack/echo/v5"

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
	router := echo.New()
	router.Any("/message-bus/*", echo.WrapHandler(messages))
	return router, messages, nil
}
