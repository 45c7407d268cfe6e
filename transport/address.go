package transport

import (
	"net/http"
	"net/netip"
	"slices"
	"strings"
)

// A holder is who a held request counts for: a user, or the address of somebody
// who is anonymous. The zero holder is not limited.
type holder struct {
	client clientKey // without the client id
	from   netip.Prefix
}

// holderOf returns for whom a request is held, and how many may be held for it;
// negative: any number.
func (h *Handler) holderOf(r *http.Request, id *Identity) (holder, int) {
	if !id.UserID.IsZero() {
		return holder{client: id.key("")}, h.options.Limits.MaxHeldPerUser
	}
	from, ok := h.networkOf(r)
	if !ok {
		return holder{}, -1
	}
	return holder{from: from}, h.options.Limits.MaxHeldPerAddress
}

// networkOf returns the address that a request comes from: of IPv6 the network
// of its first 64 bits, within which one customer has all addresses. false: it
// is not known, or many may share it.
func (h *Handler) networkOf(r *http.Request) (netip.Prefix, bool) {
	addr, known := h.addressOf(r)
	if !known || len(h.options.TrustedProxies) == 0 && (addr.IsPrivate() || addr.IsLoopback() || addr.IsLinkLocalUnicast()) {
		return netip.Prefix{}, false
	}
	bits := 64
	if addr.Is4() {
		bits = 32
	}
	network, err := addr.Prefix(bits)
	return network, err == nil
}

// addressOf returns the address of the last one in the chain of proxies that is
// not trusted: what was written before it may be made up.
func (h *Handler) addressOf(r *http.Request) (netip.Addr, bool) {
	var addr netip.Addr // stays so for a Unix socket
	if peer, err := netip.ParseAddrPort(r.RemoteAddr); err == nil {
		addr = peer.Addr().Unmap().WithZone("")
	}
	if !h.trusts(addr) {
		return addr, addr.IsValid()
	}
	chain := strings.Split(strings.Join(r.Header.Values("X-Forwarded-For"), ","), ",")
	for _, text := range slices.Backward(chain) {
		next, known := forwardedFor(strings.TrimSpace(text))
		if !known {
			return netip.Addr{}, false // a proxy that is trusted and does not say for whom it asks
		}
		if addr = next; !h.trusts(addr) {
			return addr, true
		}
	}
	return addr, true
}

// forwardedFor reads one member of X-Forwarded-For; some proxies write the port too.
func forwardedFor(text string) (netip.Addr, bool) {
	addr, err := netip.ParseAddr(text)
	if err != nil {
		var withPort netip.AddrPort
		withPort, err = netip.ParseAddrPort(text)
		addr = withPort.Addr()
	}
	return addr.Unmap().WithZone(""), err == nil
}

// trusts reports whether addr is that of a trusted proxy. Who comes by a Unix
// socket is of this machine, and trusted where there are proxies.
func (h *Handler) trusts(addr netip.Addr) bool {
	if !addr.IsValid() {
		return len(h.options.TrustedProxies) > 0
	}
	return slices.ContainsFunc(h.options.TrustedProxies, func(p netip.Prefix) bool { return p.Contains(addr) })
}
