package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/messagebus-go/messagebus/bus"
	"github.com/messagebus-go/messagebus/cmd/messagebus/internal/strictjson"
)

// A service does the work of the commands that end: here on a store, or
// through the admin listener of a server.
type service interface {
	publish(ctx context.Context, p *publication) (int64, error)
	backlog(ctx context.Context, q backlogQuery, out *lines) error
	lastIDs(ctx context.Context, q lastIDQuery, out *lines) error
	subscribe(ctx context.Context, q subscribeQuery, out *lines) error // until ctx is done
	Close() error
}

// publication is one publish; its JSON form is what POST /publish takes.
// An empty list of targets stays one, for the bus to refuse: left out, it would
// mean everybody.
type publication struct {
	Channel        string          `json:"channel"`
	Data           json.RawMessage `json:"data"`
	UserIDs        []bus.ID        `json:"user_ids,omitzero"`
	GroupIDs       []bus.ID        `json:"group_ids,omitzero"`
	ClientIDs      []string        `json:"client_ids,omitzero"`
	Site           *string         `json:"site,omitempty"`
	MaxBacklogSize *int64          `json:"max_backlog_size,omitempty"`
	MaxBacklogAge  *int64          `json:"max_backlog_age,omitempty"` // seconds
}

// The largest values that fit what they are turned into.
const (
	maxBacklogSize = 1<<31 - 1
	maxBacklogAge  = int64(1<<63-1) / int64(time.Second)
)

// parsePublication reads the body of POST /publish.
func parsePublication(body []byte) (*publication, error) {
	p := &publication{}
	err := strictjson.Members{
		"channel":          strictjson.Into(&p.Channel, strictjson.String),
		"data":             strictjson.Into(&p.Data, func(raw json.RawMessage) (json.RawMessage, error) { return raw, nil }),
		"user_ids":         strictjson.Into(&p.UserIDs, strictjson.IDs),
		"group_ids":        strictjson.Into(&p.GroupIDs, strictjson.IDs),
		"client_ids":       strictjson.Into(&p.ClientIDs, strictjson.Strings),
		"site":             strictjson.OrNull(&p.Site, strictjson.String),
		"max_backlog_size": strictjson.OrNull(&p.MaxBacklogSize, strictjson.Count(maxBacklogSize)),
		"max_backlog_age":  strictjson.OrNull(&p.MaxBacklogAge, strictjson.Count(maxBacklogAge)),
	}.Decode(body)
	switch {
	case err != nil:
		return nil, err
	case p.Channel == "":
		return nil, errors.New("channel: it is missing or empty; it is a string such as \"/chat\"")
	case p.Data == nil:
		return nil, errors.New("data: it is missing; it is any JSON value, null included")
	}
	return p, nil
}

// options returns what the publication asks of bus.Publish. An empty list of
// targets is handed on, for the bus to refuse.
func (p *publication) options() []bus.PublishOption {
	var opts []bus.PublishOption
	if p.UserIDs != nil {
		opts = append(opts, bus.ToUsers(p.UserIDs...))
	}
	if p.GroupIDs != nil {
		opts = append(opts, bus.ToGroups(p.GroupIDs...))
	}
	if p.ClientIDs != nil {
		opts = append(opts, bus.ToClients(p.ClientIDs...))
	}
	if p.MaxBacklogSize != nil {
		opts = append(opts, bus.MaxBacklogSize(int(*p.MaxBacklogSize)))
	}
	if p.MaxBacklogAge != nil {
		opts = append(opts, bus.MaxBacklogAge(time.Duration(*p.MaxBacklogAge)*time.Second))
	}
	return opts
}

// backlogQuery asks for the messages after an id, or the last so many.
type backlogQuery struct {
	channel string
	site    *string
	after   int64
	last    *int
}

type lastIDQuery struct {
	channels []string
	site     *string
}

type subscribeQuery struct {
	channels []string
	site     *string
	from     start
}

// start says from where a subscription starts, as the user wrote it.
type start struct {
	text     string
	position bus.Position
}

func (s start) String() string { return s.text }

var fromLatest = start{"latest", bus.Latest()}

