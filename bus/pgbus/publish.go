package pgbus

import (
	"context"
	_ "embed" // for the statements
	"errors"
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/messagebus-go/messagebus/bus/driver"
)

var (
	//go:embed insert.sql
	insertFile string
	//go:embed trim.sql
	trimFile string

	insertSQL = statement(insertFile)
	trimSQL   = statement(trimFile)
)

// Publish implements driver.Backend. Its two statements go out together, and
// are one transaction since there is one Sync message after them.
//
// A message that is too long for a notice is not trimmed by its own publish,
// whatever the limits, since its listeners have to read the row.
func (b *Backend) Publish(ctx context.Context, channel string, data []byte, limits driver.Limits) (driver.Position, error) {
	if err := b.begin(ctx); err != nil {
		return driver.Position{}, err
	}
	var id int64
	err := b.withTable(ctx, func() (err error) {
		id, err = b.send(ctx, channel, b.publication(channel, data, limits))
		return err
	})
	if err != nil {
		return driver.Position{}, err
	}
	return driver.Position{GlobalID: id, ID: id}, nil
}

// publication returns the statements of one publish.
func (b *Backend) publication(channel string, data []byte, limits driver.Limits) *pgx.Batch {
	keep := 0
	if mayBeLarge(channel, data) {
		keep = 1
	}
	last := b.trims.last(channel)
	batch := &pgx.Batch{}
	batch.Queue(insertSQL, channel, string(data), b.notices)
	batch.Queue(trimSQL, channel, clearEvery(limits), atMost(limits.MaxSize), atMost(limits.MaxGlobalSize),
		limits.MaxAge.Seconds(), int64(keep), last.swept, maxGlobalAge(limits).Seconds(),
		last.counted, last.low, last.mark, last.above, last.storage)
	return batch
}

// atMost is a number of messages with which the server can calculate.
func atMost(messages int) int64 { return int64(min(max(messages, 0), math.MaxInt32)) }

// maxGlobalAge is what the limits say, or with no such limit more than any age.
func maxGlobalAge(limits driver.Limits) time.Duration {
	if limits.MaxGlobalAge > 0 {
		return limits.MaxGlobalAge
	}
	return math.MaxInt64
}

func clearEvery(limits driver.Limits) int64 { return int64(max(limits.ClearEvery, 1)) }

// mayBeLarge reports whether a message can be too long for a notice. The server
// decides, which knows the id; ids have 19 digits at most.
func mayBeLarge(channel string, data []byte) bool {
	const longestNotice, ids = 7999, 2 * len("9223372036854775807|")
	escapes := strings.Count(channel, "|") * (len("$$123$$") - 1)
	return ids+len(channel)+escapes+1+len(data) > longestNotice
}

// send sends a publication, once, and returns the new id.
func (b *Backend) send(ctx context.Context, channel string, publication *pgx.Batch) (int64, error) {
	conn, err := b.pool.Acquire(ctx)
	if err != nil {
		return 0, err
	}
	defer conn.Release()
	results := conn.SendBatch(ctx, publication)
	var id int64
	inserted := results.QueryRow().Scan(&id, nil)
	found, trimmed := scanTrim(results.QueryRow())
	committed := results.Close()
	switch {
	case inserted != nil:
		return 0, outcome(inserted, false)
	case trimmed != nil:
		return 0, outcome(trimmed, true)
	case committed != nil:
		return 0, outcome(committed, true)
	}
	b.trims.note(channel, found)
	return id, nil
}

// outcome says what became of a publish that failed. Until the server has done
// the last statement nothing can have been committed, so any answer of its own
// before that means that nothing is stored. An error that ends the session is
// trusted less: it may come from a pooler in between, and then with the code of
// a broken protocol, or after the commit.
func outcome(err error, late bool) error {
	var answer *pgconn.PgError
	var unsent pgx.ErrPreprocessingBatch
	switch {
	case isCode(err, readOnlyTransaction):
		return fmt.Errorf("%w: %w", driver.ErrReadOnly, err)
	case pgconn.SafeToRetry(err) && !errors.Is(err, pgconn.ErrConnClosed), errors.As(err, &unsent):
		return err // not sent; of a connection that broke while it answered pgx says so too
	case errors.As(err, &answer) && !(endsSession(answer) && (late || isConnectionError(answer))):
		return err
	}
	return fmt.Errorf("%w: %w", driver.ErrUnknownOutcome, err)
}

func endsSession(answer *pgconn.PgError) bool {
	severity := answer.SeverityUnlocalized
	if severity == "" {
		severity = answer.Severity
	}
	return severity != "ERROR"
}

// isConnectionError reports whether the code is of class 08.
func isConnectionError(answer *pgconn.PgError) bool { return strings.HasPrefix(answer.Code, "08") }
