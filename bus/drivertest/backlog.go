package drivertest

import (
	"fmt"
	"math"
	"slices"

	"github.com/messagebus-go/messagebus/bus/driver"
)

func backlogClaims() map[string]func(*env) {
	return map[string]func(*env){
		"AfterIsExclusive":             backlogAfter,
		"TailIsTheNewest":              backlogTail,
		"MaxIsTheOldest":               backlogMax,
		"AnchorIsTheMessageAtAfter":    backlogAnchor,
		"LastIDIsTheChannelsOwn":       backlogLastID,
		"UnknownChannelIsAnEmptyPage":  backlogUnknown,
		"PagesAreAlignedWithRanges":    backlogAligned,
		"NoRangesGiveTheState":         backlogNoRanges,
		"ManyRangesInOneCall":          backlogMany,
		"GlobalIsAllChannelsInOrder":   backlogGlobal,
		"StateIsHowFarTheStoreHasCome": backlogState,
		"CountIsWhatIsStored":          backlogCount,
	}
}

func backlogAfter(e *env) {
	channel := e.channel("a")
	sent := e.publishN(channel, 5, roomy())
	for i, m := range sent {
		p := e.page(driver.Range{Channel: channel, After: m.ID})
		e.equal(fmt.Sprintf("after message %d", i), p.Messages, sent[i+1:])
	}
	for _, after := range []int64{sent[4].ID + 1, math.MaxInt64} {
		p := e.page(driver.Range{Channel: channel, After: after})
		e.equal("after an id that was not given yet", p.Messages, nil)
	}
}

func backlogTail(e *env) {
	channel := e.channel("a")
	sent := e.publishN(channel, 5, roomy())
	for _, tail := range []int{1, 3, 5, 100} {
		for _, after := range []int64{0, sent[3].ID, math.MaxInt64} {
			p := e.page(driver.Range{Channel: channel, After: after, Tail: tail, Max: 1})
			e.equal(fmt.Sprintf("tail %d, which After %d and Max 1 do not change", tail, after),
				p.Messages, sent[max(0, 5-tail):])
		}
	}
}

func backlogMax(e *env) {
	channel := e.channel("a")
	sent := e.publishN(channel, 5, roomy())
	for _, limit := range []int{1, 3, 100} {
		p := e.page(driver.Range{Channel: channel, After: sent[0].ID, Max: limit})
		e.equal(fmt.Sprintf("max %d", limit), p.Messages, sent[1:min(5, 1+limit)])
		if p.LastID != sent[4].ID {
			e.Errorf("max %d: last id %d, want the channel's %d", limit, p.LastID, sent[4].ID)
		}
	}
}

func backlogAnchor(e *env) {
	channel := e.channel("a")
	e.publish(e.peer, e.channel("b"), `"x"`)
	sent := e.publishN(channel, 3, roomy())
	for _, m := range sent {
		if got := e.page(driver.Range{Channel: channel, After: m.ID}).Anchor; !same(got, m) {
			e.Errorf("anchor of id %d is %s, want %s", m.ID, format(got), format(m))
		}
	}
	for _, after := range []int64{0, sent[2].ID + 1} {
		if got := e.page(driver.Range{Channel: channel, After: after}).Anchor; got.GlobalID != 0 {
			e.Errorf("anchor of id %d, which is not stored, is %s, want none", after, format(got))
		}
	}
}

func backlogLastID(e *env) {
	a := e.publishN(e.channel("a"), 3, roomy())
	b := e.publishN(e.channel("b"), 2, roomy())
	s := e.read(e.peer, driver.Range{Channel: e.channel("a"), After: a[2].ID}, driver.Range{Channel: e.channel("b"), Tail: 1})
	if got := s.Pages[0].LastID; got != a[2].ID {
		e.Errorf("last id %d, want %d", got, a[2].ID)
	}
	if got := s.Pages[1].LastID; got != b[1].ID {
		e.Errorf("last id %d, want %d", got, b[1].ID)
	}
}

func backlogUnknown(e *env) {
	e.publish(e.peer, e.channel("a"), `"x"`)
	for _, name := range []string{"", "A", "a ", "a|", "a$|$site", "%", "_"} {
		p := e.page(driver.Range{Channel: e.channel(name)})
		if len(p.Messages) != 0 || p.LastID != 0 || p.Anchor.GlobalID != 0 {
			e.Errorf("%q was never published on: %+v", name, p)
		}
		e.loss("a channel that was never published on", p.Loss, driver.LossNone)
	}
}

