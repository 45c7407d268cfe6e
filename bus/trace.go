package bus

import (
	"context"
	"fmt"
	"time"
)

// Trace is told what a bus does, for metrics and traces. Every field may be
// nil. The functions run where the event happens, the feed's own goroutine
// included, possibly several at once: they must be quick and safe for
// concurrent use, and must not call the bus. A panic in one is logged and
// goes no further.
type Trace struct {
	// Publish: a publish ended, well or not. One that was queued is told
	// twice: with ErrQueued, and when it is stored.
	Publish func(PublishInfo)

	// GivenUp: a queued message will not be published: newer ones pushed it
	// out, the store refuses it, or what became of it is unknown.
	GivenUp func(channel, site string, err error)

	// FeedUp: the live feed is there, and what was missed has been read.
	FeedUp func()

	// FeedDown: the live feed ended and will be opened again.
	FeedDown func(err error)

	// Gap: a reader was told that something may be lost. Counting the calls
	// counts the possible losses; Health.Gaps is that count.
	Gap func(*GapError)

	// Undecodable: a stored message or an announcement could not be read.
	Undecodable func(*DecodeError)

	// Late: a message was announced after others with higher ids, and is
	// delivered late. Health.Late counts them.
	Late func(storedChannel string)

	// Behind: a subscription's queue was full, or it missed something, and it
	// reads the backlog.
	Behind func(channel string)

	// Repair: the feed was checked against the store, for so many channels,
	// and so many messages had been missed.
	Repair func(channels, messages int)
}

// PublishInfo describes one publish.
type PublishInfo struct {
	// Context is that of Publish, by which traces join; nil where the message
	// was queued before, and that call has returned.
	Context context.Context //nolint:containedctx // handed on for the length of one call

	Channel, Site string
	ID, GlobalID  int64 // 0 on an error
	Bytes         int   // of the envelope; 0 when it was refused before
	Duration      time.Duration
	Err           error
}

// guard contains a panic of the application's code.
func (c *core) guard(what string, f func()) {
	defer func() {
		if p := recover(); p != nil {
			c.options.Logger.Error("panic in "+what, "panic", fmt.Sprint(p))
		}
	}()
	f()
}

func (c *core) tracePublish(info PublishInfo) {
	if f := c.options.Trace.Publish; f != nil {
		c.guard("Trace.Publish", func() { f(info) })
	}
}

func (c *core) traceGivenUp(all []publication, err error) {
	for _, p := range all {
		c.options.Logger.Error("a queued message is not published", "channel", p.channel, "site", p.site, "error", err)
		if f := c.options.Trace.GivenUp; f != nil {
			c.guard("Trace.GivenUp", func() { f(p.channel, p.site, err) })
		}
	}
}

func (c *core) traceGap(e *GapError) {
	c.health.gaps.Add(1)
	c.options.Logger.Warn("messages may be lost", "channel", e.Channel, "site", e.Site,
		"after", e.After, "next", e.Next, "reason", string(e.Reason))
	if f := c.options.Trace.Gap; f != nil {
		c.guard("Trace.Gap", func() { f(e) })
	}
}

func (c *core) traceUndecodable(e *DecodeError) {
	c.options.Logger.Warn("undecodable message", "channel", e.Channel, "id", e.ID, "error", e.Err)
	c.countUndecodable(e)
}

func (c *core) countUndecodable(e *DecodeError) {
	c.health.undecodable.Add(1)
	if f := c.options.Trace.Undecodable; f != nil {
		c.guard("Trace.Undecodable", func() { f(e) })
	}
}

func (c *core) traceLate(stored string) {
	c.health.late.Add(1)
	c.options.Logger.Warn("a message comes after others with higher ids", "channel", stored)
	if f := c.options.Trace.Late; f != nil {
		c.guard("Trace.Late", func() { f(stored) })
	}
}

func (c *core) traceBehind(channel string) {
	if f := c.options.Trace.Behind; f != nil {
		c.guard("Trace.Behind", func() { f(channel) })
	}
}

func (c *core) traceRepair(channels, messages int) {
	if f := c.options.Trace.Repair; f != nil {
		c.guard("Trace.Repair", func() { f(channels, messages) })
	}
}

func (c *core) traceFeedUp() {
	c.options.Logger.Info("the live feed is up")
	if f := c.options.Trace.FeedUp; f != nil {
		c.guard("Trace.FeedUp", f)
	}
}

func (c *core) traceFeedDown(err error) {
	c.options.Logger.Warn("the live feed is down", "error", err)
	if f := c.options.Trace.FeedDown; f != nil {
		c.guard("Trace.FeedDown", func() { f(err) })
	}
}
