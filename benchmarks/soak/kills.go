package main

import (
	"context"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/messagebus-go/messagebus/benchmarks/internal/measure"
	"github.com/messagebus-go/messagebus/integration/command"
	"github.com/messagebus-go/messagebus/integration/port"
	"github.com/messagebus-go/messagebus/integration/proxy"
	"github.com/messagebus-go/messagebus/integration/stores"
)

// killEvery is how often a server is killed, and downFor how long it stays away.
const (
	killEvery = 10 * time.Second
	downFor   = time.Second
)

// kills has nginx spread clients over three servers, of which one is killed again and
// again.
func kills(ctx context.Context, tb testing.TB, duration, every time.Duration) ([]measure.Result, error) {
	tb.Helper()
	store := stores.Redis(tb).URL()
	addresses := []string{port.Address(tb), port.Address(tb), port.Address(tb)}
	servers := make([]*command.Process, len(addresses))
	for i, address := range addresses {
		servers[i] = serve(tb, address, store)
	}
	nginx := proxy.Nginx(tb, addresses...)

	l := load{clients: 100, channels: 10, rate: 50, duration: duration}
	ctx, cancel := context.WithCancel(ctx)
	var killing sync.WaitGroup
	killed := 0
	killing.Go(func() {
		for wait(ctx, every) {
			i := killed % len(servers)
			servers[i].Kill()
			killed++
			wait(ctx, downFor)
			servers[i] = serve(tb, addresses[i], store)
		}
	})
	r, err := l.put(ctx, tb, nginx.Address(), store)
	cancel()
	killing.Wait()
	results := l.results(r)
	kills := measure.Figure{Name: "servers killed"}.Result(results[0].Group, []measure.Pair{{Ours: float64(killed)}})
	return append(results, kills), err
}

// serve starts a server, which allows all clients from one address, as nginx is.
func serve(tb testing.TB, address, store string, args ...string) *command.Process {
	tb.Helper()
	p := command.Start(tb, append([]string{"serve", "--listen", address, "--store", store, "--max-held-per-address", "0"}, args...)...)
	p.WaitFor("that it listens", func(output string) (string, bool) {
		return "", strings.Contains(output, "listening for clients")
	})
	return p
}

// wait waits, unless ctx ends.
func wait(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
