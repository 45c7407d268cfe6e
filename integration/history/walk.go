package history

import (
	"fmt"
	"math"
	"slices"

	"github.com/messagebus-go/messagebus/bus"
)

// A walk is the way of one reader through the lives of the store: in which of them it
// can have been at each of its sightings.
type walk struct {
	*judge

	reader *Reader
	start  span
	at     []span // by sighting
	seen   map[int]bool
	least  int64 // where a reader who asked for what there was found it to begin
}

// walk finds the lives: a reader never goes back to an earlier one, what was published
// in one life is not read in one before, and what a wipe took is not read after it.
func (j *judge) walk(r *Reader) (*walk, error) {
	w := &walk{judge: j, reader: r, at: make([]span, len(r.Sightings)), seen: map[int]bool{}}
	w.start = span{j.ended(r.Start.Began), j.begun(r.Start.Returned)}
	life := w.start.first
	for i, s := range r.Sightings {
		if s.Gap == nil && s.Err == nil && s.Number >= 1 && s.Number <= len(j.publishes) {
			w.seen[s.Number] = true
			life = max(life, j.lives[s.Number-1].first)
		}
		w.at[i].first = life
	}
	life = len(j.breaks)
	for i := len(r.Sightings) - 1; i >= 0; i-- {
		s := r.Sightings[i]
		life = min(life, j.begun(s.At))
		if w.seen[s.Number] && s.Gap == nil {
			life = min(life, j.survives(j.lives[s.Number-1].last, s.Channel))
		}
		if w.at[i].last = life; life < w.at[i].first {
			return nil, fmt.Errorf("sighting %d, %v: it is of the lives up to %d of the store, and came after one of life %d", i, s, life, w.at[i].first)
		}
	}
	w.least = w.firstSeen()
	return w, nil
}

// firstSeen is where the backlog began for a reader who asked for all there was, in
// the life in which it asked.
func (w *walk) firstSeen() int64 {
	for _, s := range w.reader.Sightings {
		switch g := s.Gap; {
		case s.Late: // it was not there
		case g == nil:
			return w.reader.id(s.ID, s.GlobalID)
		case g.Reason == bus.GapReset, g.Reason == bus.GapFailover:
			return g.After // that life ended, and nothing was stored in it
		}
	}
	return math.MaxInt64
}

// inScope reports whether the reader asked for a message.
func (w *walk) inScope(p *Publish) bool {
	start, id := w.reader.Start, w.reader.id(p.ID, p.GlobalID)
	switch lives := w.lives[p.Number-1]; {
	case p.Began > start.Returned:
		return true
	case start.Latest || lives.first < w.start.last:
		return false // or perhaps not
	case start.ID == 0:
		return id > w.least // what was trimmed before is no loss of this reader
	default:
		return id > start.ID
	}
}

// An excuse is why a reader need not have seen a message.
type excuse int

const (
	unexcused excuse = iota
	trimmed          // it was told that the message may be trimmed
	broke            // it was told of the break that may have taken the message
)

// excuse looks in each life in which the message can have been stored.
func (w *walk) excuse(p *Publish) excuse {
	lives := w.lives[p.Number-1]
	for life := lives.first; life <= lives.last; life++ {
		if life < w.start.last && w.breaks[life].Kind == Failover {
			return broke // the old server took it, when the reader had begun with the new one
		}
		for i, s := range w.reader.Sightings {
			if s.Gap == nil {
				continue
			}
			id, between := w.reader.id(p.ID, p.GlobalID), w.around(i)
			switch {
			case w.leaves(s.Gap, between, life, id):
				return broke
			case p.Began > s.At || life < between.first || life > between.last:
			case (s.Gap.Reason == bus.GapReset || w.restarts(between)) && life > between.first && id < s.Gap.Next:
				return broke // trimmed in the new life before the reader came there
			case id > s.Gap.After && id < s.Gap.Next:
				return trimmed
			}
		}
	}
	return unexcused
}

// around is from the earliest life before a gap to the latest after it.
func (w *walk) around(i int) span {
	s := span{w.start.first, w.at[i].last}
	if i > 0 {
		s.first = w.at[i-1].first
	}
	return s
}

// leaves reports whether a gap tells that what came after a position in a life of the
// store may have ended with it. The old server may still have taken messages when the
// reader heard of the new one. A channel that has begun again and has passed the reader's
// id is told from none only by the message there; where that is trimmed too, so is all else.
func (w *walk) leaves(gap *bus.GapError, between span, life int, id int64) bool {
	slept := life > between.first // through the whole of it
	switch {
	case life < between.first || life >= between.last:
		return false
	case gap.Reason == bus.GapReset:
		return slept || id > gap.After
	case gap.Reason == bus.GapFailover, w.restarts(between):
		return id > gap.After
	default:
		return false
	}
}

// restarts reports whether the reader's channel has begun again between two lives.
func (w *walk) restarts(between span) bool {
	return slices.ContainsFunc(w.breaks[between.first:between.last], func(b *Break) bool {
		return b.Kind == Restart && b.Channel == w.reader.Start.Channel
	})
}
