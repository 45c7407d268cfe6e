package drivertest

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/messagebus-go/messagebus/bus/driver"
)

func publishClaims() map[string]func(*env) {
	return map[string]func(*env){
		"ReturnsThePositionOfTheStoredMessage":   publishReturnsPosition,
		"GivesAscendingIDs":                      publishAscends,
		"KeepsDataByteForByte":                   publishKeepsData,
		"KeepsChannelNames":                      publishKeepsChannels,
		"DoesNotKeepTheCallersSlice":             publishCopies,
		"StoresNothingWhenTheContextHasEnded":    publishEndedContext,
		"IsSeenByAllPeers":                       publishSeenByPeers,
		"FailsOnAClosedPeerAndWorksForTheOthers": publishClosed,
	}
}

func publishReturnsPosition(e *env) {
	channel := e.channel("a")
	sent := e.publishN(channel, 10, roomy())
	e.equal("backlog", e.stored(channel), sent)
	e.equal("global backlog", e.global(0, 0).Messages, sent)
	for _, m := range sent {
		if m.GlobalID <= 0 || m.ID <= 0 {
			e.Errorf("position %d, %d; ids begin above 0", m.GlobalID, m.ID)
		}
	}
}

func publishAscends(e *env) {
	channels := []string{e.channel("a"), e.channel("b"), e.channel("a")}
	lastID := make(map[string]int64)
	var lastGlobal int64
	for i := range 30 {
		channel := channels[i%len(channels)]
		m := e.publish(e.peer, channel, `"x"`)
		switch {
		case m.GlobalID <= lastGlobal:
			e.Errorf("global id %d was given after %d", m.GlobalID, lastGlobal)
		case e.traits.DenseGlobalIDs && m.GlobalID != lastGlobal+1:
			e.Errorf("global id %d was given after %d, though they have no holes", m.GlobalID, lastGlobal)
		case e.traits.SharedIDs && m.ID != m.GlobalID:
			e.Errorf("id %d, global id %d, though ids are shared", m.ID, m.GlobalID)
		case !e.traits.SharedIDs && m.ID != lastID[channel]+1:
			e.Errorf("id %d after %d, though each channel counts for itself", m.ID, lastID[channel])
		case m.ID <= lastID[channel]:
			e.Errorf("id %d was given after %d on one channel", m.ID, lastID[channel])
		}
		lastGlobal, lastID[channel] = m.GlobalID, m.ID
	}
}

// everywhere checks that what was sent comes out alike of every exit.
func (e *env) everywhere(s driver.Stream, sent []driver.Message) {
	e.Helper()
	e.equal("stream", e.nextN(s, len(sent)), sent)
	e.equal("global backlog", e.global(0, 0).Messages, sent)
	stored := make(map[string][]driver.Message)
	for _, m := range sent {
		stored[m.Channel] = append(stored[m.Channel], m)
	}
	for channel, want := range stored {
		e.equal("backlog of "+short(channel), e.stored(channel), want)
	}
}

func publishKeepsData(e *env) {
	texts := []string{
		`{"data":null,"user_ids":null,"group_ids":null,"client_ids":null}`,
		"a|b||c|", "||", "$$123$$", "line\nline\r\n", "  spaces  ", `\\ "quotes" '`, "日本 🚀 é\u2028",
		"%s ${x} $1 ?", strings.Repeat("long|", 3000), strings.Repeat("x", 1<<20),
	}
	if !e.features.Text {
		texts = append(texts, "nul\x00nul", "\xff\xfe\x80", "x")
	}
	s, channel := e.listen(e.peer), e.channel("a")
	var sent []driver.Message
	for _, data := range texts {
		sent = append(sent, e.publish(e.peer, channel, data))
	}
	e.everywhere(s, sent)
}

func publishKeepsChannels(e *env) {
	names := []string{
		"a", "a|b", "||a||b|", "a$|$site", "a$|$other", "日本/é🚀", "A", "a ", " a", "a\nb", "a*", "a?", "a[b]",
		`a'"\`, "%d$1", strings.Repeat("4 KB", 1024),
	}
	if !e.features.Text {
		names = append(names, "\xff\xfe")
	}
	s := e.listen(e.peer)
	var sent []driver.Message
	for i, name := range names {
		sent = append(sent, e.publish(e.peer, e.channel(name), fmt.Sprintf(`{"n":%d}`, i)))
	}
	e.everywhere(s, sent)
}

func publishCopies(e *env) {
	s, channel := e.listen(e.peer), e.channel("a")
	data := []byte(`"before"`)
	p, err := e.peer.Publish(e.ctx, channel, data, roomy())
	if err != nil {
		e.Fatal(err)
	}
	copy(data, `"after!"`)
	want := []driver.Message{{GlobalID: p.GlobalID, ID: p.ID, Channel: channel, Data: []byte(`"before"`)}}
	e.equal("the data was changed after Publish: backlog", e.stored(channel), want)
	e.equal("the data was changed after Publish: stream", e.nextN(s, 1), want)
}

func publishEndedContext(e *env) {
	ctx, cancel := context.WithCancel(e.ctx)
	cancel()
	channel := e.channel("a")
	_, err := e.peer.Publish(ctx, channel, []byte(`"x"`), roomy())
	if err == nil {
		e.Fatal("publish with a context that has ended: no error")
	}
	if stored := e.stored(channel); len(stored) > 0 && !errors.Is(err, driver.ErrUnknownOutcome) {
		e.Errorf("publish returned %v, which says that nothing was stored; %d messages are", err, len(stored))
	}
}

func publishSeenByPeers(e *env) {
	other, channel := e.dial(), e.channel("a")
	sent := []driver.Message{e.publish(e.peer, channel, `"one"`), e.publish(other, channel, `"two"`)}
	for _, b := range []driver.Backend{e.peer, other, e.dial()} {
		e.equal("backlog", e.read(b, driver.Range{Channel: channel}).Pages[0].Messages, sent)
	}
}

func publishClosed(e *env) {
	closed := e.dial()
	if err := closed.Close(); err != nil {
		e.Errorf("close: %v", err)
	}
	if err := closed.Close(); err != nil {
		e.Errorf("close once more: %v", err)
	}
	calls := map[string]func() error{
		"Publish": func() error { _, err := closed.Publish(e.ctx, e.channel("a"), []byte(`"x"`), roomy()); return err },
		"Read":    func() error { _, err := closed.Read(e.ctx, nil); return err },
		"Global":  func() error { _, err := closed.GlobalBacklog(e.ctx, 0, 0); return err },
		"State":   func() error { _, err := closed.State(e.ctx); return err },
		"Listen":  func() error { _, err := closed.Listen(e.ctx); return err },
	}
	for name, call := range calls {
		if err := call(); !errors.Is(err, driver.ErrClosed) {
			e.Errorf("%s after Close: %v, want driver.ErrClosed", name, err)
		}
	}
	sent := e.publish(e.peer, e.channel("a"), `"y"`)
	e.equal("another peer", e.stored(e.channel("a")), []driver.Message{sent})
}
