package doctor

import (
	"fmt"
	"io"
	"strings"
	"unicode/utf8"
)

// mostShown is how many channels are printed for people.
const mostShown = 20

// width is how long lines for people are.
const width = 100

// colours by severity, of a terminal.
var colours = map[Severity]string{OK: "32", Note: "36", Warning: "33", Error: "31"}

// A printer keeps the first error of its writer.
type printer struct {
	w      io.Writer
	colour bool
	err    error
}

func (p *printer) linef(format string, args ...any) {
	if p.err == nil {
		_, p.err = fmt.Fprintln(p.w, strings.TrimRight(fmt.Sprintf(format, args...), " "))
	}
}

// Text writes a report for people, with colours if it is asked to.
func (r *Report) Text(w io.Writer, colour bool) error {
	p := &printer{w: w, colour: colour}
	p.linef("%s", r.Server.URL)
	p.linef("%s; %s", r.Server.Version, r.Server.Place)
	p.linef("%s", r.Server.Holds)
	p.linef("")
	p.findings(r.Findings)
	if len(r.Channels) > 0 {
		p.linef("")
		p.channels(r.Channels)
	}
	if len(r.NotLookedAt) > 0 {
		p.linef("")
		p.linef("Not looked at:")
		for _, what := range r.NotLookedAt {
			p.wrapped("  - ", "    ", what)
		}
	}
	return p.err
}

func (p *printer) findings(findings []Finding) {
	topics := 0
	for _, f := range findings {
		topics = max(topics, len(f.Topic))
	}
	const severityWidth = len(Warning)
	indent := strings.Repeat(" ", 2+severityWidth+2+topics+2)
	for _, f := range findings {
		mark := fmt.Sprintf("%-*s", severityWidth, f.Severity)
		if p.colour {
			mark = "\x1b[" + colours[f.Severity] + "m" + mark + "\x1b[0m"
		}
		p.wrapped(fmt.Sprintf("  %s  %-*s  ", mark, topics, f.Topic), indent, f.Says)
		if f.Do != "" {
			p.wrapped(indent+"→ ", indent+"  ", f.Do)
		}
	}
}

// wrapped writes text after first, and its further lines after rest.
func (p *printer) wrapped(first, rest, text string) {
	line, room := first, width-utf8.RuneCountInString(rest)
	used := 0
	for word := range strings.FieldsSeq(text) {
		length := utf8.RuneCountInString(word)
		if used > 0 && used+1+length > room {
			p.linef("%s", line)
			line, used = rest, 0
		}
		if used > 0 {
			line += " "
			used++
		}
		line += word
		used += length
	}
	p.linef("%s", line)
}

func (p *printer) channels(channels []Channel) {
	if len(channels) > mostShown {
		p.linef("The %d largest of %d channels:", mostShown, len(channels))
		channels = channels[:mostShown]
	}
	p.linef("  %9s %12s %12s %10s  %s", "messages", "first id", "last id", "expires in", "channel")
	for _, c := range channels {
		expires := "-"
		if c.Expires != nil {
			expires = days(*c.Expires)
		}
		name := shorten(c.Channel, 60)
		if c.Site != "" {
			name += " of site " + shorten(c.Site, 30)
		}
		p.linef("  %9d %12d %12d %10s  %s", c.Messages, c.FirstID, c.LastID, expires, name)
	}
}
