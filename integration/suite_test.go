package integration_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/messagebus-go/messagebus/integration/browser"
)

// The suite is written once, in testdata/suite.js, and runs in Node and in a
// browser, against our server and against the gem's.

type suiteResult struct {
	Count  int
	Failed []string
}

func (r suiteResult) check(t *testing.T, atLeast int) {
	t.Helper()
	for _, failed := range r.Failed {
		t.Error(failed)
	}
	if r.Count < atLeast {
		t.Errorf("only %d cases were run", r.Count)
	}
}

// obey does what the suite asks of a server beside messages. It is asked on
// connections that are not cut, so that a page asks another origin.
func (s *site) obey(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Access-Control-Allow-Origin", "*")
	var order struct {
		Channel     string
		From, Count int
	}
	if err := json.NewDecoder(r.Body).Decode(&order); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	switch r.PathValue("verb") {
	case "publish":
		for number := order.From; number < order.From+order.Count; number++ {
			if _, err := s.bus.Publish(r.Context(), order.Channel, number); err != nil {
				http.Error(w, err.Error(), http.StatusInternalServerError)
				return
			}
		}
	case "cut":
		s.proxy.Cut()
	}
}

// distIndex is the path of the module.
func distIndex(t *testing.T) string {
	t.Helper()
	path, err := filepath.Abs(filepath.Join("..", "jsclient", "dist", "index.js"))
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// runSuite runs it by a program that runs JavaScript.
func runSuite(t *testing.T, program []string, base, control, many string, transports ...string) suiteResult {
	t.Helper()
	args := slices.Concat(program[1:], []string{filepath.Join("testdata", "suite.mjs"), distIndex(t), base, control, many}, transports)
	output, err := exec.CommandContext(t.Context(), program[0], args...).Output()
	if err != nil {
		t.Fatalf("%s: %v; is it installed? run \"scripts/setup.sh test\", or \"npm ci\" in the folder integration\n%s", program[0], err, output)
	}
	var result suiteResult
	if err := json.Unmarshal(output, &result); err != nil {
		t.Fatalf("%v: %s", err, output)
	}
	return result
}

func TestSuite_InNode(t *testing.T) {
	t.Parallel()
	s := startSite(t)
	base := "http://" + s.proxy.Address()
	runSuite(t, []string{"node"}, base+"/", s.direct+"/control", "many", "auto", "stream", "poll", "sse").check(t, 28)
}

func TestSuite_InDenoAndBun(t *testing.T) {
	t.Parallel()
	for name, program := range map[string][]string{
		"Deno": {filepath.Join("node_modules", ".bin", "deno"), "run", "--no-config", "--allow-net", "--allow-read", "--allow-env"},
		"Bun":  {filepath.Join("node_modules", ".bin", "bun"), "run"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := startSite(t)
			runSuite(t, program, s.direct+"/", s.direct+"/control", "few", "auto", "stream", "poll", "sse", "ws").check(t, 30)
		})
	}
}

func TestSuite_InABrowser(t *testing.T) {
	t.Parallel()
	s := startSite(t)
	b := browser.Start(t)
	// One after the other: together they leave no processor to anybody.
	for _, transport := range []string{"auto", "stream", "poll", "sse", "ws"} {
		w := b.Open(t, "suite-"+transport, browser.Options{})
		w.Visit("http://" + s.proxy.Address() + "/suite.html?transport=" + transport + "&control=" + s.direct + "/control")
		w.WaitFor("globalThis.result")
		browser.Eval[suiteResult](w, "result").check(t, 7)
		w.Close()
	}
}

func TestSuite_InAWorkerOfAPage(t *testing.T) {
	t.Parallel()
	s := startSite(t)
	w := browser.Start(t).Open(t, "worker", browser.Options{})
	w.Visit("http://" + s.proxy.Address() + "/suite-worker.html?control=" + s.direct + "/control")
	w.WaitFor("globalThis.result")
	browser.Eval[suiteResult](w, "result").check(t, 30)
}

// Against the gem's own server, where it can be had.
func TestSuite_AgainstTheGem(t *testing.T) {
	t.Parallel()
	probe := exec.CommandContext(t.Context(), "ruby", "-e", `$:.unshift ENV["MESSAGE_BUS_LIB"] if ENV["MESSAGE_BUS_LIB"]; require "message_bus"; require "rack"; require "puma"`)
	if err := probe.Run(); err != nil {
		if os.Getenv("MESSAGEBUS_REQUIRE_RUBY") != "" {
			t.Fatalf("no gem: %v; MESSAGE_BUS_LIB names its folder lib", err)
		}
		fmt.Fprintf(os.Stderr, "not run: %s: no gem: %v; MESSAGE_BUS_LIB names its folder lib\n", t.Name(), err)
		return
	}
	server := exec.CommandContext(t.Context(), "ruby", filepath.Join("testdata", "gem_server.rb"))
	input, err := server.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	var problems strings.Builder
	server.Stderr = &problems
	output, err := server.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		input.Close()
		_ = server.Wait() // its exit does not matter
		if t.Failed() {
			t.Log(problems.String())
		}
	})
	lines := bufio.NewReader(output)
	port, err := lines.ReadString('\n')
	if err != nil {
		t.Fatalf("the gem's server did not start: %v\n%s", err, problems.String())
	}
	go io.Copy(io.Discard, lines)
	base := "http://127.0.0.1:" + strings.TrimSpace(port)
	runSuite(t, []string{"node"}, base+"/", base+"/control", "few", "auto", "stream", "poll").check(t, 18)
}
