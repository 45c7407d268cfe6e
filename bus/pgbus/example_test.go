package pgbus_test

import (
	"context"
	"fmt"
	"log"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/messagebus-go/messagebus/bus/pgbus"
)

func ExampleNew() {
	pool, err := pgxpool.New(context.Background(), "postgres://app@localhost/app")
	if err != nil {
		log.Fatal(err)
	}
	defer pool.Close()
	store, err := pgbus.New(pool, nil)
	if err != nil {
		log.Fatal(err)
	}
	defer store.Close() // bus.New(store, nil) would do so with the bus
	// Output:
}

// Publishing and reading go through the pooler, the feed to Postgres itself.
func ExampleNew_pgBouncer() {
	config, err := pgxpool.ParseConfig("postgres://app@pooler:6432/app")
	if err != nil {
		log.Fatal(err)
	}
	config.ConnConfig.DefaultQueryExecMode = pgx.QueryExecModeExec // not needed from PgBouncer 1.21 on
	pool, err := pgxpool.NewWithConfig(context.Background(), config)
	if err != nil {
		log.Fatal(err)
	}
	defer pool.Close()
	direct, err := pgx.ParseConfig("postgres://app@server/app")
	if err != nil {
		log.Fatal(err)
	}
	store, err := pgbus.New(pool, &pgbus.Options{ListenConfig: direct})
	if err != nil {
		log.Fatal(err)
	}
	defer store.Close()
	// Output:
}

// Where no Ruby process publishes, nothing has to wait for a missing id.
func ExampleNew_goAlone() {
	pool, err := pgxpool.New(context.Background(), "postgres://app@localhost/app")
	if err != nil {
		log.Fatal(err)
	}
	defer pool.Close()
	store, err := pgbus.New(pool, &pgbus.Options{SettleHole: -1})
	if err != nil {
		log.Fatal(err)
	}
	defer store.Close()
	fmt.Println(store.Traits().SettleHole)
	// Output: 0s
}

// For a migration, where the application's role may not create tables.
func ExampleSchema() {
	first, _, _ := strings.Cut(pgbus.Schema(), "\n")
	fmt.Println(first)
	// Output: CREATE TABLE IF NOT EXISTS message_bus (
}
