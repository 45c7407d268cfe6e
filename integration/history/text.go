package history

import (
	"bufio"
	"fmt"
	"io"
	"slices"
	"time"
)

func (s Sighting) String() string {
	if g := s.Gap; g != nil {
		return fmt.Sprintf("[%s %d..%d]", g.Reason, g.After, g.Next)
	}
	late := ""
	if s.Late {
		late = " late"
	}
	return fmt.Sprintf("#%d=%d(%d)%s", s.Number, s.ID, s.GlobalID, late)
}

// WriteTo writes the whole history as text: first the faults and publishes in the
// order of time, then what each reader saw.
func (h *History) WriteTo(out io.Writer) (int64, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	c := &counter{to: bufio.NewWriter(out)}
	for _, l := range h.lines() {
		fmt.Fprintf(c, "%9.4f %s\n", l.at.Seconds(), l.text)
	}
	for _, r := range h.readers {
		r.write(c)
	}
	if c.err == nil {
		c.err = c.to.Flush()
	}
	return c.n, c.err
}

func (h *History) lines() []note {
	all := slices.Clone(h.notes)
	for _, b := range h.breaks {
		all = append(all, note{b.Began, fmt.Sprintf("BREAK %s %s until %.4f", b.Kind, b.Channel, b.Ended.Seconds())})
	}
	for _, p := range h.publishes {
		text := fmt.Sprintf("#%d on %s until %.4f: %s %d(%d)", p.Number, p.Channel, p.Ended.Seconds(), p.Outcome, p.ID, p.GlobalID)
		if p.Err != nil {
			text += " " + p.Err.Error()
		}
		all = append(all, note{p.Began, text})
	}
	slices.SortStableFunc(all, func(a, b note) int { return int(a.at - b.at) })
	return all
}

func (r *Reader) write(out io.Writer) {
	from := fmt.Sprint("after ", r.Start.ID)
	if r.Start.Latest {
		from = "latest"
	}
	fmt.Fprintf(out, "\n%s: %q, %s, subscribed %.4f to %.4f\n", r.Name, r.Start.Channel, from, r.Start.Began.Seconds(), r.Start.Returned.Seconds())
	second := time.Duration(-1)
	for _, s := range r.Sightings {
		if at := s.At.Truncate(time.Second); at != second {
			fmt.Fprintf(out, "\n  %4.0f s:", at.Seconds())
			second = at
		}
		fmt.Fprintf(out, " %v", s)
	}
	fmt.Fprintln(out)
}

// counter counts what is written, up to the first error.
type counter struct {
	to  *bufio.Writer
	n   int64
	err error
}

func (c *counter) Write(p []byte) (int, error) {
	if c.err != nil {
		return 0, c.err
	}
	n, err := c.to.Write(p)
	c.n, c.err = c.n+int64(n), err
	return n, err
}
