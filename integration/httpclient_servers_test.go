package integration_test

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/messagebus-go/messagebus/bus"
	"github.com/messagebus-go/messagebus/bus/bustest"
	"github.com/messagebus-go/messagebus/bus/redisbus"
	"github.com/messagebus-go/messagebus/integration/command"
	"github.com/messagebus-go/messagebus/integration/httpcases"
	"github.com/messagebus-go/messagebus/integration/port"
	"github.com/messagebus-go/messagebus/integration/proxy"
	"github.com/messagebus-go/messagebus/integration/stores"
	"github.com/messagebus-go/messagebus/transport"
)

func TestHTTPClient_TableAgainstTheHandler(t *testing.T) {
	t.Parallel()
	b := bustest.On(t, bustest.NewStore(t), &bus.Options{MaxGlobalBacklogSize: 1_000_000}) // for all cases
	h, err := transport.NewHandler(b, nil)
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(h)
	endWithTest(t, server, h)
	httpcases.Run(t, httpcases.Server{URL: server.URL, Publish: func(tb testing.TB, channel string, number int) {
		if _, err := b.Publish(context.Background(), channel, number); err != nil {
			tb.Errorf("publish: %v", err)
		}
	}})
}

func TestHTTPClient_TableAgainstTheCommandAndNginx(t *testing.T) {
	t.Parallel()
	listen, operators := port.Address(t), port.Address(t)
	serveCommand(t, "--listen", listen, "--admin-listen", operators)
	publish := func(tb testing.TB, channel string, number int) {
		body := fmt.Sprintf(`{"channel":%q,"data":%d}`, channel, number)
		response, err := http.Post("http://"+operators+"/publish", "application/json", bytes.NewBufferString(body))
		if err != nil {
			tb.Errorf("publish: %v", err)
			return
		}
		response.Body.Close()
		if response.StatusCode != http.StatusOK {
			tb.Errorf("publish: %s", response.Status)
		}
	}
	t.Run("command", func(t *testing.T) {
		t.Parallel()
		httpcases.Run(t, httpcases.Server{URL: "http://" + listen, Publish: publish})
	})
	t.Run("nginx", func(t *testing.T) {
		t.Parallel()
		httpcases.Run(t, httpcases.Server{URL: "http://" + proxy.Nginx(t, listen).Address(), Publish: publish})
	})
	t.Run("nginx that reloads", func(t *testing.T) {
		t.Parallel()
		nginx := proxy.Nginx(t, listen)
		httpcases.Run(t, httpcases.Server{URL: "http://" + nginx.Address(), Publish: publish, Stop: oneAtATime(func() func() {
			nginx.Reload()
			return func() {}
		})})
	})
}

// The command is killed and started again on the same Redis, where publishing goes on meanwhile.
func TestHTTPClient_TableAgainstACommandThatIsKilled(t *testing.T) {
	t.Parallel()
	database := stores.RedisShared(t)
	store, err := redisbus.New(database.Client(t), &redisbus.Options{PubSubDB: fmt.Sprint(database.PubSubDB)})
	if err != nil {
		t.Fatal(err)
	}
	b := bustest.On(t, store, &bus.Options{MaxGlobalBacklogSize: 1_000_000}) // for all cases
	publish := func(tb testing.TB, channel string, number int) {
		if _, err := b.Publish(context.Background(), channel, number); err != nil {
			tb.Errorf("publish: %v", err)
		}
	}
	for _, name := range []string{"command", "nginx"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			listen := port.Address(t)
			serve := func() *command.Process { return serveCommand(t, "--listen", listen, "--store", database.URL()) }
			running, url := serve(), "http://"+listen
			if name == "nginx" {
				url = "http://" + proxy.Nginx(t, listen).Address()
			}
			httpcases.Run(t, httpcases.Server{URL: url, Publish: publish, Stop: oneAtATime(func() func() {
				running.Kill()
				return func() { running = serve() }
			})})
		})
	}
}

// oneAtATime lets cases that run at the same time stop what they share.
func oneAtATime(stop func() (start func())) func() (start func()) {
	var mu sync.Mutex
	return func() func() {
		mu.Lock()
		start := stop()
		return func() {
			defer mu.Unlock()
			start()
		}
	}
}

// serveCommand returns when the command listens.
func serveCommand(t *testing.T, args ...string) *command.Process {
	t.Helper()
	p := command.Start(t, append([]string{"serve", "--max-global-backlog-size", "1000000"}, args...)...)
	p.WaitFor("the server", func(output string) (string, bool) { return "", strings.Contains(output, "listening for clients") })
	return p
}
