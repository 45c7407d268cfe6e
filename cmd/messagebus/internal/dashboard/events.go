package dashboard

import (
	"slices"
	"time"
)

// How much is remembered of what happened.
const (
	maxEvents = 50
	oneEvent  = time.Minute // the same kind of thing within it is one event
	maxText   = 300         // bytes of what is said of one
)

// An Event is something that happened to this process, once or again and again.
type Event struct {
	Kind  string    `json:"kind"` // feed down, feed up, possible loss, given up, undecodable, slow client, trouble, notice, well
	Text  string    `json:"text"` // of the last time
	First time.Time `json:"first"`
	Last  time.Time `json:"last"`
	Count int       `json:"count"` // how many times between First and Last
}

// eventLog keeps the newest events. A storm of one kind does not push out what
// came before it. It is not safe for concurrent use.
type eventLog struct{ events []Event }

func (l *eventLog) add(now time.Time, kind, text string) {
	text = clip(text, maxText)
	at := slices.IndexFunc(l.events, func(e Event) bool { return e.Kind == kind && now.Sub(e.Last) < oneEvent })
	e := Event{Kind: kind, First: now}
	if at >= 0 {
		e = l.events[at]
		l.events = slices.Delete(l.events, at, at+1)
	}
	e.Text, e.Last = text, now
	e.Count++
	if len(l.events) == maxEvents {
		l.events = slices.Delete(l.events, 0, 1)
	}
	l.events = append(l.events, e)
}

// newestFirst returns a copy.
func (l *eventLog) newestFirst() []Event {
	all := append([]Event{}, l.events...)
	slices.Reverse(all)
	return all
}
