package stores

import (
	"context"
	"fmt"
	"net/url"
	"os"
	"sync/atomic"
	"testing"
)

const postgresVariable = "MESSAGEBUS_TEST_POSTGRES_URL"

var (
	sharedPostgres shared[string]

	processID      = os.Getpid()
	databaseNumber atomic.Int64
)

// PostgresShared makes an empty database on the server that the tests of this binary
// share, and returns its URL. It is dropped when the test ends.
func PostgresShared(tb testing.TB) string {
	tb.Helper()
	server, err := sharedPostgres.get(newSharedPostgres)
	if err != nil {
		tb.Fatalf("stores: start the shared Postgres: %v", err)
	}
	name := databaseName()
	if _, err := execute(context.Background(), server, "create database "+name); err != nil {
		tb.Fatalf("stores: make a database on the shared Postgres: %v", err)
	}
	tb.Cleanup(func() {
		if _, err := execute(context.Background(), server, "drop database "+name+" with (force)"); err != nil {
			tb.Errorf("stores: drop a database of the shared Postgres: %v", err)
		}
	})
	return withDatabase(server, name)
}

// newSharedPostgres returns the address of a database from which others are made.
func newSharedPostgres() (string, func() error, error) {
	if server := os.Getenv(postgresVariable); server != "" {
		if _, err := url.Parse(server); err != nil {
			return "", nil, fmt.Errorf("%s is no URL", postgresVariable)
		}
		return server, func() error { return nil }, nil
	}
	s, err := newPostgres(mute{}, PostgresOptions{}, initialize)
	if err != nil {
		return "", nil, err
	}
	return s.URL("postgres"), s.end, nil
}

func withDatabase(server, name string) string {
	address, _ := url.Parse(server) // it was read before
	address.Path = "/" + name
	return address.String()
}
