package guide_test

import (
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/messagebus-go/messagebus/integration/command"
)

// A block is a fenced block of the page: a file, where the line before names one, or commands
// for a shell.
type block struct {
	file   string // empty: commands
	text   string
	prints string // what the commands print; "…" stands for anything on the way; empty: not said
}

// A step is a part of the page: what is done, and under the headings below it how that is
// checked and taken back.
type step struct {
	name  string
	parts map[string][]block // "": what is done; "Check", "Back", "Forth"
}

// forth are the blocks that do the step again after it was taken back.
func (s step) forth() []block {
	if again := s.parts["Forth"]; again != nil {
		return again
	}
	return s.parts[""]
}

// readSteps returns what stands below "The move", in order.
func readSteps(t *testing.T) (steps []step) {
	t.Helper()
	page := readFile(t, filepath.Join(command.Root(t), "docs", "from-ruby.md"))
	_, move, begins := strings.Cut(page, "\n## The move\n")
	move, _, ends := strings.Cut(move, "\n## ")
	if !begins || !ends {
		t.Fatal(`docs/from-ruby.md has no part "The move"`)
	}
	part, before, language, inside := "", "", "", false
	var text []string
	for line := range strings.Lines(move) {
		line = strings.TrimSuffix(line, "\n")
		fence, isFence := strings.CutPrefix(line, "```")
		switch {
		case isFence && !inside:
			language, text, inside = fence, nil, true
		case isFence:
			inside = false
			last := &steps[len(steps)-1]
			last.parts[part] = add(t, last.parts[part], language, before, strings.Join(text, "\n")+"\n")
			before = ""
		case inside:
			text = append(text, line)
		case strings.HasPrefix(line, "### "):
			steps, part = append(steps, step{name: line[4:], parts: map[string][]block{}}), ""
		case strings.HasPrefix(line, "#### "):
			part = line[5:]
		case line != "":
			before = line
		}
	}
	return steps
}

// named is the end of a line before a file.
var named = regexp.MustCompile("`([^`]+)`:$")

// add adds a block, or what the last one prints.
func add(t *testing.T, blocks []block, language, before, text string) []block {
	t.Helper()
	file := named.FindStringSubmatch(before)
	switch {
	case language == "sh":
		return append(blocks, block{text: text})
	case file != nil:
		return append(blocks, block{file: file[1], text: text})
	case (language == "json" || language == "text") && len(blocks) > 0 && blocks[len(blocks)-1].file == "":
		blocks[len(blocks)-1].prints = text
		return blocks
	default:
		t.Fatalf("docs/from-ruby.md: after %q a block of %q is no file, no commands and not what commands print:\n%s", before, language, text)
		return nil
	}
}

// fits reports whether commands printed what the page says, but for line ends, which curl leaves
// out.
func (b block) fits(output string) bool {
	var parts []string
	for part := range strings.SplitSeq(onOneLine(b.prints), "…") {
		parts = append(parts, regexp.QuoteMeta(part))
	}
	return regexp.MustCompile("^" + strings.Join(parts, `[^{}]*`) + "$").MatchString(onOneLine(output))
}

func onOneLine(text string) string { return strings.ReplaceAll(text, "\n", "") }

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
			if strings.Contains(b.prints, `"data":`) {
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
