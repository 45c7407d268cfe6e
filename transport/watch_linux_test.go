package transport

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/messagebus-go/messagebus/bus/bustest"
)

// remembered counts what a handler knows of clients.
func (h *Handler) remembered() int {
	n := 0
	h.table.everyone(func(*subscription) { n++ })
	h.deadlines.mu.Lock()
	defer h.deadlines.mu.Unlock()
	h.watcher.mu.Lock()
	defer h.watcher.mu.Unlock()
	h.clients.mu.Lock()
	defer h.clients.mu.Unlock()
	return n + len(h.deadlines.next) + len(h.watcher.clients) + len(h.clients.byKey) + len(h.clients.open) + h.clients.places
}

func TestHandler_RemembersNothingOfAClientThatHasLeft(t *testing.T) {
	t.Parallel()
	h, err := NewHandler(bustest.New(t), nil)
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(h)
	t.Cleanup(server.Close)
	for range 3 {
		var d net.Dialer
		conn, err := d.DialContext(t.Context(), "tcp", server.Listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, server.URL+"/message-bus/me/poll", http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		if err := r.Write(conn); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(conn, make([]byte, 100)); err != nil {
			t.Fatal(err)
		}
		if n := h.remembered(); n == 0 {
			t.Error("a held request is not remembered")
		}
		conn.Close()
	}
	if err := h.Shutdown(context.Background()); err != nil {
		t.Error(err)
	}
	if n := h.remembered(); n != 0 {
		t.Errorf("%d things are remembered", n)
	}
}
