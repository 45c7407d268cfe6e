package drivertest

import (
	"bytes"
	"context"
	"fmt"
	"time"

	"github.com/messagebus-go/messagebus/bus/driver"
)

// Calls of a Backend that end the subtest when they fail. Those whose names
// begin with "try" return the error instead, for other goroutines.

// roomy returns limits that keep everything that a subtest publishes.
func roomy() driver.Limits {
	return driver.Limits{MaxSize: 100_000, MaxGlobalSize: 1_000_000, MaxAge: time.Hour, ClearEvery: 1}
}

// tryPublish returns the message as it must be stored and announced.
func tryPublish(ctx context.Context, b driver.Backend, channel, data string, l driver.Limits) (driver.Message, error) {
	p, err := b.Publish(ctx, channel, []byte(data), l)
	if err != nil {
		return driver.Message{}, fmt.Errorf("publish: %w", err)
	}
	return driver.Message{GlobalID: p.GlobalID, ID: p.ID, Channel: channel, Data: []byte(data)}, nil
}

func (e *env) publishWith(b driver.Backend, channel, data string, l driver.Limits) driver.Message {
	e.Helper()
	m, err := tryPublish(e.ctx, b, channel, data, l)
	if err != nil {
		e.Fatal(err)
	}
	return m
}

func (e *env) publish(b driver.Backend, channel, data string) driver.Message {
	e.Helper()
	return e.publishWith(b, channel, data, roomy())
}

// publishN publishes n different messages with these limits.
func (e *env) publishN(channel string, n int, l driver.Limits) []driver.Message {
	e.Helper()
	all := make([]driver.Message, n)
	for i := range all {
		all[i] = e.publishWith(e.peer, channel, fmt.Sprintf(`{"n":%d}`, i), l)
	}
	return all
}

// read also checks what holds for every answer.
func (e *env) read(b driver.Backend, ranges ...driver.Range) driver.Snapshot {
	e.Helper()
	s, err := b.Read(e.ctx, ranges)
	if err != nil {
		e.Fatalf("read: %v", err)
	}
	if err := e.checkSnapshot(s, ranges); err != nil {
		e.Fatal(err)
	}
	return s
}

func (e *env) page(r driver.Range) driver.Page {
	e.Helper()
	return e.read(e.peer, r).Pages[0]
}

// stored returns all that a channel holds.
func (e *env) stored(channel string) []driver.Message {
	e.Helper()
	return e.page(driver.Range{Channel: channel}).Messages
}

func (e *env) global(after int64, limit int) driver.GlobalPage {
	e.Helper()
	p, err := e.peer.GlobalBacklog(e.ctx, after, limit)
	if err != nil {
		e.Fatalf("global backlog: %v", err)
	}
	return p
}

func (e *env) state(b driver.Backend) driver.State {
	e.Helper()
	s, err := b.State(e.ctx)
	if err != nil {
		e.Fatalf("state: %v", err)
	}
	return s
}

// listen returns a stream that is closed with the subtest.
func (e *env) listen(b driver.Backend) driver.Stream {
	e.Helper()
	s, err := b.Listen(e.ctx)
	if err != nil {
		e.Fatalf("listen: %v", err)
	}
	e.Cleanup(func() { _ = s.Close() })
	return s
}

func (e *env) nextN(s driver.Stream, n int) []driver.Message {
	e.Helper()
	all, err := tryNextN(e.ctx, s, n)
	if err != nil {
		e.Fatal(err)
	}
	return all
}

func tryNextN(ctx context.Context, s driver.Stream, n int) ([]driver.Message, error) {
	all := make([]driver.Message, 0, n)
	for len(all) < n {
		m, err := s.Next(ctx)
		if err != nil {
			return nil, fmt.Errorf("the stream gave %d of %d messages, then: %w", len(all), n, err)
		}
		all = append(all, m)
	}
	return all, nil
}

// parallel runs f in n goroutines and waits for them.
func (e *env) parallel(n int, f func(i int) error) {
	e.Helper()
	errs := make(chan error, n)
	for i := range n {
		go func() { errs <- f(i) }()
	}
	failed := false
	for range n {
		if err := <-errs; err != nil {
			e.Error(err)
			failed = true
		}
	}
	if failed {
		e.FailNow()
	}
}

