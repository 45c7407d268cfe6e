package measure

import "testing"

func TestTarget_IsMetOnItsSideOnly(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		target Target
		ratio  float64
		met    bool
	}{
		{Target{AtLeast: 0.9}, 0.9, true},
		{Target{AtLeast: 0.9}, 0.89, false},
		{Target{AtMost: 1.2}, 1.2, true},
		{Target{AtMost: 1.2}, 1.21, false},
		{Target{Limit: 100}, 7, true},
		{Target{Limit: 99}, 7, false},
		{Target{}, 7, true},
	} {
		if test.target.met(&Result{Ours: 100, Ratio: test.ratio}) != test.met {
			t.Errorf("%v is met by 100 and %v: %v", test.target, test.ratio, !test.met)
		}
	}
}

func TestFigure_TakesTheMedianOfRatiosAndNotTheRatioOfMedians(t *testing.T) {
	t.Parallel()
	f := Figure{Beside: "other", Target: Target{AtLeast: 0.9}}
	r := f.Result("store", []Pair{{1, 1}, {10, 20}, {3, 2}, {100, 100}, {5, 10}})
	if r.Ratio != 1 || r.Ours != 5 || r.Other != 10 || *r.Spread != [2]float64{0.5, 1.5} || !*r.Met {
		t.Errorf("got %+v", r)
	}
}
