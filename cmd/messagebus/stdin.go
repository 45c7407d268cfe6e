package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/messagebus-go/messagebus/bus"
)

// How many messages of standard input are published at a time, and how many of
// a channel may wait for their turn.
const (
	publishers    = 16
	publisherRoom = 64
)

// inputLine is a message to publish, and where it stood.
type inputLine struct {
	number int
	*publication
}

// pipeline publishes the lines of an input, many at a time, those of one
// channel one after the other. The first that fails ends it.
type pipeline struct {
	service service
	seed    maphash.Seed
	queues  [publishers]chan inputLine
	workers sync.WaitGroup
	fail    context.CancelCauseFunc

	published, queued atomic.Int64
}

// summary is what is printed at the end.
type summary struct {
	Published int64   `json:"published"`
	Queued    int64   `json:"queued,omitempty"` // of these, by the server as its store is read-only
	Seconds   float64 `json:"seconds"`
}

// publishLines publishes what stands in in, one JSON object a line as POST
// /publish takes it. What was published before an error is counted all the same.
func publishLines(ctx context.Context, s service, in io.Reader, progress io.Writer) (summary, error) {
	start := time.Now()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	p := &pipeline{service: s, seed: maphash.MakeSeed(), fail: cancel}
	for i := range p.queues {
		p.queues[i] = make(chan inputLine, publisherRoom)
		p.workers.Go(func() { p.publish(ctx, p.queues[i]) })
	}
	stop := tell(progress, time.Second, func() string {
		n := p.published.Load()
		return fmt.Sprintf("%d published, %.0f a second", n, float64(n)/time.Since(start).Seconds())
	})
	ended := make(chan error, 1)
	go func() { ended <- p.read(ctx, in) }() // nobody can end a read of standard input that waits
	var err error
	select {
	case err = <-ended:
	case <-ctx.Done():
	}
	p.workers.Wait()
	stop()
	if cause := context.Cause(ctx); cause != nil {
		err = cause
	}
	return summary{p.published.Load(), p.queued.Load(), time.Since(start).Round(time.Millisecond).Seconds()}, err
}

// read hands the lines to the queues, and closes these at the end.
func (p *pipeline) read(ctx context.Context, in io.Reader) error {
	defer func() {
		for _, queue := range p.queues {
			close(queue)
		}
	}()
	lines := bufio.NewScanner(in)
	lines.Buffer(make([]byte, 0, 64<<10), maxPublishBytes)
	number := 0
	for lines.Scan() {
		number++
		text := bytes.TrimSpace(lines.Bytes())
		if len(text) == 0 {
			continue
		}
		message, err := parsePublication(bytes.Clone(text)) // the scanner uses its buffer again
		if err != nil {
			return usagef("line %d: %w; the lines before it are published", number, err)
		}
		select {
		case p.queues[maphash.String(p.seed, message.Channel)%publishers] <- inputLine{number, message}:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	switch err := lines.Err(); {
	case errors.Is(err, bufio.ErrTooLong):
		return usagef("line %d: it is longer than %d bytes; the lines before it are published", number+1, maxPublishBytes)
	case err != nil:
		return fmt.Errorf("cannot read standard input after line %d: %w", number, err)
	}
	return nil
}

// publish publishes what one queue has, until something fails anywhere.
func (p *pipeline) publish(ctx context.Context, queue <-chan inputLine) {
	for {
		select {
		case line, more := <-queue:
			if !more || !p.publishOne(ctx, line) {
				return
			}
		case <-ctx.Done():
			return
		}
	}
}

// publishOne reports whether a line is published; otherwise it ends all.
func (p *pipeline) publishOne(ctx context.Context, line inputLine) bool {
	_, err := p.service.publish(ctx, line.publication)
	if errors.Is(err, bus.ErrQueued) {
		p.queued.Add(1)
		err = nil
	}
	if err != nil {
		p.fail(fmt.Errorf("line %d: %w", line.number, err))
		return false
	}
	p.published.Add(1)
	return true
}
