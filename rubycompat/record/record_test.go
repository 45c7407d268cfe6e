package record_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/messagebus-go/messagebus/bus/leakcheck"
	"github.com/messagebus-go/messagebus/integration/command"
	"github.com/messagebus-go/messagebus/integration/stores"
	"github.com/messagebus-go/messagebus/rubycompat"
	"github.com/messagebus-go/messagebus/rubycompat/record"
)

func TestMain(m *testing.M) {
	leakcheck.Main(m, func() error { return rubycompat.Report(reportNotRun) }, stores.Close, command.Remove)
}

// notRun are the tests for which there was no gem.
var notRun struct {
	mu    sync.Mutex
	names []string
}

func reportNotRun(w io.Writer) error {
	notRun.mu.Lock()
	defer notRun.mu.Unlock()
	slices.Sort(notRun.names)
	for _, name := range notRun.names {
		fmt.Fprintln(w, "not run:", name)
	}
	if len(notRun.names) > 0 {
		fmt.Fprintln(w, len(notRun.names), "tests of recordings NOT RUN")
	}
	return nil
}

// needGem returns the gem's version, or ends the test as not run.
func needGem(t *testing.T) string {
	t.Helper()
	version, err := rubycompat.Gem(t.Context())
	if err == nil {
		return version
	}
	if !errors.Is(err, rubycompat.ErrNoGem) || os.Getenv("MESSAGEBUS_REQUIRE_RUBY") != "" {
		t.Fatalf("%v; MESSAGE_BUS_LIB names the folder lib of the gem", err)
	}
	leaveOut(t, err.Error())
	return ""
}

// leaveOut ends a test as not run, which the end of the run tells.
func leaveOut(t *testing.T, why string) {
	t.Helper()
	first, _, _ := strings.Cut(why, "\n")
	notRun.mu.Lock()
	defer notRun.mu.Unlock()
	notRun.names = append(notRun.names, t.Name()+": "+first)
	t.Skip("not run: ", first)
}

// thorough are recordings that take a minute: they are made again on demand.
const thorough = "MESSAGEBUS_GOLDEN_CHECK"

// TestGolden makes the recordings again and compares.
func TestGolden(t *testing.T) {
	t.Parallel()
	for name := range record.Recordings {
		t.Run(strings.TrimSuffix(name, ".json"), func(t *testing.T) {
			t.Parallel()
			version := needGem(t)
			if name != "message.json" && os.Getenv(thorough) == "" {
				leaveOut(t, "make golden-check")
			}
			recorded, now := again(t, name, nil)
			differing := 0
			for i := range recorded {
				if found := record.Differences(recorded[i], now[i]); len(found) > 0 {
					differing++
					t.Errorf("%s:\n  %s", nameOf(recorded[i]), strings.Join(found, "\n  "))
				}
			}
			t.Logf("%s: %d cases, %d differ with the gem %s", name, len(recorded), differing, version)
		})
	}
}

// again returns the cases of a recording, and what they are now. Some may be expected to
// be otherwise, by what nameOf returns.
func again(t *testing.T, name string, otherwise map[string]record.Case, env ...string) (recorded, now []record.Case) {
	t.Helper()
	recorded, err := record.Load(filepath.Join("..", "golden", name))
	if err != nil {
		t.Fatal(err)
	}
	expected := make([]record.Case, len(recorded))
	for i, c := range recorded {
		if expected[i] = otherwise[nameOf(c)]; expected[i] == nil {
			expected[i] = record.Effects(c)
		}
	}
	return recorded, settled(t, name, recorded, expected, env, serverOf(t, name))
}

// settled returns what cases are now. Those that are not as expected are made again, three
// times at most.
func settled(t *testing.T, name string, recorded, expected []record.Case, env, server []string) []record.Case {
	t.Helper()
	now := made(t, name, recorded, env, server)
	// While a server refuses writes, a thread of the gem closes the connection that others
	// publish with (is_readonly?), which raises now and then; and a machine that is busy may
	// be late for an interval. What differs always is the gem.
	for range 3 {
		var doubtful []int
		var cases []record.Case
		for i := range recorded {
			if len(record.Differences(expected[i], now[i])) > 0 {
				doubtful, cases = append(doubtful, i), append(cases, recorded[i])
			}
		}
		if len(doubtful) == 0 {
			break
		}
		for k, c := range made(t, name, cases, env, server) {
			if i := doubtful[k]; len(record.Differences(expected[i], c)) == 0 {
				now[i] = c
			}
		}
	}
	return now
}

func made(t *testing.T, name string, cases []record.Case, env, server []string) []record.Case {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	now, err := record.Record(ctx, name, cases, env, server...)
	if err != nil {
		t.Fatal(err)
	}
	if len(now) != len(cases) {
		t.Fatalf("%d cases of %d", len(now), len(cases))
	}
	return now
}

func nameOf(c record.Case) string {
	var named struct{ Name, What string }
	if err := json.Unmarshal(c, &named); err != nil {
		return err.Error()
	}
	return named.Name + " (" + named.What + ")"
}

// serverOf starts what a recording needs, and returns the arguments for its program.
func serverOf(t *testing.T, name string) []string {
	t.Helper()
	switch name {
	case "redis.json", "http.json", "cache.json":
		address := stores.Redis(t).Addr()
		return []string{address[strings.LastIndexByte(address, ':')+1:]}
	case "postgres.json":
		return []string{stores.PostgresShared(t)}
	default:
		return nil
	}
}
