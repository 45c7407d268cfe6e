package integration_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/messagebus-go/messagebus/integration/command"
	"github.com/messagebus-go/messagebus/integration/port"
	"github.com/messagebus-go/messagebus/integration/stores"
)

// A ran says who runs the blocks of a page that begin so: a test, a step of scripts/test.sh, a test of
// the browser client, or nobody, and why.
type ran struct{ begins, by string }

const (
	released  = "nobody: there is no release yet"
	fragmentT = "TestREADMEs_FragmentsOfGoDoWhatTheySay"
	linesT    = "TestCommandREADME_LinesDoWhatTheySay"
	protocolT = "TestProtocol_ExamplesAreWhatIsSaid"
	proxiesT  = "TestProxy_MessagesAreReadOneByOne"
)

// runs has every page with blocks, and of each page the first entry that fits a block counts.
var runs = map[string][]ran{
	"README.md": {
		{"go get", released},
		{"package main", "TestREADME_FirstGoBlockPrintsWhatIsPrinted"},
		{"1 ", "TestREADME_FirstGoBlockPrintsWhatIsPrinted"},
		{"messagebus serve", "TestREADME_CurlLinesDoWhatTheySay"},
		{"curl ", "TestREADME_CurlLinesDoWhatTheySay"},
		{"rdb := ", fragmentT},
	},
	"CONTRIBUTING.md":        {{"make ", "TestDocuments_NameCommandsThatThereAre"}},
	"bus/pgbus/README.md":    {{"go get", released}, {"pool, err", fragmentT}},
	"bus/redisbus/README.md": {{"go get", released}, {"rdb := ", fragmentT}},
	"cache/README.md": {
		{"go get", released},
		{"rdb := ", "TestCacheREADME_SharesACacheBetweenTwoProcesses"},
		{"cache = ", "TestMatrix"},
	},
	"cmd/messagebus/README.md": {
		{"{\"user\"", "TestCommandREADME_SettingsAreTaken"},
		{"listen: ", "TestCommandREADME_SettingsAreTaken"},
		{"{\"channel\"", "TestCommandREADME_PrintedMembersAreThoseThatAreSaid"},
		{"go build", linesT},
		{"messagebus ", linesT},
	},
	"docs/design.md":          {{" publisher", "nobody: a picture"}},
	"docs/from-ruby.md":       {{"", "TestGuide_RunsAsItIsWritten"}},
	"docs/getting-started.md": {{" ", "nobody: a picture"}, {"", "TestGettingStarted_RunsAsItIsWritten"}},
	"docs/operating.md": {
		{"map $http_upgrade", proxiesT},
		{"defaults", proxiesT},
		{"example.com {", proxiesT},
		{"upstream ", "bench"},
		{"messagebus doctor", "TestOperating_LinesDoWhatTheySay"},
	},
	"docs/operating/dashboard.md": {
		{"curl ", "TestOperating_LinesDoWhatTheySay"},
		{"{", "TestOverview_IsWhatIsDocumented"},
	},
	"docs/operating/metrics.md": {{"scrape_configs", "TestScrape_IsAConfigurationOfPrometheus"}},
	"docs/performance.md":       {{"go run ./benchmarks/", "bench"}},
	"docs/protocol.md":          {{"", protocolT}},
	"examples/cache/README.md":  {{"redis-server", "TestCache_WhatOneSetsTheOtherHas"}},
	"examples/chat/README.md":   {{"go run ./chat", "TestChat_WhatOneSaysAnotherHears"}},
	"examples/chi/README.md":    {{"go run ./chi", "TestChi_GivesAMessageToTheUserOfTheToken"}},
	"examples/echo/README.md":   {{"go run ./echo", "TestEcho_DeliversAMessage"}},
	"examples/gin/README.md":    {{"go run ./gin", "TestGin_DeliversAMessage"}},
	"examples/live-counter/README.md": {
		{"go run ./live-counter", "TestLiveCounter_EveryPageOfEveryProcessSeesAllClicks"},
		{"redis-server", "TestLiveCounter_EveryPageOfEveryProcessSeesAllClicks"},
	},
	"examples/middleware/README.md":  {{"go run ./middleware", "TestMiddleware_GivesAMessageToTheUserOfTheSession"}},
	"examples/minimal/README.md":     {{"go run ./minimal", "TestMinimal_DeliversTheTime"}},
	"examples/stripprefix/README.md": {{"go run ./stripprefix", "TestStripPrefix_DeliversAMessage"}},
	"httpclient/README.md":           {{"client, err", fragmentT}, {"for m, err", fragmentT}},
	"jsclient/README.md":             {{"mux.Handle", fragmentT}, {"", "jsclient/test/readme.test.ts"}},
	"observe/otel/README.md":         {{"", fragmentT}},
	"observe/prometheus/README.md":   {{"", fragmentT}},
	"packaging/README.md": {
		{"docker compose", "TestCompose_ServesOnRedis"},
		{"CGO_ENABLED=0", "TestImage_IsHealthyWithoutRootAndWithoutAShell"},
		{"kubectl", "TestKubernetes_Serves"},
		{"dpkg", "TestUnit_ServesAndTellsSystemd"},
	},
	"transport/README.md": {{"h, err", fragmentT}},
}

