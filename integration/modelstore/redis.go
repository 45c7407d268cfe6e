package modelstore

import (
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"time"

	"github.com/messagebus-go/messagebus/bus/driver"
)

// A Redis is a model of a store in Redis as package redisbus keeps it: each channel
// counts for itself, and any of its keys may be lost alone.
type Redis struct {
	Store
	redisKeys
}

// redisKeys are the keys of a store. Slices are shared with what a failover goes back
// to: they are appended to and cut, and not changed otherwise.
type redisKeys struct {
	epoch    string
	globalID int64
	ids      map[string]int64            // the last ones, of channels whose id key is there
	backlogs map[string][]driver.Message // ascending by id; none is empty
	expires  map[string]time.Time        // the backlog and the id key of a channel
	pointers []driver.Message            // the global backlog, without data
}

// NewRedis returns an empty store. latency is asked how long each way through the
// network takes; nil: no time.
func NewRedis(latency func() time.Duration) *Redis {
	r := &Redis{redisKeys: newRedisKeys()}
	r.init(r, latency)
	return r
}

func newRedisKeys() redisKeys {
	return redisKeys{ids: map[string]int64{}, backlogs: map[string][]driver.Message{}, expires: map[string]time.Time{}}
}

func (k redisKeys) clone() redisKeys {
	k.ids, k.backlogs, k.expires = maps.Clone(k.ids), maps.Clone(k.backlogs), maps.Clone(k.expires)
	return k
}

func (r *Redis) save() func() {
	saved := r.clone()
	return func() { r.redisKeys = saved.clone() }
}

func (*Redis) begun() {}

func (*Redis) traits() driver.Traits { return driver.Traits{DenseGlobalIDs: true} }

// Flush deletes all keys. Streams go on.
func (r *Redis) Flush() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.redisKeys = newRedisKeys()
	r.forget()
}

// Expire deletes the keys of a channel, whose ids begin again then.
func (r *Redis) Expire(channel string) { r.delete(channel, true) }

// ForgetID deletes the key with a channel's last id.
func (r *Redis) ForgetID(channel string) { r.delete(channel, false) }

func (r *Redis) delete(channel string, backlog bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.ids, channel)
	if backlog {
		delete(r.backlogs, channel)
	}
	r.changed()
}

// Trim deletes all but the newest messages of a channel, or its whole backlog.
func (r *Redis) Trim(channel string, keep int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	all := r.backlogs[channel]
	r.setBacklog(channel, all[max(len(all)-keep, 0):])
	r.changed()
}

// TrimGlobal deletes all but the newest pointers of the global backlog.
func (r *Redis) TrimGlobal(keep int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.pointers = r.pointers[max(len(r.pointers)-keep, 0):]
	r.changed()
}

// setBacklog needs r.mu to be held.
func (r *Redis) setBacklog(channel string, messages []driver.Message) {
	r.backlogs[channel] = messages
	if len(messages) == 0 {
		delete(r.backlogs, channel)
	}
}

// expire deletes the keys of a channel whose time is over. r.mu must be held.
func (r *Redis) expire(channel string) {
	if at, ok := r.expires[channel]; ok && !time.Now().Before(at) {
		delete(r.ids, channel)
		delete(r.backlogs, channel)
		delete(r.expires, channel)
	}
}

func (r *Redis) publish(channel string, data []byte, limits driver.Limits) driver.Position {
	r.expire(channel)
	last, known := r.ids[channel]
	if stored := r.backlogs[channel]; !known && len(stored) > 0 {
		last = stored[len(stored)-1].ID
	}
	r.globalID++
	m := driver.Message{GlobalID: r.globalID, ID: last + 1, Channel: channel, Data: bytes.Clone(data)}
	r.ids[channel] = m.ID
	r.expires[channel] = time.Now().Add(limits.MaxAge)
	all := r.backlogs[channel]
	all = append(all, m)
	if every := int64(max(limits.ClearEvery, 1)); m.ID%every == 0 {
		all = above(all, func(m driver.Message) int64 { return m.ID }, m.ID-int64(limits.MaxSize))
	}
	r.setBacklog(channel, all)
	r.pointers = append(r.pointers, driver.Message{GlobalID: m.GlobalID, ID: m.ID, Channel: channel})
	if every := int64(max(limits.ClearEvery, 1)); m.GlobalID%every == 0 {
		r.pointers = above(r.pointers, globalID, m.GlobalID-int64(limits.MaxGlobalSize))
	}
	r.changed()
	r.announce(func() driver.Message { return m })
	return driver.Position{GlobalID: m.GlobalID, ID: m.ID}
}

