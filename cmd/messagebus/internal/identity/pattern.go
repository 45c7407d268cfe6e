package identity

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/messagebus-go/messagebus/cmd/messagebus/internal/strictjson"
)

// The largest lists and patterns that are accepted of others.
const (
	maxPatterns     = 1000
	maxPatternBytes = 4096
)

// A Pattern is the name of a channel in which each * stands for any characters,
// slashes and none included.
type Pattern string

// Patterns are alternatives; an empty list matches nothing.
type Patterns []Pattern

// ParsePattern takes what begins with / or *.
func ParsePattern(s string) (Pattern, error) {
	switch {
	case !strings.HasPrefix(s, "/") && !strings.HasPrefix(s, "*"):
		return "", fmt.Errorf("%q is no pattern of channels: it must begin with / or *, such as /news or /user/5/*", strictjson.Clip(s, 60))
	case len(s) > maxPatternBytes:
		return "", fmt.Errorf("a pattern of %d bytes; at most %d are accepted", len(s), maxPatternBytes)
	case strings.ContainsFunc(s, func(r rune) bool { return r < ' ' }):
		return "", errors.New("a pattern contains a control character")
	}
	return Pattern(s), nil
}

// Match reports whether channel is one that p stands for. Its time is bounded
// by the product of both lengths.
func (p Pattern) Match(channel string) bool {
	parts := strings.Split(string(p), "*")
	first, rest := parts[0], parts[1:]
	if len(rest) == 0 {
		return channel == first
	}
	channel, found := strings.CutPrefix(channel, first)
	if !found {
		return false
	}
	for _, middle := range rest[:len(rest)-1] { // the first place leaves most to what follows
		if _, channel, found = strings.Cut(channel, middle); !found {
			return false
		}
	}
	return strings.HasSuffix(channel, rest[len(rest)-1])
}

// Match reports whether one of the patterns matches.
func (all Patterns) Match(channel string) bool {
	return slices.ContainsFunc(all, func(p Pattern) bool { return p.Match(channel) })
}

// Rules are what the server itself says of channels.
type Rules struct {
	Allow Patterns // empty: all
	Deny  Patterns // of what Allow allows
}

// Permit reports whether the rules let a client have a channel.
func (r Rules) Permit(channel string) bool {
	return (len(r.Allow) == 0 || r.Allow.Match(channel)) && !r.Deny.Match(channel)
}
