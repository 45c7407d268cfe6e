package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/messagebus-go/messagebus/bus"
	"github.com/messagebus-go/messagebus/cmd/messagebus/internal/strictjson"
)

// answerTimeout is how long a server may take to answer.
const answerTimeout = 30 * time.Second

// remote is the service through the admin listener of a server, which answers
// with the very lines that the commands print.
type remote struct {
	base   *url.URL
	key    string
	client *http.Client
}

// newRemote makes a remote. Its errors do not repeat the URL, which may hold a
// password.
func newRemote(server, key string) (*remote, error) {
	base, err := url.Parse(server)
	if err != nil || base.Host == "" || base.Scheme != "http" && base.Scheme != "https" {
		return nil, usagef("--server must be the URL of an admin listener, such as http://127.0.0.1:7411")
	}
	if base.User != nil || base.RawQuery != "" || base.Fragment != "" {
		return nil, usagef("--server takes no user, password, query or fragment; a key is given with --key")
	}
	transport := &http.Transport{Proxy: http.ProxyFromEnvironment, ResponseHeaderTimeout: answerTimeout}
	return &remote{base: base, key: key, client: &http.Client{
		Transport:     transport,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}, nil
}

func (r *remote) Close() error {
	r.client.CloseIdleConnections()
	return nil
}

func (r *remote) publish(ctx context.Context, p *publication) (int64, error) {
	var body bytes.Buffer
	if err := encode(&body, p); err != nil {
		return 0, err
	}
	ctx, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	response, err := r.do(ctx, http.MethodPost, "publish", nil, &body)
	if err != nil {
		return 0, afterSend(err)
	}
	defer response.Body.Close()
	var answer published
	if err := json.NewDecoder(response.Body).Decode(&answer); err != nil {
		return 0, afterSend(fmt.Errorf("the server's answer cannot be read: %w", err))
	}
	if answer.Queued {
		return 0, bus.ErrQueued
	}
	return answer.ID, nil
}

// afterSend adds to an error of a publish that the message may be stored all
// the same, unless the server was never reached or answered that it is not.
func afterSend(err error) error {
	var status *statusError
	var network *net.OpError
	if errors.As(err, &status) || errors.As(err, &network) && network.Op == "dial" {
		return err
	}
	return fmt.Errorf("%w; the message may have been published", err)
}

func (r *remote) backlog(ctx context.Context, q backlogQuery, out *lines) error {
	values := url.Values{"channel": {q.channel}}
	if q.last != nil {
		values.Set("last", strconv.Itoa(*q.last))
	} else {
		values.Set("after", strconv.FormatInt(q.after, 10))
	}
	ctx, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	return r.copy(ctx, "backlog", withSite(values, q.site), out)
}

func (r *remote) lastIDs(ctx context.Context, q lastIDQuery, out *lines) error {
	ctx, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	return r.copy(ctx, "last-id", withSite(url.Values{"channel": q.channels}, q.site), out)
}

func (r *remote) subscribe(ctx context.Context, q subscribeQuery, out *lines) error {
	values := url.Values{"channel": q.channels, "from": {q.from.text}}
	err := r.copy(ctx, "subscribe", withSite(values, q.site), out)
	switch {
	case ctx.Err() != nil:
		return nil //nolint:nilerr // it was asked to end
	case err == nil:
		return errors.New("the server ended the subscription")
	}
	return err
}

func withSite(values url.Values, site *string) url.Values {
	if site != nil {
		values.Set("site", *site)
	}
	return values
}

// copy writes the lines of an answer as they come. A line that was cut off is
// not written.
func (r *remote) copy(ctx context.Context, path string, query url.Values, out *lines) error {
	response, err := r.do(ctx, http.MethodGet, path, query, nil)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	reader := bufio.NewReader(response.Body)
	for {
		line, err := reader.ReadBytes('\n')
		if errors.Is(err, io.EOF) && len(line) == 0 {
			return nil
		}
		if err != nil {
			return fmt.Errorf("the server's answer broke off: %w", err)
		}
		if err := out.write(json.RawMessage(line)); err != nil {
			return err
		}
	}
}

// do sends a request and returns an answer of 200; its body is the caller's to
// close.
func (r *remote) do(ctx context.Context, method, path string, query url.Values, body io.Reader) (*http.Response, error) {
	response, err := r.send(ctx, method, path, query, body)
	if err != nil {
		return nil, err
	}
	if response.StatusCode != http.StatusOK {
		defer response.Body.Close()
		return nil, statusErrorOf(response)
	}
	return response, nil
}

// send sends a request and returns its answer, whatever its status; its body is
// the caller's to close.
func (r *remote) send(ctx context.Context, method, path string, query url.Values, body io.Reader) (*http.Response, error) {
	target := r.base.JoinPath(path)
	target.RawQuery = query.Encode()
	request, err := http.NewRequestWithContext(ctx, method, target.String(), body)
	if err != nil {
		return nil, err
	}
	if body != nil {
		request.Header.Set("Content-Type", "application/json")
	}
	if r.key != "" {
		request.Header.Set("Authorization", "Bearer "+r.key)
	}
	return r.client.Do(request)
}

// statusError is an answer of the server that is not 200.
type statusError struct {
	status int
	reason string
}

func (e *statusError) Error() string {
	return fmt.Sprintf("the server answered %d: %s", e.status, e.reason)
}

// statusErrorOf reads why the server refused; a refused value is an error of
// usage, as it is on a store.
func statusErrorOf(response *http.Response) error {
	const mostOfReason = 4 << 10
	text, _ := io.ReadAll(io.LimitReader(response.Body, mostOfReason)) // what came is better than nothing
	var answer errorLine
	reason := strings.TrimSpace(string(text))
	if json.Unmarshal(text, &answer) == nil && answer.Error != "" {
		reason = answer.Error
	}
	if reason == "" {
		reason = http.StatusText(response.StatusCode)
	}
	var err error = &statusError{response.StatusCode, strictjson.Clip(reason, 500)}
	if response.StatusCode == http.StatusBadRequest || response.StatusCode == http.StatusRequestEntityTooLarge {
		err = asUsage(err)
	}
	return err
}
