package redisbus

import (
	"context"
	"errors"
	"slices"
	"strconv"

	"github.com/redis/go-redis/v9"

	"github.com/messagebus-go/messagebus/bus/driver"
)

// pointerChunk is how many pointers are read at once for a reader that wants
// only so many messages: as many as the gem keeps, so that one read is the rule.
const pointerChunk = 2000

var errResetMeanwhile = errors.New("the store was reset while it was read")

// GlobalBacklog implements driver.Backend. It takes two round trips: one for
// the pointers and the state, one for the messages. More are needed only with
// a max, where the store keeps more than 2000 pointers and most lead nowhere.
//
// What the second one finds is what the first one pointed at, although time has
// passed: a message counts only if its global id is the pointer's, and nothing
// newer is asked for. What was trimmed in between is a loss like any other, and
// a reset in between, after which equal ids mean other messages, is an error.
//
// Global ids are consecutive, so the page is complete if it has them all.
// Pointers are a hint: the gem lets a short-lived message shorten the lives of
// all, and where a channel's ids began again an old pointer leads to a new
// message. What cannot be found through them is reported as lost.
func (b *Backend) GlobalBacklog(ctx context.Context, after int64, max int) (driver.GlobalPage, error) {
	var page driver.GlobalPage
	err := b.ask(ctx, func(s server) (err error) {
		page, err = b.globalBacklog(ctx, s, after, max)
		return err
	})
	if err != nil {
		return driver.GlobalPage{}, err
	}
	return page, nil
}

func (b *Backend) globalBacklog(ctx context.Context, s server, after int64, most int) (page driver.GlobalPage, err error) {
	from, chunk := after, 0
	if most > 0 {
		chunk = max(most, pointerChunk)
	}
	for {
		pointers, state, err := b.pointers(ctx, s, from, chunk)
		if err != nil {
			return page, err
		}
		if page.State == (driver.State{}) {
			page.State = state
		}
		found, err := b.resolve(ctx, s, pointers, most, page.State)
		if err != nil {
			return page, err
		}
		page.Messages = append(page.Messages, found...)
		if full := most > 0 && len(page.Messages) >= most; full || chunk == 0 || len(pointers) < chunk {
			break
		}
		from = pointers[len(pointers)-1].globalID
	}
	end := page.State.GlobalID
	if most > 0 && len(page.Messages) >= most {
		page.Messages = page.Messages[:most]
		end = page.Messages[most-1].GlobalID
	}
	if int64(len(page.Messages)) < end-max(after, 0) {
		page.Loss = driver.LossCertain
	}
	return page, nil
}

// pointers reads those above after, ascending, and the state of that moment.
func (b *Backend) pointers(ctx context.Context, s server, after int64, most int) (found []pointer, state driver.State, err error) {
	state, err = atOnce(b, s, func(q batch) (state driver.State, err error) {
		found, state, err = b.readPointers(ctx, q, after, most)
		return state, err
	})
	return found, state, err
}

func (b *Backend) readPointers(ctx context.Context, pipe batch, after int64, most int) ([]pointer, driver.State, error) {
	values := pipe.MGet(ctx, b.names.epoch, b.names.globalID)
	members := pipe.ZRangeByScoreWithScores(ctx, b.names.globalBacklog,
		&redis.ZRangeBy{Min: "(" + strconv.FormatInt(after, 10), Max: "+inf", Count: int64(most)})
	info := b.info(ctx, pipe)
	if err := pipe.send(ctx, b, values, info); err != nil {
		return nil, driver.State{}, err
	}
	state := newState(values.Val(), info.Val())
	pointers := make([]pointer, 0, len(members.Val()))
	for _, z := range members.Val() {
		member, _ := z.Member.(string)
		if p := parsePointer(member, asID(z.Score)); !pipe.later(p.globalID, state) {
			pointers = append(pointers, p)
		}
	}
	return pointers, state, nil
}

// resolve returns the messages that pointers lead to, in their order, the oldest
// most of them; 0: all.
func (b *Backend) resolve(ctx context.Context, s server, pointers []pointer, most int, before driver.State) ([]driver.Message, error) {
	if len(pointers) == 0 {
		return nil, nil
	}
	pipe := s.Pipeline()
	members := make(map[string]*redis.ZSliceCmd)
	for channel, ids := range spans(pointers) {
		members[channel] = pipe.ZRangeByScoreWithScores(ctx, b.names.backlog+channel,
			&redis.ZRangeBy{Min: strconv.FormatInt(ids.first, 10), Max: strconv.FormatInt(ids.last, 10)})
	}
	now := pipe.MGet(ctx, b.names.epoch, b.names.globalID)
	if _, err := pipe.Exec(ctx); err != nil {
		return nil, err
	}
	if begunAnew(before, asString(now.Val()[0]), asInt(now.Val()[1])) {
		return nil, errResetMeanwhile
	}
	found := make(map[place]driver.Message, len(pointers))
	for channel, members := range members {
		for _, m := range decode(channel, members.Val()) {
			found[place{channel, m.GlobalID}] = m
		}
	}
	messages := make([]driver.Message, 0, len(found))
	for _, p := range pointers {
		if m, ok := found[place{p.channel, p.globalID}]; ok {
			messages = append(messages, m)
		}
	}
	if most > 0 && len(messages) > most {
		messages = slices.Clip(messages[:most])
	}
	return messages, nil
}

// begunAnew reports whether the store was reset since a state of it was read. A
// store without an epoch was not listened to by us, and is given its epoch at any
// time. The global id is compared with itself and not with pointers, which may be
// ahead of it for good: they survive where its key alone was lost.
func begunAnew(before driver.State, epoch string, globalID int64) bool {
	return before.Epoch != "" && epoch != before.Epoch || globalID < before.GlobalID
}

// A place is where a message is found. Its global id alone says it only as long as
// the key that gives global ids is not lost.
type place struct {
	channel  string
	globalID int64
}

// A span is a range of message ids, with both its ends.
type span struct{ first, last int64 }

// spans returns what is to be read of each channel.
func spans(pointers []pointer) map[string]span {
	spans := make(map[string]span)
	for _, p := range pointers {
		ids, ok := spans[p.channel]
		if !ok {
			ids = span{p.id, p.id}
		}
		spans[p.channel] = span{min(ids.first, p.id), max(ids.last, p.id)}
	}
	return spans
}
