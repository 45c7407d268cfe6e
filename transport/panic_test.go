package transport_test

import (
	"bufio"
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/messagebus-go/messagebus/bus/bustest"
	"github.com/messagebus-go/messagebus/bus/driver"
	"github.com/messagebus-go/messagebus/transport"
)

// panicStore panics when a channel is read.
type panicStore struct {
	driver.Backend
	panics atomic.Bool
}

func (s *panicStore) Read(ctx context.Context, ranges []driver.Range) (driver.Snapshot, error) {
	if s.panics.Load() && len(ranges) > 0 {
		panic("the driver is broken")
	}
	return s.Backend.Read(ctx, ranges)
}

func TestHold_PanicOfTheStoreKeepsNoPlace(t *testing.T) {
	t.Parallel()
	store := &panicStore{Backend: bustest.NewStore(t)}
	store.panics.Store(true)
	h := newHandler(t, bustest.On(t, store, nil), &transport.Options{Limits: transport.LimitOptions{MaxHeld: 1}})
	server := httptest.NewUnstartedServer(h)
	server.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError) // of the panics
	server.Start()
	t.Cleanup(server.Close)
	poll := func() (*bufio.Reader, net.Conn) {
		conn, err := net.Dial("tcp", server.Listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() })
		if _, err := io.WriteString(conn, request("/message-bus/me/poll", "/a=0")); err != nil {
			t.Fatal(err)
		}
		return bufio.NewReader(conn), conn
	}
	for range 3 {
		in, _ := poll()
		_, _ = in.ReadString('\n') // the connection ends
	}
	store.panics.Store(false)
	in, _ := poll()
	r, err := http.ReadResponse(in, nil)
	if err != nil || r.Header.Get("X-Accel-Buffering") == "" {
		t.Fatalf("%v %v: the place of a panic is not free", r, err)
	}
}

// A WebSocket is read by a goroutine of its own, where no server contains a panic.
func TestWebSocket_PanicOfTheStoreEndsItAndNoOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &panicStore{Backend: bustest.NewStore(t)}
		r := newRigOn(t, store, socketOptions(transport.Options{Trace: &transport.Trace{Panic: func(string) { store.panics.Store(false) }}}))
		other, _ := r.connect("other")
		other.say(`{"subscribe":{"/a":0}}`)
		other.want("[" + confirmed(`{"channels":["/a"]}`) + "]")
		s, _ := r.connect("me")
		store.panics.Store(true)
		s.say(`{"subscribe":{"/b":0}}`)
		s.wantClosed(1011, "failed")
		r.held(1)
		if store.panics.Load() {
			t.Error("the panic was not told")
		}
		r.publish("/a", 1)
		other.want("[" + message(1, "/a", "1") + "]")
		close(other.commands)
		r.held(0)
	})
}

// breaking is a writer that gives up in the way of net/http.
type breaking struct{ hidden }

func (breaking) Write([]byte) (int, error) { panic(http.ErrAbortHandler) }

func TestStream_PanicOfAWriterKeepsNoPlace(t *testing.T) {
	t.Parallel()
	h := newHandler(t, bustest.New(t), &transport.Options{Limits: transport.LimitOptions{MaxHeld: 1}})
	for range 3 {
		func() {
			defer func() {
				if recover() == nil {
					t.Error("nothing was written")
				}
			}()
			r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/message-bus/me/poll", nil)
			h.ServeHTTP(breaking{hidden{httptest.NewRecorder()}}, r)
		}()
		if n := h.Held(); n != 0 {
			t.Fatalf("%d are held", n)
		}
	}
}
