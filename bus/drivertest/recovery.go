package drivertest

import (
	"errors"
	"fmt"

	"github.com/messagebus-go/messagebus/bus/driver"
)

func recoveryClaims() map[string]func(*env) {
	return map[string]func(*env){
		"InterruptEndsStreams":           recoveryEnds,
		"InterruptFailsPing":             recoveryPing,
		"ListenWorksAfterAnInterrupt":    recoveryListen,
		"BacklogSurvivesAnInterrupt":     recoveryBacklog,
		"InterruptKeepsTheEpoch":         recoveryEpoch,
		"WipeRestartsIDsInANewEpoch":     recoveryWipe,
		"WipeLeavesNothingOfTheOldStore": recoveryWipeData,
	}
}

func recoveryEnds(e *env) {
	streams := []driver.Stream{e.listen(e.peer), e.listen(e.dial())}
	var done []<-chan error
	for _, s := range streams {
		done = append(done, next(e.ctx, s))
	}
	e.interrupt()
	for i, s := range streams {
		if err := <-done[i]; err == nil || e.ctx.Err() != nil {
			e.Fatalf("Next of a stream whose connection was cut did not return an error of its own: %v", err)
		}
		if _, err := s.Next(e.ctx); err == nil || e.ctx.Err() != nil {
			e.Fatalf("Next once more: %v, want an error at once", err)
		}
	}
}

func recoveryPing(e *env) {
	s := e.listen(e.peer)
	e.interrupt()
	if err := s.Ping(e.ctx); err == nil || e.ctx.Err() != nil {
		e.Errorf("Ping of a stream whose connection was cut: %v, want an error of its own", err)
	}
}

// publishEventually publishes after a cut; a publish of which only the answer
// was lost is found in the backlog.
func (e *env) publishEventually(channel, data string) driver.Message {
	e.Helper()
	var sent driver.Message
	e.eventually("publish", func() error {
		m, err := tryPublish(e.ctx, e.peer, channel, data, roomy())
		if errors.Is(err, driver.ErrUnknownOutcome) {
			m, err = e.find(channel, data)
		}
		sent = m
		return err
	})
	return sent
}

func (e *env) find(channel, data string) (driver.Message, error) {
	s, err := e.peer.Read(e.ctx, []driver.Range{{Channel: channel}})
	if err != nil {
		return driver.Message{}, err
	}
	for _, m := range s.Pages[0].Messages {
		if string(m.Data) == data {
			return m, nil
		}
	}
	return driver.Message{}, fmt.Errorf("%s is not stored", short(data))
}

func (e *env) listenEventually() driver.Stream {
	e.Helper()
	var s driver.Stream
	e.eventually("listen", func() (err error) {
		s, err = e.peer.Listen(e.ctx)
		return err
	})
	e.Cleanup(func() { _ = s.Close() })
	return s
}

func recoveryListen(e *env) {
	for i := range 3 {
		s := e.listenEventually()
		want := e.publishEventually(e.channel("a"), fmt.Sprintf(`{"n":%d}`, i))
		e.equal("stream", e.nextN(s, 1), []driver.Message{want})
		e.interrupt()
	}
}

func recoveryBacklog(e *env) {
	channel := e.channel("a")
	s := e.listen(e.peer)
	sent := e.publishN(channel, 3, roomy())
	e.nextN(s, 3)
	e.interrupt()
	sent = append(sent, e.publishEventually(channel, `"while nobody listened"`))
	again := e.listenEventually()
	e.equal("backlog", e.stored(channel), sent)
	want := e.publish(e.peer, channel, `"live"`)
	e.equal("the new stream", e.nextN(again, 1), []driver.Message{want})
}

func recoveryEpoch(e *env) {
	e.listen(e.peer)
	before := e.state(e.peer)
	e.interrupt()
	e.listenEventually()
	if after := e.state(e.dial()); after != before {
		e.Errorf("state %+v after an interrupt, %+v before", after, before)
	}
}

func recoveryWipe(e *env) {
	e.listen(e.peer) // a store may write its epoch down when listening starts
	old := e.publishN(e.channel("a"), 3, roomy())
	before := e.state(e.peer)
	e.wipe()
	s := e.listenEventually()
	first := e.publishEventually(e.channel("a"), `"new"`)
	if first.GlobalID > old[0].GlobalID || first.ID > old[0].ID {
		e.Errorf("the first message after a wipe is %s, that of before was %s: Store.Wipe must restart ids",
			format(first), format(old[0]))
	}
	if after := e.state(e.peer); after.Epoch == before.Epoch || after.GlobalID != first.GlobalID {
		e.Errorf("state %+v after a wipe and a publish, %+v before: want a new epoch and global id %d",
			after, before, first.GlobalID)
	}
	e.equal("stream", e.nextN(s, 1), []driver.Message{first})
}

func recoveryWipeData(e *env) {
	channel := e.channel("a")
	e.publishN(channel, 3, sized(1, 1))
	e.wipe()
	e.listenEventually()
	e.equal("backlog", e.stored(channel), nil)
	e.equal("global backlog", e.global(0, 0).Messages, nil)
	e.loss("a channel that is new", e.page(driver.Range{Channel: channel}).Loss, driver.LossNone)
	if got := e.state(e.peer).GlobalID; got != 0 {
		e.Errorf("global id %d, want 0", got)
	}
	sent := e.publish(e.peer, channel, `"new"`)
	e.equal("backlog", e.stored(channel), []driver.Message{sent})
}
