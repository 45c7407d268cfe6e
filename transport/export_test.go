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
