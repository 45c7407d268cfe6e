package dashboard

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"time"

	"github.com/messagebus-go/messagebus/bus"
)

// How much of a channel is looked at.
const (
	MaxLook      = 100     // messages
	shownData    = 4 << 10 // bytes of each one's data
	shownTargets = 20      // of each kind, of each one
)

// A Look is into the backlog of one channel: the answer of GET /api/channel.
type Look struct {
	Channel    string   `json:"channel"`
	Site       *string  `json:"site"`
	LastID     int64    `json:"last_id"`    // 0: nothing is stored
	Backlog    *int     `json:"backlog"`    // messages that are stored; null: it is not known
	Messages   []Stored `json:"messages"`   // newest first
	Unreadable []string `json:"unreadable"` // why messages among these could not be read
}

// A Stored message is one as the store has it.
type Stored struct {
	ID        int64    `json:"id"`
	GlobalID  int64    `json:"global_id"`
	Bytes     int      `json:"bytes"`     // of its data
	Data      string   `json:"data"`      // JSON as a text, indented
	Truncated bool     `json:"truncated"` // Data is only its beginning
	UserIDs   []string `json:"user_ids"`  // as JSON has them; at most 20, as are the others
	GroupIDs  []string `json:"group_ids"`
	ClientIDs []string `json:"client_ids"`
	Targets   int      `json:"targets"` // how many users, groups and clients it is for; 0: everybody
}

// Look reads the newest messages of a channel. Only one at a time is under way:
// each may hold MaxLook of the largest messages for a moment.
func (d *Dashboard) Look(ctx context.Context, channel string, site *string, last int) (*Look, error) {
	select {
	case d.looking <- struct{}{}:
		defer func() { <-d.looking }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	view := d.options.Bus
	if site != nil {
		view = view.Site(*site)
	}
	lastID, err := view.LastID(ctx, channel)
	if err != nil {
		return nil, err
	}
	look := &Look{Channel: channel, Site: site, LastID: lastID, Backlog: backlogs(ctx, view, []string{channel})(channel), Messages: []Stored{}, Unreadable: []string{}}
	messages, err := view.LastMessages(ctx, channel, min(last, MaxLook))
	if look.Unreadable, err = unreadable(err); err != nil {
		return nil, err
	}
	for i := len(messages) - 1; i >= 0; i-- {
		look.Messages = append(look.Messages, storedOf(&messages[i]))
	}
	return look, nil
}

// unreadable takes the errors of single messages out of that of a read.
func unreadable(err error) (texts []string, rest error) {
	texts = []string{}
	joined, many := err.(interface{ Unwrap() []error }) // as bus joins them
	if !many {
		return texts, err
	}
	for _, e := range joined.Unwrap() {
		if _, one := errors.AsType[*bus.DecodeError](e); !one {
			return texts, err
		}
		texts = append(texts, clip(e.Error(), maxText))
	}
	return texts, nil
}

func storedOf(m *bus.Message) Stored {
	s := Stored{
		ID: m.ID, GlobalID: m.GlobalID, Bytes: len(m.Data), Truncated: len(m.Data) > shownData,
		UserIDs: idTexts(m.UserIDs), GroupIDs: idTexts(m.GroupIDs), ClientIDs: []string{},
		Targets: len(m.UserIDs) + len(m.GroupIDs) + len(m.ClientIDs),
	}
	for _, id := range m.ClientIDs[:min(len(m.ClientIDs), shownTargets)] {
		s.ClientIDs = append(s.ClientIDs, clip(id, maxText))
	}
	s.Data = clip(string(m.Data[:min(len(m.Data), shownData+4)]), shownData)
	if indented := (&bytes.Buffer{}); !s.Truncated && json.Indent(indented, m.Data, "", "  ") == nil && indented.Len() <= 2*shownData {
		s.Data = indented.String()
	}
	return s
}

func idTexts(ids []bus.ID) []string {
	texts := make([]string, 0, min(len(ids), shownTargets))
	for _, id := range ids[:min(len(ids), shownTargets)] {
		texts = append(texts, clip(id.String(), maxText))
	}
	return texts
}

// askStore asks where the channels stand, and how long that takes.
func (d *Dashboard) askStore(ctx context.Context, o *Overview) {
	sites := map[channelName][]string{}
	for _, c := range o.Channels {
		site := siteOf(c.Site)
		sites[site] = append(sites[site], c.Channel)
	}
	if len(sites) == 0 {
		sites[channelName{}] = []string{"/"} // as serve asks whether the store is there
	}
	start := time.Now()
	for site, channels := range sites {
		view := d.options.Bus
		if site.sited {
			view = view.Site(site.site)
		}
		ids, err := view.LastIDs(ctx, channels...)
		if err != nil {
			o.Store.Error = clip(err.Error(), maxText)
			return
		}
		if o.Store.AnswersMS == 0 {
			o.Store.AnswersMS = round(time.Since(start).Seconds() * 1000)
		}
		counts := backlogs(ctx, view, channels)
		for i := range o.Channels {
			if c := &o.Channels[i]; siteOf(c.Site) == site {
				id := ids[c.Channel]
				c.LastID, c.Backlog = &id, counts(c.Channel)
			}
		}
	}
}

// backlogs asks how many messages are stored, of a store that knows.
func backlogs(ctx context.Context, view *bus.Bus, channels []string) func(channel string) *int {
	counts, err := view.Counts(ctx, channels...)
	return func(channel string) *int {
		if err != nil {
			return nil
		}
		n := counts[channel]
		return &n
	}
}

func siteOf(site *string) channelName {
	if site == nil {
		return channelName{}
	}
	return channelName{site: *site, sited: true}
}
