package transport

import "net/http"

// ParseBody returns the channels of a body in order.
func ParseBody(contentType string, body []byte, most int) ([]string, error) {
	asks, _, err := parseBody(http.MethodPost, contentType, body, most)
	channels := make([]string, len(asks))
	for i, a := range asks {
		channels[i] = a.channel
	}
	return channels, err
}
