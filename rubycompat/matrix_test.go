package rubycompat_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"
)

// A subject is something that Go and Ruby processes try with each other. Each way in
// which they do, on each store, is a cell of the matrix, and a test of its own:
// TestMatrix/group/name/store/way.
type subject struct {
	group, name string
	only        store // the one store that it concerns; empty: each
	ways        []way
}

// A way says who does something, and who sees it.
type way struct {
	name string
	test func(t *testing.T, on store)
}

const (
	goToRuby = "Go to Ruby"
	rubyToGo = "Ruby to Go"
	together = "together"
)

// fromGo and fromRuby are ways on a store that nobody breaks, and so are both, which
// is for what has no direction.
func fromGo(test func(t *testing.T, m meeting)) way   { return way{goToRuby, met(test)} }
func fromRuby(test func(t *testing.T, m meeting)) way { return way{rubyToGo, met(test)} }
func both(test func(t *testing.T, m meeting)) way     { return way{together, met(test)} }

func met(test func(t *testing.T, m meeting)) func(t *testing.T, on store) {
	return func(t *testing.T, on store) {
		t.Helper()
		test(t, on.meet(t))
	}
}

// subjects is the matrix.
func subjects() []subject {
	return slices.Concat(publishSubjects(), limitSubjects(), readingSubjects(), interleavedSubjects(), faultSubjects(), differenceSubjects(), httpDifferenceSubjects(), clientDifferenceSubjects(), cacheDifferenceSubjects(), cacheSubjects(), httpSubjects())
}

// A cell is one test of the matrix.
type cell struct {
	Group   string `json:"group"`
	Subject string `json:"subject"`
	Store   store  `json:"store"`
	Way     string `json:"way"`
}

// path is the name of its test below TestMatrix.
func (c cell) path() string {
	return strings.ReplaceAll(strings.Join([]string{c.Group, c.Subject, string(c.Store), c.Way}, "/"), " ", "_")
}

// cells are those of a subject, with the tests.
func (s subject) cells() (cells []cell, tests []func(*testing.T, store)) {
	for _, on := range everyStore {
		for _, w := range s.ways {
			if s.only == "" || s.only == on {
				cells, tests = append(cells, cell{s.group, s.name, on, w.name}), append(tests, w.test)
			}
		}
	}
	return cells, tests
}

// TestMatrix lets Go and Ruby processes meet, in all that is told apart here.
func TestMatrix(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for _, s := range subjects() {
		cells, tests := s.cells()
		for i, c := range cells {
			if strings.ContainsAny(c.Group+c.Subject+c.Way, "/#") || seen[c.path()] {
				t.Errorf("the cell %s has no name of its own", c.path())
			}
			seen[c.path()] = true
			t.Run(c.path(), func(t *testing.T) {
				t.Parallel()
				begun := time.Now()
				t.Cleanup(func() { matrix.came(t, c, time.Since(begun)) })
				needGem(t)
				tests[i](t, c.Store)
			})
		}
	}
}

// shownByRecording are the differences that no cell shows, and why.
var shownByRecording = map[string]string{
	"ruby-only":    "what Go does not have",
	"winner-stays": "it takes three requests whose timers end in a certain order",
}

// TestMatrix_ShowsEveryDifference finds rules that no cell shows.
func TestMatrix_ShowsEveryDifference(t *testing.T) {
	t.Parallel()
	missing := maps.Clone(rules)
	maps.DeleteFunc(missing, func(rule, _ string) bool { return shownByRecording[rule] != "" })
	for _, s := range subjects() {
		if s.group != "differences" {
			continue
		}
		if _, known := rules[s.name]; !known {
			t.Errorf("the cell %s shows no rule", s.name)
		}
		delete(missing, s.name)
	}
	for rule := range missing {
		t.Errorf("the rule %s has no cell", rule)
	}
}

// notef adds to the printed matrix what its reader should know of a cell.
func notef(t *testing.T, format string, args ...any) {
	t.Helper()
	text := fmt.Sprintf(format, args...)
	t.Log(text)
	matrix.mu.Lock()
	defer matrix.mu.Unlock()
	matrix.notes[t.Name()] = append(matrix.notes[t.Name()], text)
}
