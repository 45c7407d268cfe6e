package httpclient

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// Options are the settings of a Client. Zero fields mean defaults.
type Options struct {
	// ClientID names the client to the server: letters, digits and ._~- only. A
	// server ends the request of a client when another one comes under its id.
	// Default: 32 random hexadecimal digits.
	ClientID string

	// Header returns headers for a request, before each one, so that tokens are
	// fresh. They replace the client's own but for Dont-Chunk. A request whose
	// Header fails is not sent, which counts as a failure. Default: none.
	Header func(ctx context.Context) (http.Header, error)

	// HTTPClient sends the requests: cookies, proxies, TLS and its own limits are
	// its affair. Its Timeout must be 0 or longer than a request is held. The
	// client follows redirects only where they keep the method. Default: one of
	// its own, with the transport's defaults.
	HTTPClient *http.Client

	// DisableLongPolling: every request is answered at once, and sent at
	// Timing.CallbackInterval.
	DisableLongPolling bool

	// DisableStreaming: the first message ends a held request.
	DisableStreaming bool

	// Events asks for server-sent events, which are held for up to an hour. Where
	// they do not get through the client streams for a while instead, as it does
	// with a Ruby server, which has none. The channels stand in the address, which
	// proxies bound to some kilobytes.
	Events bool

	// Timing is the spacing of the requests.
	Timing Timing

	// MaxMessageBytes is how long one message may be as it stands in an answer.
	// A longer one ends the request with an *AnswerError, and so does each further
	// one that comes upon it. Default 16 MiB.
	MaxMessageBytes int

	// Buffer is how many messages may wait for a subscription's Next. When there
	// are more the client stops reading. Default 32.
	Buffer int

	// Positions are where channels go on, whatever Subscribe says: what
	// Client.Positions returned in an earlier life. A channel that is unsubscribed
	// forgets its own.
	Positions map[string]Position

	// Refresh is called when the server has answered 401 or 403, to renew what
	// Header sends. Without an error the client asks again; else it stops and
	// reports that error. Default: it stops at 401 and 403.
	Refresh func(ctx context.Context, refusal *StatusError) error

	// OnError is told what happens beside messages, in order with the callbacks and
	// from their goroutine: *GapError and *RefusedError of subscriptions with a
	// callback, *StatusError, *AnswerError and other failures of requests, and
	// *CallbackError. The client goes on after all of them, but for the refusals
	// named at Refresh. Default: they are logged.
	OnError func(error)

	// Logger is told what OnError is not. Default: silent.
	Logger *slog.Logger
}

// Timing is the spacing of requests. Zero fields mean defaults.
type Timing struct {
	// MinPollInterval is the shortest time between the starts of two requests, and
	// between the end of one and the start of the next. Default 100 ms.
	MinPollInterval time.Duration

	// MaxPollInterval bounds the wait after failures. Default 3 min.
	MaxPollInterval time.Duration

	// CallbackInterval is the time from start to start of requests that are not
	// held. Default 15 s.
	CallbackInterval time.Duration

	// FirstPartTimeout is how long a stream may bring nothing before it is taken
	// for kept back by a proxy. Default 3 s.
	FirstPartTimeout time.Duration

	// StreamingRetry is how many held requests go without streaming after that.
	// Default 30; negative: none.
	StreamingRetry int

	// SilenceTimeout is how long an answer may be silent before its connection is
	// taken for dead, as long as the client has not seen how long the server holds
	// requests, or sends signs of life on a stream of events. After that it is ten
	// seconds more than those, at least 30 s. It must be longer than the server holds
	// a request. Default 90 s.
	SilenceTimeout time.Duration
}

// The gem's defaults (message_bus 4.5.2, assets/message-bus.js), and our own for what
// it does not bound.
const (
	defaultMinPollInterval  = 100 * time.Millisecond
	defaultMaxPollInterval  = 3 * time.Minute
	defaultCallbackInterval = 15 * time.Second
	defaultFirstPartTimeout = 3 * time.Second
	defaultStreamingRetry   = 30
	defaultSilenceTimeout   = 90 * time.Second
	defaultMaxMessageBytes  = 16 << 20
	defaultBuffer           = 32
)

