package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"github.com/messagebus-go/messagebus/bus"
	"github.com/messagebus-go/messagebus/cmd/messagebus/internal/strictjson"
)

// repeatable marks a flag whose variable holds one value a line.
const repeatable = "messagebus_repeatable"

// flagValue is a flag whose value is checked when it is set, so that a wrong
// one is told by its name, be it on the command line or in the environment.
type flagValue[T any] struct {
	target *T
	kind   string
	parse  func(string) (T, error)
	texts  []string // as they were given
}

// Set implements pflag.Value.
func (v *flagValue[T]) Set(s string) error {
	value, err := v.parse(s)
	if err == nil {
		*v.target = value
		v.texts = append(v.texts, s)
	}
	return err
}

func (v *flagValue[T]) String() string { return fmt.Sprint(*v.target) }

// check says what is wrong with texts, without setting the flag to them.
func (v *flagValue[T]) check(texts []string) error {
	for _, text := range texts {
		if _, err := v.parse(text); err != nil {
			return err
		}
	}
	return nil
}

// given returns the texts that the flag was set to.
func (v *flagValue[T]) given() []string { return v.texts }

// Type implements pflag.Value: the word for the value in the help.
func (v *flagValue[T]) Type() string { return v.kind }

// addFlag adds a flag whose default is what target holds.
func addFlag[T any](flags *pflag.FlagSet, target *T, name, kind, usage string, parse func(string) (T, error)) *pflag.Flag {
	f := flags.VarPF(&flagValue[T]{target: target, kind: kind, parse: parse}, name, "", usage)
	if reflect.ValueOf(target).Elem().IsZero() {
		f.DefValue = ""
	}
	return f
}

func addString(flags *pflag.FlagSet, target *string, name, kind, usage string) *pflag.Flag {
	return addFlag(flags, target, name, kind, usage, func(s string) (string, error) { return s, nil })
}

func addSwitch(flags *pflag.FlagSet, target *bool, name, usage string) {
	addFlag(flags, target, name, "bool", usage, func(s string) (bool, error) {
		value, err := strconv.ParseBool(s)
		if err != nil {
			return false, errors.New("it must be true or false")
		}
		return value, nil
	}).NoOptDefVal = "true"
}

// optional makes a parser of T one of *T: nil when the flag is not given.
func optional[T any](parse func(string) (T, error)) func(string) (*T, error) {
	return func(s string) (*T, error) {
		value, err := parse(s)
		return &value, err
	}
}

// anyText takes every text that is UTF-8.
func anyText(s string) (string, error) { return s, nil }

// count returns a parser of whole numbers from least on.
func count[T int | int64](least T) func(string) (T, error) {
	return func(s string) (T, error) {
		n, err := strconv.ParseInt(s, 10, strconv.IntSize)
		if err != nil || T(n) < least {
			return 0, fmt.Errorf("it must be a whole number, %d or more", least)
		}
		return T(n), nil
	}
}

// duration returns a parser of durations from least on.
func duration(least time.Duration) func(string) (time.Duration, error) {
	return func(s string) (time.Duration, error) {
		d, err := time.ParseDuration(s)
		if err != nil || d < least {
			return 0, fmt.Errorf("it must be a duration of %v or more, such as 25s, 1m30s or 168h", least)
		}
		return d, nil
	}
}

// address takes what can be listened on.
func address(s string) (string, error) {
	if path, found := strings.CutPrefix(s, unixPrefix); found && path != "" {
		return s, nil
	}
	if name, found := strings.CutPrefix(s, systemd); found && (name == "" || len(name) > 1 && name[0] == ':') {
		return s, nil
	}
	_, port, err := net.SplitHostPort(s)
	if err == nil {
		_, err = strconv.ParseUint(port, 10, 16)
	}
	if err != nil {
		return "", errors.New("it must be HOST:PORT, such as 127.0.0.1:8080, [::1]:8080 or :8080, unix:PATH, systemd or systemd:NAME")
	}
	return s, nil
}

// prefixes is a list of networks.
type prefixes []netip.Prefix

func (p prefixes) String() string {
	texts := make([]string, len(p))
	for i, prefix := range p {
		texts[i] = prefix.String()
	}
	return strings.Join(texts, ",")
}

