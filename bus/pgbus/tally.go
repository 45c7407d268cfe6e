package pgbus

import (
	"errors"
	"sync"

	"github.com/jackc/pgx/v5"
)

// A tally is what a trim has found of a channel, for the next one to begin with.
// What that does with it is in trim.sql.
type tally struct {
	counted int64 // the id of the message that it was made for
	low     int64 // all messages of the channel with ids up to it were deleted
	mark    int64 // an id
	above   int64 // messages of the channel with higher ids than mark, up to counted
}

// findings are what a trim has found. The zero findings say nothing.
type findings struct {
	tally

	swept   int64 // all messages of the store with ids up to it were deleted
	storage int64 // the sequence that all of it is about
}

// scanTrim reads what a trim found, which is nothing where it had not to trim.
func scanTrim(row pgx.Row) (findings, error) {
	var f findings
	err := row.Scan(&f.swept, &f.counted, &f.low, &f.mark, &f.above, &f.storage)
	if errors.Is(err, pgx.ErrNoRows) {
		return findings{}, nil
	}
	return f, err
}

// mostTallies are remembered, and then forgotten: trims without one are right too.
const mostTallies = 1024

// trims are what a peer remembers of its trims. The zero value remembers nothing.
// Its methods are safe for concurrent use.
type trims struct {
	mu      sync.Mutex // protects everything below
	swept   int64      // as in findings
	storage int64      // likewise
	tallies map[string]tally
}

// last returns what is remembered for a trim of a channel.
func (t *trims) last(channel string) findings {
	t.mu.Lock()
	defer t.mu.Unlock()
	return findings{t.tallies[channel], t.swept, t.storage}
}

// note remembers what a trim that is committed has found, unless more is known.
func (t *trims) note(channel string, f findings) {
	if f == (findings{}) {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	begunAnew := f.storage != t.storage || f.counted <= t.swept
	if begunAnew {
		t.storage, t.swept = f.storage, 0
	}
	known, isKnown := t.tallies[channel]
	if begunAnew || (!isKnown && len(t.tallies) >= mostTallies) {
		t.tallies, known = make(map[string]tally), tally{}
	}
	t.swept = max(t.swept, f.swept)
	if f.counted > known.counted {
		t.tallies[channel] = f.tally
	}
}