func backlogAligned(e *env) {
	a := e.publishN(e.channel("a"), 3, roomy())
	b := e.publishN(e.channel("b"), 2, roomy())
	ranges := []driver.Range{
		{Channel: e.channel("b")},
		{Channel: e.channel("unknown")},
		{Channel: e.channel("a"), After: a[0].ID},
		{Channel: e.channel("a"), Tail: 1},
		{Channel: e.channel("a"), After: a[0].ID},
		{Channel: e.channel("b"), Max: 1},
	}
	want := [][]driver.Message{b, nil, a[1:], a[2:], a[1:], b[:1]}
	s := e.read(e.peer, ranges...)
	for i := range want {
		e.equal(fmt.Sprintf("page %d", i), s.Pages[i].Messages, want[i])
	}
}

func backlogNoRanges(e *env) {
	m := e.publish(e.peer, e.channel("a"), `"x"`)
	if got := e.read(e.peer).State; got.GlobalID != m.GlobalID || got.Settled != m.GlobalID {
		e.Errorf("state %+v, want global id %d, settled", got, m.GlobalID)
	}
}

func backlogMany(e *env) {
	const n = 500
	ranges := make([]driver.Range, n)
	var sent []driver.Message
	for i := range ranges {
		ranges[i].Channel = e.channel(fmt.Sprint(i))
		sent = append(sent, e.publish(e.peer, ranges[i].Channel, fmt.Sprintf(`{"n":%d}`, i)))
	}
	s := e.read(e.peer, ranges...)
	for i := range ranges {
		e.equal(fmt.Sprintf("page %d", i), s.Pages[i].Messages, sent[i:i+1])
	}
}

func backlogGlobal(e *env) {
	var sent []driver.Message
	for i := range 12 {
		sent = append(sent, e.publish(e.peer, e.channel(fmt.Sprint(i%3)), fmt.Sprintf(`{"n":%d}`, i)))
	}
	e.equal("all", e.global(0, 0).Messages, sent)
	e.equal("after the fifth", e.global(sent[4].GlobalID, 0).Messages, sent[5:])
	e.equal("after the fifth, 3 of them", e.global(sent[4].GlobalID, 3).Messages, sent[5:8])
	e.equal("more than there are", e.global(sent[4].GlobalID, 100).Messages, sent[5:])
	e.equal("after the last", e.global(sent[11].GlobalID, 0).Messages, nil)
	p := e.global(0, 0)
	e.loss("nothing was trimmed", p.Loss, driver.LossNone)
	if p.State.GlobalID != sent[11].GlobalID {
		e.Errorf("state: global id %d, want %d", p.State.GlobalID, sent[11].GlobalID)
	}
}

func backlogState(e *env) {
	other := e.dial()
	if got := e.state(other); got.GlobalID != 0 || got.ReadOnly {
		e.Errorf("an empty store: %+v, want global id 0 and no read-only", got)
	}
	e.listen(e.peer) // a store may write its epoch down when listening starts
	epoch := e.state(e.peer).Epoch
	for range 3 {
		m := e.publish(e.peer, e.channel("a"), `"x"`)
		for _, b := range []driver.Backend{e.peer, other} {
			if got := e.state(b); got.GlobalID != m.GlobalID || got.Epoch != epoch {
				e.Errorf("state %+v, want global id %d and the epoch %q", got, m.GlobalID, epoch)
			}
		}
	}
	if got := e.read(other).State; got != e.state(other) {
		e.Errorf("read: state %+v; State: %+v", got, e.state(other))
	}
}

// backlogCount is for a store that is a driver.Counter.
func backlogCount(e *env) {
	counter, counts := e.peer.(driver.Counter)
	if !counts {
		return
	}
	a, b, none := e.channel("a"), e.channel("b"), e.channel("none")
	check := func(when string, want ...int) {
		e.Helper()
		got, err := counter.Count(e.ctx, []string{a, none, b})
		if err != nil || !slices.Equal(got, want) {
			e.Errorf("%s: counted are %v, %v; want %v", when, got, err, want)
		}
	}
	check("before the first message", 0, 0, 0)
	e.publishN(a, 5, roomy())
	e.publishN(b, 2, roomy())
	check("after 5 and 2 messages", 5, 0, 2)
	limits := roomy()
	limits.MaxSize = 3
	e.publishN(a, 1, limits)
	check("after a trim", 3, 0, 2)
	if got, err := counter.Count(e.ctx, nil); err != nil || len(got) != 0 {
		e.Errorf("of no channels: %v, %v", got, err)
	}
}
