package pgbus

import (
	"context"
	_ "embed" // for the statements
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/messagebus-go/messagebus/bus/driver"
)

var (
	//go:embed schema.sql
	schemaSQL string
	//go:embed ordering.sql
	orderingSQL string
)

// lockSQL is the lock under which ids are given; it makes creators of the table
// take turns as well. The number spells mess_bus. A lock is of one database.
const lockSQL = "SELECT pg_advisory_xact_lock(7882833662140642675)"

// tableSQL fails where there is no table.
const tableSQL = "SELECT FROM message_bus LIMIT 0"

// Schema returns the statements that create the table and its indexes, the same
// that the gem executes. They may be executed again. A Backend does that when
// it misses the table, so only those need them whose role may not create tables.
func Schema() string { return schemaSQL }

// OrderingTrigger returns the statements that create a trigger on the table by
// which publishers that take no lock, Ruby processes, commit their rows in the
// order of ids as well. It is optional and is not created by a Backend. The
// statements may be executed again; DROP FUNCTION message_bus_take_turn CASCADE
// takes it back. See the package documentation for what it does not change.
func OrderingTrigger() string { return orderingSQL }

// statement prepares an embedded file for the server: comments stay here.
func statement(text string) string {
	var b strings.Builder
	for line := range strings.Lines(text) {
		line, _, _ = strings.Cut(line, "--")
		if line = strings.TrimSpace(line); line != "" {
			b.WriteString(line + "\n")
		}
	}
	return b.String()
}

// withTable runs request, and once more after it created the table if the table
// was missing. A request that failed so has changed nothing.
func (b *Backend) withTable(ctx context.Context, request func() error) error {
	err := request()
	if !isCode(err, undefinedTable) {
		return err
	}
	if err := b.createTable(ctx); err != nil {
		err = fmt.Errorf("create the table message_bus: %w", err)
		if isCode(err, readOnlyTransaction) {
			return fmt.Errorf("%w: %w", driver.ErrReadOnly, err)
		}
		return err
	}
	return request()
}

// missingIsEmpty takes a store without its table for an empty one, of no epoch. A
// read does not create the table: the gem's reset! drops it and creates it again in
// two steps, and fails when somebody else comes between them.
func missingIsEmpty(err error) error {
	if isCode(err, undefinedTable) {
		return nil
	}
	return err
}

// ensureTable creates the table if it is missing, so that the store has an epoch.
// Where this role may not, or the server takes no writes, it stays missing.
func (b *Backend) ensureTable(ctx context.Context) error {
	err := b.withTable(ctx, func() error {
		_, err := b.pool.Exec(ctx, tableSQL)
		return err
	})
	if isCode(err, readOnlyTransaction, insufficientPrivilege) {
		return nil
	}
	return err
}

// Reset implements driver.Resetter: it drops the table and creates it again, in
// one transaction.
func (b *Backend) Reset(ctx context.Context) error {
	if err := b.begin(ctx); err != nil {
		return err
	}
	return pgx.BeginFunc(ctx, b.pool, func(tx pgx.Tx) error {
		for _, sql := range []string{lockSQL, "DROP TABLE IF EXISTS message_bus", schemaSQL} {
			if _, err := tx.Exec(ctx, sql); err != nil {
				return err
			}
		}
		return nil
	})
}

// createTable creates the table unless somebody else just did.
func (b *Backend) createTable(ctx context.Context) error {
	err := pgx.BeginFunc(ctx, b.pool, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, lockSQL); err != nil {
			return err
		}
		var missing bool
		err := tx.QueryRow(ctx, "SELECT to_regclass('message_bus') IS NULL").Scan(&missing)
		if err != nil || !missing {
			return err
		}
		_, err = tx.Exec(ctx, schemaSQL)
		return err
	})
	if isCode(err, duplicateTable, duplicateObject, uniqueViolation) {
		return nil // a Ruby process, which does not take the lock, was faster
	}
	return err
}

// Codes of Postgres errors, appendix A of its manual.
const (
	readOnlyTransaction   = "25006"
	insufficientPrivilege = "42501"
	undefinedTable        = "42P01"
	duplicateTable        = "42P07"
	duplicateObject       = "42710"
	uniqueViolation       = "23505"
)

// isCode reports whether err is an answer of the server with one of these codes.
func isCode(err error, codes ...string) bool {
	var answer *pgconn.PgError
	return errors.As(err, &answer) && slices.Contains(codes, answer.Code)
}