func globalID(m driver.Message) int64 { return m.GlobalID }

// above cuts off the messages up to an id. They are ascending.
func above(messages []driver.Message, id func(driver.Message) int64, last int64) []driver.Message {
	first := slices.IndexFunc(messages, func(m driver.Message) bool { return id(m) > last })
	if first < 0 {
		return nil
	}
	return messages[first:]
}

// state needs r.mu to be held.
func (r *Redis) state() driver.State {
	return driver.State{
		GlobalID: r.globalID, Settled: r.globalID, Epoch: r.epoch,
		Timeline: fmt.Sprint("replication ", r.timeline), ReadOnly: r.readOnly,
	}
}

// writeEpoch gives the store an epoch if it has none and can be given one.
func (r *Redis) writeEpoch() error {
	if r.epoch == "" && !r.readOnly {
		r.epoch = rand.Text()
		r.changed()
	}
	return nil
}

func (r *Redis) askState(answer *driver.State) []step {
	return []step{
		func() error { *answer = r.state(); return nil },
		func() error {
			if answer.Epoch != "" || answer.ReadOnly {
				return nil
			}
			err := r.writeEpoch()
			answer.Epoch = r.epoch
			return err
		},
	}
}

func (r *Redis) prepare() []step { return []step{r.writeEpoch} }

func (r *Redis) read(ranges []driver.Range, answer *driver.Snapshot) []step {
	return []step{func() error {
		answer.State = r.state()
		for i, asked := range ranges {
			answer.Pages[i] = r.page(asked)
		}
		return nil
	}}
}

// page needs r.mu to be held.
func (r *Redis) page(asked driver.Range) driver.Page {
	r.expire(asked.Channel)
	all := r.backlogs[asked.Channel]
	var page driver.Page
	newest := all[max(len(all)-1, 0):]
	if asked.Tail == 0 && asked.After < math.MaxInt64 {
		for _, m := range all {
			if m.ID == asked.After {
				page.Anchor = m
			}
		}
		all = above(all, func(m driver.Message) int64 { return m.ID }, asked.After)
		if asked.Max > 0 {
			all = all[:min(len(all), asked.Max)]
		}
		page.Messages, newest = slices.Clone(all), all[max(len(all)-1, 0):]
	} else if asked.Tail > 0 {
		page.Messages = slices.Clone(all[max(len(all)-asked.Tail, 0):])
	}
	var known bool
	if page.LastID, known = r.ids[asked.Channel]; !known {
		page.LastID = page.Anchor.ID
		for _, m := range newest {
			page.LastID = m.ID
		}
	}
	if asked.Tail == 0 && asked.After < math.MaxInt64 {
		page.Loss = holes(page.Messages, asked, page.LastID)
	}
	return page
}

// holes judges the ids of a channel, which are consecutive.
func holes(messages []driver.Message, asked driver.Range, lastID int64) driver.Loss {
	at := asked.After
	for _, m := range messages {
		if m.ID != at+1 {
			return driver.LossCertain
		}
		at = m.ID
	}
	if full := asked.Max > 0 && len(messages) == asked.Max; !full && at < lastID {
		return driver.LossCertain
	}
	return driver.LossNone
}

var errResetMeanwhile = errors.New("the store was reset while it was read")

// globalBacklog reads the pointers first, and then what they lead to.
func (r *Redis) globalBacklog(after int64, most int, answer *driver.GlobalPage) []step {
	var pointers []driver.Message
	return []step{
		func() error {
			pointers, answer.State = above(r.pointers, globalID, after), r.state()
			return nil
		},
		func() error {
			if before := answer.State; before.Epoch != "" && before.Epoch != r.epoch || r.globalID < before.GlobalID {
				return errResetMeanwhile
			}
			for _, p := range pointers {
				r.expire(p.Channel)
				for _, m := range r.backlogs[p.Channel] {
					if m.ID == p.ID && m.GlobalID == p.GlobalID {
						answer.Messages = append(answer.Messages, m)
					}
				}
			}
			end := answer.State.GlobalID
			if most > 0 && len(answer.Messages) >= most {
				answer.Messages = answer.Messages[:most]
				end = answer.Messages[most-1].GlobalID
			}
			if int64(len(answer.Messages)) < end-max(after, 0) {
				answer.Loss = driver.LossCertain
			}
			return nil
		},
	}
}
