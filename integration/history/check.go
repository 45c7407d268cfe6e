package history

import (
	"errors"
	"fmt"
	"slices"
	"sort"
	"time"

	"github.com/messagebus-go/messagebus/bus"
)

// A Report counts what a history holds.
type Report struct {
	Accepted, Queued, Unknown, Refused int
	Breaks                             int
	Sightings, Late                    int
	Gaps                               map[bus.GapReason]int

	// LostInBreaks are accepted messages that no reader ever saw, although one was
	// there to see them: each in the life of the store before a break that every such
	// reader was told of.
	LostInBreaks int
	// LostToTrimming are the others that no reader saw: each inside the gaps that
	// every such reader was told of.
	LostToTrimming int
	// Appeared are queued messages, and those with an unknown outcome, that were seen.
	Appeared int
}

// Check judges the history by the promise: on one channel each reader sees the
// messages in the order of their global ids, each once and none missing but where it
// was told; no message that was refused; none under two ids. The error names every
// breach, of one reader at most three.
func (h *History) Check() (Report, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	j := &judge{History: h, readable: map[string][]*Publish{}, seen: map[int]bool{}}
	j.prepare()
	broken := j.identities()
	for _, r := range h.readers {
		broken = append(broken, j.try(r)...)
	}
	return j.report(), errors.Join(broken...)
}

// judge knows everything; lives of the store are counted from 0.
type judge struct {
	*History

	readable map[string][]*Publish // accepted, by channel; "": all
	lives    []span                // in which a publish can have been stored, by number - 1
	seen     map[int]bool          // by anybody
	excused  [3]map[int]bool       // unseen by some reader, by excuse
}

// A span is lives from the first to the last.
type span struct{ first, last int }

func (j *judge) prepare() {
	for i := range j.excused {
		j.excused[i] = map[int]bool{}
	}
	for _, p := range j.publishes {
		j.lives = append(j.lives, j.livesOf(p))
		if p.Outcome == Accepted {
			j.readable[p.Channel] = append(j.readable[p.Channel], p)
			j.readable[""] = append(j.readable[""], p)
		}
	}
}

func (j *judge) livesOf(p *Publish) span {
	s := span{j.ended(p.Began), j.begun(p.Ended)}
	if p.Outcome == Queued || p.Outcome == Unknown {
		s.last = len(j.breaks) // it may have waited for long
	}
	return s
}

// ended counts the breaks that ended before a moment, begun those that had begun.
func (j *judge) ended(at time.Duration) int {
	return sort.Search(len(j.breaks), func(i int) bool { return j.breaks[i].Ended >= at })
}

func (j *judge) begun(at time.Duration) int {
	return sort.Search(len(j.breaks), func(i int) bool { return j.breaks[i].Began > at })
}

// survives is the last life in which what was stored on a channel in one can be read.
func (j *judge) survives(life int, channel string) int {
	for life < len(j.breaks) && !j.breaks[life].empties(channel) {
		life++
	}
	return life
}

// empties reports whether nothing of a channel is kept.
func (b *Break) empties(channel string) bool {
	return b.Kind == Wipe || b.Kind == Restart && b.Channel == channel
}

// identities checks all sightings together: a message has one pair of ids, and in one
// life of the store a global id has one message.
func (j *judge) identities() (broken []error) {
	type ids struct{ id, globalID int64 }
	type place struct {
		life     int
		globalID int64
	}
	of, at := map[int]ids{}, map[place]int{}
	for _, r := range j.readers {
		for _, s := range r.Sightings {
			if s.Number < 1 || s.Number > len(j.publishes) {
				continue // a gap, or for authentic to tell
			}
			j.seen[s.Number] = true
			now := ids{s.ID, s.GlobalID}
			if was, known := of[s.Number]; known && was != now {
				broken = append(broken, fmt.Errorf("message %d was stored twice, with ids %d (%d) and %d (%d)", s.Number, was.id, was.globalID, now.id, now.globalID))
			}
			of[s.Number] = now
			if lives := j.lives[s.Number-1]; lives.first == lives.last {
				where := place{lives.first, s.GlobalID}
				if other, taken := at[where]; taken && other != s.Number {
					broken = append(broken, fmt.Errorf("messages %d and %d both have the global id %d in life %d", other, s.Number, s.GlobalID, lives.first))
				}
				at[where] = s.Number
			}
		}
	}
	return broken
}

// try judges one reader.
func (j *judge) try(r *Reader) (broken []error) {
	const most = 3
	for _, rule := range []func(*Reader) []error{j.authentic, j.ordered, j.complete} {
		for _, err := range rule(r) {
			if len(broken) == most {
				return broken
			}
			broken = append(broken, fmt.Errorf("%s: %w", r.Name, err))
		}
	}
	return broken
}

// authentic checks that what came was published so.
func (j *judge) authentic(r *Reader) (broken []error) {
	complain := func(i int, format string, args ...any) {
		broken = append(broken, fmt.Errorf("sighting %d, %v: %s", i, r.Sightings[i], fmt.Sprintf(format, args...)))
	}
	for i, s := range r.Sightings {
		switch {
		case s.Gap != nil:
		case s.Err != nil:
			complain(i, "%v", s.Err)
		case s.Number < 1 || s.Number > len(j.publishes):
			complain(i, "nobody published it")
		case r.Start.Channel != "" && s.Channel != r.Start.Channel:
			complain(i, "it is of another channel")
		default:
			if wrong := j.publishes[s.Number-1].unlike(s); wrong != "" {
				complain(i, "%s", wrong)
			}
		}
	}
	return broken
}

