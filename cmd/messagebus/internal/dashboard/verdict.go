package dashboard

import (
	"fmt"
	"strings"
	"time"

	"github.com/messagebus-go/messagebus/bus"
)

// A Level says how much something matters.
type Level string

// The levels, least first.
const (
	Well    Level = "well"
	Notice  Level = "notice"  // something was not as it should be, and what is published now is delivered
	Trouble Level = "trouble" // what is published now would not be delivered now
)

// A Verdict is the answer to: is it well, what is wrong, since when?
type Verdict struct {
	Level    Level     `json:"level"`
	Since    time.Time `json:"since"` // since when the level is what it is
	Findings []Finding `json:"findings"`
}

// A Finding is one thing that is wrong. Those of a notice go away when they have
// not happened for ten minutes.
type Finding struct {
	Level Level     `json:"level"`
	Text  string    `json:"text"`
	Since time.Time `json:"since"`
}

// nearlyFull is the share of --max-held from which on it is said.
const nearlyFull = 0.9

// remarks are what a count that has grown in the last ten minutes means.
var remarks = []struct {
	count func(*Totals) uint64
	text  string
}{
	{func(t *Totals) uint64 { return t.PossibleLosses }, "readers were told that messages may be missing: %d in the last 10 minutes"},
	{func(t *Totals) uint64 { return t.GivenUp }, "queued messages were given up: %d in the last 10 minutes"},
	{func(t *Totals) uint64 { return t.Failed }, "publishes failed: %d in the last 10 minutes"},
	{func(t *Totals) uint64 { return t.Unknown }, "publishes may or may not be stored: %d in the last 10 minutes"},
	{func(t *Totals) uint64 { return t.Undecodable }, "messages could not be read: %d in the last 10 minutes"},
	{func(t *Totals) uint64 { return t.Panics }, "functions of the server panicked: %d in the last 10 minutes"},
}

// judge finds what is wrong. unwell is since when the bus is not healthy.
func judge(health *bus.Health, unwell time.Time, h *history, maxHeld int) []Finding {
	findings := []Finding{}
	for _, reason := range health.Reasons {
		findings = append(findings, Finding{Trouble, clip(reason, maxText), unwell})
	}
	if len(h.samples) > 0 && maxHeld > 0 {
		if held := h.samples[len(h.samples)-1].held; float64(held) >= nearlyFull*float64(maxHeld) {
			findings = append(findings, Finding{Notice, fmt.Sprintf("%d of %d requests are held; further ones will be answered at once", held, maxHeld), h.fullSince(maxHeld)})
		}
	}
	for _, remark := range remarks {
		if by, since := h.rose(remark.count); by > 0 {
			findings = append(findings, Finding{Notice, fmt.Sprintf(remark.text, by), since})
		}
	}
	return findings
}

// fullSince is when the newest stretch of samples began that are nearly full.
func (h *history) fullSince(maxHeld int) (since time.Time) {
	for i := len(h.samples) - 1; i >= 0 && float64(h.samples[i].held) >= nearlyFull*float64(maxHeld); i-- {
		since = h.samples[i].at
	}
	return since
}

// levelOf is the level of the worst.
func levelOf(findings []Finding) Level {
	level := Well
	for _, f := range findings {
		if f.Level == Trouble {
			return Trouble
		}
		level = Notice
	}
	return level
}

// summary says what is wrong in one line, for the list of events.
func summary(findings []Finding) string {
	if len(findings) == 0 {
		return "All is well"
	}
	texts := make([]string, len(findings))
	for i, f := range findings {
		texts[i] = f.Text
	}
	return strings.Join(texts, "; ")
}
