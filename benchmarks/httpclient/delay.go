package main

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"testing"
	"time"

	"github.com/messagebus-go/messagebus/benchmarks/internal/measure"
	"github.com/messagebus-go/messagebus/httpclient"
)

// delaying times the way of single messages from the server to the callback, and to where
// a bare stream has decoded them. Each is sent when the last one has arrived, by turns.
func delaying() experiment {
	return experiment{
		name: "delay",
		figures: []measure.Figure{{
			Name: "from the server's write to the callback, p50", Unit: "µs", Beside: "to behind json.Unmarshal of a bare stream", Target: measure.Target{AtMost: 1.2},
		}},
		prepare: func(ctx context.Context, tb testing.TB, size scale) (measure.Run, error) {
			tb.Helper()
			ours, err := openOurs(ctx, tb)
			if err != nil {
				return nil, err
			}
			bare, err := openBare(ctx, tb)
			if err != nil {
				return nil, err
			}
			sides := []*line{ours, bare}
			return func(context.Context) ([]measure.Pair, error) {
				var took [2][]float64
				for range size.timed {
					for i, side := range sides {
						t, err := side.time(ctx)
						if err != nil {
							return nil, err
						}
						took[i] = append(took[i], float64(t.Nanoseconds())/1000)
					}
				}
				for i := range took {
					slices.Sort(took[i])
				}
				return []measure.Pair{{Ours: took[0][size.timed/2], Other: took[1][size.timed/2]}}, nil
			}, nil
		},
	}
}

// A line is a server with a listener, who says what it has heard.
type line struct {
	url  string
	next chan int // is sent by the server
	got  chan int64
	last int
}

// newLine starts the server of a line, which serves one request at a time.
func newLine(tb testing.TB) *line {
	tb.Helper()
	l := &line{next: make(chan int), got: make(chan int64, 1)}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		control := http.NewResponseController(w)
		begin(w)
		for {
			select {
			case id := <-l.next:
				_, _ = io.WriteString(w, "["+text(id)+"]"+separator)
				_ = control.Flush()
			case <-r.Context().Done():
				return
			}
		}
	}))
	tb.Cleanup(server.Close)
	l.url = server.URL
	return l
}

// begin sends the head of a stream and its first part.
func begin(w http.ResponseWriter) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	_, _ = io.WriteString(w, "[]"+separator)
	_ = http.NewResponseController(w).Flush()
}

// time sends one message and returns after how long it was heard.
func (l *line) time(ctx context.Context) (time.Duration, error) {
	l.last++
	select {
	case l.next <- l.last:
	case <-ctx.Done():
		return 0, ctx.Err()
	}
	begin := time.Now()
	for {
		select {
		case id := <-l.got:
			if id == int64(l.last) {
				return time.Since(begin), nil
			}
		case <-ctx.Done():
			return 0, ctx.Err()
		}
	}
}

func (l *line) hear(ctx context.Context, id int64) {
	select {
	case l.got <- id:
	case <-ctx.Done():
	}
}

func openOurs(ctx context.Context, tb testing.TB) (*line, error) {
	tb.Helper()
	l := newLine(tb)
	client, err := httpclient.New(l.url, nil)
	if err != nil {
		return nil, err
	}
	tb.Cleanup(func() { client.Close() })
	_, err = client.Subscribe(channel, httpclient.After(0), func(m httpclient.Message) { l.hear(ctx, m.ID) })
	return l, err
}

func openBare(ctx context.Context, tb testing.TB) (*line, error) {
	tb.Helper()
	l := newLine(tb)
	response, err := post(ctx, http.DefaultClient, l.url)
	if err != nil {
		return nil, err
	}
	ended := make(chan struct{})
	tb.Cleanup(func() {
		response.Body.Close()
		<-ended
	})
	go func() {
		defer close(ended)
		l.listen(ctx, response.Body)
	}()
	return l, nil
}

// listen reads a stream until it ends. What is written at once is read at once here.
func (l *line) listen(ctx context.Context, stream io.Reader) {
	piece := make([]byte, 4<<10)
	for {
		n, err := stream.Read(piece)
		if err != nil {
			return
		}
		for part := range bytes.SplitSeq(piece[:n], []byte(separator)) {
			var decoded []message
			if json.Unmarshal(part, &decoded) != nil {
				continue
			}
			for _, m := range decoded {
				l.hear(ctx, m.MessageID)
			}
		}
	}
}