// unlike says how a sighting contradicts what the publisher was told.
func (p *Publish) unlike(s Sighting) string {
	switch {
	case p.Channel != s.Channel:
		return "it was published on " + p.Channel
	case s.At < p.Began:
		return "it was published later"
	case p.Outcome == Refused:
		return fmt.Sprintf("its publish failed: %v", p.Err)
	case p.Outcome == Accepted && (p.ID != s.ID || p.GlobalID != 0 && p.GlobalID != s.GlobalID):
		return fmt.Sprintf("it was acknowledged as %d (%d)", p.ID, p.GlobalID)
	}
	return ""
}

// ordered checks the order and that nothing comes twice, between two resets.
func (j *judge) ordered(r *Reader) (broken []error) {
	var high, next int64
	var told time.Duration // when next was
	once := map[int64]bool{}
	for i, s := range r.Sightings {
		wrong := ""
		switch {
		case s.Gap != nil:
			if next, told = s.Gap.Next, s.At; s.Gap.Reason == bus.GapPossible || s.Gap.Reason == bus.GapFailover {
				next = 0 // what was on its way may have come
			}
			if s.Gap.Reason == bus.GapReset {
				high, once = 0, map[int64]bool{}
			} else if s.Gap.After >= s.Gap.Next && s.Gap.Reason != bus.GapFailover { // there, ids may be given again
				wrong = "it is empty"
			}
		case once[s.GlobalID]:
			wrong = "it came before"
		case s.Late && !j.MayBeLate && !r.wasTold(i) && !j.wasBefore(r, s.Number):
			wrong = "it is late"
		case s.Late:
		case s.GlobalID <= high:
			wrong = fmt.Sprintf("it came after the global id %d", high)
		case r.id(s.ID, s.GlobalID) < next && !j.hasRestarted(r.Start.Channel, told, s.At):
			wrong = fmt.Sprintf("the gap before it goes on to %d", next)
		}
		if s.Gap == nil {
			once[s.GlobalID] = true
			high = max(high, s.GlobalID)
			if !s.Late {
				next = 0 // ids ascend with the global ids, but for a restart
			}
		}
		if wrong != "" {
			broken = append(broken, fmt.Errorf("sighting %d, %v: %s", i, s, wrong))
		}
	}
	return broken
}

// hasRestarted reports whether the ids of a channel may have begun again between two moments.
func (j *judge) hasRestarted(channel string, from, to time.Duration) bool {
	return slices.ContainsFunc(j.breaks, func(b *Break) bool {
		return b.Kind == Restart && b.Channel == channel && b.Began <= to && b.Ended >= from
	})
}

// wasBefore reports whether a message was published before the reader came: what was
// trimmed meanwhile may still be announced.
func (j *judge) wasBefore(r *Reader, number int) bool {
	return number >= 1 && number <= len(j.publishes) && j.publishes[number-1].Began < r.Start.Returned
}

// wasTold reports whether a sighting is of what the reader was told may be lost: of a
// new life of the store, all that it has not read.
func (r *Reader) wasTold(sighting int) bool {
	id := r.id(r.Sightings[sighting].ID, r.Sightings[sighting].GlobalID)
	return slices.ContainsFunc(r.Sightings[:sighting], func(s Sighting) bool {
		return s.Gap != nil && id < s.Gap.Next && (s.Gap.After < id || s.Gap.Reason == bus.GapReset)
	})
}

// id chooses the one in which the reader's positions and gaps are.
func (r *Reader) id(id, globalID int64) int64 {
	if r.Start.Channel == "" {
		return globalID
	}
	return id
}

// complete checks that every accepted message was seen or is excused.
func (j *judge) complete(r *Reader) (broken []error) {
	w, err := j.walk(r)
	if err != nil {
		return []error{err}
	}
	for _, p := range j.readable[r.Start.Channel] {
		if w.seen[p.Number] || !w.inScope(p) {
			continue
		}
		why := w.excuse(p)
		if why == unexcused {
			broken = append(broken, fmt.Errorf("message %d, accepted as %d (%d) on %s at %v in the lives %v, never came", p.Number, p.ID, p.GlobalID, p.Channel, p.Ended, j.lives[p.Number-1]))
			continue
		}
		j.excused[why][p.Number] = true
	}
	return broken
}

func (j *judge) report() Report {
	total := Report{Breaks: len(j.breaks), Gaps: map[bus.GapReason]int{}}
	for _, p := range j.publishes {
		j.count(&total, p)
	}
	for _, r := range j.readers {
		for _, s := range r.Sightings {
			switch {
			case s.Gap != nil:
				total.Gaps[s.Gap.Reason]++
			case s.Late:
				total.Late++
			}
			total.Sightings++
		}
	}
	return total
}

func (j *judge) count(total *Report, p *Publish) {
	*map[Outcome]*int{Accepted: &total.Accepted, Queued: &total.Queued, Unknown: &total.Unknown, Refused: &total.Refused}[p.Outcome]++
	switch {
	case p.Outcome != Accepted && j.seen[p.Number]:
		total.Appeared++
	case p.Outcome != Accepted || j.seen[p.Number]:
	case j.excused[trimmed][p.Number]:
		total.LostToTrimming++
	case j.excused[broke][p.Number]:
		total.LostInBreaks++
	}
}
