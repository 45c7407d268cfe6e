package measure

import (
	"fmt"
	"io"
	"math"
	"os"
	"runtime"
	"slices"
	"strings"
	"text/tabwriter"
)

// A Report is what a run of a program has found.
type Report struct {
	Machine string   `json:"machine"`
	Results []Result `json:"results"`
	NotRun  []string `json:"not_run,omitempty"`
}

// Machine says where figures come from.
func Machine() string {
	model := "unknown processor"
	info, _ := os.ReadFile("/proc/cpuinfo") // where there is none the model stays unknown
	for line := range strings.Lines(string(info)) {
		if name, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == "model name" {
			model = strings.TrimSpace(value)
			break
		}
	}
	return fmt.Sprintf("%d cores, %s, %s/%s, %s", runtime.NumCPU(), model, runtime.GOOS, runtime.GOARCH, runtime.Version())
}

// Print writes a table that is one of Markdown as well.
func (r *Report) Print(w io.Writer) error {
	table := tabwriter.NewWriter(w, 0, 0, 1, ' ', 0)
	write := func(cells ...string) { fmt.Fprintf(table, "| %s\t|\n", strings.Join(cells, "\t| ")) }
	write("", "what", "ours", "beside", "unit", "ratio", "from–to", "target", "", "beside what")
	write(slices.Repeat([]string{"---"}, 10)...)
	for _, result := range r.Results {
		write(result.cells()...)
	}
	if err := table.Flush(); err != nil {
		return err
	}
	for _, why := range r.NotRun {
		fmt.Fprintln(w, "\n"+why)
	}
	_, err := fmt.Fprintf(w, "\n%s; medians, and medians of the ratios within each run\n", r.Machine)
	return err
}

func (r Result) cells() []string {
	cells := []string{r.Group, r.Figure, amount(r.Ours), "", r.Unit, "", "", r.Target, "", r.Beside}
	if r.Beside != "" {
		cells[3] = amount(r.Other)
	}
	if r.Spread != nil {
		cells[5] = fmt.Sprintf("%.2f", r.Ratio)
		cells[6] = fmt.Sprintf("%.2f–%.2f", r.Spread[0], r.Spread[1])
	}
	if r.Met != nil {
		cells[8] = "missed"
		if *r.Met {
			cells[8] = "ok"
		}
	}
	return cells
}

// amount rounds a figure to three digits or to whole ones.
func amount(v float64) string {
	digits := max(0, 2-int(math.Floor(math.Log10(math.Max(math.Abs(v), 1)))))
	return fmt.Sprintf("%.*f", digits, v)
}
