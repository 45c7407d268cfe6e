package httpclient

import (
	"context"
	"time"
)

// A watch ends a request from which nothing is heard. It belongs to the loop.
type watch struct {
	cancel       context.CancelCauseFunc
	first, later time.Duration
	awaitsFirst  bool        // part of a stream; half of one counts as heard, but the rest has to follow in time
	timer        *time.Timer // nil: none for what is waited for now
}

// arm begins to wait.
func (w *watch) arm() {
	d, why := w.later, errSilent
	if w.awaitsFirst {
		d, why = w.first, errBuffered
	}
	if w.timer == nil {
		w.timer = time.AfterFunc(d, func() { w.cancel(why) })
		return
	}
	w.timer.Reset(d)
}

// disarm ends the wait.
func (w *watch) disarm() {
	if w.timer != nil {
		w.timer.Stop()
	}
}

// endFirst is called when the first part has come, or none is waited for.
func (w *watch) endFirst() {
	if w.awaitsFirst {
		w.disarm()
		w.awaitsFirst, w.timer = false, nil
	}
}

// patience is how long silence is borne. It is learnt: a server ends a held request after
// some time, and gives a stream of events signs of life.
type patience struct {
	initial    time.Duration // as long as nothing is known
	hold, beat time.Duration // the longest that was seen; 0: none was
}

const (
	leastPatience = 30 * time.Second
	margin        = 10 * time.Second
)

func (p *patience) of(m mode) time.Duration {
	learnt := p.hold
	if m == events {
		learnt = p.beat
	}
	if learnt == 0 {
		return p.initial
	}
	return max(learnt+margin, leastPatience)
}

// learn takes what an answer has shown that was ended by the server.
func (p *patience) learn(r *run, o outcome) {
	whole := o == quiet || o == moved && r.streams
	if r.mode == hold && whole {
		p.hold = max(p.hold, time.Since(r.began))
	}
}

// learnBeat takes the time between two signs of life.
func (p *patience) learnBeat(d time.Duration) { p.beat = max(p.beat, d) }

// forget is called when it was too short, or the connection was dead.
func (p *patience) forget(m mode) {
	if m == events {
		p.beat = 0
	} else {
		p.hold = 0
	}
}
