package pgbus

import (
	"context"
	_ "embed" // for the statement

	"github.com/jackc/pgx/v5"

	"github.com/messagebus-go/messagebus/bus/driver"
)

var (
	//go:embed state.sql
	stateFile string

	stateSQL = statement(stateFile)
)

// queueLimit is how full the server's notification queue may be before
// State.Warning says so. When it is full, nobody can publish any more.
const queueLimit = 0.5

const queueWarning = "the notification queue of Postgres is at least half full: some session has executed LISTEN " +
	"and has had a transaction open since, or does not read; pg_stat_activity shows it"

// State implements driver.Backend. The epoch is the cluster, the database, the
// table and the storage of its sequence, which RESTART IDENTITY replaces; the
// timeline is that of the write-ahead log, which a promotion begins.
func (b *Backend) State(ctx context.Context) (driver.State, error) {
	if err := b.begin(ctx); err != nil {
		return driver.State{}, err
	}
	state, err := scanState(b.pool.QueryRow(ctx, stateSQL))
	return state, missingIsEmpty(err)
}

func scanState(row pgx.Row) (driver.State, error) {
	var (
		s     driver.State
		queue float64
	)
	err := row.Scan(&s.GlobalID, &s.Settled, &s.Epoch, &s.Timeline, &s.ReadOnly, &queue)
	if err != nil {
		return driver.State{}, err
	}
	if queue >= queueLimit {
		s.Warning = queueWarning
	}
	return s, nil
}
