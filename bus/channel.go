package bus

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// Names as they are stored (message_bus 4.5.2, lib/message_bus.rb).
const (
	siteSeparator = "$|$"      // <channel>$|$<site>
	globalPrefix  = "/global/" // such channels belong to no site
	pipeEscape    = "$$123$$"  // a pipe in an encoded channel
)

// storedName returns the name under which channel is stored for this view of
// the bus. It refuses whatever a peer would read back as something else.
func (b *Bus) storedName(channel string) (string, error) {
	if err := checkName("channel", channel); err != nil {
		return "", err
	}
	if channel == "" {
		return "", fmt.Errorf("%w: it is empty", ErrInvalidChannel)
	}
	name := channel
	if b.sited && !strings.HasPrefix(channel, globalPrefix) {
		if err := checkName("site", b.site); err != nil {
			return "", err
		}
		name += siteSeparator + b.site
		if c, s, err := splitStoredName(name); err != nil || c != channel || s != b.site {
			return "", fmt.Errorf("%w: %q with the site %q reads back as channel %q", ErrInvalidChannel, channel, b.site, c)
		}
	}
	if strings.ReplaceAll(strings.ReplaceAll(name, "|", pipeEscape), pipeEscape, "|") != name {
		return "", fmt.Errorf("%w: %q does not survive the escape of its pipes as %s", ErrInvalidChannel, name, pipeEscape)
	}
	return name, nil
}

func checkName(kind, name string) error {
	switch {
	case !utf8.ValidString(name):
		return fmt.Errorf("%w: %s %q is not valid UTF-8", ErrInvalidChannel, kind, name)
	case strings.Contains(name, siteSeparator):
		return fmt.Errorf("%w: %s %q contains the site separator %s", ErrInvalidChannel, kind, name, siteSeparator)
	case strings.Contains(name, pipeEscape):
		return fmt.Errorf("%w: %s %q contains %s, the escape of a pipe", ErrInvalidChannel, kind, name, pipeEscape)
	case strings.ContainsRune(name, 0):
		return fmt.Errorf("%w: %s %q contains NUL", ErrInvalidChannel, kind, name)
	}
	return nil
}

// sited reports whether a stored name carries a site, be it the empty one.
func sited(name string) bool { return strings.Contains(name, siteSeparator) }

// splitStoredName reads a stored name as the gem does: the second part is the
// site, further parts are dropped, an empty site is none.
func splitStoredName(name string) (channel, site string, err error) {
	channel, rest, found := strings.Cut(name, siteSeparator)
	if channel == "" && rest == "" {
		return "", "", fmt.Errorf("%w: stored name %q has no channel", ErrInvalidChannel, name)
	}
	if found {
		site, _, _ = strings.Cut(rest, siteSeparator)
	}
	return channel, site, nil
}
