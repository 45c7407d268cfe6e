package integration_test

import (
	"bufio"
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/messagebus-go/messagebus/integration/command"
)

// A block is a fenced block of a Markdown file.
type block struct {
	language string
	text     string
	after    string // the words between it and the next block
}

func readReadme(t *testing.T) (lines []string, blocks []block) {
	t.Helper()
	return readBlocks(t, "README.md")
}

// readBlocks reads a page of the checkout.
func readBlocks(t *testing.T, page string) (lines []string, blocks []block) {
	t.Helper()
	content, err := os.ReadFile(filepath.Join(command.Root(t), page))
	if err != nil {
		t.Fatal(err)
	}
	lines = strings.Split(string(content), "\n")
	inside := false
	for _, line := range lines {
		language, fence := strings.CutPrefix(line, "```")
		switch {
		case fence && !inside:
			blocks = append(blocks, block{language: language})
			inside = true
		case fence:
			inside = false
		case inside:
			blocks[len(blocks)-1].text += line + "\n"
		case len(blocks) > 0:
			blocks[len(blocks)-1].after += line + "\n"
		}
	}
	if inside {
		t.Fatalf("%s ends inside a block", page)
	}
	return lines, blocks
}

func TestREADME_SaysEarlyWhatItPromisesAndWhatNot(t *testing.T) {
	t.Parallel()
	lines, _ := readReadme(t)
	for _, heading := range []string{"## What it promises", "## What it does not"} {
		found := false
		for _, line := range lines[:min(80, len(lines))] {
			found = found || line == heading
		}
		if !found {
			t.Errorf("%q is not a heading of the first 80 lines", heading)
		}
	}
}

func TestREADME_FirstGoBlockPrintsWhatIsPrinted(t *testing.T) {
	t.Parallel()
	_, blocks := readReadme(t)
	for i, b := range blocks {
		if b.language != "go" {
			continue
		}
		if i+1 == len(blocks) {
			t.Fatal("no block with its output follows the first Go block")
		}
		if got, want := runProgram(t, b.text), blocks[i+1].text; got != want {
			t.Errorf("it prints\n%s\nand not, as the README says,\n%s", got, want)
		}
		return
	}
	t.Fatal("the README has no Go block")
}

// runProgram runs a program in a folder of its own, on the modules of this
// checkout, and returns what it prints.
func runProgram(t *testing.T, program string) string {
	t.Helper()
	folder, root := t.TempDir(), command.Root(t)
	mod := "module example.com/readme\n\ngo 1.26.0\n"
	for _, module := range modules(t, root) {
		mod += "\nreplace github.com/messagebus-go/messagebus/" + module + " => " + filepath.Join(root, module) + "\n"
	}
	for name, content := range map[string]string{"go.mod": mod, "main.go": program} {
		if err := os.WriteFile(filepath.Join(folder, name), []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	var problems strings.Builder
	run := exec.CommandContext(t.Context(), "go", "run", ".")
	run.Dir, run.Stderr = folder, &problems
	run.Env = append(os.Environ(), "GOWORK=off", "GOFLAGS=-mod=mod")
	output, err := run.Output()
	if err != nil {
		t.Fatalf("go run: %v\n%s", err, problems.String())
	}
	return string(output)
}

// modules returns the folders that modules.txt lists.
func modules(t *testing.T, root string) []string {
	t.Helper()
	file, err := os.Open(filepath.Join(root, "modules.txt"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	var folders []string
	for lines := bufio.NewScanner(file); lines.Scan(); {
		if fields := strings.Fields(lines.Text()); len(fields) == 2 && fields[0] != "#" {
			folders = append(folders, fields[0])
		}
	}
	return folders
}

// readmeServer is the line that the README starts the server with. The lines for
// curl name its addresses.
const readmeServer = "messagebus serve --listen 127.0.0.1:7410 --admin-listen 127.0.0.1:7411"

var (
	readmeAnswer = regexp.MustCompile("(?s)^\\s*It answers\\s+`([^`]*)`")
	readmeData   = regexp.MustCompile(`-d '(\{[^']*\})'`)
)

func TestREADME_CurlLinesDoWhatTheySay(t *testing.T) {
	_, blocks := readReadme(t)
	started := false
	var published map[string]any // what the README has published last
	publishes, polls := 0, 0
	for _, b := range blocks {
		line := strings.TrimSuffix(b.text, "\n")
		switch {
		case line == readmeServer:
			server := command.Start(t, strings.Fields(line)[1:]...)
			server.WaitFor("both addresses", func(output string) (string, bool) {
				return "", strings.Contains(output, "127.0.0.1:7410") && strings.Contains(output, "127.0.0.1:7411")
			})
			started = true
		case strings.HasPrefix(line, "curl "):
			if !started {
				t.Fatalf("%s\nstands before %q", line, readmeServer)
			}
			output := shell(t, line)
			if data := readmeData.FindStringSubmatch(line); data != nil {
				decode(t, data[1], &published)
				checkAnswer(t, b, output)
				publishes++
			} else {
				checkPoll(t, line, output, published)
				polls++
			}
		}
	}
	if publishes == 0 || polls == 0 {
		t.Errorf("the README publishes %d times by curl and polls %d times", publishes, polls)
	}
}

// shell runs a line as a reader would, who copies it into a terminal.
func shell(t *testing.T, line string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var problems strings.Builder
	sh := exec.CommandContext(ctx, "sh", "-c", line)
	sh.Stderr = &problems
	output, err := sh.Output()
	if err != nil {
		t.Fatalf("%s: %v\n%s", line, err, problems.String())
	}
	return string(output)
}

func checkAnswer(t *testing.T, b block, output string) {
	t.Helper()
	says := readmeAnswer.FindStringSubmatch(b.after)
	if says == nil {
		t.Errorf("the README does not go on with \"It answers\" and the answer after\n%s", b.text)
		return
	}
	if got := strings.TrimSpace(output); got != says[1] {
		t.Errorf("%sanswers %s, and not, as the README says, %s", b.text, got, says[1])
	}
}

func checkPoll(t *testing.T, line, output string, published map[string]any) {
	t.Helper()
	var got []struct {
		GlobalID  int64  `json:"global_id"`
		MessageID int64  `json:"message_id"`
		Channel   string `json:"channel"`
		Data      any    `json:"data"`
	}
	decode(t, output, &got)
	if len(got) != 1 || got[0].Channel != published["channel"] || !reflect.DeepEqual(got[0].Data, published["data"]) ||
		got[0].MessageID != 1 || got[0].GlobalID != 1 {
		t.Errorf("%s\nanswers %s after %v was published", line, output, published)
	}
}

func decode(t *testing.T, text string, into any) {
	t.Helper()
	if err := json.Unmarshal([]byte(text), into); err != nil {
		t.Fatalf("%q is not the JSON that was expected: %v", text, err)
	}
}
