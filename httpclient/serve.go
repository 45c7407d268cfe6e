package httpclient

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// settleTime is how long changes of the subscriptions are waited for after the first of
// them, so that one request takes them all.
const settleTime = 10 * time.Millisecond

// A wait is the time until the next request.
type wait struct {
	until time.Time
	fixed bool // after a failure or a refusal: a change of the subscriptions does not shorten it
}

// serve sends one request after another until ctx is done, or asking cannot help.
func (c *Client) serve(ctx context.Context, l *loop) {
	w := wait{until: c.soon()}
	for {
		r := c.await(ctx, l, w)
		if r == nil {
			return
		}
		e := r.send()
		c.finish(l)
		if ctx.Err() != nil {
			return
		}
		if e.outcome == denied {
			if e = c.renew(ctx, e); e.outcome == denied {
				c.halt(l, e.err)
				return
			}
		}
		w = c.conclude(r, e)
	}
}

// soon is when a change of the subscriptions has the next request go out.
func (c *Client) soon() time.Time {
	settled, spaced := time.Now().Add(settleTime), c.lastStart.Add(c.options.Timing.MinPollInterval)
	if settled.After(spaced) {
		return settled
	}
	return spaced
}

// await waits until the next request is due, and there is something to ask for. nil: the
// client is to stop.
func (c *Client) await(ctx context.Context, l *loop, w wait) *run {
	timer := time.NewTimer(time.Until(w.until))
	defer timer.Stop()
	for over := false; ; {
		select {
		case <-ctx.Done():
			return nil
		case <-timer.C:
			if r := c.newRun(ctx, l); r != nil {
				return r
			}
			over = true
		case <-l.kick:
			if at := c.soon(); c.isStale(l) && (over || !w.fixed && at.Before(w.until)) {
				w.until, over = at, false
				timer.Reset(time.Until(at))
			}
		}
	}
}

func (c *Client) isStale(l *loop) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return l.stale
}

// newRun plans a request; nil: there is nothing to ask for.
func (c *Client) newRun(ctx context.Context, l *loop) *run {
	c.mu.Lock()
	defer c.mu.Unlock()
	l.stale = false
	if len(c.subs) == 0 {
		return nil
	}
	r := &run{client: c, plan: planFor(c.subs), stop: ctx.Done(), began: time.Now()}
	r.ctx, r.cancel = context.WithCancelCause(ctx)
	l.cut = func() { r.cancel(errChanged) }
	r.mode, r.streams = c.modeOf(&r.plan)
	c.sequence++
	c.lastStart = r.began
	c.counts.calls++
	c.counts.lastCall, c.counts.streaming = r.began, r.streams
	return r
}

// modeOf decides how a request is made.
func (c *Client) modeOf(p *plan) (m mode, streams bool) {
	o := &c.options
	switch {
	case p.lookUp:
		return lookUp, false
	case o.DisableLongPolling:
		return poll, false
	case c.unstreamed > 0:
		c.unstreamed--
		return hold, false
	case o.Events:
		return events, true
	}
	return hold, !o.DisableStreaming
}

// finish is called when a request is over.
func (c *Client) finish(l *loop) {
	c.mu.Lock()
	defer c.mu.Unlock()
	l.cut = nil
}

// renew has the application renew what the server did not accept. denied: it is not to be
// asked again.
func (c *Client) renew(ctx context.Context, e ending) ending {
	refusal, _ := errors.AsType[*StatusError](e.err)
	if c.options.Refresh == nil || refusal == nil {
		return e
	}
	var err error
	if panicked := c.call(func() { err = c.options.Refresh(ctx, refusal) }); panicked != nil {
		err = panicked
	}
	if err != nil {
		e.err = fmt.Errorf("%w; it was not renewed: %w", e.err, err)
		return e
	}
	c.refusals++
	if e.outcome = failed; c.refusals == 1 {
		e.outcome, e.err = renewed, nil
	}
	return e
}

// conclude returns when the next request goes out, and reports what went wrong.
func (c *Client) conclude(r *run, e ending) wait {
	if e.outcome == changed {
		return wait{until: c.soon()}
	}
	if e.outcome == buffered {
		c.unstreamed = max(c.options.Timing.StreamingRetry, 0)
	}
	w := wait{
		until: time.Now().Add(c.schedule.next(e.result, r.mode)),
		fixed: e.outcome == failed || e.outcome == refused,
	}
	if e.err != nil {
		c.countFailure(e)
		c.report(e.err)
	}
	return w
}

func (c *Client) countFailure(e ending) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.counts.connected, c.counts.lastError = false, e.err
	if e.outcome == failed {
		c.counts.failures++
		c.counts.recent++
	}
}

// countGood is called for each good part of an answer.
func (c *Client) countGood() {
	c.refusals = 0
	c.mu.Lock()
	defer c.mu.Unlock()
	c.counts.connected, c.counts.recent = true, 0
}
