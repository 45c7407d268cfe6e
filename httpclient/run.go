package httpclient

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

const (
	epochHeader   = "Message-Bus-Epoch"
	refusedHeader = "Message-Bus-Refused"
)

// A run is one request and its answer. It belongs to the loop.
type run struct {
	client  *Client
	plan    plan
	mode    mode
	streams bool // the answer may come in parts
	began   time.Time

	ctx    context.Context //nolint:containedctx // of the request, which is this
	cancel context.CancelCauseFunc
	stop   <-chan struct{} // closed when the client is to stop

	watch watch

	// What has come of the answer.
	epoch     string           // of the store; empty: a Ruby server does not say
	begun     bool             // the gaps before the first message have been told
	parts     int              // that are over
	moved     bool             // some subscription has
	wanting   bool             // some subscription has to be asked for by itself
	odd       bool             // it was reported that something came that was not asked for
	late      []lateMessage    // of the part that is under way: what came behind others, or comes again
	lateBytes int              // of all that came of that part
	statuses  map[string]int64 // of that part, where there is such a message
	retry     time.Duration    // when the server wants to be asked again; 0: it does not say
	lastBeat  time.Time        // of a stream of events
}

// An ending is how a request ended.
type ending struct {
	result

	err error // what went wrong; nil: nothing did
}

// Why a request is ended from this side.
var (
	errChanged  = errors.New("the subscriptions have changed")
	errBuffered = errors.New("nothing came of a stream in time")
	errSilent   = errors.New("nothing was heard for too long")
	errStopped  = errors.New("the client is to stop")
	errWanting  = errors.New("a subscription is not served")
)

// send sends the request and hands on what comes.
func (r *run) send() ending {
	defer r.cancel(nil)
	r.watch = watch{cancel: r.cancel, first: r.client.options.Timing.FirstPartTimeout, later: r.client.patience.of(r.mode)}
	r.watch.awaitsFirst = r.streams
	err := r.exchange()
	r.watch.disarm()
	e := r.ending(err)
	e.elapsed, e.worked = time.Since(r.began), r.parts > 0
	r.client.patience.learn(r, e.outcome)
	return e
}

// ending says what an error of exchange means.
func (r *run) ending(err error) ending {
	cause := context.Cause(r.ctx)
	switch {
	case err == nil && r.moved:
		return ending{result: result{outcome: moved, wait: r.retry}}
	case err == nil:
		return ending{result: result{outcome: quiet, wait: r.retry}}
	case errors.Is(cause, errChanged) || errors.Is(err, errStopped) || errors.Is(err, errWanting):
		return ending{result: result{outcome: changed}}
	case errors.Is(cause, errBuffered) || errors.Is(err, errNoEvents):
		return ending{result: result{outcome: buffered}}
	case errors.Is(cause, errSilent):
		r.client.patience.forget(r.mode)
		err = fmt.Errorf("httpclient: %s: nothing was heard for %v", r.client.shown, r.watch.later)
		return ending{result{outcome: failed}, err}
	}
	if refusal, ok := errors.AsType[*StatusError](err); ok {
		return r.refusal(refusal)
	}
	return ending{result{outcome: failed}, err}
}

// defaultRetryAfter is what a 429 without a time means, as in the gem's client.
const defaultRetryAfter = 15 * time.Second

func (r *run) refusal(e *StatusError) ending {
	switch {
	case e.final():
		return ending{result{outcome: denied}, e}
	case e.RetryAfter > 0:
		return ending{result{outcome: refused, wait: e.RetryAfter}, e}
	case e.Status == http.StatusTooManyRequests:
		return ending{result{outcome: refused, wait: defaultRetryAfter}, e}
	}
	return ending{result{outcome: failed}, e}
}

// exchange sends the request and reads the answer to its end.
func (r *run) exchange() error {
	request, err := r.request()
	if err != nil {
		return err
	}
	r.watch.arm()
	response, err := r.client.http.Do(request)
	if err != nil {
		if _, ok := errors.AsType[*url.Error](err); ok { // whose text repeats the address
			err = errors.Unwrap(err)
		}
		return fmt.Errorf("httpclient: %s: %w", r.client.shown, err)
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return r.statusError(response)
	}
	return r.read(response)
}

