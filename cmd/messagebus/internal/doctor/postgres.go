package doctor

import (
	"context"
	_ "embed" // the statements
	"errors"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// How much of a database is looked at.
const (
	mostRows     = 20000 // the newest
	mostGroups   = 2000  // channels among them
	mostSessions = 1000  // that listen
	// patience is how long the server may take over one question.
	patience = "10s"
)

var (
	//go:embed postgres_server.sql
	serverSQL string
	//go:embed postgres_table.sql
	tableSQL string
	//go:embed postgres_channels.sql
	channelsSQL string
	//go:embed postgres_listeners.sql
	listenersSQL string
)

// postgresFacts is what was seen of a database.
type postgresFacts struct {
	listenName  string // the notification channel of this URL
	server      pgServer
	table       *pgTable // nil: there is none
	channels    []pgChannel
	looked      bool // into channels
	listeners   map[string]int64
	hidden      int64 // sessions of which this role may not see what they do
	pooled      bool  // a pooler is in between
	ahead       time.Duration
	rowsSkipped bool
}

// pgServer is one row of postgres_server.sql.
type pgServer struct {
	Version    string
	Number     int
	Database   string
	Role       string
	ReadOnly   bool
	Recovering bool
	Replicas   int64
	Isolation  string
	Encoding   string
	TimeZone   string
	ZoneSource string
	Zones      []string // that roles and databases set for themselves
	Queue      float64
	MayCreate  bool
	Clock      time.Time
	BackendPID int64
}

// pgTable is one row of postgres_table.sql.
type pgTable struct {
	Schema                             string
	Columns                            string // name type, of each
	Indexes                            []string
	Select, Insert, Delete, Sequence   bool // what the role may do
	Unlogged, RowSecurity, Partitioned bool
	Ordered                            bool     // the trigger that orders publishers is there
	Triggers                           []string // other ones
	Given                              int64    // last id of the sequence
	Estimate                           int64    // rows
	DeadRows                           int64
	LastVacuum                         *time.Time
}

// pgChannel is one row of postgres_channels.sql.
type pgChannel struct {
	Channel     string
	Messages    int64
	First, Last int64
	Largest     int64
	TooLong     int64  // messages that no notice can hold
	Newest      string // its beginning
	NewestSize  int64
	Young, Old  float64 // s since the newest and the oldest
	Backwards   int64   // places where time goes back by a time zone
	Future      int64   // rows of the future
	Rows        int64   // of all channels, that were looked at
}

// Postgres looks at the database that config names. db is the gem's own db setting. An
// error means that the server cannot be asked at all.
func Postgres(ctx context.Context, config *pgx.ConnConfig, url, db string) (*Report, error) {
	if db == "" {
		db = "0"
	}
	conn, err := pgx.ConnectConfig(ctx, config)
	if err != nil {
		return nil, err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	look := postgresLook{conn: conn, report: &Report{Server: Server{URL: url}}, facts: &postgresFacts{listenName: pubSubPrefix + db}}
	for _, step := range []func(context.Context) error{look.server, look.table, look.intoChannels, look.listeners} {
		if err := step(ctx); err != nil {
			return nil, err
		}
	}
	judgePostgres(look.report, look.facts)
	look.report.finish()
	return look.report, nil
}

type postgresLook struct {
	conn   *pgx.Conn
	report *Report
	facts  *postgresFacts
}

// ask runs one question in a transaction that cannot write, and that the server ends
// when it takes too long.
func (l *postgresLook) ask(ctx context.Context, question func(pgx.Tx) error) error {
	return pgx.BeginTxFunc(ctx, l.conn, pgx.TxOptions{AccessMode: pgx.ReadOnly}, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, "SET LOCAL statement_timeout = '"+patience+"'"); err != nil {
			return err
		}
		return question(tx)
	})
}

// refused reports whether the role may not, or the server gave up, which is then said.
func (l *postgresLook) refused(err error, what string) bool {
	const insufficientPrivilege, queryCanceled = "42501", "57014"
	var answer *pgconn.PgError
	if !errors.As(err, &answer) || answer.Code != insufficientPrivilege && answer.Code != queryCanceled {
		return false
	}
	l.report.skip("%s: %s (%s)", what, answer.Message, answer.Code)
	return true
}

func (l *postgresLook) server(ctx context.Context) error {
	before := time.Now()
	err := l.ask(ctx, func(tx pgx.Tx) (err error) {
		l.facts.server, err = one[pgServer](ctx, tx, serverSQL)
		return err
	})
	if err != nil {
		return err
	}
	l.facts.ahead = l.facts.server.Clock.Sub(before.Add(time.Since(before) / 2))
	// A pooler answers with a number of its own when the connection is made.
	l.facts.pooled = int64(l.conn.PgConn().PID()) != l.facts.server.BackendPID
	return nil
}

func one[T any](ctx context.Context, tx pgx.Tx, sql string, args ...any) (T, error) {
	rows, err := tx.Query(ctx, sql, args...)
	if err != nil {
		var none T
		return none, err
	}
	return pgx.CollectExactlyOneRow(rows, pgx.RowToStructByPos[T])
}

func (l *postgresLook) table(ctx context.Context) error {
	err := l.ask(ctx, func(tx pgx.Tx) error {
		table, err := one[pgTable](ctx, tx, tableSQL)
		if errors.Is(err, pgx.ErrNoRows) {
			return nil
		}
		if err == nil {
			l.facts.table = &table
		}
		return err
	})
	if l.refused(err, "the table") {
		return nil
	}
	return err
}

func (l *postgresLook) intoChannels(ctx context.Context) error {
	table := l.facts.table
	if table == nil || table.Columns != gemColumns {
		return nil
	}
	err := l.ask(ctx, func(tx pgx.Tx) error {
		rows, err := tx.Query(ctx, channelsSQL, mostRows, mostGroups, mostOfSample)
		if err == nil {
			l.facts.channels, err = pgx.CollectRows(rows, pgx.RowToStructByPos[pgChannel])
		}
		return err
	})
	if l.refused(err, "ids, backlogs and messages") {
		return nil
	}
	if err != nil {
		return err
	}
	l.facts.looked = true
	if c := l.facts.channels; len(c) > 0 && c[0].Rows >= mostRows {
		l.facts.rowsSkipped = true
		l.report.skip("rows before the newest %d; the table has about %d", mostRows, max(table.Estimate, mostRows))
	}
	if len(l.facts.channels) == mostGroups {
		l.report.skip("channels beyond the %d largest", mostGroups)
	}
	return nil
}

// listeners counts the sessions that listen, as far as the last statement of each tells.
func (l *postgresLook) listeners(ctx context.Context) error {
	found := map[string]int64{}
	err := l.ask(ctx, func(tx pgx.Tx) error {
		rows, err := tx.Query(ctx, listenersSQL, mostSessions)
		if err != nil {
			return err
		}
		var name *string
		var count int64
		_, err = pgx.ForEachRow(rows, []any{&name, &count}, func() error {
			if name == nil {
				l.facts.hidden += count
			} else {
				found[*name] += count
			}
			return nil
		})
		return err
	})
	if l.refused(err, "who listens") {
		return nil
	}
	l.facts.listeners = found
	return err
}
