package rubycompat_test

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// The outcomes of a cell.
const (
	cellPassed = "passed"
	cellFailed = "FAILED"
	cellNotRun = "not run"
)

// An outcome is how a cell came out.
type outcome struct {
	cell
	Outcome string   `json:"outcome"`
	Seconds float64  `json:"seconds"`
	Notes   []string `json:"notes,omitempty"`
}

// matrix collects how the cells came out.
var matrix = cellOutcomes{all: map[cell]outcome{}, notes: map[string][]string{}}

type cellOutcomes struct {
	mu    sync.Mutex // guards below
	all   map[cell]outcome
	notes map[string][]string // by the name of the test
}

func (o *cellOutcomes) came(t *testing.T, c cell, took time.Duration) {
	t.Helper()
	o.mu.Lock()
	defer o.mu.Unlock()
	is := outcome{cell: c, Outcome: cellPassed, Seconds: float64(took.Milliseconds()) / 1000, Notes: o.notes[t.Name()]}
	switch {
	case t.Failed():
		is.Outcome = cellFailed
	case t.Skipped():
		is.Outcome = cellNotRun
	}
	o.all[c] = is
}

// of is how a cell came out.
func (o *cellOutcomes) of(c cell) outcome {
	if is, ok := o.all[c]; ok {
		return is
	}
	return outcome{cell: c, Outcome: cellNotRun}
}

// list is the matrix in its order.
func (o *cellOutcomes) list() (list []outcome) {
	for _, s := range subjects() {
		cells, _ := s.cells()
		for _, c := range cells {
			list = append(list, o.of(c))
		}
	}
	return list
}

// reportMatrix prints a table of all cells, unless none was run, and the total. Where
// MESSAGEBUS_MATRIX names a file, it is written as JSON as well.
func reportMatrix(w io.Writer) error {
	matrix.mu.Lock()
	defer matrix.mu.Unlock()
	if len(matrix.all) == 0 {
		return nil // it was not asked for
	}
	list := matrix.list()
	total := map[string]int{}
	for _, is := range list {
		total[is.Outcome]++
	}
	if total[cellPassed]+total[cellFailed] > 0 {
		printMatrix(w)
	}
	fmt.Fprintf(w, "matrix: %d cells: %d passed, %d failed, %d not run\n", len(list), total[cellPassed], total[cellFailed], total[cellNotRun])
	return writeMatrix(os.Getenv("MESSAGEBUS_MATRIX"), list)
}

func writeMatrix(file string, list []outcome) error {
	if file == "" {
		return nil
	}
	version, _ := gem() // empty where there is none
	text, err := json.MarshalIndent(map[string]any{"gem": version, "cells": list}, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(file, append(text, '\n'), 0o644)
}

// printMatrix prints a table for each group: a line for each subject, and a column for
// each store and way.
func printMatrix(w io.Writer) {
	byGroup := map[string][]subject{}
	var groups []string
	for _, s := range subjects() {
		if byGroup[s.group] == nil {
			groups = append(groups, s.group)
		}
		byGroup[s.group] = append(byGroup[s.group], s)
	}
	for _, group := range groups {
		printGroup(w, group, byGroup[group])
	}
}

const (
	nameWidth   = 44
	columnWidth = 13
)

func printGroup(w io.Writer, group string, subjects []subject) {
	ways := waysOf(subjects)
	fmt.Fprintf(w, "\n%-*s", nameWidth, "")
	for _, on := range everyStore {
		fmt.Fprintf(w, "%-*s", columnWidth*len(ways), on)
	}
	fmt.Fprintf(w, "\n%-*s", nameWidth, group)
	for range everyStore {
		for _, name := range ways {
			fmt.Fprintf(w, "%-*s", columnWidth, name)
		}
	}
	var notes strings.Builder
	for _, s := range subjects {
		fmt.Fprintf(w, "\n  %-*s", nameWidth-2, s.name)
		cells, _ := s.cells()
		for _, on := range everyStore {
			for _, name := range ways {
				c := cell{s.group, s.name, on, name}
				text := "-"
				if slices.Contains(cells, c) {
					is := matrix.of(c)
					text = is.Outcome
					for _, n := range is.Notes {
						fmt.Fprintf(&notes, "    %s, %s, %s: %s\n", s.name, on, name, n)
					}
				}
				fmt.Fprintf(w, "%-*s", columnWidth, text)
			}
		}
	}
	fmt.Fprintf(w, "\n%s", notes.String())
}

// waysOf are the columns that a group needs.
func waysOf(subjects []subject) (ways []string) {
	for _, s := range subjects {
		for _, w := range s.ways {
			if !slices.Contains(ways, w.name) {
				ways = append(ways, w.name)
			}
		}
	}
	return ways
}