// parseStart takes latest, an id, or last: and a number.
func parseStart(s string) (start, error) {
	if s == fromLatest.text {
		return fromLatest, nil
	}
	if digits, found := strings.CutPrefix(s, "last:"); found {
		if n, err := strconv.ParseUint(digits, 10, 31); err == nil {
			return start{s, bus.Last(int(n))}, nil
		}
	} else if n, err := parseID(s); err == nil {
		return start{s, bus.After(n)}, nil
	}
	return start{}, errors.New("it must be latest, a message id (0: all that is stored), or last:K for the newest K messages")
}

// parseID takes a message id.
func parseID(s string) (int64, error) {
	n, err := strconv.ParseUint(s, 10, 63)
	if err != nil {
		return 0, errors.New("it must be a message id, 0 or more")
	}
	return int64(n), nil
}

// local is the service on a store.
type local struct{ bus *bus.Bus }

func (l local) Close() error { return l.bus.Close() }

func (l local) view(site *string) *bus.Bus {
	if site == nil {
		return l.bus
	}
	return l.bus.Site(*site)
}

func (l local) publish(ctx context.Context, p *publication) (int64, error) {
	return l.view(p.Site).Publish(ctx, p.Channel, p.Data, p.options()...)
}

func (l local) backlog(ctx context.Context, q backlogQuery, out *lines) error {
	var messages []bus.Message
	var err error
	if q.last != nil {
		messages, err = l.view(q.site).LastMessages(ctx, q.channel, *q.last)
	} else {
		messages, err = l.view(q.site).Backlog(ctx, q.channel, q.after)
	}
	undecodable, err := decodeErrors(err)
	if err != nil {
		return err
	}
	for _, m := range messages {
		if err := out.write(lineOf(m)); err != nil {
			return err
		}
	}
	for _, e := range undecodable {
		if err := out.write(undecodableLineOf(e)); err != nil {
			return err
		}
	}
	return nil
}

// decodeErrors takes the errors of single messages out of an error of
// bus.Backlog; what remains is the failure of all of it.
func decodeErrors(err error) ([]*bus.DecodeError, error) {
	var one *bus.DecodeError
	if err == nil || !errors.As(err, &one) {
		return nil, err
	}
	// bus.Backlog joins them, and wraps them no further.
	joined, ok := err.(interface{ Unwrap() []error })
	if !ok {
		return nil, err
	}
	var all []*bus.DecodeError
	for _, e := range joined.Unwrap() {
		if !errors.As(e, &one) {
			return nil, err
		}
		all = append(all, one)
	}
	return all, nil
}

func (l local) lastIDs(ctx context.Context, q lastIDQuery, out *lines) error {
	ids, err := l.view(q.site).LastIDs(ctx, q.channels...)
	if err != nil {
		return err
	}
	for _, channel := range q.channels {
		if err := out.write(lastIDLine{channel, ids[channel]}); err != nil {
			return err
		}
	}
	return nil
}

// subscribe writes what comes on all channels until ctx is done or a write
// fails.
func (l local) subscribe(outer context.Context, q subscribeQuery, out *lines) error {
	ctx, cancel := context.WithCancelCause(outer)
	defer cancel(nil)
	var subscriptions []*bus.Subscription
	for _, channel := range q.channels {
		s, err := l.view(q.site).Subscribe(ctx, channel, q.from.position)
		if err != nil {
			return err
		}
		defer s.Close()
		subscriptions = append(subscriptions, s)
	}
	if err := out.start(); err != nil {
		return err
	}
	var readers sync.WaitGroup
	for _, s := range subscriptions {
		readers.Go(func() { cancel(follow(ctx, s, out)) })
	}
	readers.Wait()
	if outer.Err() != nil {
		return nil
	}
	return context.Cause(ctx)
}

// follow writes what comes on one subscription. It returns when ctx is done,
// and why it ended when nobody asked it to.
func follow(ctx context.Context, s *bus.Subscription, out *lines) error {
	for m, err := range s.Messages(ctx) {
		if err := out.write(lineOfEvent(m, err)); err != nil {
			return err
		}
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	return fmt.Errorf("the subscription ended: %w", bus.ErrClosed)
}

func lineOfEvent(m bus.Message, err error) any {
	var gap *bus.GapError
	var undecodable *bus.DecodeError
	switch {
	case errors.As(err, &gap):
		return gapLineOf(gap)
	case errors.As(err, &undecodable):
		return undecodableLineOf(undecodable)
	default:
		return lineOf(m)
	}
}
