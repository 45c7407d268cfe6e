package membus

import (
	"sort"
	"time"

	"github.com/messagebus-go/messagebus/bus/driver"
)

// A channel is the stored backlog of one channel. It is oldest first, and
// always trimmed from its front. It is guarded by store.mu.
type channel struct {
	name      string
	messages  queue[driver.Message]
	trimmedTo int64     // the highest id that was trimmed; 0: none
	unknownTo int64     // whether ids up to it were trimmed before this record was made is not known
	expires   time.Time // when all of it goes
}

// after returns the index of the oldest message with an id above id.
func (c *channel) after(id int64) int {
	items := c.messages.items()
	return sort.Search(len(items), func(i int) bool { return items[i].ID > id })
}

// find returns the stored message with that id.
func (c *channel) find(id int64) (driver.Message, bool) {
	items := c.messages.items()
	if i := c.after(id - 1); i < len(items) && items[i].ID == id {
		return items[i], true
	}
	return driver.Message{}, false
}

// lastID returns the highest id that is stored, 0 when there is none.
func (c *channel) lastID() int64 {
	items := c.messages.items()
	if len(items) == 0 {
		return 0
	}
	return items[len(items)-1].ID
}

// trim drops the n oldest messages.
func (c *channel) trim(n int) {
	if n <= 0 {
		return
	}
	c.trimmedTo = c.messages.items()[n-1].ID
	c.messages.drop(n)
}

func (c *channel) expired(now time.Time) bool { return !now.Before(c.expires) }

// loss says whether messages after id were trimmed.
func (c *channel) loss(id int64) driver.Loss {
	switch {
	case id < c.trimmedTo:
		return driver.LossCertain
	case id < c.unknownTo:
		return driver.LossPossible
	default:
		return driver.LossNone
	}
}

// page returns the part of the channel that r asks for.
func (c *channel) page(r driver.Range) driver.Page {
	p := driver.Page{LastID: c.lastID()}
	if m, ok := c.find(r.After); ok {
		p.Anchor = m
	}
	items := c.messages.items()
	if r.Tail > 0 {
		p.Messages = clone(items[max(0, len(items)-r.Tail):])
		return p
	}
	p.Loss = c.loss(r.After)
	items = items[c.after(r.After):]
	if r.Max > 0 && len(items) > r.Max {
		items = items[:r.Max]
	}
	p.Messages = clone(items)
	return p
}

// clone copies the messages but not their data, which nobody changes.
func clone(m []driver.Message) []driver.Message {
	return append([]driver.Message(nil), m...)
}
