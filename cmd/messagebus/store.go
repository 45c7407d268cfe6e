package main

import (
	"errors"
	"maps"
	"net/url"
	"slices"
	"strings"

	"github.com/messagebus-go/messagebus/bus"
	"github.com/messagebus-go/messagebus/bus/driver"
	"github.com/messagebus-go/messagebus/bus/membus"
)

// storeKind is one kind of store, by the scheme of its URL.
type storeKind struct {
	form   string // how its URLs look, for people
	shared bool   // whether another process can reach it
	open   func(*url.URL) (driver.Backend, error)
}

// stores has every kind of store. This is the one place to add another.
var stores = map[string]storeKind{
	"memory": {form: "memory:", open: openMemory},
}

const (
	defaultStore = "memory:"
	storeUsage   = "URL of the store; there is: memory:"
)

func openMemory(u *url.URL) (driver.Backend, error) {
	if u.String() != defaultStore {
		return nil, usagef("--store: memory: takes nothing after the colon")
	}
	return membus.New(nil)
}

// openStore opens a bus on the store that a URL names. No error repeats the
// URL, which may hold a password; not even its parts do when it cannot be read.
func openStore(rawURL string, opts *bus.Options) (*bus.Bus, error) {
	kind, u, err := findStore(rawURL)
	if err != nil {
		return nil, err
	}
	backend, err := kind.open(u)
	if err != nil {
		return nil, err
	}
	b, err := bus.New(backend, opts)
	if err != nil {
		return nil, errors.Join(err, backend.Close())
	}
	return b, nil
}

// openSharedStore opens a store for a command that ends at once, with a bus
// that leaves nothing of its own in it.
func openSharedStore(rawURL string) (*bus.Bus, error) {
	kind, _, err := findStore(rawURL)
	if err != nil {
		return nil, err
	}
	if !kind.shared {
		return nil, usagef("--store %s is gone when this command ends, and nobody else sees it; "+
			"give --server URL, the admin listener of a running \"messagebus serve --admin-listen ADDR\"", kind.form)
	}
	return openStore(rawURL, &bus.Options{Keepalive: -1})
}

func findStore(rawURL string) (storeKind, *url.URL, error) {
	u, err := url.Parse(rawURL)
	if err != nil {
		return storeKind{}, nil, usagef("--store: the URL cannot be read; accepted: %s (in a password, percent-encode what is no letter or digit)", storeForms())
	}
	kind, known := stores[u.Scheme]
	switch {
	case u.Scheme == "":
		return kind, nil, usagef("--store: the URL has no scheme; accepted: %s", storeForms())
	case !known:
		return kind, nil, usagef("--store: %s: is no store that is known here; accepted: %s", u.Scheme, storeForms())
	}
	return kind, u, nil
}

func storeForms() string {
	forms := make([]string, 0, len(stores))
	for _, scheme := range slices.Sorted(maps.Keys(stores)) {
		forms = append(forms, stores[scheme].form)
	}
	return strings.Join(forms, ", ")
}