// eventually retries f: after a cut the first requests may fail, since a
// driver does not retry.
func (e *env) eventually(what string, f func() error) {
	e.Helper()
	retry := time.NewTicker(10 * time.Millisecond)
	defer retry.Stop()
	for {
		err := f()
		if err == nil {
			return
		}
		select {
		case <-retry.C:
		case <-e.ctx.Done():
			e.Fatalf("%s still fails: %v", what, err)
		}
	}
}

// checkSnapshot checks what holds for every answer to these ranges.
func (e *env) checkSnapshot(s driver.Snapshot, ranges []driver.Range) error {
	if s.State.Settled > s.State.GlobalID {
		return fmt.Errorf("read: settled up to %d, though the last id given is %d", s.State.Settled, s.State.GlobalID)
	}
	if len(s.Pages) != len(ranges) {
		return fmt.Errorf("read: %d pages for %d ranges", len(s.Pages), len(ranges))
	}
	for i, r := range ranges {
		if err := e.checkPage(s.Pages[i], r); err != nil {
			return fmt.Errorf("read: page %d, %s after %d: %w", i, short(r.Channel), r.After, err)
		}
	}
	return nil
}

func (e *env) checkPage(p driver.Page, r driver.Range) error {
	if err := ascending(p.Messages); err != nil {
		return err
	}
	for _, m := range p.Messages {
		switch {
		case m.Channel != r.Channel:
			return fmt.Errorf("message %d is of the channel %s", m.ID, short(m.Channel))
		case r.Tail <= 0 && m.ID <= r.After:
			return fmt.Errorf("message %d is not after %d", m.ID, r.After)
		case m.ID > p.LastID:
			return fmt.Errorf("message %d is above the page's last id %d", m.ID, p.LastID)
		case e.traits.SharedIDs && m.ID != m.GlobalID:
			return fmt.Errorf("message %d has the global id %d, though ids are shared", m.ID, m.GlobalID)
		}
	}
	if r.Tail > 0 && p.Loss != driver.LossNone {
		return fmt.Errorf("loss %s for a tail", lossName(p.Loss))
	}
	return nil
}

func ascending(messages []driver.Message) error {
	for i := 1; i < len(messages); i++ {
		if messages[i].GlobalID <= messages[i-1].GlobalID {
			return fmt.Errorf("global id %d comes after %d", messages[i].GlobalID, messages[i-1].GlobalID)
		}
	}
	return nil
}

// equal compares messages, with their data.
func (e *env) equal(what string, got, want []driver.Message) {
	e.Helper()
	if err := differ(got, want); err != nil {
		e.Errorf("%s: %v", what, err)
	}
}

func differ(got, want []driver.Message) error {
	for i := range min(len(got), len(want)) {
		if !same(got[i], want[i]) {
			return fmt.Errorf("message %d of %d is %s, want %s", i, len(want), format(got[i]), format(want[i]))
		}
	}
	if len(got) != len(want) {
		return fmt.Errorf("%d messages, want %d", len(got), len(want))
	}
	return nil
}

func same(a, b driver.Message) bool {
	return a.GlobalID == b.GlobalID && a.ID == b.ID && a.Channel == b.Channel && bytes.Equal(a.Data, b.Data)
}

func format(m driver.Message) string {
	return fmt.Sprintf("{global %d, id %d, %s, %d bytes %s}",
		m.GlobalID, m.ID, short(m.Channel), len(m.Data), short(string(m.Data)))
}

func short(s string) string {
	const most = 48
	if len(s) > most {
		return fmt.Sprintf("%q…", s[:most])
	}
	return fmt.Sprintf("%q", s)
}

func lossName(l driver.Loss) string {
	names := []string{"none", "possible", "certain"}
	if int(l) < len(names) {
		return names[l]
	}
	return fmt.Sprintf("Loss(%d)", l)
}

// loss checks Loss against what is known to have happened.
func (e *env) loss(what string, got, want driver.Loss) {
	e.Helper()
	ok := got == want
	if e.features.InexactLoss {
		ok = ok || got == driver.LossPossible
	}
	if !ok {
		e.Errorf("%s: loss %s, want %s", what, lossName(got), lossName(want))
	}
}
