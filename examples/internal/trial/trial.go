// Package trial is a client for the tests of the examples.
package trial

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"

	"github.com/messagebus-go/messagebus/transport"
)

// A Client is subscribed to one channel. It ends with the context that it was made
// with.
type Client struct {
	body *bufio.Reader
	left []string
}

// Subscribe asks for new messages by POST {base}/message-bus/trial/poll, the route
// of the gem, and returns once the request is held. A refusal is an error that
// begins with the status.
func Subscribe(ctx context.Context, base, channel string, header http.Header) (*Client, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, base+"/message-bus/trial/poll", strings.NewReader(channel+"=-1"))
	if err != nil {
		return nil, err
	}
	if header != nil {
		r.Header = header
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	answer, err := http.DefaultTransport.RoundTrip(r) //nolint:bodyclose // it is read until ctx is done
	if err != nil {
		return nil, err
	}
	c := &Client{body: bufio.NewReader(answer.Body)}
	if answer.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(answer.Body) // what there is of it
		return nil, fmt.Errorf("%s: %s", answer.Status, text)
	}
	return c, c.part() // where the channel stands
}

// Next waits for a message, and returns its data: a text as it is, anything else as
// JSON.
func (c *Client) Next() (string, error) {
	for len(c.left) == 0 {
		if err := c.part(); err != nil {
			return "", err
		}
	}
	next := c.left[0]
	c.left = c.left[1:]
	return next, nil
}

// part reads an array of messages.
func (c *Client) part() error {
	const separator = "\r\n|\r\n"
	var text strings.Builder
	for !strings.HasSuffix(text.String(), separator) {
		line, err := c.body.ReadString('\n')
		if err != nil {
			return fmt.Errorf("after %q: %w", text.String(), err)
		}
		text.WriteString(line)
	}
	var messages []struct {
		Channel string          `json:"channel"`
		Data    json.RawMessage `json:"data"`
	}
	if err := json.Unmarshal([]byte(strings.TrimSuffix(text.String(), separator)), &messages); err != nil {
		return err
	}
	for _, m := range messages {
		if m.Channel == "/__status" {
			continue
		}
		data := string(m.Data)
		_ = json.Unmarshal(m.Data, &data) // it stays as it is, unless it is a text
		c.left = append(c.left, data)
	}
	return nil
}

// End ends a server of a test, with the requests that it holds.
func End(ctx context.Context, messages *transport.Handler, server *httptest.Server) {
	ctx, cancel := context.WithCancel(ctx)
	cancel()                   // nobody is to be told: all of it ends
	_ = messages.Shutdown(ctx) // that of the context
	server.Close()
}