// resolve checks the options and fills in the defaults.
func (o *Options) resolve() (Options, error) {
	r := *o
	setDefault(&r.ClientID, randomClientID())
	if strings.ContainsFunc(r.ClientID, notInClientID) {
		return r, fmt.Errorf("httpclient: ClientID is %.100q; it must be letters, digits and ._~-", r.ClientID)
	}
	if r.MaxMessageBytes < 0 || r.Buffer < 0 {
		return r, fmt.Errorf("httpclient: MaxMessageBytes is %d and Buffer %d; they must be 0 (the default) or more", r.MaxMessageBytes, r.Buffer)
	}
	setDefault(&r.MaxMessageBytes, defaultMaxMessageBytes)
	setDefault(&r.Buffer, defaultBuffer)
	setDefault(&r.Logger, slog.New(slog.DiscardHandler))
	return r, r.Timing.resolve()
}

func (t *Timing) resolve() error {
	for name, d := range map[string]time.Duration{
		"MinPollInterval": t.MinPollInterval, "MaxPollInterval": t.MaxPollInterval, "CallbackInterval": t.CallbackInterval,
		"FirstPartTimeout": t.FirstPartTimeout, "SilenceTimeout": t.SilenceTimeout,
	} {
		if d < 0 {
			return fmt.Errorf("httpclient: Timing.%s is %v; it must be 0 (the default) or more", name, d)
		}
	}
	setDefault(&t.MinPollInterval, defaultMinPollInterval)
	setDefault(&t.MaxPollInterval, defaultMaxPollInterval)
	setDefault(&t.CallbackInterval, defaultCallbackInterval)
	setDefault(&t.FirstPartTimeout, defaultFirstPartTimeout)
	setDefault(&t.StreamingRetry, defaultStreamingRetry)
	setDefault(&t.SilenceTimeout, defaultSilenceTimeout)
	return nil
}

func setDefault[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

func notInClientID(r rune) bool {
	return (r < '0' || r > '9') && (r < 'A' || r > 'Z') && (r < 'a' || r > 'z') && !strings.ContainsRune("._~-", r)
}

// randomClientID has the shape of a version 4 UUID without dashes, as the gem's
// client makes them.
func randomClientID() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // cannot fail
	b[6] = b[6]&0x0f | 0x40
	b[8] = b[8]&0x3f | 0x80
	return hex.EncodeToString(b[:])
}

// parseBase returns what stands before message-bus/. Its errors do not repeat the
// address, which may hold a password.
func parseBase(text string) (*url.URL, error) {
	base, err := url.Parse(text)
	switch {
	case err != nil || base.Host == "" || base.Scheme != "http" && base.Scheme != "https":
		return nil, errors.New("httpclient: the base URL must be one of http or https, such as https://example.com/")
	case base.RawQuery != "" || base.ForceQuery || base.Fragment != "":
		return nil, fmt.Errorf("httpclient: the base URL of %s has a query or a fragment; it takes none", base.Host)
	}
	return base, nil
}

// httpClient returns a client that follows redirects only where they keep the method:
// the rest of them would ask for no channel.
func (o *Options) httpClient() (client *http.Client, own *http.Transport) {
	if o.HTTPClient != nil {
		copied := *o.HTTPClient
		client = &copied
	} else {
		client = &http.Client{}
		if shared, ok := http.DefaultTransport.(*http.Transport); ok {
			own = shared.Clone()
			own.WriteBufferSize = 1 << 10 // a request is short, and the buffer stays while it is held
			client.Transport = own
		}
	}
	theirs := client.CheckRedirect
	client.CheckRedirect = func(next *http.Request, via []*http.Request) error {
		switch {
		case next.Method != via[0].Method:
			return http.ErrUseLastResponse
		case theirs != nil:
			return theirs(next, via)
		case len(via) >= 10:
			return fmt.Errorf("stopped after %d redirects", len(via))
		}
		return nil
	}
	return client, own
}