// parsePrefixes takes networks, or addresses, with commas between them.
func parsePrefixes(s string) (prefixes, error) {
	var list prefixes
	for part := range strings.SplitSeq(s, ",") {
		prefix, err := parsePrefix(strings.TrimSpace(part))
		if err != nil {
			return nil, fmt.Errorf("%q is no network; it must be CIDRs with commas between them, such as 10.0.0.0/8,::1/128", part)
		}
		list = append(list, prefix)
	}
	return list, nil
}

func parsePrefix(s string) (netip.Prefix, error) {
	if addr, err := netip.ParseAddr(s); err == nil && addr.Zone() == "" {
		addr = addr.Unmap()
		return addr.Prefix(addr.BitLen())
	}
	prefix, err := netip.ParsePrefix(s)
	if err != nil {
		return prefix, err
	}
	// A mapped network would never contain the plain addresses that are asked for.
	if prefix.Addr().Is4In6() {
		if prefix.Bits() < 96 {
			return prefix, errors.New("wider than all of IPv4")
		}
		prefix = netip.PrefixFrom(prefix.Addr().Unmap(), prefix.Bits()-96)
	}
	return prefix.Masked(), nil
}

// addHeaders adds a flag for headers.
func addHeaders(flags *pflag.FlagSet, target *http.Header, name, usage string) {
	f := addFlag(flags, target, name, "'NAME: VALUE'", usage+"; may be repeated",
		func(s string) (http.Header, error) {
			field, value, err := parseHeader(s)
			if err != nil {
				return nil, err
			}
			all := target.Clone()
			if all == nil {
				all = http.Header{}
			}
			all.Add(field, value)
			return all, nil
		})
	f.Annotations = map[string][]string{repeatable: nil}
}

// addList adds a flag that may be repeated, whose values are in a list.
func addList[T any](flags *pflag.FlagSet, target *[]T, name, kind, usage string, parse func(string) (T, error)) {
	f := addFlag(flags, target, name, kind, usage+"; may be repeated", func(s string) ([]T, error) {
		value, err := parse(s)
		if err != nil {
			return nil, err
		}
		return append(slices.Clone(*target), value), nil
	})
	f.Annotations = map[string][]string{repeatable: nil}
	f.DefValue = ""
}

func parseHeader(s string) (name, value string, err error) {
	name, value, found := strings.Cut(s, ":")
	if !found || name == "" || strings.ContainsFunc(name, func(r rune) bool { return !isTokenRune(r) }) {
		return "", "", errors.New("it must be 'Name: value', the name of letters, digits and hyphens")
	}
	value = strings.Trim(value, " \t")
	if i := strings.IndexFunc(value, func(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f }); i >= 0 {
		return "", "", fmt.Errorf("the value contains the control character %q", value[i])
	}
	name = http.CanonicalHeaderKey(name)
	switch name {
	case "Connection", "Content-Length", "Transfer-Encoding", "Trailer", "Upgrade":
		return "", "", fmt.Errorf("%s is the server's own to set", name)
	}
	return name, value, nil
}

// isTokenRune reports whether r may stand in a header's name (RFC 9110, 5.6.2).
func isTokenRune(r rune) bool {
	return r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' ||
		strings.ContainsRune("!#$%&'*+-.^_`|~", r)
}

// parseIDs takes a JSON list of user or group ids.
func parseIDs(s string) ([]bus.ID, error) {
	ids, err := strictjson.IDs(json.RawMessage(s))
	if err == nil && len(ids) == 0 {
		err = errors.New("the list is empty; leave it out, or name at least one")
	}
	return ids, err
}

// parseClients takes a JSON list of client ids.
func parseClients(s string) ([]string, error) {
	clients, err := strictjson.Strings(json.RawMessage(s))
	if err == nil && len(clients) == 0 {
		err = errors.New("the list is empty; leave it out, or name at least one")
	}
	return clients, err
}

// checkKey refuses a key that no header can carry. It does not repeat the key.
func checkKey(flag, key string) error {
	if key == "" || strings.ContainsFunc(key, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return usagef("--%s: a key is one or more visible ASCII characters without spaces", flag)
	}
	return nil
}
