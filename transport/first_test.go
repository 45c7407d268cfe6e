package transport_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/messagebus-go/messagebus/transport"
)

// stock publishes messages of 200 bytes on channels /0, /1, …, every third one
// for somebody else, and returns how many there are for everybody on each.
func (r *rig) stock(channels, each int) []int {
	count := make([]int, channels)
	for n := range each {
		for i := range channels {
			if (n+i)%3 == 0 {
				r.publish(fmt.Sprint("/", i), "secret", forSomebodyElse)
				continue
			}
			r.publish(fmt.Sprint("/", i), fmt.Sprint(count[i], strings.Repeat("x", 200)))
			count[i]++
		}
	}
	return count
}

// A hoard is what a client has got of the stock.
type hoard struct {
	tb   testing.TB
	last map[string]int
	seen map[string]int
}

func newHoard(tb testing.TB) *hoard {
	return &hoard{tb: tb, last: map[string]int{}, seen: map[string]int{}}
}

// take does with a part what a client does, and returns how many messages it had.
func (h *hoard) take(part string) (n int) {
	h.tb.Helper()
	for _, m := range decode(h.tb, part) {
		switch m.Channel {
		case "/__status":
			var at map[string]int
			if err := json.Unmarshal(m.Data, &at); err != nil {
				h.tb.Fatal(err)
			}
			maps.Copy(h.last, at)
		case "/__subscribed":
		default:
			if want := fmt.Sprintf(`"%dx`, h.seen[m.Channel]); !strings.HasPrefix(string(m.Data), want) {
				h.tb.Fatalf("%s got %.20s, want %s", m.Channel, m.Data, want)
			}
			h.seen[m.Channel]++
			h.last[m.Channel] = m.ID
			n++
		}
	}
	return n
}

// body asks for channels from where the client is, or from first.
func (h *hoard) body(channels, first int) string {
	var fields []string
	for i := range channels {
		at, known := h.last[fmt.Sprint("/", i)]
		if !known {
			at = first
		}
		fields = append(fields, fmt.Sprintf("/%d=%d", i, at))
	}
	return strings.Join(fields, "&")
}

func (h *hoard) has(count []int) bool {
	for i, n := range count {
		if h.seen[fmt.Sprint("/", i)] != n {
			return false
		}
	}
	return true
}

const stocked, stockEach = 7, 60

// stockRig is a rig with a stock that no client takes in one piece, and that is
// not read in one either.
func stockRig(t *testing.T, opts *transport.Options) (*rig, []int) {
	t.Helper()
	opts.Limits.MaxQueuedBytes = 3000
	r := newRig(t, opts)
	r.handler.ReadAtOnce(5)
	return r, r.stock(stocked, stockEach)
}

func TestFirst_StreamGetsALongBacklogInSeveralParts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, count := stockRig(t, &transport.Options{})
		h := newHoard(t)
		p := r.poll("me", h.body(stocked, 0)).head()
		for !h.has(count) {
			part := p.part()
			if len(part) > 4500 {
				t.Fatalf("a part of %d bytes", len(part))
			}
			h.take(part)
		}
	})
}

func TestFirst_AnswerIsBoundedAndTheClientComesBackForTheRest(t *testing.T) {
	for _, target := range []string{"/message-bus/me/poll", "/message-bus/me/poll?dlp=t"} {
		synctest.Test(t, func(t *testing.T) {
			r, count := stockRig(t, &transport.Options{})
			h := newHoard(t)
			answers := 0
			for ; !h.has(count); answers++ {
				conn, err := r.server.Dial(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				start := time.Now()
				body := send(t, conn, request(target, h.body(stocked, 0), "Dont-Chunk: 1", "Connection: close")).head().body()
				if len(body) > 4500 || time.Since(start) > 0 {
					t.Fatalf("an answer of %d bytes after %v", len(body), time.Since(start))
				}
				before := maps.Clone(h.last)
				h.take(body)
				if maps.Equal(before, h.last) {
					t.Fatalf("the client comes back with what it had: %v", h.last)
				}
			}
			if answers > 200 {
				t.Errorf("%d answers", answers)
			}
		})
	}
}

func TestFirst_EventsAreBoundedAndGoOnAfterTheLast(t *testing.T) {
	for _, disabled := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			r, count := stockRig(t, &transport.Options{LongPoll: transport.LongPollOptions{Disabled: disabled}})
			h := newHoard(t)
			last, visits := "", 0
			for ; !h.has(count); visits++ {
				l := r.listen("me", newHoard(t).body(stocked, 0), last)
				for range 50 {
					e, open := l.next()
					if !open {
						break
					}
					if e.name == "" {
						h.take("[" + e.data + "]")
					}
					if h.has(count) {
						break
					}
				}
				if l.last == last {
					t.Fatalf("it comes back after %q again", last)
				}
				last = l.last
				l.body.Close()
			}
			if visits < 3 {
				t.Errorf("%d visits", visits)
			}
		})
	}
}

func TestFirst_WebSocketGetsALongBacklogInSeveralMessages(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, count := stockRig(t, socketOptions(transport.Options{}))
		s, _ := r.connect("me")
		var names []string
		for i := range stocked {
			names = append(names, fmt.Sprintf(`"/%d":0`, i))
		}
		s.say(`{"subscribe":{` + strings.Join(names, ",") + `}}`)
		h := newHoard(t)
		for !h.has(count) {
			part := <-s.messages
			if len(part) > 4500 {
				t.Fatalf("a message of %d bytes", len(part))
			}
			h.take(part)
		}
	})
}

// The newest of a channel are asked for by count, and counted at once, whatever
// is left for a later part.
func TestFirst_TheNewestAreThoseOfTheMomentOfTheRequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, &transport.Options{Limits: transport.LimitOptions{MaxQueuedBytes: 2000}})
		const n = 100
		for i := range n {
			r.publish("/a", i)
			r.publish("/b", i)
		}
		p := r.poll("me", "/a=-51&/b=-51").head()
		go func() { // meanwhile more comes than was asked for
			for i := range n {
				r.publish("/b", n+i)
			}
		}()
		next := map[string]int{"/a": n - 50, "/b": n - 50}
		for next["/a"] < n || next["/b"] < 2*n {
			for _, m := range decode(t, p.part()) {
				if fmt.Sprint(next[m.Channel]) != string(m.Data) {
					t.Fatalf("%s got %s, want %d", m.Channel, m.Data, next[m.Channel])
				}
				next[m.Channel]++
			}
		}
	})
}
