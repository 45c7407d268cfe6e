package transport

import (
	"errors"
	"fmt"
	"net/http"

	"github.com/messagebus-go/messagebus/bus"
)

// broadcastPath is the route of Options.Broadcast, below the prefix.
const broadcastPath = "broadcast"

// broadcast publishes what the parameters channel and data say, in the query
// or in a form.
func (h *Handler) broadcast(w http.ResponseWriter, r *http.Request) {
	if err := h.publish(w, r); err != nil {
		h.fail(w, r, err)
		return
	}
	w.Header().Set("Content-Type", "text/html")
	h.write(w, []byte("sent"))
}

func (h *Handler) publish(w http.ResponseWriter, r *http.Request) error {
	body, err := h.readBody(w, r)
	if err != nil {
		return err
	}
	params := make(tree)
	if err := readForm(r.URL.RawQuery, params.add); err != nil {
		return err
	}
	if err := readParams(r.Method, r.Header.Get("Content-Type"), body, params.add); err != nil {
		return err
	}
	channel, _ := params["channel"].(string)
	if channel == "" {
		return badRequest("there is no parameter channel")
	}
	err = errPanic
	h.guard("Options.Broadcast", func() { err = h.options.Broadcast(r, channel) })
	if err != nil {
		return fmt.Errorf("broadcast: %w", err)
	}
	_, err = h.bus.Publish(r.Context(), channel, params["data"])
	if isRefused(err) {
		return badRequest("%v", err)
	}
	return err
}

// isRefused reports whether a publish failed for what was to be published.
func isRefused(err error) bool {
	return errors.Is(err, bus.ErrInvalidChannel) || errors.Is(err, bus.ErrInvalidData) || errors.Is(err, bus.ErrTooLarge)
}
