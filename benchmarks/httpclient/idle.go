package main

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"runtime"
	"testing"
	"time"

	"github.com/messagebus-go/messagebus/benchmarks/internal/measure"
	"github.com/messagebus-go/messagebus/httpclient"
)

// serverVariable makes this program the server of idle clients: in another process, as its
// memory is not theirs.
const serverVariable = "MESSAGEBUS_BENCHMARK_SERVER"

// serve holds all requests, and says where.
func serve(in io.Reader, out io.Writer) error {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		begin(w)
		<-r.Context().Done()
	}))
	defer server.Close()
	return measure.Serve(in, out, func(struct{}) (any, error) { return server.URL, nil })
}

// idling measures what a client takes that holds a stream on which nothing comes.
func idling() experiment {
	return experiment{
		name: "idle",
		figures: []measure.Figure{{
			Name: "memory of an idle client", Unit: "bytes", Beside: "an http.Client that reads the same stream", Target: measure.Target{AtMost: 1.2},
		}},
		prepare: func(ctx context.Context, tb testing.TB, size scale) (measure.Run, error) {
			tb.Helper()
			server, err := measure.StartSelf(ctx, tb, serverVariable, "yes")
			if err != nil {
				return nil, err
			}
			var url string
			if err := server.Ask(struct{}{}, &url); err != nil {
				return nil, err
			}
			return func(context.Context) ([]measure.Pair, error) {
				bare, err := memory(ctx, holdBare, url, size.clients)
				if err != nil {
					return nil, err
				}
				ours, err := memory(ctx, hold, url, size.clients)
				return []measure.Pair{{Ours: ours, Other: bare}}, err
			}, nil
		},
	}
}

// A held is a client that has been told to hold a stream.
type held struct {
	await func() error // until it does
	end   func()
}

// memory returns how many bytes of heap and stacks each of so many clients adds.
func memory(ctx context.Context, open func(ctx context.Context, url string) (held, error), url string, clients int) (float64, error) {
	before := inUse()
	all := make([]held, clients)
	for i := range all {
		var err error
		if all[i], err = open(ctx, url); err != nil {
			return 0, err
		}
		defer all[i].end()
	}
	for _, h := range all {
		if err := h.await(); err != nil {
			return 0, err
		}
	}
	return (inUse() - before) / float64(clients), nil
}

func inUse() float64 {
	runtime.GC()
	runtime.GC() // what the first one has only put aside
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return float64(m.HeapAlloc + m.StackInuse)
}

func hold(ctx context.Context, url string) (held, error) {
	client, err := httpclient.New(url, nil)
	if err != nil {
		return held{}, err
	}
	await := func() error {
		retry := time.NewTicker(time.Millisecond)
		defer retry.Stop()
		for !client.Diagnostics().Connected {
			select {
			case <-retry.C:
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		return nil
	}
	_, err = client.Subscribe(channel, httpclient.After(0), func(httpclient.Message) {})
	return held{await, func() { client.Close() }}, err
}

// holdBare has a bare client, with a goroutine that asks and reads as ours has, wait for the
// second part of its stream.
func holdBare(ctx context.Context, url string) (held, error) {
	shared, _ := http.DefaultTransport.(*http.Transport) // which nobody has changed here
	transport := shared.Clone()
	ctx, cancel := context.WithCancel(ctx)
	begun, ended := make(chan error, 1), make(chan struct{})
	go func() {
		defer close(ended)
		response, err := post(ctx, &http.Client{Transport: transport}, url)
		if err != nil {
			begun <- err
			return
		}
		defer response.Body.Close()
		piece := make([]byte, 1<<10)
		_, err = response.Body.Read(piece)
		begun <- err
		_, _ = response.Body.Read(piece) // until it is ended
	}()
	end := func() {
		cancel()
		<-ended
		transport.CloseIdleConnections()
	}
	return held{func() error { return <-begun }, end}, nil
}
