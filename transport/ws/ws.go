// Package ws lets clients of package transport connect by WebSocket, and change
// what they listen to while they are connected.
//
//	h, err := transport.NewHandler(b, &transport.Options{WebSocket: ws.Accept})
//
// The messages are those of section 10 of docs/protocol.md. Who may connect, and
// what is bounded how, is decided by package transport. A connection costs two
// goroutines and some 10 KB, more than a held request does.
package ws

import (
	"context"
	"net/http"

	"github.com/coder/websocket"

	"github.com/messagebus-go/messagebus/transport"
)

// Accept upgrades a request to a WebSocket whose messages are at most so many
// bytes long. It is for transport.Options.WebSocket, which checks before from
// which pages a client may come. On an error the request has been answered.
func Accept(w http.ResponseWriter, r *http.Request, most int64) (transport.Socket, error) {
	conn, err := websocket.Accept(w, r, &websocket.AcceptOptions{InsecureSkipVerify: true}) // the origin was checked
	if err != nil {
		return nil, err
	}
	conn.SetReadLimit(most)
	return socket{conn}, nil
}

type socket struct{ conn *websocket.Conn }

// A notTextError is a message that may not be.
type notTextError struct{}

func (notTextError) Error() string { return "messages are text" }

// CloseCode is how the connection is closed.
func (notTextError) CloseCode() int { return int(websocket.StatusUnsupportedData) }

// Read implements transport.Socket.
func (s socket) Read(ctx context.Context) ([]byte, error) {
	kind, message, err := s.conn.Read(ctx)
	if err == nil && kind != websocket.MessageText {
		return nil, notTextError{}
	}
	return message, err
}

// Write implements transport.Socket.
func (s socket) Write(ctx context.Context, message []byte) error {
	return s.conn.Write(ctx, websocket.MessageText, message)
}

// Ping implements transport.Socket.
func (s socket) Ping(ctx context.Context) error { return s.conn.Ping(ctx) }

// Close implements transport.Socket.
func (s socket) Close(code int, reason string) {
	_ = s.conn.Close(websocket.StatusCode(code), reason) // nobody is left to tell
}
