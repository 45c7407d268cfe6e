package rubycompat_test

import (
	"fmt"
	"testing"

	"github.com/messagebus-go/messagebus/integration/httpcases"
	"github.com/messagebus-go/messagebus/integration/proxy"
)

// The table of the Go client against the gem's middleware in puma, alone and behind nginx.
func TestHTTPClient_TableAgainstTheGem(t *testing.T) {
	t.Parallel()
	needGem(t)
	r := startRuby(t, "server.rb", map[string]any{"backend": "memory", "long_polling_interval": 5000, "turns": true})
	address := fmt.Sprint("127.0.0.1:", r.must("port"))
	server := httpcases.Server{URL: "http://" + address, Ruby: true, Publish: func(tb testing.TB, channel string, number int) {
		tb.Helper()
		if _, err := r.call("publish", nil, channel, number); err != nil {
			tb.Errorf("publish: %v", err)
		}
	}}
	t.Run("puma", func(t *testing.T) {
		t.Parallel()
		httpcases.Run(t, server)
	})
	t.Run("nginx", func(t *testing.T) {
		t.Parallel()
		server := server
		server.URL = "http://" + proxy.Nginx(t, address).Address()
		httpcases.Run(t, server)
	})
	t.Run("nginx that reloads", func(t *testing.T) {
		t.Parallel()
		server, nginx := server, proxy.Nginx(t, address)
		server.URL, server.Stop = "http://"+nginx.Address(), func() func() {
			nginx.Reload()
			return func() {}
		}
		httpcases.Run(t, server)
	})
}
