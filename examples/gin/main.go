// Command gin serves the bus among the routes of gin.
package main

import (
	"net/http"

	"github.com/gin-gonic/gin"

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
	router := gin.New()
	router.Any("/message-bus/*path", gin.WrapH(messages))
	return router, messages, nil
}
