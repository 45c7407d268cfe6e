package modelstore

import (
	"bytes"
	"fmt"
	"slices"
	"sort"
	"time"

	"github.com/messagebus-go/messagebus/bus/driver"
)

// A Postgres is a model of a store in Postgres as package pgbus keeps it: a message's id
// is its global id, what was trimmed leaves no trace, and publishers that take no lock
// commit in any order. It does not know of driver.Limits.MaxGlobalAge.
type Postgres struct {
	Store
	table
}

// A table is what is stored. Slices are shared with what a failover goes back to: they
// are appended to and cut, and not changed otherwise.
type table struct {
	number   int   // its own; 0: there is none
	sequence int   // of the storage of its ids
	last     int64 // the last id given; 0: none
	logged   int64 // the one that the log has, which is ahead
	rows     []row // committed, ascending by id
	highest  int64 // id that was ever committed

	locks int // how often nobody else was in the table
}

type row struct {
	driver.Message

	added time.Time
}

const (
	// SettleHole is what pgbus has by default.
	SettleHole = 250 * time.Millisecond

	loggedAhead   = 32   // ids that a sequence notes in the log at once
	longestNotice = 7999 // bytes
)

// NewPostgres returns a store without its table. latency is asked how long each way
// through the network takes; nil: no time.
func NewPostgres(latency func() time.Duration) *Postgres {
	p := &Postgres{}
	p.init(p, latency)
	return p
}

func (p *Postgres) save() func() {
	saved := p.table
	return func() {
		locks := p.locks
		p.table = saved
		p.locks = locks + 1
	}
}

// begun goes on from the log, and so leaves ids out. What was not committed is gone.
func (p *Postgres) begun() { p.last, p.locks = p.logged, p.locks+1 }

func (*Postgres) traits() driver.Traits {
	return driver.Traits{SharedIDs: true, SettleHole: SettleHole}
}

// Truncate deletes all messages; with restart, ids begin again. Transactions that are
// open are ended.
func (p *Postgres) Truncate(restart bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.rows = nil
	p.locks++
	if !restart {
		p.changed()
		return
	}
	if p.number > 0 {
		p.last, p.logged, p.highest, p.sequence = 0, 0, 0, p.locks
	}
	p.forget()
}

// Drop drops the table.
func (p *Postgres) Drop() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.table = table{locks: p.locks + 1}
	p.forget()
}

// Trim deletes all messages but those with the newest so many ids.
func (p *Postgres) Trim(keep int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.rows = p.rows[p.after(p.stored()-keep):]
	p.changed()
}

// after is the index of the first row above an id. p.mu must be held.
func (p *Postgres) after(id int64) int {
	return sort.Search(len(p.rows), func(i int) bool { return p.rows[i].ID > id })
}

// stored is the highest id that is stored; 0: none. p.mu must be held.
func (p *Postgres) stored() int64 {
	if len(p.rows) == 0 {
		return 0
	}
	return p.rows[len(p.rows)-1].ID
}

// create creates the table if it is missing. p.mu must be held.
func (p *Postgres) create() {
	if p.number == 0 {
		p.locks++
		p.number, p.sequence = p.locks, p.locks
		p.changed()
	}
}

// nextID needs p.mu to be held.
func (p *Postgres) nextID() int64 {
	if p.last++; p.last > p.logged {
		p.logged = p.last + loggedAhead
	}
	return p.last
}

// insert needs p.mu to be held.
func (p *Postgres) insert(m driver.Message) {
	p.highest = max(p.highest, m.ID)
	at := p.after(m.ID)
	if r := (row{m, time.Now()}); at == len(p.rows) {
		p.rows = append(p.rows, r)
	} else {
		p.rows = slices.Concat(p.rows[:at], []row{r}, p.rows[at:])
	}
}

func (p *Postgres) publish(channel string, data []byte, limits driver.Limits) driver.Position {
	p.create()
	id := p.nextID()
	m := driver.Message{GlobalID: id, ID: id, Channel: channel, Data: bytes.Clone(data)}
	p.insert(m)
	large := len(m.Encode()) > longestNotice
	if id%int64(max(limits.ClearEvery, 1)) == 0 {
		p.trim(id, channel, limits, large)
	}
	p.changed()
	if large {
		p.announce(func() driver.Message { return p.fetch(id) })
	} else {
		p.announce(func() driver.Message { return m })
	}
	return driver.Position{GlobalID: id, ID: id}
}

