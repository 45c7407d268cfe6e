package rubycompat_test

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
)

// An exception is an entry of golden/differences.json: a case in which this module
// differs from the gem on purpose. Its rule is one of those below.
type exception struct {
	Rule string `json:"rule"`
	Why  string `json:"why"`
}

// rules are the differences that are wanted, each in one sentence. What is checked
// in place of the recording stands with the replay of each recording.
var rules = map[string]string{
	"ruby-only": "an input, setting or hook that Go does not have; why says which",

	// Names and payloads.
	"name-refused":             "the site separator, the escape of a pipe and NUL are refused in a channel and in a site",
	"undecodable-name-refused": "a channel that nobody can decode, the empty one, is refused",
	"unreadable-refused":       "a payload that breaks Ruby readers of the backlog, or the browser, is refused at publish",
	"strict-json":              "an envelope that is not strict JSON is undecodable",
	"data-as-stored":           "data go out as they were stored, not decoded and encoded again",

	// What a publish leaves in the store.
	"both-limits-hold":         "where a publish gives both a size and an age, both hold",
	"fraction-rounded-up":      "a fraction of a second is rounded up",
	"global-backlog-outlives":  "a publish with an age of its own never shortens the life of the global backlog",
	"age-of-own-channel":       "a publish with an age of its own clears its own channel by it, and no other",
	"ids-above-backlog":        "a channel whose ids expired goes on above the ids of its backlog",
	"large-messages-delivered": "a message too large for NOTIFY is delivered to Go by a notice of its own",
	"refused-in-whole":         "a publish that the store refuses changes nothing",

	// A server that refuses writes.
	"queued-limits-kept": "what waits for a read-only server keeps its limits",
	"queued-order-kept":  "nothing overtakes what waits for a read-only server",
	"no-probe-left":      "Go asks a server whether it is read-only, and leaves no key behind",

	// Reading and listening.
	"asked-twice-counts-once": "a channel that is asked for twice counts once",
	"no-end-marker":           "Go never sends the marker that ends subscriptions, and ignores it",
	"root-hears-no-site":      "a subscription without a site hears messages without a site only",
	"no-loss":                 "a message that the store holds reaches its subscriber",
	"no-repeats":              "no message comes twice or out of order",
	"no-notice-without-ids":   "a publish over a broken connection is an error, and announces nothing",

	// The distributed cache.
	"own-applied":        "the operations of a cache itself apply when they come back, in the order of the bus",
	"unreadable-removes": "an operation that cannot be read removes the key that it names",
	"no-form-in-go":      "a value that Go cannot hold removes its key",
	"version-of-its-own": "the app version is that of one cache, and not that of all on a manager",
	"odd-name-unheard":   "a stored name with more than one separator is no channel of a site",

	// Over HTTP.
	"bad-input-refused":      "what cannot be read is answered 400 with a reason in one line; the gem fails with 500, or takes it for something else",
	"head-at-once":           "HEAD is answered at once, without a body",
	"own-requests-only":      "held requests are known by site, user and client id: nobody closes that of another user",
	"winner-stays":           "the timer of a request that was refused for its number drops nobody else",
	"place-free-at-once":     "a held client that has left frees its place at once",
	"withheld-told-at-end":   "a held request ends with a status for what was withheld meanwhile",
	"filter-panic-withholds": "a filter that panics withholds the message, and no more",
	"undecodable-skipped":    "a stored message that cannot be decoded is skipped, counted and passed by a status",
	"global-live":            "a held client of a site gets /global/ messages as they come",

	// The client over HTTP.
	"polls-with-dlp":          "a client that does not long poll says so, or the server would hold its request",
	"base-path-kept":          "the path of the base URL stands before the requests; it takes no query",
	"every-part-read":         "every whole message of an answer counts, however its bytes are split",
	"only-200":                "messages of an answer with another status than 200 do not count",
	"stop-ends-request":       "Stop ends the request, and no callback begins afterwards",
	"changes-restart":         "a change of the subscriptions restarts the request that is held",
	"subscription-has-its-id": "each subscription has a position of its own, and a callback that panics keeps nobody from a message",
}

// differences are the exceptions by recording and case.
var differences = sync.OnceValues(func() (map[string]map[string]exception, error) {
	text, err := os.ReadFile("golden/differences.json")
	if err != nil {
		return nil, err
	}
	var all map[string]map[string]exception
	if err := json.Unmarshal(text, &all); err != nil {
		return nil, fmt.Errorf("golden/differences.json: %w", err)
	}
	return all, nil
})

// exceptionFor returns the exception of a case, if it is one.
func exceptionFor(tb testing.TB, recording, name string) (exception, bool) {
	tb.Helper()
	all, err := differences()
	if err != nil {
		tb.Fatal(err)
	}
	e, ok := all[recording][name]
	if ok && (rules[e.Rule] == "" || e.Why == "") {
		tb.Fatalf("golden/differences.json: %s: %s: rule %q, why %q; a rule is one of %s, and why is not empty",
			recording, name, e.Rule, e.Why, strings.Join(slices.Sorted(maps.Keys(rules)), ", "))
	}
	return e, ok
}

// tally counts how the cases came out, for the end of the run.
var tally struct {
	mu     sync.Mutex
	passed map[string]int            // by recording
	ruled  map[string]map[string]int // by recording and rule
}

// count notes a case that came out as it should; rule is empty where that is as the
// gem does.
func count(recording, rule string) {
	tally.mu.Lock()
	defer tally.mu.Unlock()
	if tally.passed == nil {
		tally.passed, tally.ruled = map[string]int{}, map[string]map[string]int{}
	}
	tally.passed[recording]++
	if rule == "" {
		return
	}
	if tally.ruled[recording] == nil {
		tally.ruled[recording] = map[string]int{}
	}
	tally.ruled[recording][rule]++
}

// report prints the counts.
func report(w io.Writer) {
	tally.mu.Lock()
	defer tally.mu.Unlock()
	for _, recording := range slices.Sorted(maps.Keys(tally.passed)) {
		ruled, under := tally.ruled[recording], 0
		for _, n := range ruled {
			under += n
		}
		fmt.Fprintf(w, "%s: %d cases passed: %d as the gem, %d by a rule\n",
			recording, tally.passed[recording], tally.passed[recording]-under, under)
		for _, rule := range slices.Sorted(maps.Keys(ruled)) {
			fmt.Fprintf(w, "  %4d %s: %s\n", ruled[rule], rule, rules[rule])
		}
	}
}

// TestDifferences_NameCasesThatExist finds entries left behind by a rename.
func TestDifferences_NameCasesThatExist(t *testing.T) {
	t.Parallel()
	all, err := differences()
	if err != nil {
		t.Fatal(err)
	}
	for recording, cases := range all {
		names := map[string]bool{}
		for _, c := range load[struct {
			Name string `json:"name"`
		}](t, recording) {
			names[c.Name] = true
		}
		for name := range cases {
			if !names[name] {
				t.Errorf("golden/differences.json: %s has no case %q", recording, name)
			}
			exceptionFor(t, recording, name)
		}
	}
}

// TestDifferences_UseEveryRule finds rules left behind.
func TestDifferences_UseEveryRule(t *testing.T) {
	t.Parallel()
	all, err := differences()
	if err != nil {
		t.Fatal(err)
	}
	unused := maps.Clone(rules)
	for _, cases := range all {
		for _, e := range cases {
			delete(unused, e.Rule)
		}
	}
	for rule := range unused {
		t.Errorf("the rule %s has no case in golden/differences.json", rule)
	}
}
