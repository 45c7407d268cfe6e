package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/messagebus-go/messagebus/benchmarks/internal/measure"
)

// A crowd is a process with many clients of one server. It loses nothing in
// silence: what is missing, comes twice, or out of order, is an error.
type crowd struct {
	ctx     context.Context //nolint:containedctx // ends with the process
	clients []*listener
	special net.Conn // one that is not counted; nil: there is none

	expected atomic.Int64
	received atomic.Int64
	missed   atomic.Int64
	patience time.Duration // with a server that sends nothing
	all      chan struct{} // gets a signal when all that is expected was received
	failed   chan error    // what a client could not go on with
}

// A command tells the crowd what to do.
type command struct {
	Do      string // connect, begin, await, finish, special, dismiss
	Address string
	Clients int
	Own     bool  // each client has a channel of its own
	Loses   bool  // the server may lose messages, which are counted, and repeat them
	Poll    bool  // the first message ends a request
	Count   int64 // deliveries to come
	Stops   bool  // the special client never reads
	Channel string
}

// What came of a round of deliveries.
type outcome struct {
	Received, Missed int64
	P50, P99         time.Duration
}

// joint is the channel that all clients of a crowd listen to, unless each has one
// of its own.
const joint = "/joint"

func ownChannel(client int) string { return fmt.Sprint("/own/", client) }

// runCrowd is the process.
func runCrowd(ctx context.Context, in io.Reader, out io.Writer) error {
	c := &crowd{ctx: ctx, all: make(chan struct{}, 1), failed: make(chan error, 1)}
	return measure.Serve(in, out, func(do command) (any, error) {
		switch do.Do {
		case "connect":
			return len(c.clients), c.connect(do)
		case "begin":
			c.received.Store(0)
			c.missed.Store(0)
			c.expected.Store(do.Count)
			return "begun", nil
		case "await":
			err := c.await()
			c.expected.Add(do.Count) // whatever was missed until now comes with the next
			return "more", err
		case "finish":
			err := c.await()
			return c.sumUp(), err
		case "special":
			return "there", c.admit(do)
		case "dismiss":
			return "gone", c.special.Close()
		default:
			return nil, fmt.Errorf("command %q", do.Do)
		}
	})
}

// dialers is how many clients connect at once.
const dialers = 32

// connect returns when the requests of all clients are held.
func (c *crowd) connect(do command) error {
	c.patience = 10 * time.Second
	if do.Loses {
		c.patience = time.Second
	}
	todo := make(chan int)
	errs := make(chan error, dialers)
	var all sync.WaitGroup
	added := make([]*listener, do.Clients)
	for range dialers {
		all.Go(func() {
			for i := range todo {
				l := &listener{crowd: c, address: do.Address, name: fmt.Sprint("client", i), channel: joint, loses: do.Loses}
				if do.Own {
					l.channel = ownChannel(i)
				}
				if added[i] = l; !do.Poll {
					if err := l.hold(); err != nil {
						errs <- err
						return
					}
				}
			}
		})
	}
	var err error
	for i := 0; i < do.Clients && err == nil; i++ {
		select {
		case todo <- i:
		case err = <-errs:
		}
	}
	close(todo)
	all.Wait()
	if err != nil {
		return err
	}
	c.clients = append(c.clients, added...)
	for _, l := range added {
		go l.run(do.Poll)
	}
	return nil
}

// await waits until everything has come, or nothing comes any more.
func (c *crowd) await() error {
	for before := int64(-1); ; before = c.received.Load() {
		select {
		case <-c.all:
			return nil
		case err := <-c.failed:
			return err
		case <-time.After(c.patience):
			if c.received.Load() == before {
				return nil
			}
		}
	}
}

// sumUp must not be called while deliveries come.
func (c *crowd) sumUp() outcome {
	var all latencies
	for _, l := range c.clients {
		all = append(all, l.took...)
		l.took = l.took[:0]
	}
	return outcome{c.received.Load(), c.missed.Load(), all.percentile(50), all.percentile(99)}
}

func (c *crowd) count(n int64) {
	if c.received.Add(n) == c.expected.Load() {
		c.all <- struct{}{}
	}
}

func (c *crowd) fail(err error) {
	select {
	case c.failed <- err:
	default: // the first one is told
	}
}

// admit lets a client in that is not counted.
func (c *crowd) admit(do command) error {
	dialer := net.Dialer{}
	conn, err := dialer.DialContext(c.ctx, "tcp", do.Address)
	if err != nil {
		return err
	}
	c.special = conn
	if socket, ok := conn.(*net.TCPConn); ok {
		_ = socket.SetReadBuffer(16 << 10) // or megabytes would be sent to one who does not read
	}
	if _, err := io.WriteString(conn, request("special", "%2Fjoint=-1&"+escaped(do.Channel)+"=0", true)); err != nil {
		return err
	}
	if _, err := conn.Read(make([]byte, 16)); err != nil { // it is held, or about to be
		return err
	}
	if !do.Stops {
		go func() {
			if _, err := io.Copy(io.Discard, conn); ignore(err, net.ErrClosed) != nil {
				c.fail(err)
			}
		}()
	}
	return nil
}