// trim needs p.mu to be held. Its own message, where it is kept, is not trimmed.
func (p *Postgres) trim(id int64, channel string, limits driver.Limits, kept bool) {
	top := id
	if kept {
		top--
	}
	p.rows = p.rows[p.after(min(top, id-int64(limits.MaxGlobalSize))):]
	mine := p.of(channel)
	since := time.Now().Add(-limits.MaxAge)
	gone := max(len(mine)-limits.MaxSize, 0)
	for gone < len(mine) && !mine[gone].added.After(since) {
		gone++
	}
	if gone = min(gone, len(mine)); gone > 0 {
		last := min(top, mine[gone-1].ID)
		p.rows = slices.DeleteFunc(slices.Clone(p.rows), func(r row) bool { return r.Channel == channel && r.ID <= last })
	}
}

// of returns the rows of a channel. p.mu must be held.
func (p *Postgres) of(channel string) (mine []row) {
	for _, r := range p.rows {
		if r.Channel == channel {
			mine = append(mine, r)
		}
	}
	return mine
}

// fetch reads a message whose id was announced. p.mu must be held.
func (p *Postgres) fetch(id int64) driver.Message {
	if i := p.after(id - 1); i < len(p.rows) && p.rows[i].ID == id {
		return p.rows[i].Message
	}
	return driver.Message{Data: fmt.Append(nil, id)}
}

// state needs p.mu to be held.
func (p *Postgres) state() driver.State {
	if p.number == 0 {
		return driver.State{}
	}
	return driver.State{
		GlobalID: p.last, Settled: min(p.stored(), p.last), ReadOnly: p.readOnly,
		Epoch: fmt.Sprint("cluster.", p.number, ".", p.sequence), Timeline: fmt.Sprintf("%08x", p.timeline),
	}
}

func (p *Postgres) askState(answer *driver.State) []step {
	return []step{func() error { *answer = p.state(); return nil }}
}

func (p *Postgres) prepare() []step {
	return []step{func() error {
		if !p.readOnly {
			p.create()
		}
		return nil
	}}
}

// read answers in one transaction: the state is of shortly before the pages, and the
// table the same one.
func (p *Postgres) read(ranges []driver.Range, answer *driver.Snapshot) []step {
	return p.twice(&answer.State, func() {
		for i, asked := range ranges {
			answer.Pages[i] = p.page(asked)
		}
	})
}

func (p *Postgres) twice(state *driver.State, then func()) []step {
	locks := 0
	return []step{
		func() error {
			*state, locks = p.state(), p.locks
			return nil
		},
		func() error {
			if p.locks != locks {
				*state = p.state()
			}
			if p.number > 0 {
				then()
			}
			return nil
		},
	}
}

// page needs p.mu to be held.
func (p *Postgres) page(asked driver.Range) driver.Page {
	var page driver.Page
	complete := asked.Tail > 0 || asked.After >= p.missing()
	for _, r := range p.of(asked.Channel) {
		page.LastID = r.ID
		if r.ID == asked.After {
			page.Anchor = r.Message
		}
		if r.ID <= asked.After {
			complete = true
		}
		if r.ID > asked.After && asked.Tail == 0 && (asked.Max == 0 || len(page.Messages) < asked.Max) || asked.Tail > 0 {
			page.Messages = append(page.Messages, r.Message)
		}
	}
	if asked.Tail > 0 {
		page.Messages = page.Messages[max(len(page.Messages)-asked.Tail, 0):]
	}
	page.Loss = possible(complete)
	return page
}

func possible(complete bool) driver.Loss {
	if complete {
		return driver.LossNone
	}
	return driver.LossPossible
}

// missing is the highest id that was given and is not stored; 0: none. p.mu must be held.
func (p *Postgres) missing() int64 {
	id := p.stored()
	if p.last > id {
		return p.last
	}
	for i := len(p.rows) - 1; i >= 0 && p.rows[i].ID == id; i-- {
		id--
	}
	return id
}

func (p *Postgres) globalBacklog(after int64, most int, answer *driver.GlobalPage) []step {
	return p.twice(&answer.State, func() {
		for _, r := range p.rows[p.after(after):] {
			if most == 0 || len(answer.Messages) < most {
				answer.Messages = append(answer.Messages, r.Message)
			}
		}
		answer.Loss = possible(after >= p.missing())
	})
}
