// Package document reads the documents whose commands and files the tests run.
package document

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/messagebus-go/messagebus/integration/command"
)

// Read returns a document of the folder docs.
func Read(tb testing.TB, name string) string {
	tb.Helper()
	text, err := os.ReadFile(filepath.Join(command.Root(tb), "docs", name))
	if err != nil {
		tb.Fatal(err)
	}
	return string(text)
}

// A Section is what stands below a heading, up to the next one of that level.
type Section struct{ Name, Text string }

// Sections returns the sections below headings that begin with prefix, such as "## ". The
// first one, without a name, is what stands before them.
func Sections(text, prefix string) []Section {
	sections, inside := []Section{{}}, false
	for line := range strings.Lines(text) {
		if strings.HasPrefix(line, fence) {
			inside = !inside
		}
		if name, ok := strings.CutPrefix(line, prefix); ok && !inside {
			sections = append(sections, Section{Name: strings.TrimSpace(name)})
			continue
		}
		sections[len(sections)-1].Text += line
	}
	return sections
}

const fence = "```"

// A Block is a fenced block: a file, where the line before names one and ends in a colon, or
// commands for a shell.
type Block struct {
	File   string // empty: commands
	Text   string
	Prints string // what the commands print; "…" stands for anything on the way; empty: not said
	Before string // the line before
}

// named is the end of a line before a file.
var named = regexp.MustCompile("`([^`]+)`:$")

// Blocks returns the blocks of a section, in order. A block of JSON or text after commands is
// what they print.
func Blocks(tb testing.TB, s Section) (blocks []Block) {
	tb.Helper()
	before, language, inside := "", "", false
	var text strings.Builder
	for line := range strings.Lines(s.Text) {
		after, isFence := strings.CutPrefix(line, fence)
		switch {
		case isFence && !inside:
			language, inside = strings.TrimSpace(after), true
			text.Reset()
		case isFence:
			inside = false
			blocks = add(tb, s, blocks, language, Block{Text: text.String(), Before: before})
			before = ""
		case inside:
			text.WriteString(line)
		case strings.TrimSpace(line) != "":
			before = strings.TrimSpace(line)
		}
	}
	return blocks
}

// add adds a block, or what the last one prints.
func add(tb testing.TB, s Section, blocks []Block, language string, b Block) []Block {
	tb.Helper()
	file := named.FindStringSubmatch(b.Before)
	switch {
	case language == "sh":
		return append(blocks, b)
	case file != nil:
		b.File = file[1]
		return append(blocks, b)
	case (language == "json" || language == "text") && len(blocks) > 0 && blocks[len(blocks)-1].File == "":
		blocks[len(blocks)-1].Prints = b.Text
		return blocks
	}
	tb.Fatalf("%s: after %q a block of %q is no file, no commands and not what commands print:\n%s", s.Name, b.Before, language, b.Text)
	return nil
}

// Fits reports whether commands printed what the page says, but for line ends, which curl
// leaves out.
func (b Block) Fits(output string) bool {
	var parts []string
	for part := range strings.SplitSeq(onOneLine(b.Prints), "…") {
		parts = append(parts, regexp.QuoteMeta(part))
	}
	return regexp.MustCompile("^" + strings.Join(parts, `[^{}]*`) + "$").MatchString(onOneLine(output))
}

func onOneLine(text string) string { return strings.ReplaceAll(text, "\n", "") }
