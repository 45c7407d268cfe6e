package main

import (
	"context"
	"errors"
	"net/url"
	"strings"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/messagebus-go/messagebus/bus/driver"
	"github.com/messagebus-go/messagebus/bus/pgbus"
	"github.com/messagebus-go/messagebus/cmd/messagebus/internal/doctor"
)

const postgresForm = "postgres://[USER[:PASSWORD]@]HOST[:PORT]/DATABASE[?pubsub_db=N&sslmode=…]"

func openPostgres(rawURL string) (driver.Backend, error) {
	config, db, err := postgresConfig(rawURL)
	if err != nil {
		return nil, err
	}
	pool, err := pgxpool.NewWithConfig(context.Background(), config) // connects when it is used
	if err != nil {
		return nil, badURL(postgresForm)
	}
	backend, err := pgbus.New(pool, &pgbus.Options{DB: db})
	if err != nil {
		pool.Close()
		return nil, asUsage(err)
	}
	return owned{backend, closer(pool.Close)}, nil
}

func inspectPostgres(ctx context.Context, rawURL string) (*doctor.Report, error) {
	config, db, err := postgresConfig(rawURL)
	if err != nil {
		return nil, err
	}
	return doctor.Postgres(ctx, config.ConnConfig, shownURL(rawURL), db)
}

// postgresConfig reads a URL, and the gem's db setting off it.
func postgresConfig(rawURL string) (config *pgxpool.Config, db string, err error) {
	rawURL, db, err = takeParameter(rawURL, pubSubDB)
	if err != nil {
		return nil, "", badURL(postgresForm)
	}
	config, err = pgxpool.ParseConfig(rawURL)
	if err != nil {
		return nil, "", badURL(postgresForm) // the cause may hold a part of the password
	}
	return config, db, nil
}

// closer makes a Close that cannot fail an io.Closer.
type closer func()

func (c closer) Close() error {
	c()
	return nil
}

// takeParameter takes a parameter out of the query of a URL, which is kept as
// it is otherwise: its own readers know the rest.
func takeParameter(rawURL, name string) (rest, value string, err error) {
	before, query, found := strings.Cut(rawURL, "?")
	if !found {
		return rawURL, "", nil
	}
	values, err := url.ParseQuery(query)
	if err != nil || len(values[name]) > 1 {
		return "", "", errors.Join(err, errForm)
	}
	value = values.Get(name)
	values.Del(name)
	if len(values) == 0 {
		return before, value, nil
	}
	return before + "?" + values.Encode(), value, nil
}
