// Package doctor looks at a live store, changes nothing in it, and says what is there
// and what of it would break.
//
// Looking and judging are apart: [Redis] and [Postgres] gather facts, a bounded number
// of them, and functions without a store make findings of the facts. No finding holds
// anything of a message but its size.
package doctor

import (
	"fmt"
	"slices"
	"strings"
)

// A Severity says how much a finding matters.
type Severity string

// From the harmless to what breaks.
const (
	OK      Severity = "ok"      // looked at, and as it should be
	Note    Severity = "note"    // good to know
	Warning Severity = "warning" // works, and may lose or surprise
	Error   Severity = "error"   // does not work, or will not
)

var severities = []Severity{OK, Note, Warning, Error}

// rank orders severities.
func (s Severity) rank() int { return slices.Index(severities, s) }

// A Finding is one thing that was looked at.
type Finding struct {
	Severity Severity `json:"severity"`
	Topic    string   `json:"topic"`
	Says     string   `json:"says"`
	Do       string   `json:"do,omitempty"`
}

// A Channel is what a store has of one channel of one site.
type Channel struct {
	Channel  string `json:"channel"`
	Site     string `json:"site,omitempty"`
	Messages int64  `json:"messages"`
	FirstID  int64  `json:"first_id"` // of the oldest message that is stored
	LastID   int64  `json:"last_id"`  // that was given
	// Expires is in how many seconds Redis will drop the backlog; nil: never, or not
	// known beforehand.
	Expires *int64 `json:"expires_in,omitempty"`
	// Largest is the size in bytes of the largest message that was looked at.
	Largest int64 `json:"largest_bytes,omitempty"`
}

// A Server is what answers at the store's URL.
type Server struct {
	URL     string `json:"url"` // without password
	Version string `json:"version"`
	Place   string `json:"place"` // the database, and the pub/sub channel
	Holds   string `json:"holds"` // how much of a bus is there
}

// A Report is all that was found.
type Report struct {
	Server      Server
	Findings    []Finding // the worst first
	Channels    []Channel // those with the most messages first
	NotLookedAt []string
}

// Failed reports whether something does not work.
func (r *Report) Failed() bool {
	return slices.ContainsFunc(r.Findings, func(f Finding) bool { return f.Severity == Error })
}

func (r *Report) ok(topic, says string, args ...any)   { r.add(OK, topic, "", says, args) }
func (r *Report) note(topic, says string, args ...any) { r.add(Note, topic, "", says, args) }

// warn and fail say what to do as well.
func (r *Report) warn(topic, do, says string, args ...any) { r.add(Warning, topic, do, says, args) }
func (r *Report) fail(topic, do, says string, args ...any) { r.add(Error, topic, do, says, args) }

func (r *Report) add(severity Severity, topic, do, says string, args []any) {
	r.Findings = append(r.Findings, Finding{severity, topic, printable(fmt.Sprintf(says, args...)), printable(do)})
}

// skip says what was not looked at.
func (r *Report) skip(says string, args ...any) {
	r.NotLookedAt = append(r.NotLookedAt, printable(fmt.Sprintf(says, args...)))
}

// finish puts everything into the order in which it is read.
func (r *Report) finish() {
	slices.SortStableFunc(r.Findings, func(a, b Finding) int { return b.Severity.rank() - a.Severity.rank() })
	slices.SortStableFunc(r.Channels, func(a, b Channel) int {
		if a.Messages != b.Messages {
			return int(b.Messages - a.Messages)
		}
		return strings.Compare(a.Channel, b.Channel)
	})
}

// printable keeps names that others chose from steering a terminal.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r >= 0x80 && r < 0xa0 {
			return '�'
		}
		return r
	}, s)
}

// named lists names, a few of them.
func named(names []string) string {
	const most, longest = 3, 80
	var b strings.Builder
	for i, name := range names {
		if i == most {
			fmt.Fprintf(&b, " and %d more", len(names)-most)
			break
		}
		if i > 0 {
			b.WriteString(", ")
		}
		b.WriteString(shorten(name, longest))
	}
	return b.String()
}

// shorten cuts a name, between its characters.
func shorten(name string, most int) string {
	runes := []rune(strings.ToValidUTF8(name, "�"))
	if len(runes) <= most {
		return string(runes)
	}
	return string(runes[:most-1]) + "…"
}

// counted is a number with its noun.
func counted[N int | int64](n N, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}
