package integration_test

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/messagebus-go/messagebus/bus"
	"github.com/messagebus-go/messagebus/bus/bustest"
	"github.com/messagebus-go/messagebus/integration/command"
	"github.com/messagebus-go/messagebus/integration/httpcases"
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
	listen, operators := freeAddress(t), freeAddress(t)
	command.Start(t, "serve", "--listen", listen, "--admin-listen", operators,
		"--max-global-backlog-size", "1000000").WaitFor("the server", func(output string) (string, bool) {
		return "", strings.Contains(output, "listening for clients")
	})
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
		proxy := startNginx(t, listen)
		httpcases.Run(t, httpcases.Server{URL: "http://" + proxy, Publish: publish})
	})
}
