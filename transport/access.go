package transport

import (
	"errors"
	"net/http"
	"net/url"
	"strconv"
	"strings"
)

// refusedHeader names the channels that a client may not have, each escaped as
// in a URL, separated by commas. What would make it too long is counted at its
// end, as +17.
const refusedHeader = "Message-Bus-Refused"

// maxRefusedBytes keeps the header within what proxies take.
const maxRefusedBytes = 4 << 10

var errServerOnly = errors.New("transport: the channel is for the server only")

// authorize leaves out the channels that the client may not have.
func (h *Handler) authorize(r *http.Request, q *query) {
	if h.options.Authorize == nil && len(h.options.ServerOnly) == 0 {
		return
	}
	allowed := q.asks[:0]
	var refused []string
	for _, a := range q.asks {
		err := h.mayListen(r, &q.identity, a.channel)
		if err == nil {
			allowed = append(allowed, a)
			continue
		}
		refused = append(refused, a.channel)
		h.traceRefuse(q, a.channel, err)
	}
	q.asks, q.refused = allowed, refused
	if len(refused) > 0 {
		q.header.Set(refusedHeader, listRefused(refused))
	}
}

func (h *Handler) mayListen(r *http.Request, id *Identity, channel string) error {
	for _, prefix := range h.options.ServerOnly {
		if strings.HasPrefix(channel, prefix) {
			return errServerOnly
		}
	}
	if h.options.Authorize == nil {
		return nil
	}
	err := errPanic
	h.guard("Options.Authorize", func() { err = h.options.Authorize(r, *id, channel) })
	return err
}

func listRefused(channels []string) string {
	var b strings.Builder
	for i, channel := range channels {
		name := strings.ReplaceAll(url.QueryEscape(channel), "+", "%20")
		if b.Len()+len(name) > maxRefusedBytes {
			b.WriteString("+" + strconv.Itoa(len(channels)-i))
			break
		}
		b.WriteString(name)
		if i < len(channels)-1 {
			b.WriteString(", ")
		}
	}
	return b.String()
}
