package drivertest

import (
	"fmt"
	"time"

	"github.com/messagebus-go/messagebus/bus/driver"
)

func trimClaims() map[string]func(*env) {
	return map[string]func(*env){
		"KeepsTheNewestMaxSize":          trimMaxSize,
		"HappensEveryClearEvery":         trimClearEvery,
		"KeepsTheNewestMaxGlobalSize":    trimGlobal,
		"GlobalHappensEveryClearEvery":   trimGlobalClearEvery,
		"LimitsAreThoseOfThePublish":     trimPerPublish,
		"ZeroKeepsNothingButIsAnnounced": trimZero,
		"AgeExpires":                     trimAge,
		"AgeTouchesItsOwnChannelOnly":    trimAgeOwnChannel,
		"LossIsReported":                 trimLoss,
		"NoLossWhereNothingIsMissing":    trimNoLoss,
		"IDsGoOnWhenAllWasTrimmed":       trimIDsGoOn,
	}
}

func sized(n, clearEvery int) driver.Limits {
	l := roomy()
	l.MaxSize, l.ClearEvery = n, clearEvery
	return l
}

func trimMaxSize(e *env) {
	channel := e.channel("a")
	var sent []driver.Message
	for i := range 8 {
		sent = append(sent, e.publishN(channel, 1, sized(3, 1))...)
		e.publish(e.peer, e.channel("b"), `"x"`) // ids of the store are not messages of the channel
		e.equal(fmt.Sprintf("%d published, at most 3 kept", i+1), e.stored(channel), sent[max(0, len(sent)-3):])
	}
	if got := len(e.stored(e.channel("b"))); got != 8 {
		e.Errorf("another channel holds %d messages, want 8", got)
	}
}

func trimClearEvery(e *env) {
	const every = 4
	channel := e.channel("a")
	var want []driver.Message
	for i := range 15 {
		m := e.publishWith(e.peer, channel, fmt.Sprintf(`{"n":%d}`, i), sized(2, every))
		want = append(want, m)
		if m.ID%every == 0 {
			want = want[max(0, len(want)-2):]
		}
		e.equal(fmt.Sprintf("id %d, trimmed at multiples of %d", m.ID, every), e.stored(channel), want)
	}
}

func trimGlobal(e *env) {
	l := roomy()
	l.MaxGlobalSize = 4
	var sent []driver.Message
	for i := range 10 {
		sent = append(sent, e.publishWith(e.peer, e.channel(fmt.Sprint(i%3)), fmt.Sprintf(`{"n":%d}`, i), l))
	}
	e.equal("the newest 4", e.global(0, 0).Messages, newer(sent, sent[9].GlobalID-4))
	if e.global(0, 0).Loss == driver.LossNone {
		e.Error("messages of the global backlog were trimmed: loss none")
	}
}

func trimGlobalClearEvery(e *env) {
	const every, size = 4, 2
	l := roomy()
	l.MaxGlobalSize, l.ClearEvery = size, every
	var want []driver.Message
	for i := range 11 {
		m := e.publishWith(e.peer, e.channel(fmt.Sprint(i%2)), fmt.Sprintf(`{"n":%d}`, i), l)
		want = append(want, m)
		if m.GlobalID%every == 0 {
			want = newer(want, m.GlobalID-size)
		}
		e.equal(fmt.Sprintf("global id %d, trimmed at multiples of %d", m.GlobalID, every), e.global(0, 0).Messages, want)
	}
}

// newer returns the messages with a global id above id.
func newer(messages []driver.Message, id int64) []driver.Message {
	for len(messages) > 0 && messages[0].GlobalID <= id {
		messages = messages[1:]
	}
	return messages
}

func trimPerPublish(e *env) {
	channel := e.channel("a")
	sent := e.publishN(channel, 6, roomy())
	sent = append(sent, e.publishN(channel, 1, sized(2, 1))...)
	e.equal("the last publish keeps 2", e.stored(channel), sent[5:])
	sent = append(sent, e.publishN(channel, 1, roomy())...)
	e.equal("the next keeps more", e.stored(channel), sent[5:])
}

