package pgbus

import (
	"context"
	_ "embed" // for the statements
	"errors"
	"fmt"
	"math"
	"slices"
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

// Publish implements driver.Backend. What it sends goes out together, and is one
// transaction since there is one Sync message after it.
//
// A message that is too long for a notice is not trimmed by its own publish,
// whatever the limits, since its listeners have to read the row.
func (b *Backend) Publish(ctx context.Context, channel string, data []byte, limits driver.Limits) (driver.Position, error) {
	if err := b.begin(ctx); err != nil {
		return driver.Position{}, err
	}
	p := &publication{channel: channel, data: string(data), limits: limits, large: mayBeLarge(channel, data)}
	if err := b.withTable(ctx, func() error { return b.publish(ctx, p) }); err != nil {
		return driver.Position{}, err
	}
	return driver.Position{GlobalID: p.id, ID: p.id}, nil
}

// queueTrim adds the one that trims after p.
func (b *Backend) queueTrim(batch *pgx.Batch, p *publication) {
	keep := 0
	if p.large {
		keep = 1
	}
	last := b.trims.last(p.channel)
	batch.Queue(trimSQL, p.channel, clearEvery(p.limits), atMost(p.limits.MaxSize), atMost(p.limits.MaxGlobalSize),
		p.limits.MaxAge.Seconds(), int64(keep), last.swept, maxGlobalAge(p.limits).Seconds(),
		last.counted, last.low, last.mark, last.above, last.storage)
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

// send sends publications, once, as one transaction, and gives them their ids.
func (b *Backend) send(ctx context.Context, all ...*publication) error {
	conn, err := b.pool.Acquire(ctx)
	if err != nil {
		return err
	}
	defer conn.Release()
	batch := &pgx.Batch{}
	for i, p := range all {
		batch.Queue(insertSQL, p.channel, p.data, b.notices)
		if needsTrim(all[i:]) {
			b.queueTrim(batch, p)
		}
	}
	results := conn.SendBatch(ctx, batch)
	found := make([]findings, len(all))
	err = receive(results, all, found)
	if committed := results.Close(); err == nil && committed != nil {
		err = outcome(committed, true)
	}
	if err != nil {
		return err
	}
	for i, p := range all {
		b.trims.note(p.channel, found[i])
	}
	return nil
}

// receive reads the answers to send.
func receive(results pgx.BatchResults, all []*publication, found []findings) error {
	for i, p := range all {
		if err := results.QueryRow().Scan(&p.id, nil); err != nil {
			return outcome(err, false)
		}
		if !needsTrim(all[i:]) {
			continue
		}
		var err error
		if found[i], err = scanTrim(results.QueryRow()); err != nil {
			return outcome(err, true)
		}
	}
	return nil
}

// needsTrim reports whether the first of some publications is followed by a trim of its
// own, and not by a later one that does the same.
func needsTrim(all []*publication) bool {
	first := all[0]
	return !slices.ContainsFunc(all[1:], func(later *publication) bool {
		return first.channel == later.channel && first.limits == later.limits && clearEvery(first.limits) == 1
	})
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
