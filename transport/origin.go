package transport

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
)

// An origin is one member of Options.Origins.
type origin struct {
	scheme, host string
	subdomains   bool // of host, and not host itself
}

// parseOrigins reads the origins of the options.
func parseOrigins(list []string) ([]origin, error) {
	origins := make([]origin, len(list))
	for i, text := range list {
		u, err := url.Parse(strings.ToLower(text))
		if err != nil || u.Host == "" || u.Scheme+"://"+u.Host != strings.ToLower(text) {
			return nil, fmt.Errorf("transport: origin %q: it must be like https://example.com or https://*.example.com", text)
		}
		host, subdomains := strings.CutPrefix(u.Host, "*.")
		if strings.Contains(host, "*") {
			return nil, fmt.Errorf("transport: origin %q: a * stands for the whole first part of the host only", text)
		}
		origins[i] = origin{scheme: u.Scheme, host: host, subdomains: subdomains}
	}
	return origins, nil
}

// matches reports whether a page's origin is o.
func (o origin) matches(scheme, host string) bool {
	if o.scheme != scheme {
		return false
	}
	if !o.subdomains {
		return host == o.host
	}
	below, ok := strings.CutSuffix(host, "."+o.host)
	return ok && below != ""
}

// originAllowed reports whether scripts of a page may read answers.
func (h *Handler) originAllowed(page string) bool {
	scheme, host, ok := strings.Cut(strings.ToLower(page), "://")
	if !ok {
		return false
	}
	for _, o := range h.origins {
		if o.matches(scheme, host) {
			return true
		}
	}
	return false
}

// The headers by which a browser lets a page of another origin use the bus.
const (
	exposedHeaders  = refusedHeader + ", " + epochHeader + ", Retry-After"
	preflightMaxAge = "7200"
)

// allowOrigin tells the browser what a page of another origin may do. It
// stands on every answer, refusals included, or the page could not read them.
func (h *Handler) allowOrigin(header http.Header, r *http.Request) {
	if len(h.origins) == 0 {
		return
	}
	header.Add("Vary", "Origin")
	page := r.Header.Get("Origin")
	if page == "" || !h.originAllowed(page) {
		return
	}
	header.Set("Access-Control-Allow-Origin", page)
	header.Set("Access-Control-Allow-Credentials", "true")
	header.Set("Access-Control-Expose-Headers", exposedHeaders)
	if r.Method != http.MethodOptions || r.Header.Get("Access-Control-Request-Method") == "" {
		return
	}
	header.Add("Vary", "Access-Control-Request-Headers")
	header.Set("Access-Control-Allow-Methods", "GET, POST")
	header.Set("Access-Control-Max-Age", preflightMaxAge)
	if asked := r.Header.Get("Access-Control-Request-Headers"); asked != "" {
		header.Set("Access-Control-Allow-Headers", asked)
	}
}
