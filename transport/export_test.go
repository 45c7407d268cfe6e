package transport

import "net/http"

// ParseBody returns the channels of a body in order.
func ParseBody(contentType string, body []byte, most int) ([]string, error) {
	all, err := parseBody(http.MethodPost, contentType, body, &LimitOptions{MaxChannels: most, MaxChannelBytes: defaultMaxChannelBytes})
	channels := make([]string, len(all.asks))
	for i, a := range all.asks {
		channels[i] = a.channel
	}
	return channels, err
}

// IndexFrom makes the handler look up whom a message is for where a channel has
// so many clients.
func (h *Handler) IndexFrom(n int) { h.table.indexedFrom = n }

// ParseForm returns what a broadcast takes a form for.
func ParseForm(form string) (map[string]any, error) {
	t := make(tree)
	err := readForm(form, t.add)
	return t, err
}

// Interrupt makes every client read the backlog, as after a gap of the feed.
func (h *Handler) Interrupt() {
	h.table.everyone(func(s *subscription) {
		if s.interrupt() {
			s.client.wake()
		}
	})
}

// ReadAtOnce makes the handler read fewer messages at once.
func (h *Handler) ReadAtOnce(n int) { h.atOnce = n }
