package identity

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/messagebus-go/messagebus/bus/leakcheck"
)

func TestMain(m *testing.M) { leakcheck.Main(m, leakcheck.Idle) }

// request is one with headers, names and values in turn.
func request(t *testing.T, headers ...string) *http.Request {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "http://example.com/message-bus/me/poll", nil)
	for i := 0; i < len(headers); i += 2 {
		r.Header.Add(headers[i], headers[i+1])
	}
	return r
}

// serving starts a server that answers with h.
func serving(t *testing.T, h http.HandlerFunc) string {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return s.URL
}

// wantError checks how a request is refused.
func wantError(t *testing.T, err error, status int) *Error {
	t.Helper()
	refusal, ok := errors.AsType[*Error](err)
	if !ok || refusal.Status != status {
		t.Errorf("the error is %v, want the status %d", err, status)
		return &Error{}
	}
	if (refusal.Challenge != "") != (status == http.StatusUnauthorized) {
		t.Errorf("status %d with the challenge %q", status, refusal.Challenge)
	}
	if (refusal.RetryAfter > 0) != (status == http.StatusServiceUnavailable) {
		t.Errorf("status %d to be tried again after %v", status, refusal.RetryAfter)
	}
	return refusal
}
