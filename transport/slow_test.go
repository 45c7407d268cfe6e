package transport_test

import (
	"fmt"
	"io"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/messagebus-go/messagebus/bus"
	"github.com/messagebus-go/messagebus/bus/bustest"
	"github.com/messagebus-go/messagebus/transport"
	"github.com/messagebus-go/messagebus/transport/transporttest"
)

// heap is what is in use after a collection.
func heap() int {
	runtime.GC()
	runtime.GC() // what had a finaliser
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	return int(stats.HeapAlloc)
}

// slowKinds are the ways to hold a request and take nothing more.
var slowKinds = map[string]func(*rig, string){
	"stream":    func(r *rig, id string) { r.poll(id, "/a=0").head().want(noMessages) },
	"long poll": func(r *rig, id string) { r.poll(id, "/a=0", "Dont-Chunk: 1") },
	"events":    func(r *rig, id string) { r.listen(id, "/a=0", "") },
	"WebSocket": func(r *rig, id string) { s, _ := r.connect(id); s.say(`{"subscribe":{"/a":0}}`); <-s.messages },
	"wrapped":   func(r *rig, id string) { r.poll(id, "/a=0").head().want(noMessages) },
}

// Readers that take nothing hold their bound, whatever is published.
func TestHostile_SlowReadersHoldBoundedMemory(t *testing.T) {
	const readers, most, messages, size = 10, 64 << 10, 250, 32 << 10
	for kind, hold := range slowKinds {
		t.Run(kind, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				opts := socketOptions(transport.Options{
					LongPoll: transport.LongPollOptions{Hold: 10 * time.Hour, MaxAge: 10 * time.Hour, Heartbeat: 10 * time.Hour},
					Limits:   transport.LimitOptions{MaxQueuedBytes: most, WriteTimeout: 10 * time.Hour},
				})
				r := newRig(t, opts)
				if kind == "wrapped" {
					r = wrapped(t, opts)
				}
				for i := range readers {
					hold(r, fmt.Sprint("c", i))
				}
				r.held(readers)
				before := heap()
				for i := range messages {
					r.publish("/a", fmt.Sprint(i, strings.Repeat("x", size)), bus.MaxBacklogSize(5))
				}
				synctest.Wait()
				if more := heap() - before; more > readers*(4*most+size) {
					t.Errorf("%d KB for %d readers", more>>10, readers)
				}
			})
		})
	}
}

// What is long in a request is not kept for as long as it is held.
func TestHostile_HeldRequestsKeepNothingOfWhatTheySent(t *testing.T) {
	const clients, junk = 10, 900 << 10
	for kind, hold := range map[string]func(*rig, string){
		"query": func(r *rig, id string) {
			r.get("/message-bus/" + id + "/poll?" + strings.Repeat("x", junk)).head().want(noMessages)
		},
		"body": func(r *rig, id string) { r.poll(id, "/a="+strings.Repeat("0", junk)).head().want(noMessages) },
		"events": func(r *rig, id string) {
			r.get("/message-bus/" + id + "/sse?/a=" + strings.Repeat("0", junk)).head()
		},
	} {
		t.Run(kind, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, nil)
				before := heap()
				for i := range clients {
					hold(r, fmt.Sprint("c", i))
				}
				r.held(clients)
				if more := heap() - before; more > clients*junk/5 {
					t.Errorf("%d KB for %d clients", more>>10, clients)
				}
			})
		})
	}
}

// Who takes a byte now and then makes no progress.
func TestHostile_WhoTakesByteByByteIsCutOff(t *testing.T) {
	long := strings.Repeat("x", longPart)
	for kind, ask := range map[string]func(r *rig) *peer{
		"stream":    func(r *rig) *peer { return r.poll("me", "/a=0") },
		"long poll": func(r *rig) *peer { return r.poll("me", "/a=0", "Dont-Chunk: 1") },
		"events":    func(r *rig) *peer { return r.get("/message-bus/me/sse?/a=0") },
		"poll": func(r *rig) *peer {
			r.publish("/a", long)
			return send(r.tb, r.dial(), request("/message-bus/me/poll?dlp=t", "/a=0"))
		},
		"wrapped": func(r *rig) *peer { return r.poll("me", "/a=0") },
	} {
		t.Run(kind, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				opts := &transport.Options{LongPoll: transport.LongPollOptions{Hold: time.Hour}}
				r := newRig(t, opts)
				if kind == "wrapped" {
					r = wrapped(t, opts)
				}
				p := ask(r)
				if kind != "poll" {
					r.held(1)
					r.publish("/a", long)
				}
				if _, err := io.ReadFull(p.conn, make([]byte, 1000)); err != nil {
					t.Fatal(err)
				}
				for taken := 0; ; taken++ {
					<-time.After(9 * time.Second)
					if _, err := p.conn.Read(make([]byte, 1)); err != nil {
						break
					}
					if taken > 20 {
						t.Fatalf("%d bytes were taken one by one", taken)
					}
				}
				r.held(0)
			})
		})
	}
}

// Who goes on sending while its request is held is cut off, where somebody reads
// what it sends.
func TestHostile_WhoGoesOnSendingIsCutOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, &transport.Options{LongPoll: transport.LongPollOptions{Hold: time.Hour}})
		p := r.poll("me", "/a=0").head()
		p.want(noMessages)
		sent, err := io.Copy(p.conn, strings.NewReader(strings.Repeat("x", 1<<20)))
		if err == nil || sent > 64<<10 {
			t.Errorf("%d bytes were taken, %v", sent, err)
		}
		r.held(0)
	})
}

// Whoever asks for the newest of a channel says how many, up to a bound.
func TestHostile_NotMoreOfTheNewestThanAreReadAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const most, stored = 16 << 10, 16<<10 + 100
		b := bustest.On(t, bustest.NewStore(t), &bus.Options{Keepalive: -1, MaxBacklogSize: stored, MaxGlobalBacklogSize: stored})
		h := newHandler(t, b, &transport.Options{Limits: transport.LimitOptions{MaxQueuedBytes: 16 << 20}})
		r := &rig{tb: t, bus: b, handler: h, server: transporttest.NewServer(t, h)}
		for i := range stored {
			r.publish("/a", i)
		}
		for _, last := range []string{"-9000000000000000000", "-9223372036854775808", "-99999999999999999999999"} {
			p := send(t, r.dial(), request("/message-bus/me/poll?dlp=t", "/a="+last))
			got := decode(t, p.head().body())
			if len(got) != most || got[0].ID != 101 {
				t.Errorf("%s: %d messages", last, len(got))
			}
		}
	})
}
