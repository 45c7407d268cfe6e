package measure

import (
	"fmt"
	"slices"
	"strings"
)

// A Figure is one line of the table.
type Figure struct {
	Name   string
	Unit   string
	Beside string // what the other side is; empty: there is none
	Target Target
}

// A Target is where the ratio of the two sides has to be, or our side alone.
type Target struct {
	AtLeast, AtMost float64 // of the ratio; 0: no such bound
	Limit           float64 // of our side, which has to be at most this; 0: none
}

func (t Target) met(r *Result) bool {
	return r.Ratio >= t.AtLeast && (t.AtMost == 0 || r.Ratio <= t.AtMost) && (t.Limit == 0 || r.Ours <= t.Limit)
}

// text is the target of a figure with such a unit.
func (t Target) text(unit string) string {
	switch {
	case t.AtLeast > 0:
		return fmt.Sprintf("≥ %.2g", t.AtLeast)
	case t.AtMost > 0:
		return fmt.Sprintf("≤ %.2g", t.AtMost)
	case t.Limit > 0:
		return strings.TrimSpace(fmt.Sprintf("≤ %g %s", t.Limit, unit))
	default:
		return ""
	}
}

// A Pair is what the two sides reached within one run.
type Pair struct{ Ours, Other float64 }

// A Result is a figure with its medians. The ratio is the median of those of each
// run, since a busy machine slows both sides of a run.
type Result struct {
	Group  string      `json:"group"` // of figures that belong together, as those of one store
	Figure string      `json:"figure"`
	Unit   string      `json:"unit"`
	Ours   float64     `json:"ours"`
	Beside string      `json:"beside,omitempty"`
	Other  float64     `json:"other"`
	Ratio  float64     `json:"ratio,omitempty"`
	Spread *[2]float64 `json:"ratios_from_to,omitempty"`
	Target string      `json:"target,omitempty"`
	Met    *bool       `json:"met,omitempty"`
}

// Result sums up the pairs of all runs, of which there must be one at least.
func (f Figure) Result(group string, pairs []Pair) Result {
	r := Result{Group: group, Figure: f.Name, Unit: f.Unit, Beside: f.Beside, Target: f.Target.text(f.Unit)}
	r.Ours = median(pairs, func(p Pair) float64 { return p.Ours })
	if f.Beside != "" {
		r.Other = median(pairs, func(p Pair) float64 { return p.Other })
	}
	if r.Other != 0 {
		ratio := func(p Pair) float64 { return p.Ours / p.Other }
		r.Ratio = median(pairs, ratio)
		all := sorted(pairs, ratio)
		r.Spread = &[2]float64{all[0], all[len(all)-1]}
	}
	if f.Target != (Target{}) {
		met := f.Target.met(&r)
		r.Met = &met
	}
	return r
}

func sorted(pairs []Pair, of func(Pair) float64) []float64 {
	values := make([]float64, len(pairs))
	for i, p := range pairs {
		values[i] = of(p)
	}
	slices.Sort(values)
	return values
}

func median(pairs []Pair, of func(Pair) float64) float64 {
	return sorted(pairs, of)[len(pairs)/2]
}
