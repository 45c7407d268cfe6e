package transport

import (
	"context"
	"fmt"
	"net/http"
	"sync"
	"testing"

	"github.com/messagebus-go/messagebus/bus"
)

func TestClient_RequestWithoutChunksGetsOneAnswer(t *testing.T) {
	t.Parallel()
	h := &Handler{options: Options{Limits: LimitOptions{MaxQueuedBytes: defaultMaxQueuedBytes}}}
	c := &client{
		h: h, encoder: arrays{newRawAnswer(http.Header{})}, worker: newWorker(h, 0),
		state: reading, begun: true, subs: []*subscription{{channel: "/a"}},
	}
	s := c.subs[0]
	s.client = c
	f := &frame{passage: passage{id: 2, gid: 2}, prev: 1, channel: "/a", data: []byte("2")}
	c.offer(queued{frame: f, sub: s}) // comes while 1 is read
	stored := &frame{passage: passage{id: 1, gid: 1}, channel: "/a", data: []byte("1")}
	place := bus.After(1)
	c.resume(&digest{pieces: []piece{{gid: 1, frame: stored}}, spots: []spot{{place: &place, delivered: true}}}, task{subs: c.subs})
	var b batch
	c.take(&b)
	if len(b.parts) != 1 || !b.last {
		t.Errorf("%d answers: %s", len(b.parts), b.parts)
	}
}

func TestClient_TakesWhatCameDuringItsReadThoughItIsToEnd(t *testing.T) {
	t.Parallel()
	table := newTable()
	c := &client{
		h:       &Handler{options: Options{Limits: LimitOptions{MaxQueuedBytes: defaultMaxQueuedBytes}}},
		encoder: arrays{chunkParts{}}, worker: newWorker(nil, 0), state: reading,
		subs: []*subscription{{channel: "/a"}},
	}
	c.subs[0].client = c
	table.add(c.subs)
	f := &frame{passage: passage{id: 2, gid: 2}, channel: "/a", data: []byte("2")}
	e := table.offer("/a", f, func(s *subscription) { c.offer(queued{frame: f, sub: s}) })
	e.pass(f)
	c.end(Stopped)
	c.mu.Lock()
	c.settle(&digest{spots: make([]spot, 1)}, c.subs, nil)
	c.mu.Unlock()
	c.start("")
	var b batch
	c.take(&b)
	if len(b.parts) != 3 || !b.last || string(b.parts[1]) != string(chunkParts{}.part([]byte(emptyArray))) {
		t.Errorf("%q", b.parts)
	}
}

// A WebSocket may fall behind at any moment, also while it subscribes.
func TestClient_FallsBehindWhileChannelsAreAdded(t *testing.T) {
	t.Parallel()
	h := &Handler{table: newTable(), options: Options{Limits: LimitOptions{MaxChannels: defaultMaxChannels}}}
	c := &client{h: h, link: &link{}, encoder: arrays{textMessages{}}}
	ctx, stop := context.WithCancel(t.Context())
	var falling sync.WaitGroup
	falling.Go(func() {
		for ctx.Err() == nil {
			c.mu.Lock()
			c.state = upToDate
			c.fallBehind()
			c.mu.Unlock()
		}
	})
	asks := make([]ask, 2000)
	for i := range asks {
		asks[i].channel = fmt.Sprint("/", i)
	}
	for range 20 {
		if _, err := h.addFresh(c, asks); err != nil {
			t.Error(err)
		}
		h.leave(c, channelsOf(asks))
	}
	stop()
	falling.Wait()
}
