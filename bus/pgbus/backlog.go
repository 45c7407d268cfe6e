package pgbus

import (
	"context"
	_ "embed" // for the statements
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/messagebus-go/messagebus/bus/driver"
)

var (
	//go:embed pages.sql
	pagesFile string
	//go:embed global.sql
	globalFile string
	//go:embed missing.sql
	missingFile string

	pagesSQL  = withMissing(pagesFile)
	globalSQL = withMissing(globalFile)
)

func withMissing(text string) string {
	return strings.ReplaceAll(statement(text), "/*missing*/", statement(missingFile))
}

// Read implements driver.Backend. The pages are of one moment; the state is of
// one shortly before it, so that what it calls settled is in them.
func (b *Backend) Read(ctx context.Context, ranges []driver.Range) (driver.Snapshot, error) {
	if len(ranges) == 0 {
		state, err := b.State(ctx)
		return driver.Snapshot{State: state}, err
	}
	snapshot := driver.Snapshot{Pages: make([]driver.Page, len(ranges))}
	var err error
	snapshot.State, err = b.ask(ctx, pagesSQL, pageArguments(ranges), func(rows pgx.Rows) (err error) {
		snapshot.Pages, err = scanPages(rows, ranges)
		return err
	})
	return snapshot, err
}

// countSQL counts by the index of channels and ids.
const countSQL = `SELECT (SELECT count(*) FROM message_bus AS m WHERE m.channel = asked.channel)
FROM unnest((SELECT $1::text[])) WITH ORDINALITY AS asked (channel, number) ORDER BY number`

// Count implements driver.Counter.
func (b *Backend) Count(ctx context.Context, channels []string) ([]int, error) {
	if err := b.begin(ctx); err != nil {
		return nil, err
	}
	rows, err := b.pool.Query(ctx, countSQL, channels)
	if err == nil {
		var counts []int
		if counts, err = pgx.CollectRows(rows, pgx.RowTo[int]); err == nil {
			return counts, nil
		}
	}
	if isCode(err, undefinedTable) { // which is created with the first message
		return make([]int, len(channels)), nil
	}
	return nil, err
}

func pageArguments(ranges []driver.Range) []any {
	channels := make([]string, len(ranges))
	after, newest, most := make([]int64, len(ranges)), make([]int64, len(ranges)), make([]int64, len(ranges))
	for i, r := range ranges {
		channels[i], after[i], newest[i], most[i] = r.Channel, r.After, int64(r.Tail), int64(r.Max)
	}
	return []any{channels, after, newest, most}
}

func scanPages(rows pgx.Rows, ranges []driver.Range) ([]driver.Page, error) {
	pages := make([]driver.Page, len(ranges))
	var (
		i        int32
		id       *int64
		value    []byte
		lastID   int64
		complete bool
	)
	_, err := pgx.ForEachRow(rows, []any{&i, &id, &value, &lastID, &complete}, func() error {
		p, r := &pages[i], ranges[i]
		if id != nil {
			p.Messages = append(p.Messages, message(*id, r.Channel, value))
			return nil
		}
		p.LastID, p.Loss = lastID, loss(complete)
		if value != nil {
			p.Anchor = message(r.After, r.Channel, value)
		}
		return nil
	})
	for i := range pages {
		ascend(pages[i].Messages)
	}
	return pages, err
}

func message(id int64, channel string, data []byte) driver.Message {
	return driver.Message{GlobalID: id, ID: id, Channel: channel, Data: data}
}

func loss(complete bool) driver.Loss {
	if complete {
		return driver.LossNone
	}
	return driver.LossPossible
}

// ascend puts messages in order: the answer as a whole has none.
func ascend(messages []driver.Message) {
	byID := func(a, b driver.Message) int { return int(a.ID - b.ID) }
	if !slices.IsSortedFunc(messages, byID) {
		slices.SortFunc(messages, byID)
	}
}

// GlobalBacklog implements driver.Backend.
func (b *Backend) GlobalBacklog(ctx context.Context, after int64, max int) (driver.GlobalPage, error) {
	var page driver.GlobalPage
	var err error
	page.State, err = b.ask(ctx, globalSQL, []any{after, int64(max)}, func(rows pgx.Rows) (err error) {
		page.Messages, page.Loss, err = scanGlobal(rows)
		return err
	})
	return page, err
}

func scanGlobal(rows pgx.Rows) ([]driver.Message, driver.Loss, error) {
	var (
		messages []driver.Message
		lost     driver.Loss
		id       *int64
		channel  *string
		value    []byte
		complete bool
	)
	_, err := pgx.ForEachRow(rows, []any{&id, &channel, &value, &complete}, func() error {
		if id == nil {
			lost = loss(complete)
			return nil
		}
		messages = append(messages, message(*id, *channel, value))
		return nil
	})
	ascend(messages)
	return messages, lost, err
}

// ask asks for the state and then sql, in one round trip, and has scan read the
// answer of that.
func (b *Backend) ask(ctx context.Context, sql string, arguments []any, scan func(pgx.Rows) error) (state driver.State, err error) {
	if err := b.begin(ctx); err != nil {
		return driver.State{}, err
	}
	request := &pgx.Batch{}
	request.Queue(stateSQL)
	request.Queue(sql, arguments...)
	results := b.pool.SendBatch(ctx, request)
	defer results.Close()
	if state, err = scanState(results.QueryRow()); err != nil {
		return state, missingIsEmpty(err)
	}
	rows, err := results.Query()
	if err != nil {
		return state, missingIsEmpty(err)
	}
	return state, scan(rows)
}
