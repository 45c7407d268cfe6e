package ws_test

import (
	"context"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/coder/websocket"

	"github.com/messagebus-go/messagebus/bus"
	"github.com/messagebus-go/messagebus/bus/bustest"
	"github.com/messagebus-go/messagebus/transport"
	"github.com/messagebus-go/messagebus/transport/transporttest"
	"github.com/messagebus-go/messagebus/transport/ws"
)

// remote is a WebSocket in memory, in a bubble of synctest.
func remote(t *testing.T, opts transport.Options, dial *websocket.DialOptions) (*transport.Handler, *websocket.Conn) {
	t.Helper()
	opts.WebSocket = ws.Accept
	h, err := transport.NewHandler(bustest.On(t, bustest.NewStore(t), &bus.Options{Keepalive: -1}), &opts)
	if err != nil {
		t.Fatal(err)
	}
	server := transporttest.NewServer(t, h)
	dial.HTTPClient = server.Client()
	conn, _, err := websocket.Dial(t.Context(), server.URL()+"/message-bus/me/ws", dial)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		conn.CloseNow()
		if err := h.Shutdown(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return h, conn
}

func TestAccept_GivesUpAClientThatDoesNotAnswerPings(t *testing.T) {
	for _, answers := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			var pings atomic.Int64
			h, conn := remote(t, transport.Options{LongPoll: transport.LongPollOptions{Heartbeat: time.Second}}, &websocket.DialOptions{
				OnPingReceived: func(context.Context, []byte) bool {
					pings.Add(1)
					return answers
				},
			})
			conn.CloseRead(t.Context()) // reads all the same
			<-time.After(time.Minute)
			if held := h.Held() == 1; held != answers || pings.Load() == 0 || answers && pings.Load() < 50 {
				t.Errorf("it answers: %v; it is held: %v; %d pings", answers, held, pings.Load())
			}
		})
	}
}

// A peer that does not answer that the connection ends is waited for two
// seconds, and by a Shutdown no longer than that has.
func TestAccept_APeerThatDoesNotAnswerTheEndIsWaitedForBriefly(t *testing.T) {
	t.Parallel()
	for name, says := range map[string]struct {
		kind websocket.MessageType
		text string
	}{
		"nothing":    {},
		"no command": {websocket.MessageText, "x"},
		"not text":   {websocket.MessageBinary, "x"},
	} {
		for _, patience := range []time.Duration{time.Second, time.Hour} {
			t.Run(name+" "+patience.String(), func(t *testing.T) {
				t.Parallel()
				synctest.Test(t, func(t *testing.T) {
					h, conn := remote(t, transport.Options{}, &websocket.DialOptions{})
					if says.text != "" {
						if err := conn.Write(t.Context(), says.kind, []byte(says.text)); err != nil {
							t.Fatal(err)
						}
					}
					go conn.Read(t.Context()) // the last part, and nothing after it
					synctest.Wait()
					start := time.Now()
					ctx, cancel := context.WithTimeout(t.Context(), patience)
					defer cancel()
					_ = h.Shutdown(ctx)
					if took, most := time.Since(start), min(patience, 2*time.Second); took > most+10*time.Millisecond {
						t.Errorf("Shutdown took %v", took)
					}
				})
			})
		}
	}
}