// request makes the request.
func (r *run) request() (*http.Request, error) {
	c := r.client
	target := *c.base
	target.Path += c.options.ClientID
	target.RawPath = ""
	if c.base.RawPath != "" {
		target.RawPath = c.base.RawPath + c.options.ClientID
	}
	method, body := http.MethodPost, io.Reader(nil)
	if r.mode == events {
		method = http.MethodGet
		target.Path, target.RawPath = target.Path+"/sse", appendPath(target.RawPath, "/sse")
		target.RawQuery = r.plan.query(c.sequence)
	} else {
		target.Path, target.RawPath = target.Path+"/poll", appendPath(target.RawPath, "/poll")
		body = bytes.NewReader(r.plan.body(c.sequence))
		if r.mode != hold {
			target.RawQuery = "dlp=t"
		}
	}
	request, err := http.NewRequestWithContext(r.ctx, method, target.String(), body)
	if err != nil {
		return nil, fmt.Errorf("httpclient: %s: %w", c.shown, err)
	}
	return request, r.setHeader(request.Header)
}

func appendPath(raw, part string) string {
	if raw == "" {
		return ""
	}
	return raw + part
}

func (r *run) setHeader(header http.Header) error {
	header.Set("X-Silence-Logger", "true")
	if r.mode == events {
		header.Set("Accept", "text/event-stream")
	} else {
		header.Set("Content-Type", "application/json")
	}
	if f := r.client.options.Header; f != nil {
		var theirs http.Header
		var err error
		if panicked := r.client.call(func() { theirs, err = f(r.ctx) }); panicked != nil {
			err = panicked
		}
		if err != nil {
			return fmt.Errorf("httpclient: Options.Header: %w", err)
		}
		for name, values := range theirs {
			header[http.CanonicalHeaderKey(name)] = values
		}
	}
	if !r.streams {
		header.Set("Dont-Chunk", "true")
	}
	return nil
}

func (r *run) statusError(response *http.Response) error {
	const most = 200
	line := make([]byte, most)
	n, _ := io.ReadFull(response.Body, line) // what came is better than nothing
	text, _, _ := strings.Cut(strings.TrimSpace(string(line[:n])), "\n")
	return &StatusError{
		URL: r.client.shown, Status: response.StatusCode, Reason: strings.TrimSpace(text),
		RetryAfter: retryAfter(response, time.Now()),
	}
}

// retryAfter returns how long a 429 or a 503 asks to wait; 0: it does not say.
func retryAfter(response *http.Response, now time.Time) time.Duration {
	const least = time.Second
	if response.StatusCode != http.StatusTooManyRequests && response.StatusCode != http.StatusServiceUnavailable {
		return 0
	}
	text := strings.TrimSpace(response.Header.Get("Retry-After"))
	if seconds, err := strconv.ParseUint(text, 10, 31); err == nil {
		return max(time.Duration(seconds)*time.Second, least)
	}
	if at, err := http.ParseTime(text); err == nil {
		return max(at.Sub(now), least)
	}
	return 0
}

// A reader takes the bytes of an answer.
type reader interface {
	feed(b []byte) error
	end() error
}

// errNoEvents: the server does not answer with server-sent events.
var errNoEvents = errors.New("the answer is no stream of events")

// read reads the answer to its end.
func (r *run) read(response *http.Response) error {
	kind, _, _ := mime.ParseMediaType(response.Header.Get("Content-Type"))
	if r.mode == events && kind != "text/event-stream" {
		return errNoEvents
	}
	if kind == "application/json" { // the server does not stream, whatever was asked for
		r.watch.endFirst()
	}
	most := r.client.options.MaxMessageBytes
	var in reader = &parser{most: most, sink: r}
	if r.mode == events {
		in = &eventParser{most: most, sink: r}
	}
	err := r.head(response.Header)
	if err == nil {
		err = r.copy(response.Body, in)
	}
	if bad, ok := errors.AsType[*malformed](err); ok {
		return &AnswerError{URL: r.client.shown, ContentType: response.Header.Get("Content-Type"), Problem: bad.Error()}
	}
	return err
}

// Of an idle connection little is kept; one that brings much is read in larger pieces.
const (
	leastBuffer = 1 << 10
	mostBuffer  = 32 << 10
)

// copy feeds what comes to in. Time counts only while it waits for more: a slow reader is
// not the connection's fault.
func (r *run) copy(body io.Reader, in reader) error {
	b := make([]byte, leastBuffer)
	for {
		r.watch.arm()
		n, err := body.Read(b)
		r.watch.disarm()
		if n > 0 {
			if err := in.feed(b[:n]); err != nil {
				return err
			}
		}
		switch {
		case errors.Is(err, io.EOF):
			return in.end()
		case err != nil:
			return fmt.Errorf("httpclient: %s: the answer has broken off: %w", r.client.shown, err)
		case r.ctx.Err() != nil:
			return r.ctx.Err()
		case n == len(b) && n < mostBuffer:
			b = make([]byte, min(4*n, mostBuffer))
		}
	}
}