func trimZero(e *env) {
	zero := map[string]driver.Limits{"size": roomy(), "age": roomy(), "global size": roomy()}
	for name, l := range zero {
		switch name {
		case "size":
			l.MaxSize = 0
		case "age":
			l.MaxAge = 0
		case "global size":
			l.MaxGlobalSize = 0
		}
		s, channel := e.listen(e.peer), e.channel(name)
		sent := e.publishN(channel, 1, l)
		if sent[0].ID <= 0 {
			e.Errorf("%s 0: id %d", name, sent[0].ID)
		}
		e.equal(name+" 0: stream", e.nextN(s, 1), sent)
		if name == "global size" {
			e.equal(name+" 0: global backlog", e.global(0, 0).Messages, nil)
			continue
		}
		e.equal(name+" 0: backlog", e.stored(channel), nil)
	}
}

func aged(age time.Duration) driver.Limits {
	l := roomy()
	l.MaxAge = age
	return l
}

// The next publish is what makes it visible: stores may expire only then.
func trimAge(e *env) {
	channel := e.channel("a")
	old := e.publishN(channel, 2, aged(time.Second))
	e.elapse(time.Second + 200*time.Millisecond)
	fresh := e.publishN(channel, 1, aged(time.Second))
	if got := e.stored(channel); len(got) > len(fresh) {
		e.Errorf("%d messages are stored, of which %d are older than their channel's age of 1s", len(got), len(got)-len(fresh))
	}
	if p := e.page(driver.Range{Channel: channel, After: old[0].ID}); p.Loss == driver.LossNone && fresh[0].ID > old[1].ID {
		e.Error("a message expired: loss none")
	}
}

func trimAgeOwnChannel(e *env) {
	a, b := e.channel("a"), e.channel("b")
	kept := e.publishN(a, 2, roomy())
	e.elapse(time.Second + 200*time.Millisecond)
	e.publishN(b, 1, aged(time.Second))
	e.publishN(b, 1, aged(0))
	e.equal("a channel with an age of its own", e.stored(a), kept)
}

// elapse waits for a store's clock, which the suite cannot set.
func (e *env) elapse(d time.Duration) {
	e.Helper()
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-e.ctx.Done():
		e.Fatalf("waiting %v: %v", d, e.ctx.Err())
	}
}

func trimLoss(e *env) {
	channel := e.channel("a")
	sent := e.publishN(channel, 6, sized(3, 1)) // the first three are gone
	for i := range 2 {
		p := e.page(driver.Range{Channel: channel, After: sent[i].ID})
		e.loss(fmt.Sprintf("after message %d of 0 to 5, of which 3 to 5 are stored", i), p.Loss, driver.LossCertain)
	}
	e.loss("after 0", e.page(driver.Range{Channel: channel}).Loss, driver.LossCertain)
	e.loss("after the newest that was trimmed", e.page(driver.Range{Channel: channel, After: sent[2].ID}).Loss, driver.LossNone)

	gone := e.channel("gone")
	all := e.publishN(gone, 2, sized(0, 1))
	if p := e.page(driver.Range{Channel: gone, After: all[0].ID}); p.Loss == driver.LossNone {
		e.Error("all messages of the channel were trimmed: loss none")
	}
	again := e.publishN(gone, 1, roomy())
	if p := e.page(driver.Range{Channel: gone, After: all[0].ID}); p.Loss == driver.LossNone {
		e.Errorf("message %d was trimmed before %d was published: loss none", all[1].ID, again[0].ID)
	}
}

func trimNoLoss(e *env) {
	a := e.publishN(e.channel("a"), 5, sized(3, 1))
	b := e.publishN(e.channel("b"), 3, roomy())
	e.loss("nothing was trimmed", e.page(driver.Range{Channel: e.channel("b")}).Loss, driver.LossNone)
	for _, m := range append(a[2:], b...) {
		// Trimming takes the oldest first, so every store can know this one.
		if p := e.page(driver.Range{Channel: m.Channel, After: m.ID}); p.Loss != driver.LossNone {
			e.Errorf("after id %d, which is stored: loss %s, want none", m.ID, lossName(p.Loss))
		}
	}
}

func trimIDsGoOn(e *env) {
	channel := e.channel("a")
	gone := e.publishN(channel, 2, sized(0, 1))
	next := e.publish(e.peer, channel, `"x"`)
	if next.ID <= gone[1].ID || next.GlobalID <= gone[1].GlobalID {
		e.Errorf("%s was given after %s", format(next), format(gone[1]))
	}
	if p := e.page(driver.Range{Channel: channel}); p.LastID != next.ID {
		e.Errorf("last id %d, want %d", p.LastID, next.ID)
	}
}
