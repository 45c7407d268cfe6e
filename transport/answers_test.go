package transport

import (
	"net/http"
	"testing"

	"github.com/messagebus-go/messagebus/bus"
)

func TestClient_RequestWithoutChunksGetsOneAnswer(t *testing.T) {
	t.Parallel()
	h := &Handler{options: Options{Limits: LimitOptions{MaxQueuedBytes: defaultMaxQueuedBytes}}}
	c := &client{
		h: h, encoder: newAnswerEncoder(http.Header{}), worker: newWorker(h, 0),
		state: reading, begun: true, subs: []subscription{{channel: "/a"}},
	}
	s := &c.subs[0]
	s.client = c
	f := &frame{passage: passage{id: 2, gid: 2}, prev: 1, channel: "/a", data: []byte("2")}
	c.offer(queued{frame: f, sub: s}) // comes while 1 is read
	stored := appendMessage(nil, 1, 1, "/a", []byte("1"))
	place := bus.After(1)
	c.resume(&digest{messages: stored, ends: []int{len(stored)}, spots: []spot{{place: &place, delivered: true}}})
	var b batch
	c.take(&b)
	if len(b.parts) != 1 || !b.last {
		t.Errorf("%d answers: %s", len(b.parts), b.parts)
	}
}
