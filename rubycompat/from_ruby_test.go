package rubycompat_test

import (
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// pageSections are where the page has the methods of which part of the gem. What is in none of them
// stands with its full name in some row, or the class around it does.
var pageSections = []struct{ heading, of string }{
	{"MessageBus", `^MessageBus#`},
	{"Options of publish", `^publish:`},
	{"Keys of configure", `^config:`},
	{"Backends", `^MessageBus::Backends::\w+[#.]`},
	{"Messages", `^MessageBus::Message[#.]`},
	{"DistributedCache", `^MessageBus::DistributedCache(::\w+)?([#.]|::[A-Z_]+$)`},
	{"HTTPClient", `^MessageBus::HTTPClient([#.]|::\w+$)`},
}

// TestFromRuby_HasEveryNameOfTheGem looks up what the gem makes public: as the gem itself says where
// it is, and as ruby/api.txt does elsewhere, which ruby/api.rb has written.
func TestFromRuby_HasEveryNameOfTheGem(t *testing.T) {
	t.Parallel()
	names := gemNames(t)
	if len(names) < 300 {
		t.Fatalf("only %d names were found: %q", len(names), names)
	}
	everywhere := firstCells(t, "")
	bySection := map[string]string{}
	for _, s := range pageSections {
		bySection[s.heading] = firstCells(t, s.heading)
	}
	for _, name := range names {
		found := namesItself(everywhere, name)
		for _, s := range pageSections {
			if regexp.MustCompile(s.of).MatchString(name) {
				found = hasWord(bySection[s.heading], shortName(name))
			}
		}
		if !found {
			t.Errorf("no row of docs/from-ruby.md has %s", name)
		}
	}
}

// TestFromRuby_HasEverySettingOfTheBrowsersClient compares with the facts about message-bus.js.
func TestFromRuby_HasEverySettingOfTheBrowsersClient(t *testing.T) {
	t.Parallel()
	cells := firstCells(t, "message-bus.js")
	for _, name := range factNames(t) {
		if !hasWord(cells, name) {
			t.Errorf("no row about message-bus.js has %s", name)
		}
	}
}

// TestFromRuby_GivesTheReasonOfEveryRule ties the page to the rules of the recordings.
func TestFromRuby_GivesTheReasonOfEveryRule(t *testing.T) {
	t.Parallel()
	page := readPage(t)
	_, table, _ := strings.Cut(page, "\n## What is otherwise\n")
	onPage := map[string]bool{}
	for line := range strings.Lines(table) {
		if !strings.HasPrefix(line, "| `") && !strings.HasPrefix(line, "| —") {
			continue
		}
		cells := strings.Split(strings.TrimSuffix(strings.TrimSpace(line), "|"), " | ")
		if len(cells) != 3 || slices.ContainsFunc(cells, func(cell string) bool { return strings.TrimSpace(cell) == "" }) {
			t.Errorf("docs/from-ruby.md does not say what is otherwise, and why: %s", line)
		}
		for _, match := range regexp.MustCompile("`([a-z0-9-]+)`").FindAllStringSubmatch(cells[0], -1) {
			onPage[match[1]] = true
			if rules[match[1]] == "" {
				t.Errorf("docs/from-ruby.md has the rule %s, which there is not", match[1])
			}
		}
	}
	for rule := range rules {
		if !onPage[rule] {
			t.Errorf("docs/from-ruby.md does not say why there is the rule %s", rule)
		}
	}
}

// TestFromRuby_TheListOfNamesIsThatOfTheGem is for whoever looks at a new version of the gem.
func TestFromRuby_TheListOfNamesIsThatOfTheGem(t *testing.T) {
	t.Parallel()
	needGem(t)
	fromGem, listed := askGem(t), listedNames(t)
	if fromGem[0] != listed[0] {
		t.Logf("ruby/api.txt is of the gem %s, and this is %s", listed[0], fromGem[0])
		return
	}
	if !slices.Equal(fromGem, listed) {
		t.Errorf("ruby/api.txt is out of date: write it again with ruby ruby/api.rb > ruby/api.txt")
	}
}

// gemNames are those of the gem that is here, or of the one that the list was made from.
func gemNames(t *testing.T) []string {
	t.Helper()
	if _, err := gem(); err == nil {
		return askGem(t)[1:]
	}
	return listedNames(t)[1:]
}

// askGem returns the version of the gem and its names.
func askGem(t *testing.T) []string {
	t.Helper()
	output, err := exec.CommandContext(t.Context(), "ruby", "-W0", "ruby/api.rb").Output()
	if err != nil {
		t.Fatalf("ruby/api.rb: %v", err)
	}
	return strings.Fields(string(output))
}

func listedNames(t *testing.T) []string {
	t.Helper()
	list, err := os.ReadFile("ruby/api.txt")
	if err != nil {
		t.Fatal(err)
	}
	return strings.Fields(string(list))
}

// namesItself reports whether the cells have a name in full, or by itself a class that it is in.
func namesItself(cells, name string) bool {
	if hasWord(cells, name) {
		return true
	}
	for at := strings.LastIndexAny(name, "#.:"); at > 0; at = strings.LastIndexAny(name, "#.:") {
		if name = strings.TrimSuffix(name[:at], ":"); strings.Contains(cells, "`"+name+"`") {
			return true
		}
	}
	return false
}

// shortName is a name as rows have it: a setter is there where the getter is.
func shortName(name string) string {
	short := regexp.MustCompile(`^.*(::|[#.:])`).ReplaceAllString(name, "")
	if short == "[]=" {
		return short
	}
	return strings.TrimSuffix(short, "=")
}

// hasWord reports whether a name stands in the code of the cells, not as a part of a longer one.
func hasWord(cells, name string) bool {
	switch name {
	case "[]":
		name = "cache[key]"
	case "[]=":
		name = "cache[key] = value"
	}
	return regexp.MustCompile("(^|[^\\w])" + regexp.QuoteMeta(name) + "([^\\w?!]|$)").MatchString(cells)
}

var inCode = regexp.MustCompile("`[^`]*`")

// firstCells returns the code in the first cells of the tables below a heading, or of all.
func firstCells(t *testing.T, heading string) string {
	t.Helper()
	page := readPage(t)
	if heading != "" {
		_, below, found := strings.Cut(page, "\n### "+heading+"\n")
		if !found {
			t.Fatalf("docs/from-ruby.md has no part %q", heading)
		}
		page, _, _ = strings.Cut(below, "\n##")
	}
	var cells []string
	for line := range strings.Lines(page) {
		if cell, _, isRow := strings.Cut(strings.TrimPrefix(line, "| "), " | "); isRow && strings.HasPrefix(line, "| ") {
			cells = append(cells, inCode.FindAllString(cell, -1)...)
		}
	}
	return strings.Join(cells, " ")
}

func readPage(t *testing.T) string {
	t.Helper()
	page, err := os.ReadFile("../docs/from-ruby.md")
	if err != nil {
		t.Fatal(err)
	}
	return string(page)
}
