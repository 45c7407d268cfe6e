package redisbus

import (
	"cmp"
	"context"
	"math"
	"slices"
	"strconv"

	"github.com/redis/go-redis/v9"

	"github.com/messagebus-go/messagebus/bus/driver"
)

// Read implements driver.Backend. The server answers everything within one
// transaction, so that pages and state are of one moment, and in one round trip.
// One that is out of memory takes no transactions, and is asked without: see atOnce.
//
// Messages are in the order of their global ids. A member that is no encoded
// message is handed out as it is, with its score as the id and a global id
// between those of its neighbours, so that its reader is told.
func (b *Backend) Read(ctx context.Context, ranges []driver.Range) (driver.Snapshot, error) {
	ranges = slices.Clone(ranges) // the request may outlive the call
	var snapshot driver.Snapshot
	err := b.ask(ctx, func(s server) (err error) {
		snapshot, err = atOnce(b, s, func(q batch) (driver.Snapshot, error) { return b.read(ctx, q, ranges) })
		return err
	})
	if err != nil {
		return driver.Snapshot{}, err
	}
	return snapshot, nil
}

func (b *Backend) read(ctx context.Context, pipe batch, ranges []driver.Range) (driver.Snapshot, error) {
	keys := make([]string, 2, 2+len(ranges))
	keys[0], keys[1] = b.names.epoch, b.names.globalID
	for _, r := range ranges {
		keys = append(keys, b.names.id+r.Channel)
	}
	values := pipe.MGet(ctx, keys...)
	answers := make([]answer, len(ranges))
	for i, r := range ranges {
		answers[i] = request(ctx, pipe, b.names.backlog+r.Channel, r)
	}
	info := b.info(ctx, pipe)
	if err := pipe.send(ctx, b, values, info); err != nil {
		return driver.Snapshot{}, err
	}
	state := newState(values.Val(), info.Val())
	pages := make([]driver.Page, len(ranges))
	for i, r := range ranges {
		pages[i] = answers[i].page(r, values.Val()[2+i], state)
		pages[i].Messages = slices.DeleteFunc(pages[i].Messages, func(m driver.Message) bool { return pipe.later(m.GlobalID, state) })
	}
	return driver.Snapshot{Pages: pages, State: state}, nil
}

// An answer is what the server says of one range; nil: it was not asked.
type answer struct {
	members *redis.ZSliceCmd
	anchor  *redis.ZSliceCmd // the members whose score is After
}

func request(ctx context.Context, pipe redis.Pipeliner, key string, r driver.Range) answer {
	switch {
	case r.Tail > 0:
		return answer{members: pipe.ZRevRangeWithScores(ctx, key, 0, int64(r.Tail)-1)}
	case r.After == math.MaxInt64:
		// Nobody is after it. The newest member is for a channel without an id key.
		return answer{members: pipe.ZRevRangeWithScores(ctx, key, 0, 0)}
	}
	after := strconv.FormatInt(r.After, 10)
	a := answer{members: pipe.ZRangeByScoreWithScores(ctx, key,
		&redis.ZRangeBy{Min: "(" + after, Max: "+inf", Count: int64(max(r.Max, 0))})}
	if r.After > 0 {
		a.anchor = pipe.ZRangeByScoreWithScores(ctx, key, &redis.ZRangeBy{Min: after, Max: after})
	}
	return a
}

// page takes the value of the channel's id key.
func (a answer) page(r driver.Range, id any, state driver.State) driver.Page {
	p := driver.Page{LastID: asInt(id)}
	messages := decode(r.Channel, a.members.Val())
	p.Anchor = a.anchorMessage(r.Channel)
	if id == nil {
		// Where the id key is gone and the backlog is not, the next message will be after
		// that.
		p.LastID = p.Anchor.ID
		if n := len(messages); n > 0 {
			p.LastID = messages[n-1].ID
		}
	}
	switch {
	case r.Tail > 0:
		p.Messages = inOrder(messages, 0, state)
	case r.After < math.MaxInt64:
		p.Loss = loss(messages, r, p.LastID)
		p.Messages = inOrder(messages, p.Anchor.GlobalID, state)
	}
	return p
}

// anchorMessage is the newest, where several have the id: after the id key of a
// channel expired ids began again, and a reader who saw the older one must be told.
func (a answer) anchorMessage(channel string) driver.Message {
	if a.anchor == nil {
		return driver.Message{}
	}
	var newest driver.Message
	for _, m := range decode(channel, a.anchor.Val()) {
		if m.GlobalID > newest.GlobalID {
			newest = m
		}
	}
	return newest
}

// loss takes the messages after r.After, ascending by id: ids on a channel are
// consecutive, so a hole was trimmed.
func loss(messages []driver.Message, r driver.Range, lastID int64) driver.Loss {
	at := max(r.After, 0)
	for _, m := range messages {
		if m.ID > at+1 {
			return driver.LossCertain
		}
		at = m.ID
	}
	if all := r.Max <= 0 || len(messages) < r.Max; all && at < lastID {
		return driver.LossCertain
	}
	return driver.LossNone
}

// decode returns the members as messages, ascending by id. A global id of 0
// stands for one that the member does not tell.
func decode(channel string, members []redis.Z) []driver.Message {
	messages := make([]driver.Message, len(members))
	for i, z := range members {
		member, _ := z.Member.(string)
		raw := []byte(member)
		m, err := driver.Decode(raw)
		if err != nil {
			m = driver.Message{Data: raw}
		}
		m.GlobalID, m.ID, m.Channel = max(m.GlobalID, 0), asID(z.Score), channel
		messages[i] = m
	}
	slices.SortStableFunc(messages, func(a, b driver.Message) int { return cmp.Compare(a.ID, b.ID) })
	return messages
}

// asID cuts a foreign score to what an id can be.
func asID(score float64) int64 {
	const most = 1 << 53 // what a score can count to
	return int64(min(max(score, -most), most))
}

// inOrder orders messages, ascending by id, by their global ids. Those that tell
// none get the one after their predecessor's; the first of them, where their
// predecessor is not known either, one below their successor's.
func inOrder(messages []driver.Message, before int64, state driver.State) []driver.Message {
	unknown := 0
	for unknown < len(messages) && messages[unknown].GlobalID == 0 {
		unknown++
	}
	if before == 0 && unknown > 0 {
		next := state.GlobalID + 1
		if unknown < len(messages) {
			next = messages[unknown].GlobalID
		}
		before = max(next-int64(unknown)-1, 0)
	}
	for i := range messages {
		if messages[i].GlobalID == 0 {
			messages[i].GlobalID = before + 1
		}
		before = messages[i].GlobalID
	}
	slices.SortStableFunc(messages, func(a, b driver.Message) int { return cmp.Compare(a.GlobalID, b.GlobalID) })
	return messages
}

// Count implements driver.Counter. The counts are not of one moment.
func (b *Backend) Count(ctx context.Context, channels []string) ([]int, error) {
	channels = slices.Clone(channels) // the request may outlive the call
	counts := make([]int, len(channels))
	err := b.ask(ctx, func(s server) error {
		pipe := s.Pipeline()
		answers := make([]*redis.IntCmd, len(channels))
		for i, channel := range channels {
			answers[i] = pipe.ZCard(ctx, b.names.backlog+channel)
		}
		_, err := pipe.Exec(ctx)
		for i, answer := range answers {
			counts[i] = int(answer.Val())
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	return counts, nil
}
