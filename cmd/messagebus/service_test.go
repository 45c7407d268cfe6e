package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/messagebus-go/messagebus/bus"
	"github.com/messagebus-go/messagebus/bus/bustest"
	"github.com/messagebus-go/messagebus/bus/driver"
)

// failingStore refuses every publish with err.
type failingStore struct {
	driver.Backend

	err error
}

func (s failingStore) Publish(context.Context, string, []byte, driver.Limits) (driver.Position, error) {
	return driver.Position{}, s.err
}

func (s failingStore) Close() error { return nil }

// follower reads the lines of a subscription that runs.
type follower struct {
	lines *bufio.Scanner
	ended chan error
	stop  context.CancelFunc
}

func followService(t *testing.T, s service, q subscribeQuery) *follower {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	reader, writer := io.Pipe()
	f := &follower{lines: bufio.NewScanner(reader), ended: make(chan error, 1), stop: cancel}
	f.lines.Buffer(nil, 1<<20)
	go func() {
		f.ended <- s.subscribe(ctx, q, &lines{w: writer})
		writer.Close()
	}()
	t.Cleanup(func() {
		cancel()
		reader.Close()
	})
	return f
}

func (f *follower) next(t *testing.T) string {
	t.Helper()
	if !f.lines.Scan() {
		t.Fatalf("the lines ended: %v", f.lines.Err())
	}
	return f.lines.Text()
}

func TestSubscribe_MergesChannelsEachInOrder(t *testing.T) {
	t.Parallel()
	b := bustest.New(t)
	publish := func(from, to int) {
		for i := from; i < to; i++ {
			for _, channel := range []string{"/a", "/b"} {
				if _, err := b.Publish(t.Context(), channel, i); err != nil {
					t.Error(err)
				}
			}
		}
	}
	publish(0, 50)
	f := followService(t, local{b}, subscribeQuery{channels: []string{"/a", "/b"}, from: start{"0", bus.After(0)}})
	var publishing = make(chan struct{})
	go func() { defer close(publishing); publish(50, 100) }()
	seen := map[string]int{}
	for range 200 {
		line := f.next(t)
		channel := line[len(`{"channel":"`) : len(`{"channel":"`)+2]
		if want := fmt.Sprintf(`"data":%d}`, seen[channel]); !strings.HasSuffix(line, want) {
			t.Fatalf("on %s came %s, want %s", channel, line, want)
		}
		seen[channel]++
	}
	<-publishing
	f.stop()
	if err := <-f.ended; err != nil {
		t.Errorf("it ended with %v", err)
	}
}

func TestSubscribe_TellsGapsAndWhatCannotBeRead(t *testing.T) {
	t.Parallel()
	store := bustest.NewStore(t)
	b := bustest.On(t, store.Dial(), &bus.Options{MaxBacklogSize: 2})
	for i := range 5 {
		if _, err := b.Publish(t.Context(), "/a", i); err != nil {
			t.Fatal(err)
		}
	}
	f := followService(t, local{b}, subscribeQuery{channels: []string{"/a"}, from: start{"1", bus.After(1)}})
	limits := driver.Limits{MaxSize: 9, MaxGlobalSize: 9, MaxAge: time.Hour, ClearEvery: 1}
	if _, err := store.Publish(t.Context(), "/a", []byte(`{"data":`), limits); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		`{"gap":{"channel":"/a","after":1,"next":4,"reason":"trimmed"}}`,
		`{"channel":"/a","id":4,"global_id":4,"data":3}`,
		`{"channel":"/a","id":5,"global_id":5,"data":4}`,
	} {
		if got := f.next(t); got != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
	}
	const unreadable = `{"undecodable":{"channel":"/a","id":6,"global_id":6,"error":"`
	if got := f.next(t); !strings.HasPrefix(got, unreadable) {
		t.Errorf("got %s, want %s", got, unreadable)
	}
	f.stop()
	if err := <-f.ended; err != nil {
		t.Errorf("it ended with %v", err)
	}

	var text strings.Builder
	if err := (local{b}).backlog(t.Context(), backlogQuery{channel: "/a", after: 4}, &lines{w: &text}); err != nil {
		t.Fatal(err)
	}
	if got := text.String(); !strings.HasPrefix(got, `{"channel":"/a","id":5,"global_id":5,"data":4}`+"\n"+unreadable) || strings.Count(got, "\n") != 2 {
		t.Errorf("the backlog is %s", got)
	}
}

func TestSubscribe_EndsWhenNobodyReadsOrTheBusIsClosed(t *testing.T) {
	t.Parallel()
	b := bustest.New(t)
	if _, err := b.Publish(t.Context(), "/a", 1); err != nil {
		t.Fatal(err)
	}
	q := subscribeQuery{channels: []string{"/b", "/a"}, from: start{"0", bus.After(0)}}
	err := local{b}.subscribe(t.Context(), q, &lines{w: closedWriter{}})
	if !hungUp(err) {
		t.Errorf("a closed output ended it with %v", err)
	}
	f := followService(t, local{b}, q)
	f.next(t)
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-f.ended; err == nil || !strings.Contains(err.Error(), "closed") {
		t.Errorf("a closed bus ended it with %v", err)
	}
}

type closedWriter struct{}

func (closedWriter) Write([]byte) (int, error) { return 0, io.ErrClosedPipe }

func TestParseStart(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]bus.Position{
		"latest": bus.Latest(), "0": bus.After(0), "7": bus.After(7), "9223372036854775807": bus.After(1<<63 - 1),
		"last:0": bus.Last(0), "last:3": bus.Last(3),
	} {
		if got, err := parseStart(text); err != nil || got.position != want || got.text != text {
			t.Errorf("%q: %+v, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "Latest", "-1", "+1", "1.0", "0x1", "9223372036854775808", "last", "last:", "last:x", "last:-1", "last:4294967296", " 1"} {
		if got, err := parseStart(text); err == nil {
			t.Errorf("%q is accepted as %+v", text, got)
		}
	}
}
