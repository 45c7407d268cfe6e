package identity

import (
	"log/slog"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/messagebus-go/messagebus/transport"
)

type sourceFunc func(*http.Request) (Identity, error)

func (f sourceFunc) Identify(r *http.Request) (Identity, error) { return f(r) }

func (sourceFunc) Close() {}

func TestGate_AllowsWhatRulesAndIdentityAllow(t *testing.T) {
	t.Parallel()
	source := sourceFunc(func(*http.Request) (Identity, error) { return Identity{Channels: Patterns{"/a/*"}}, nil })
	g := NewGate(source, Rules{Deny: Patterns{"/a/secret"}}, slog.New(slog.DiscardHandler))
	may := func(identify bool) map[string]bool {
		got := map[string]bool{}
		g.Wrap(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			if identify {
				if _, err := g.Identify(r); err != nil {
					t.Error(err)
				}
			}
			for _, channel := range []string{"/a/x", "/a/secret", "/b"} {
				got[channel] = g.Authorize(r, transport.Identity{}, channel) == nil
			}
		})).ServeHTTP(httptest.NewRecorder(), request(t))
		return got
	}
	if got := may(true); !got["/a/x"] || got["/a/secret"] || got["/b"] {
		t.Errorf("%v", got)
	}
	if got := may(false); got["/a/x"] {
		t.Error("a request that nobody identified may have a channel")
	}
	g.Set(sourceFunc(func(*http.Request) (Identity, error) { return Identity{}, nil }), Rules{})
	if got := may(true); !got["/b"] {
		t.Errorf("%v after an exchange", got)
	}
	g.Set(sourceFunc(func(*http.Request) (Identity, error) { return Identity{Channels: Patterns{}}, nil }), Rules{})
	if got := may(true); got["/a/x"] || got["/b"] {
		t.Errorf("%v with an empty list", got)
	}
	if g.Authorize(request(t), transport.Identity{}, "/b") == nil {
		t.Error("a request that did not come through Wrap may have a channel")
	}
}
