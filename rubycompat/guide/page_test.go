package guide_test

import (
	"strings"
	"testing"

	"github.com/messagebus-go/messagebus/integration/document"
)

// A step is a part of the page: what is done, and under the headings below it how that is
// checked and taken back.
type step struct {
	name  string
	parts map[string][]document.Block // "": what is done; "Check", "Back", "Forth"
}

// forth are the blocks that do the step again after it was taken back.
func (s step) forth() []document.Block {
	if again := s.parts["Forth"]; again != nil {
		return again
	}
	return s.parts[""]
}

// readSteps returns what stands below "The move", in order.
func readSteps(t *testing.T) (steps []step) {
	t.Helper()
	for _, chapter := range document.Sections(document.Read(t, "from-ruby.md"), "## ") {
		if chapter.Name != "The move" {
			continue
		}
		for _, section := range document.Sections(chapter.Text, "### ")[1:] {
			s := step{name: section.Name, parts: map[string][]document.Block{}}
			for _, part := range document.Sections(section.Text, "#### ") {
				if blocks := document.Blocks(t, part); blocks != nil {
					s.parts[part.Name] = blocks
				}
			}
			steps = append(steps, s)
		}
	}
	if steps == nil {
		t.Fatal(`docs/from-ruby.md has no part "The move"`)
	}
	return steps
}

func TestPage_HasFourStepsThatAreCheckedAndTakenBack(t *testing.T) {
	t.Parallel()
	steps := readSteps(t)
	names := make([]string, len(steps))
	for i, s := range steps {
		names[i] = s.name
		if !strings.HasPrefix(s.name, "Step ") {
			continue
		}
		var checks int
		for _, b := range s.parts["Check"] {
			if strings.Contains(b.Prints, `"data":`) {
				checks++
			}
		}
		if s.parts[""] == nil || checks == 0 && !strings.Contains(s.name, "cache") {
			t.Errorf("%s: it does nothing, or no message is read in its check", s.name)
		}
	}
	if len(names) != 6 || names[0] != "Where it begins" || !strings.HasPrefix(names[4], "Step 4: ") {
		t.Errorf("the steps are %q", names)
	}
}
