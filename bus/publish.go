package bus

import (
	"context"
	"fmt"
	"os"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/messagebus-go/messagebus/bus/driver"
)

// A PublishOption changes one publish.
type PublishOption interface{ apply(p *publication) error }

type publishOption func(*publication) error

func (o publishOption) apply(p *publication) error { return o(p) }

// publication is one publish in the making.
type publication struct {
	channel, site string
	stored        string // name of the channel, with its site
	envelope      []byte
	to            targets
	limits        driver.Limits
	direct        bool   // never queued
	number        uint64 // counts the publishes of this bus
}

// ToUsers lets only these users have the message, and the groups of ToGroups
// if given. At least one id; not on channels below /global/.
func ToUsers(ids ...ID) PublishOption {
	return publishOption(func(p *publication) (err error) {
		p.to.users, err = appendIDs(p.to.users, "user", ids)
		return err
	})
}

// ToGroups lets only members of these groups have the message, and the users
// of ToUsers if given. At least one id; not on channels below /global/.
func ToGroups(ids ...ID) PublishOption {
	return publishOption(func(p *publication) (err error) {
		p.to.groups, err = appendIDs(p.to.groups, "group", ids)
		return err
	})
}

func appendIDs(list []ID, kind string, ids []ID) ([]ID, error) {
	if len(ids) == 0 {
		return nil, fmt.Errorf("%w: the list of %ss is empty; leave it out, or name at least one", ErrInvalidTarget, kind)
	}
	for _, id := range ids {
		if !id.publishable() {
			return nil, fmt.Errorf("%w: %s id %v; an id is an integer of 64 bits or a string", ErrInvalidTarget, kind, id)
		}
		if !utf8.ValidString(id.text) {
			return nil, fmt.Errorf("%w: %s id %q is not valid UTF-8", ErrInvalidTarget, kind, id.text)
		}
	}
	return append(list, ids...), nil
}

// ToClients lets only these clients have the message; with ToUsers or
// ToGroups, only where those match too. At least one client id.
func ToClients(ids ...string) PublishOption {
	return publishOption(func(p *publication) error {
		if len(ids) == 0 {
			return fmt.Errorf("%w: the list of clients is empty; leave it out, or name at least one", ErrInvalidTarget)
		}
		for _, id := range ids {
			if !utf8.ValidString(id) || strings.ContainsRune(id, 0) {
				return fmt.Errorf("%w: client id %q; it must be valid UTF-8 without NUL", ErrInvalidTarget, id)
			}
		}
		p.to.clients = append(p.to.clients, ids...)
		return nil
	})
}

// MaxBacklogSize keeps the newest n messages of the channel at this publish,
// whatever Options.MaxBacklogSize says. 0 keeps nothing: the message reaches
// only who listens now.
func MaxBacklogSize(n int) PublishOption {
	return publishOption(func(p *publication) error {
		if n < 0 {
			return fmt.Errorf("%w: backlog size %d; it must be 0 or more", ErrInvalidLimit, n)
		}
		p.limits.MaxSize = n
		return nil
	})
}

// MaxBacklogAge keeps the channel's backlog that long from this publish on,
// whatever Options.MaxBacklogAge says. A fraction of a second is rounded up; 0
// keeps nothing.
func MaxBacklogAge(d time.Duration) PublishOption {
	return publishOption(func(p *publication) error {
		if d < 0 {
			return fmt.Errorf("%w: backlog age %v; it must be 0 or more", ErrInvalidLimit, d)
		}
		p.limits.MaxAge = wholeSeconds(d)
		return nil
	})
}

// Publish stores data on channel, announces it to every listening peer, and
// returns the message's id on the channel once the store has accepted it.
//
// data is anything that encoding/json encodes; a json.RawMessage is taken as
// it is. Refused, with nothing stored: a channel, site, target or payload that
// a peer would misread (ErrInvalidChannel, ErrInvalidTarget, ErrInvalidData:
// NaN, numbers beyond a double, lone surrogates, invalid UTF-8, nesting deeper
// than 99), and what is above Options.MaxMessageBytes (ErrTooLarge).
//
// While the store is read-only Publish returns 0 and ErrQueued: the message
// waits in memory, in order and with its limits, until the store takes writes
// again, the bus is closed, or newer ones push it out (Options.ReadOnlyQueue).
//
// An error for which errors.Is(err, ErrUnknownOutcome) holds means that the
// message may have been stored; Publish never sends it a second time. Any
// other error means that it was not.
func (b *Bus) Publish(ctx context.Context, channel string, data any, opts ...PublishOption) (int64, error) {
	start := time.Now()
	p := publication{channel: channel, site: b.site, limits: b.options.limits()}
	var at driver.Position
	err := b.prepare(&p, data, opts)
	if err == nil {
		at, err = b.send(ctx, p)
	}
	if err != nil {
		err = fmt.Errorf("bus: publish %q: %w", channel, err)
	}
	info := p.info(at, time.Since(start), err)
	info.Context = ctx
	b.tracePublish(info)
	return at.ID, err
}

func (p *publication) info(at driver.Position, took time.Duration, err error) PublishInfo {
	return PublishInfo{
		Channel: p.channel, Site: p.site, ID: at.ID, GlobalID: at.GlobalID,
		Bytes: len(p.envelope), Duration: took, Err: err,
	}
}

// prepare checks and encodes what is to be published.
func (b *Bus) prepare(p *publication, data any, opts []PublishOption) (err error) {
	if err = b.checkOpen(); err != nil {
		return err
	}
	if p.stored, err = b.storedName(p.channel); err != nil {
		return err
	}
	for _, opt := range opts {
		if err = opt.apply(p); err != nil {
			return err
		}
	}
	if strings.HasPrefix(p.channel, globalPrefix) && (p.to.users != nil || p.to.groups != nil) {
		return fmt.Errorf("%w: a channel below %s is for every site and takes no users or groups", ErrInvalidTarget, globalPrefix)
	}
	if p.envelope, err = encodeMessage(data, p.to); err != nil {
		return err
	}
	if size := len(p.stored) + len(p.envelope); size > b.options.MaxMessageBytes {
		return fmt.Errorf("%w: %d bytes as stored; at most %d are accepted", ErrTooLarge, size, b.options.MaxMessageBytes)
	}
	return nil
}

func (o *Options) limits() driver.Limits {
	return driver.Limits{
		MaxSize: o.MaxBacklogSize, MaxGlobalSize: o.MaxGlobalBacklogSize,
		MaxAge: o.MaxBacklogAge, MaxGlobalAge: o.MaxBacklogAge, ClearEvery: o.ClearEvery,
	}
}

// keepaliveChannel and its target are the gem's (message_bus 4.5.2,
// lib/message_bus.rb): nobody's user id, so that no client ever gets it.
const keepaliveChannel = "/__mb_keepalive__/"

// keepAlive publishes the process id every Options.Keepalive, as Ruby peers do.
func (c *core) keepAlive() {
	ticker := time.NewTicker(c.options.Keepalive)
	defer ticker.Stop()
	root := &Bus{core: c}
	for {
		select {
		case <-c.ctx.Done():
			return
		case <-ticker.C:
			ctx, cancel := context.WithTimeout(c.ctx, c.options.LivenessBound)
			if _, err := root.Publish(ctx, keepaliveChannel, os.Getpid(), ToUsers(IntID(-1)), WithoutReadOnlyQueue()); err != nil {
				c.options.Logger.Debug("keepalive was not published", "error", err)
			}
			cancel()
		}
	}
}
