package ws_test

import (
	"context"
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
					h, err := transport.NewHandler(bustest.On(t, bustest.NewStore(t), &bus.Options{Keepalive: -1}), &transport.Options{WebSocket: ws.Accept})
					if err != nil {
						t.Fatal(err)
					}
					server := transporttest.NewServer(t, h)
					conn, _, err := websocket.Dial(t.Context(), server.URL()+"/message-bus/me/ws", &websocket.DialOptions{HTTPClient: server.Client()})
					if err != nil {
						t.Fatal(err)
					}
					defer conn.CloseNow()
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