// A block that nothing runs is wrong one day.
func TestDocuments_EveryBlockIsRunByATest(t *testing.T) {
	t.Parallel()
	root := command.Root(t)
	defined, found := testNames(t, root), 0
	for _, page := range pages(t, root) {
		used := map[ran]bool{}
		_, blocks := readBlocks(t, page)
		for _, b := range blocks {
			found++
			at := slices.IndexFunc(runs[page], func(r ran) bool { return strings.HasPrefix(b.text, r.begins) })
			if at < 0 {
				first, _, _ := strings.Cut(b.text, "\n")
				t.Errorf("%s: nothing runs the block %q: see that a test does, and name it here", page, first)
				continue
			}
			used[runs[page][at]] = true
		}
		for _, r := range runs[page] {
			if !used[r] {
				t.Errorf("%s has no block that begins with %q", page, r.begins)
			}
			if _, err := os.Stat(filepath.Join(root, r.by)); !defined[r.by] && err != nil && r.by != "bench" && !strings.HasPrefix(r.by, "nobody: ") {
				t.Errorf("%s: %s, which is to run %q, does not exist", page, r.by, r.begins)
			}
		}
	}
	const least = 100
	if found < least {
		t.Errorf("there are %d blocks, want at least %d", found, least)
	}
}

// pages returns the documents of the checkout.
func pages(t *testing.T, root string) (pages []string) {
	t.Helper()
	err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.IsDir() && (strings.HasPrefix(entry.Name(), ".") || slices.Contains([]string{"node_modules", "testdata", "golden", "output"}, entry.Name())):
			return filepath.SkipDir
		case strings.HasSuffix(path, ".md"):
			page, err := filepath.Rel(root, path)
			pages = append(pages, page)
			return err
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return pages
}

var (
	makes   = regexp.MustCompile("(?m)(?:`|^)make (?:-C messagebus )?([a-z-]+)")
	targets = regexp.MustCompile(`(?m)^([a-z-]+):`)
	scripts = regexp.MustCompile("(?:`|^)(scripts/[a-z.]+)")
	folders = regexp.MustCompile(`go run \./(benchmarks/[a-z]+)`)
	example = regexp.MustCompile(`go run \./([a-z-]+)`)
)

// TestDocuments_NameCommandsThatThereAre looks for commands of the checkout, in sentences too.
func TestDocuments_NameCommandsThatThereAre(t *testing.T) {
	t.Parallel()
	root := command.Root(t)
	makefile, err := os.ReadFile(filepath.Join(root, "Makefile"))
	if err != nil {
		t.Fatal(err)
	}
	known := map[string]bool{}
	for _, target := range targets.FindAllSubmatch(makefile, -1) {
		known[string(target[1])] = true
	}
	found := 0
	for _, page := range pages(t, root) {
		text, err := os.ReadFile(filepath.Join(root, page))
		if err != nil {
			t.Fatal(err)
		}
		for _, target := range makes.FindAllSubmatch(text, -1) {
			found++
			if !known[string(target[1])] {
				t.Errorf("%s: there is no target for make %s", page, target[1])
			}
		}
		var paths []string
		for _, path := range slices.Concat(scripts.FindAllSubmatch(text, -1), folders.FindAllSubmatch(text, -1)) {
			paths = append(paths, string(path[1]))
		}
		if strings.HasPrefix(page, "examples/") {
			for _, name := range example.FindAllSubmatch(text, -1) {
				paths = append(paths, filepath.Join("examples", string(name[1])))
			}
		}
		for _, path := range paths {
			found++
			if _, err := os.Stat(filepath.Join(root, path)); err != nil {
				t.Errorf("%s: %v", page, err)
			}
		}
	}
	const least = 40
	if found < least {
		t.Errorf("the documents name %d commands, want at least %d", found, least)
	}
}

