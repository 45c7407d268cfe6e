package main

import (
	"context"
	"sync"
	"time"
)

// How wrong keys are slowed: one is answered in so long, whoever sent it, and
// so many wait for their answer.
const (
	penaltyEvery = 100 * time.Millisecond
	penaltyQueue = 50
)

// penalty makes those wait who have sent a wrong key, one after the other, so
// that keys cannot be tried quickly, over however many connections.
type penalty struct {
	mu   sync.Mutex
	next time.Time // when the next one is answered
}

// serve waits for a turn; false: there are too many who do.
func (p *penalty) serve(ctx context.Context) bool {
	turn, ok := p.queue(time.Now())
	if !ok {
		return false
	}
	timer := time.NewTimer(time.Until(turn))
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
	return true
}

func (p *penalty) queue(now time.Time) (turn time.Time, ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.next.Before(now) {
		p.next = now
	}
	if p.next.Sub(now) >= penaltyQueue*penaltyEvery {
		return now, false
	}
	p.next = p.next.Add(penaltyEvery)
	return p.next, true
}
