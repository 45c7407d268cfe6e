package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/messagebus-go/messagebus/benchmarks/internal/measure"
	"github.com/messagebus-go/messagebus/httpclient"
)

const (
	channel   = "/chat"
	separator = "\r\n|\r\n"
)

// A message is one as the bare side reads it.
type message struct {
	GlobalID  int64           `json:"global_id"`
	MessageID int64           `json:"message_id"`
	Channel   string          `json:"channel"`
	Data      json.RawMessage `json:"data"`
}

// text is a small message as a server writes it.
func text(id int) string {
	return fmt.Sprintf(`{"global_id":%d,"message_id":%d,"channel":%q,"data":{"user":"ann","text":"hello %d"}}`, 10*id, id, channel, id)
}

// answer has half of its messages in one part, as a backlog comes, and the other half in
// parts of their own, as live messages do.
func answer(messages int) []byte {
	var b bytes.Buffer
	b.WriteByte('[')
	for id := 1; id <= messages; id++ {
		b.WriteString(text(id))
		switch {
		case id < messages/2:
			b.WriteByte(',')
		case id < messages:
			b.WriteString("]" + separator + "[")
		}
	}
	b.WriteString("]" + separator)
	return b.Bytes()
}

// reading times how many small messages are read and decoded in a second, and counts what
// is allocated for each beside the payload, which is the application's.
func reading() experiment {
	return experiment{
		name: "read",
		figures: []measure.Figure{
			{Name: "read and decode small messages", Unit: "messages/s", Beside: "io.ReadFull and json.Unmarshal", Target: measure.Target{AtLeast: 0.8}},
			{Name: "allocations for a message beside its payload", Unit: "allocations", Target: measure.Target{Limit: 2}},
		},
		prepare: func(ctx context.Context, tb testing.TB, size scale) (measure.Run, error) {
			tb.Helper()
			whole := answer(size.messages)
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Length", strconv.Itoa(len(whole)))
				_, _ = w.Write(whole)
			}))
			tb.Cleanup(server.Close)
			return func(context.Context) ([]measure.Pair, error) {
				var ours, bare time.Duration
				var allocated uint64
				for range size.turns {
					took, err := readBare(ctx, server.URL, size.messages)
					if err != nil {
						return nil, err
					}
					bare += took
					before := allocations()
					if took, err = read(ctx, server.URL, size.messages); err != nil {
						return nil, err
					}
					ours += took
					allocated += allocations() - before
				}
				n := float64(size.turns * size.messages)
				return []measure.Pair{
					{Ours: n / ours.Seconds(), Other: n / bare.Seconds()},
					{Ours: float64(allocated)/n - 1},
				}, nil
			}, nil
		},
	}
}

func allocations() uint64 {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.Mallocs
}

// read returns how long a client takes for an answer with so many messages.
func read(ctx context.Context, url string, messages int) (time.Duration, error) {
	begin := time.Now()
	failed := make(chan error, 1)
	client, err := httpclient.New(url, &httpclient.Options{OnError: func(err error) {
		select {
		case failed <- err:
		default:
		}
	}})
	if err != nil {
		return 0, err
	}
	defer client.Close()
	done := make(chan time.Duration, 1)
	if _, err := client.Subscribe(channel, httpclient.After(0), func(m httpclient.Message) {
		if m.ID == int64(messages) {
			done <- time.Since(begin)
		}
	}); err != nil {
		return 0, err
	}
	select {
	case took := <-done:
		return took, nil
	case err := <-failed:
		return 0, err
	case <-ctx.Done():
		return 0, ctx.Err()
	}
}

// readBare reads and decodes an answer and does nothing else.
func readBare(ctx context.Context, url string, messages int) (time.Duration, error) {
	begin := time.Now()
	response, err := post(ctx, http.DefaultClient, url)
	if err != nil {
		return 0, err
	}
	defer response.Body.Close()
	whole := make([]byte, response.ContentLength)
	if _, err := io.ReadFull(response.Body, whole); err != nil {
		return 0, err
	}
	n := 0
	for part := range bytes.SplitSeq(whole, []byte(separator)) {
		if len(part) == 0 {
			continue
		}
		var decoded []message
		if err := json.Unmarshal(part, &decoded); err != nil {
			return 0, err
		}
		n += len(decoded)
	}
	if n != messages {
		return 0, fmt.Errorf("%d of %d messages were read", n, messages)
	}
	return time.Since(begin), nil
}

// post sends what stands for a client's request.
func post(ctx context.Context, client *http.Client, url string) (*http.Response, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, url, strings.NewReader("{}"))
	if err != nil {
		return nil, err
	}
	return client.Do(request)
}
