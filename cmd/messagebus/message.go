package main

import (
	"encoding/json"
	"io"
	"sync"

	"github.com/messagebus-go/messagebus/bus"
)

// The lines that the commands print and the admin listener answers with; one
// of them is one JSON object. Absent members are left out.

type messageLine struct {
	Channel   string          `json:"channel"`
	ID        int64           `json:"id"`
	GlobalID  int64           `json:"global_id"`
	Data      json.RawMessage `json:"data"`
	UserIDs   []bus.ID        `json:"user_ids,omitempty"`
	GroupIDs  []bus.ID        `json:"group_ids,omitempty"`
	ClientIDs []string        `json:"client_ids,omitempty"`
	Site      *string         `json:"site,omitempty"`
}

func lineOf(m bus.Message) messageLine {
	line := messageLine{
		Channel: m.Channel, ID: m.ID, GlobalID: m.GlobalID, Data: m.Data,
		UserIDs: m.UserIDs, GroupIDs: m.GroupIDs, ClientIDs: m.ClientIDs,
	}
	if m.Sited {
		line.Site = &m.Site
	}
	return line
}

// gapLine says that messages between two ids may be lost.
type gapLine struct {
	Gap gap `json:"gap"`
}

type gap struct {
	Channel string        `json:"channel"`
	After   int64         `json:"after"`
	Next    int64         `json:"next"`
	Reason  bus.GapReason `json:"reason"`
}

func gapLineOf(e *bus.GapError) gapLine {
	return gapLine{gap{Channel: e.Channel, After: e.After, Next: e.Next, Reason: e.Reason}}
}

// undecodableLine stands in the place of a message that cannot be read.
type undecodableLine struct {
	Undecodable undecodable `json:"undecodable"`
}

type undecodable struct {
	Channel  string `json:"channel"`
	ID       int64  `json:"id"`
	GlobalID int64  `json:"global_id"`
	Error    string `json:"error"`
}

func undecodableLineOf(e *bus.DecodeError) undecodableLine {
	return undecodableLine{undecodable{Channel: e.Channel, ID: e.ID, GlobalID: e.GlobalID, Error: e.Err.Error()}}
}

type lastIDLine struct {
	Channel string `json:"channel"`
	LastID  int64  `json:"last_id"`
}

type published struct {
	ID     int64 `json:"id,omitempty"`
	Queued bool  `json:"queued,omitempty"` // waits in the server's memory: the store is read-only
}

// lines writes JSON objects, each as one line in one write. It is safe for
// concurrent use.
type lines struct {
	flush func() error // called before the first line is waited for, and after each; may be nil

	mu sync.Mutex // guards w
	w  io.Writer
}

// start tells whoever reads that lines will come.
func (l *lines) start() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.sent()
}

func (l *lines) write(v any) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := encode(l.w, v); err != nil {
		return &outputError{err}
	}
	return l.sent()
}

// sent flushes what was written. l.mu must be held.
func (l *lines) sent() error {
	if l.flush == nil {
		return nil
	}
	if err := l.flush(); err != nil {
		return &outputError{err}
	}
	return nil
}
