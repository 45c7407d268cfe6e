package identity

import (
	"fmt"
	"net/http"
	"net/netip"
)

// HeaderName is how a proxy that knows the user says who it is, in the form
// that Parse reads.
const HeaderName = "X-MessageBus-Identity"

// Header takes the identity from the header, of the proxies in Trusted and of
// nobody else. A request without it is anonymous, wherever it comes from.
type Header struct{ Trusted []netip.Prefix }

// Identify implements Source.
func (h Header) Identify(r *http.Request) (Identity, error) {
	values := r.Header.Values(HeaderName) //nolint:canonicalheader // written as it is documented
	switch {
	case len(values) == 0:
		return Identity{}, nil
	case !trusts(h.Trusted, r.RemoteAddr):
		return Identity{}, forbid("%s is accepted from trusted proxies only", HeaderName)
	case len(values) > 1:
		return Identity{}, forbid("%s is there %d times; it must be there once", HeaderName, len(values))
	}
	id, err := Parse([]byte(values[0]))
	if err != nil {
		return Identity{}, forbid("%s: %v", HeaderName, err)
	}
	return id, nil
}

// Close implements Source.
func (Header) Close() {}

func forbid(format string, args ...any) *Error {
	return &Error{Status: http.StatusForbidden, Reason: fmt.Sprintf(format, args...)}
}

// trusts reports whether a request's remote address is in one of the networks.
// What is no address is not.
func trusts(networks []netip.Prefix, remote string) bool {
	at, err := netip.ParseAddrPort(remote)
	if err != nil {
		return false
	}
	addr := at.Addr().Unmap().WithZone("") // no network has a zone
	for _, network := range networks {
		if network.Contains(addr) {
			return true
		}
	}
	return false
}
