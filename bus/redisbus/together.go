package redisbus

import (
	"cmp"
	"context"

	"github.com/redis/go-redis/v9"

	"github.com/messagebus-go/messagebus/bus/driver"
)

// A batch is several questions in one round trip, the state of the store the first.
type batch struct {
	redis.Pipeliner

	apart bool // the server may do something else between two of them
}

// atOnce has the server answer what read asks within one transaction, so that all of
// it is of one moment. Where that cannot be, read runs again: a server that is out of
// memory takes no transactions.
func atOnce[T any](b *Backend, s server, read func(batch) (T, error)) (T, error) {
	denied := b.infoDenied.Load()
	answer, err := read(batch{s.TxPipeline(), false})
	if err != nil && !denied && b.infoDenied.Load() {
		answer, err = read(batch{s.TxPipeline(), false}) // a refused command ends its transaction
	}
	if outOfMemory(err) {
		answer, err = read(batch{s.Pipeline(), true})
	}
	return answer, err
}

// send sends the questions; any error is that of the whole.
func (q batch) send(ctx context.Context, b *Backend, values *redis.SliceCmd, info *redis.StringCmd) error {
	_, err := q.Exec(ctx)
	if err == nil {
		return nil
	}
	b.denied(info)
	return cmp.Or(values.Err(), err)
}

// later reports whether a message was stored after the state was read.
func (q batch) later(globalID int64, state driver.State) bool {
	return q.apart && globalID > state.GlobalID
}
