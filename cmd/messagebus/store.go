package main

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"

	"github.com/messagebus-go/messagebus/bus"
	"github.com/messagebus-go/messagebus/bus/driver"
	"github.com/messagebus-go/messagebus/bus/membus"
	"github.com/messagebus-go/messagebus/cmd/messagebus/internal/doctor"
)

// storeKind is one kind of store, by the scheme of its URL.
type storeKind struct {
	form   string // how its URLs begin, for people
	shared bool   // whether another process can reach it
	open   func(rawURL string) (driver.Backend, error)
	// inspect looks at the store without changing it; nil: there is nothing to look at.
	inspect func(ctx context.Context, rawURL string) (*doctor.Report, error)
}

// stores has every kind of store. This is the one place to add another.
var stores = map[string]storeKind{
	"memory":         {"memory:", false, openMemory, nil},
	"redis":          onRedis("redis://", redisClient(redisForm)),
	"rediss":         onRedis("rediss://", redisClient(redissForm)),
	"unix":           onRedis("unix://", redisClient(unixForm)),
	"redis-sentinel": onRedis("redis-sentinel://", sentinelClient),
	"postgres":       {"postgres://", true, openPostgres, inspectPostgres},
	"postgresql":     {"postgresql://", true, openPostgres, inspectPostgres},
}

const (
	defaultStore = "memory:"
	storeUsage   = "URL of the store: memory:, redis://, rediss://, unix://, redis-sentinel:// or postgres://"
)

func openMemory(rawURL string) (driver.Backend, error) {
	if rawURL != defaultStore {
		return nil, usagef("--store: memory: takes nothing after the colon")
	}
	return membus.New(nil)
}

// badURL says which form a URL must have. What is wrong with the one that was
// given is not said: it may be inside the password.
func badURL(form string) error {
	return usagef("--store: the URL cannot be read; it must be %s (in a password, percent-encode what is no letter or digit)", form)
}

// openStore opens a bus on the store that a URL names. No error repeats the
// URL, which may hold a password; not even its parts do when it cannot be read.
func openStore(rawURL string, opts *bus.Options) (*bus.Bus, error) {
	kind, err := findStore(rawURL)
	if err != nil {
		return nil, err
	}
	backend, err := kind.open(rawURL)
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
// that leaves nothing of its own in it, and queues nothing.
func openSharedStore(rawURL string) (*bus.Bus, error) {
	kind, err := findStore(rawURL)
	if err != nil {
		return nil, err
	}
	if !kind.shared {
		return nil, usagef("--store %s is gone when this command ends, and nobody else sees it; "+
			"give --server URL, the admin listener of a running \"messagebus serve --admin-listen ADDR\"", kind.form)
	}
	return openStore(rawURL, &bus.Options{Keepalive: -1, ReadOnlyQueue: bus.QueueLimits{Messages: -1}})
}

func findStore(rawURL string) (storeKind, error) {
	scheme, _, found := strings.Cut(rawURL, ":")
	kind, known := stores[scheme]
	switch {
	case !found || scheme == "":
		return kind, usagef("--store: the URL has no scheme; accepted: %s", storeForms())
	case !known && strings.Trim(scheme, "abcdefghijklmnopqrstuvwxyz+-") != "":
		return kind, usagef("--store: the URL has no scheme that is known here; accepted: %s", storeForms())
	case !known:
		return kind, usagef("--store: %s: is no store that is known here; accepted: %s", scheme, storeForms())
	}
	return kind, nil
}

func storeForms() string {
	forms := make([]string, 0, len(stores))
	for _, scheme := range slices.Sorted(maps.Keys(stores)) {
		forms = append(forms, stores[scheme].form)
	}
	return strings.Join(forms, ", ")
}