var (
	fenced     = regexp.MustCompile("(?ms)^ *```.*?^ *```$|`[^`\n]*`")
	blocksOnly = regexp.MustCompile("(?ms)^```.*?^```$")
	link       = regexp.MustCompile(`\]\(([^)#\s]*)(?:#([^)\s]*))?\)`)
	heading    = regexp.MustCompile(`(?m)^#+ +(.*?) *$`)
	notSlug    = regexp.MustCompile(`[^\p{L}\p{M}\p{N}\p{Pc}\- ]`)
)

// TestDocuments_LinksLeadSomewhere follows the links from file to file, to headings too, as they are
// read in the repository.
func TestDocuments_LinksLeadSomewhere(t *testing.T) {
	t.Parallel()
	root, found := command.Root(t), 0
	for _, page := range pages(t, root) {
		text, err := os.ReadFile(filepath.Join(root, page))
		if err != nil {
			t.Fatal(err)
		}
		for _, l := range link.FindAllSubmatch(fenced.ReplaceAll(text, nil), -1) {
			if strings.Contains(string(l[1]), ":") || strings.HasPrefix(page, "site/") {
				continue // to other hosts, or by the site's own addresses, which its build checks
			}
			found++
			target := filepath.Join(root, filepath.Dir(page), string(l[1]))
			if len(l[1]) == 0 {
				target = filepath.Join(root, page)
			}
			if _, err := os.Stat(target); err != nil || len(l[2]) > 0 && !anchors(t, target)[string(l[2])] {
				t.Errorf("%s links to %s#%s, which does not exist", page, l[1], l[2])
			}
		}
	}
	const least = 100
	if found < least {
		t.Errorf("the documents have %d links, want at least %d", found, least)
	}
}

// anchors are those that GitHub gives to the headings of a page.
func anchors(t *testing.T, path string) map[string]bool {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	anchors := map[string]bool{}
	for _, h := range heading.FindAllSubmatch(blocksOnly.ReplaceAll(text, nil), -1) {
		anchors[strings.ReplaceAll(notSlug.ReplaceAllString(strings.ToLower(string(h[1])), ""), " ", "-")] = true
	}
	return anchors
}

// TestOperating_LinesDoWhatTheySay enters the commands of the pages for those who run a server.
func TestOperating_LinesDoWhatTheySay(t *testing.T) {
	t.Parallel()
	admin := port.Address(t)
	c := newTerminal(t, "127.0.0.1:7411", admin, "redis://127.0.0.1:6379", stores.Redis(t).URL(),
		"postgres://bus@127.0.0.1/app", "'"+stores.PostgresShared(t)+"'", "curl ", "curl -sS ")
	c.env = append(c.env, "MESSAGEBUS_ADMIN_KEY=secret")
	c.goesOn("messagebus serve --listen "+port.Address(t)+" --admin-listen "+admin, admin)
	prints := map[string]string{"messagebus doctor": "replication", "curl ": `"verdict":`}
	entered := 0
	for _, page := range []string{"docs/operating.md", "docs/operating/dashboard.md"} {
		_, blocks := readBlocks(t, page)
		for _, b := range blocks {
			for beginning, want := range prints {
				for line := range strings.Lines(b.text) {
					if b.language != "" || !strings.HasPrefix(line, beginning) {
						continue
					}
					entered++
					if output := c.runs(strings.TrimSpace(line)); !strings.Contains(output, want) {
						t.Errorf("%s: %sprints\n%s", page, line, output)
					}
				}
			}
		}
	}
	const least = 3
	if entered < least {
		t.Errorf("the pages have %d commands, want at least %d", entered, least)
	}
}
