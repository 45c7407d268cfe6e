package main

import (
	"context"
	"net"
	"strings"
	"testing"

	"github.com/messagebus-go/messagebus/examples/internal/trial"
)

func TestMinimal_DeliversTheTime(t *testing.T) {
	t.Parallel()
	var config net.ListenConfig
	free, err := config.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := free.Addr().String()
	free.Close()
	ended := make(chan error, 1)
	go func() { ended <- run(address) }()
	c, err := subscribe(t.Context(), "http://"+address, ended)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := c.Next(); err != nil || !strings.HasPrefix(got, "20") {
		t.Errorf("got %q, %v; want a time", got, err)
	}
}

// subscribe tries until the server is there.
func subscribe(ctx context.Context, base string, ended <-chan error) (*trial.Client, error) {
	for {
		c, err := trial.Subscribe(ctx, base, "/time", nil)
		if err == nil {
			return c, nil
		}
		select {
		case err := <-ended:
			return nil, err
		case <-ctx.Done():
			return nil, err
		default:
		}
	}
}
