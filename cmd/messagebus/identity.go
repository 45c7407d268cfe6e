package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"strings"

	"github.com/messagebus-go/messagebus/bus"
	"github.com/messagebus-go/messagebus/transport"
)

// identityHeader is how a proxy that knows the user says who it is:
// {"user":5,"groups":[1,"staff"],"site":"a"}.
const identityHeader = "X-MessageBus-Identity"

// The values of --identity.
const (
	identityNone   = "none"
	identityByName = "header"
)

func parseIdentityMode(s string) (string, error) {
	if s != identityNone && s != identityByName {
		return "", errors.New("it must be none, or header to believe the " + identityHeader + " of a trusted proxy")
	}
	return s, nil
}

// proxyIdentity takes the identity from the header, of the proxies in trusted
// and of nobody else.
type proxyIdentity struct{ trusted []netip.Prefix }

// identify is for transport.Options.Identify. A request without the header is
// anonymous, wherever it comes from.
func (p proxyIdentity) identify(r *http.Request) (transport.Identity, error) {
	values := r.Header.Values(identityHeader) //nolint:canonicalheader // written as it is documented
	switch {
	case len(values) == 0:
		return transport.Identity{}, nil
	case !p.trusts(r.RemoteAddr):
		return transport.Identity{}, refuse(http.StatusForbidden, "%s is accepted from trusted proxies only", identityHeader)
	case len(values) > 1:
		return transport.Identity{}, refuse(http.StatusForbidden, "%s is there %d times; it must be there once", identityHeader, len(values))
	}
	id, err := parseIdentity(values[0])
	if err != nil {
		return transport.Identity{}, refuse(http.StatusForbidden, "%s: %v", identityHeader, err)
	}
	return id, nil
}

// trusts reports whether a request's remote address is in one of the networks.
// What is no address, such as a Unix socket's, is not.
func (p proxyIdentity) trusts(remote string) bool {
	at, err := netip.ParseAddrPort(remote)
	if err != nil {
		return false
	}
	addr := at.Addr().Unmap().WithZone("") // no network has a zone
	for _, prefix := range p.trusted {
		if prefix.Contains(addr) {
			return true
		}
	}
	return false
}

// parseIdentity reads the value of the header; null members are as good as
// absent ones.
func parseIdentity(value string) (transport.Identity, error) {
	var user *bus.ID
	var groups []bus.ID
	var site *string
	err := members{
		"user":   orNull(&user, decodeID),
		"groups": into(&groups, decodeIDs),
		"site":   orNull(&site, decodeSite),
	}.decode([]byte(value))
	if err != nil {
		return transport.Identity{}, err
	}
	id := transport.Identity{GroupIDs: groups}
	if user != nil {
		id.UserID = *user
	}
	if site != nil {
		id.Site = *site
	}
	return id, nil
}

// decodeSite refuses a name that no site can have: what stands in stored names
// would be read as something else.
func decodeSite(raw json.RawMessage) (string, error) {
	site, err := decodeString(raw)
	for _, bad := range []string{"$|$", "$$123$$", "\x00"} {
		if err == nil && strings.Contains(site, bad) {
			err = fmt.Errorf("%q is no site: it contains %q", clip(site), bad)
		}
	}
	return site, err
}
