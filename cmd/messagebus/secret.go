package main

import (
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"strings"

	"github.com/spf13/pflag"
)

// The annotations of flags that may hold a secret: all of it, or in a URL.
const (
	maskedFlag    = "messagebus_masked"
	maskedURLFlag = "messagebus_masked_url"
)

// annotate marks a flag.
func annotate(f *pflag.Flag, name string) {
	if f.Annotations == nil {
		f.Annotations = map[string][]string{}
	}
	f.Annotations[name] = nil
}

// shown is a value of a flag as it may be printed.
func shown(f *pflag.Flag, text string) string {
	if _, secret := f.Annotations[maskedFlag]; secret && text != "" {
		return "***"
	}
	if _, secret := f.Annotations[maskedURLFlag]; secret {
		return shownURL(text)
	}
	return text
}

// shownURL is a URL without user and query; of one that cannot be read, which
// may have a password anywhere, no more than the scheme.
func shownURL(text string) string {
	scheme, rest, found := strings.Cut(text, ":")
	if !found {
		return "***"
	}
	if rest == "" {
		return text
	}
	u, err := url.Parse(text)
	if err != nil || u.Opaque != "" || u.Host == "" && u.Path == "" {
		return scheme + ":***"
	}
	u.User, u.RawQuery, u.Fragment = nil, "", ""
	return u.String()
}

const maxSecretBytes = 64 << 10

// readSecret reads a file whose content is a secret; one line break at its end
// does not belong to it. No error repeats any of it.
func readSecret(path string) (string, error) {
	file, err := os.Open(path) //nolint:gosec // the operator names it
	if err != nil {
		return "", err
	}
	defer file.Close()
	text, err := io.ReadAll(io.LimitReader(file, maxSecretBytes+1))
	switch {
	case err != nil:
		return "", err
	case len(text) > maxSecretBytes:
		return "", fmt.Errorf("%s is longer than %d bytes", path, maxSecretBytes)
	}
	secret := strings.TrimSuffix(strings.TrimSuffix(string(text), "\n"), "\r")
	if secret == "" {
		return "", errors.New(path + " is empty")
	}
	return secret, nil
}
